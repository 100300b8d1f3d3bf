"""The options `--record` and `--record-audio` of `serve` and `listen`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from realtime_mer.core.target import TargetTrajectory
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.recording.recorder import Recorder


def add_recording_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--record` and `--record-audio`."""
    group = parser.add_argument_group("recording")
    group.add_argument(
        "--record", metavar="DIR",
        help="record estimates, events, markers and losses in this folder; a recording that is "
        "there already gets a new part (docs/recording.md)",
    )  # fmt: skip
    group.add_argument(
        "--record-audio", action="store_true",
        help="with --record: record the audio of the input as well (FLAC, 24 bit)",
    )  # fmt: skip


def check_recording(args: argparse.Namespace) -> None:
    """Check the options of `add_recording_arguments`.

    Raises:
        UserError: the folder's name is empty, or the audio is to be recorded without a folder.
    """
    if args.record is not None:
        local_path(args.record)
    if args.record_audio and args.record is None:
        raise UserError("--record-audio needs a folder for the recording; give --record DIR too")


def start_recording(
    args: argparse.Namespace, runner: LiveRunner, target: TargetTrajectory | None
) -> Recorder | None:
    """Begin the recording that the options ask for, before the runner starts; None for none.

    Args:
        args: with those of `add_recording_arguments` and the configuration.
        runner: what is recorded.
        target: the way that the session is meant to take, which the recording keeps.

    Raises:
        UserError: the folder cannot be used, or the audio cannot be recorded.
    """
    if args.record is None:
        return None
    from realtime_mer.recording.header import header_of
    from realtime_mer.recording.recorder import Recorder

    configuration, pipeline = args.configuration, runner.pipeline
    header = header_of(
        model=pipeline.engine.info,
        backend=pipeline.engine.backend,
        config=pipeline.config,
        source=runner.info,
        started=datetime.now(UTC),
        configuration={
            "file": None if configuration.file is None else str(configuration.file),
            "profile": configuration.profile,
        },
        target=target,
    )
    recorder = Recorder(
        runner.hub,
        local_path(args.record),
        header,
        stats=runner.stats,
        audio=runner.info if args.record_audio else None,
    )
    runner.audio_sink = recorder.audio_recorder
    return recorder


def recording_line(recorder: Recorder) -> str:
    """Return for the terminal where a recording goes."""
    audio = "" if recorder.audio_recorder is None else ", with the audio"
    return recorder.remark or f"recording to {recorder.folder}{audio}"
