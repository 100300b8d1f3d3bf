"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.core.config import PipelineConfig, Range
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from mer_engine import Engine

    from realtime_mer.audio.pcm import AutoFormat, PcmFormat
    from realtime_mer.live.runner import LiveRunner


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--input`, `--loop` and the three `--pcm-*` options."""
    from realtime_mer.audio.pcm import AUTO, PCM_FORMATS

    group = parser.add_argument_group("input")
    group.add_argument(
        "--input",
        metavar="INPUT",
        help="the source of the music: 'default' (the default microphone or line-in), the index, "
        "name or part of the name of a device (see 'realtime-mer devices'), a file, a URL (needs "
        "ffmpeg), '-' for raw PCM on standard input, a FIFO with raw PCM, or 'demo' for the "
        "built-in piece (default: 'default' if there is an input device, else 'demo')",
    )
    group.add_argument(
        "--loop",
        action="store_true",
        help="start a file again when it ends, wait for the next writer of a FIFO",
    )
    group.add_argument(
        "--pcm-rate", type=int, default=44_100, metavar="HZ",
        help="with --input - or a FIFO: sample rate (default: 44100)",
    )  # fmt: skip
    group.add_argument(
        "--pcm-channels", type=int, default=2, metavar="N",
        help="with --input - or a FIFO: interleaved channels (default: 2)",
    )  # fmt: skip
    group.add_argument(
        "--pcm-format", default="s16le", metavar="FORMAT",
        help=f"with --input - or a FIFO: {', '.join(PCM_FORMATS)}, or {AUTO} for encoded audio, "
        "which ffmpeg decodes (default: s16le)",
    )  # fmt: skip


def pcm_format(args: argparse.Namespace) -> PcmFormat | AutoFormat:
    """Return the declared format of standard input or a FIFO.

    Raises:
        UserError: a value is out of range or unknown.
    """
    from realtime_mer.audio.pcm import AUTO, PcmFormat

    if args.pcm_format == AUTO:
        return AUTO
    return PcmFormat(args.pcm_rate, args.pcm_channels, args.pcm_format)


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pipeline_config`, `--model` and `--backend`."""
    group = parser.add_argument_group("estimation")
    group.add_argument(
        "--hop",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="seconds between estimates, 0.1 to 1.0 in tenths (default: 1.0)",
    )
    group.add_argument(
        "--lag-order",
        type=int,
        default=None,
        metavar="STEPS",
        help="length of the lag window in steps of 0.5 s, 1 to 20: a short window follows changes "
        "sooner, a long one is more accurate (default: the model's own, 20 steps = 10 s). Above "
        "6, a second, fast estimate uses only the newest 3 s",
    )
    group.add_argument(
        "--silence-db",
        type=float,
        default=-60.0,
        metavar="DB",
        help="one second below this RMS level (dBFS) counts as silence: the last values stay "
        "(default: -60)",
    )
    group.add_argument(
        "--range",
        choices=tuple(Range),
        default=None,
        help="what moods and the page show: 'raw', the values of the model, or 'music', their "
        "place among music at large, where a twentieth of music lies at each end; raw values stay "
        "in every message and table (default: music if the model file knows the distribution of "
        "its values over music, else raw)",
    )
    group.add_argument(
        "--adapt",
        action="store_true",
        help="let the range 'music' move within minutes towards the input's own values, at most "
        "half of the way",
    )
    add_model_argument(group)
    add_backend_argument(group)


def add_model_argument(parser: argparse._ActionsContainer) -> None:
    """Add `--model`."""
    parser.add_argument(
        "--model",
        type=local_path,
        default=None,
        metavar="FILE",
        help="a model file made by 'realtime-mer train' (default: the shipped model)",
    )


def add_backend_argument(parser: argparse._ActionsContainer) -> None:
    """Add `--backend`."""
    from mer_engine.backends.registry import AUTO, NAMES

    parser.add_argument(
        "--backend",
        choices=NAMES,
        default=AUTO,
        metavar="NAME",
        help=f"what runs the model: {', '.join(NAMES)}; 'auto' takes the fastest whose outputs "
        "match the reference, for few streams and for many, see docs/engine.md (default: auto)",
    )


def chosen_engine(args: argparse.Namespace) -> tuple[Engine, str]:
    """Load the engine that `--model` and `--backend` name.

    Slow steps and problems, now or later, are reported on standard error at once.

    Returns:
        The engine, and a line on which backend it is and why, to be printed after the start.

    Raises:
        ModelError: the model file is missing or damaged, or the backend cannot be used.
    """
    from mer_engine import load_engine

    lines: list[str] = []

    def announce(message: str) -> None:
        if message.startswith("backend: "):
            lines.append(message)
        else:
            print(message, file=sys.stderr, flush=True)

    engine = load_engine(args.model, backend=args.backend, announce=announce)
    return engine, lines[-1] if lines else f"backend: {engine.backend}"


def add_data_argument(parser: argparse._ActionsContainer) -> None:
    """Add `--data`, which may be given several times."""
    parser.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="KIND=DIR",
        help="labelled music: deam=DIR, pmemo=DIR, vgmidi=DIR, 4q=DIR, fme24=DIR, emopia=DIR, "
        "emotify=DIR, or csv=DIR for your own (see docs/own-data.md); a plain DIR is DEAM or "
        "contains deam/; may be given several times",
    )


def data_sources(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the values of `--data`, in the form that `load_collection` takes.

    Raises:
        UserError: an unknown kind of data, or the same folder twice.
    """
    from mer_engine.datasets.load import parse_source
    from mer_engine.datasets.problems import DataError

    seen: set[tuple[str, str]] = set()
    sources: list[str] = []
    for source in args.data:
        try:
            kind, folder = parse_source(source)
        except DataError as error:
            raise UserError(f"--data {source}: {error}") from error
        path = local_path(str(folder))  # no shell expands the ~ of deam=~/music
        known = (kind, os.path.realpath(path))  # Path.resolve raises for a circle of links
        if known in seen:
            raise UserError(f"--data {source} is given twice; give each folder once")
        seen.add(known)
        sources.append(source if path == folder else f"{kind}={path}")
    return tuple(sources)


def exit_code(runner: LiveRunner) -> int:
    """Return the exit code for the end of an input.

    0 if all of it was heard, 2 if it was lost, 1 for a fault here, such as failures of the engine.
    """
    if runner.error is None:
        return 1 if runner.pipeline.faulty_updates else 0
    return runner.error.exit_code if isinstance(runner.error, UserError) else 1


def pipeline_config(args: argparse.Namespace) -> PipelineConfig:
    """Return the pipeline's settings.

    Raises:
        UserError: a value is out of range.
    """
    return PipelineConfig(
        hop_s=args.hop,
        lag_order=args.lag_order,
        silence_db=args.silence_db,
        value_range=None if args.range is None else Range(args.range),
        adapt=args.adapt,
    )
