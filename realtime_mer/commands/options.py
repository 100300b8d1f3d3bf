"""Options that several commands share, with one text each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.core.config import PipelineConfig
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from mer_engine import Engine

    from realtime_mer.audio.pcm import PcmFormat


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--input`, `--loop` and the three `--pcm-*`."""
    from realtime_mer.audio.pcm import PCM_FORMATS

    group = parser.add_argument_group("input")
    group.add_argument(
        "--input",
        metavar="INPUT",
        help="where the music comes from: 'default' (microphone or line-in), a device's index or "
        "name or a part of it (see 'realtime-mer devices'), a file, a URL (through ffmpeg), '-' "
        "for raw PCM on standard input, 'demo' for the built-in piece (default: 'default' where "
        "there is an input device, else 'demo')",
    )
    group.add_argument("--loop", action="store_true", help="begin a file again when it ends")
    group.add_argument(
        "--pcm-rate", type=int, default=44_100, metavar="HZ",
        help="with --input -: sample rate (default: 44100)",
    )  # fmt: skip
    group.add_argument(
        "--pcm-channels", type=int, default=2, metavar="N",
        help="with --input -: interleaved channels (default: 2)",
    )  # fmt: skip
    group.add_argument(
        "--pcm-format", default="s16le", metavar="FORMAT",
        help=f"with --input -: {', '.join(PCM_FORMATS)} (default: s16le)",
    )  # fmt: skip


def pcm_format(args: argparse.Namespace) -> PcmFormat:
    """The declared format of standard input.

    Raises:
        UserError: a value is out of range or unknown.
    """
    from realtime_mer.audio.pcm import PcmFormat

    return PcmFormat(args.pcm_rate, args.pcm_channels, args.pcm_format)


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--hop`, `--lag-order`, `--silence-db`, `--model` and `--backend`."""
    group = parser.add_argument_group("listening")
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
        "sooner, a long one is surer (default: the model's own, 20 steps = 10 s). Above 6, the "
        "newest 3 s alone give a second, fast answer beside it",
    )
    group.add_argument(
        "--silence-db",
        type=float,
        default=-60.0,
        metavar="DB",
        help="a second below this RMS level (dBFS) is silence: the last values are held "
        "(default: -60)",
    )
    add_model_argument(group)
    add_backend_argument(group)


def add_model_argument(parser: argparse._ActionsContainer) -> None:
    """Adds `--model`."""
    parser.add_argument(
        "--model",
        type=Path,
        default=None,
        metavar="FILE",
        help="a model file made by 'realtime-mer train' (default: the shipped model)",
    )


def add_backend_argument(parser: argparse._ActionsContainer) -> None:
    """Adds `--backend`."""
    from mer_engine.backends.registry import AUTO, NAMES

    parser.add_argument(
        "--backend",
        choices=NAMES,
        default=AUTO,
        metavar="NAME",
        help=f"what runs the model: {', '.join(NAMES)}; 'auto' takes the fastest that tells what "
        "the reference tells, see docs/engine.md (default: auto)",
    )


def chosen_engine(args: argparse.Namespace) -> tuple[Engine, str]:
    """The engine that `--model` and `--backend` name.

    What takes long or goes wrong, now or later, is said on standard error at once.

    Returns:
        The engine, and a line that says which backend it is and why, for when all has begun.

    Raises:
        ModelError: the model file is missing or damaged, or the backend cannot be had.
    """
    from mer_engine import load_engine

    lines: list[str] = []

    def announce(sentence: str) -> None:
        if sentence.startswith("backend: "):
            lines.append(sentence)
        else:
            print(sentence, file=sys.stderr, flush=True)

    engine = load_engine(args.model, backend=args.backend, announce=announce)
    return engine, lines[-1] if lines else f"backend: {engine.backend}"


def add_data_argument(parser: argparse._ActionsContainer) -> None:
    """Adds `--data`, which may be given several times."""
    parser.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="KIND=DIR",
        help="labelled music: deam=DIR, pmemo=DIR, vgmidi=DIR, or csv=DIR for your own (see "
        "docs/own-data.md); a plain DIR is DEAM, or holds deam/; may be given several times",
    )


def data_sources(args: argparse.Namespace) -> tuple[str, ...]:
    """What `--data` gives, in the form that `load_collection` takes.

    Raises:
        UserError: a kind of data that is not known, or the same folder twice.
    """
    _check_sources({"--data": args.data})
    return tuple(args.data)


def auxiliary_sources(args: argparse.Namespace) -> tuple[str, ...]:
    """The same of `--auxiliary`, which may name no folder of `--data` either."""
    _check_sources({"--data": args.data, "--auxiliary": args.auxiliary})
    return tuple(args.auxiliary)


def _check_sources(given: Mapping[str, Sequence[str]]) -> None:
    """Refuses an unknown kind of data, and a folder that the options give twice."""
    from mer_engine.datasets.load import parse_source
    from mer_engine.datasets.problems import DataError

    seen: set[tuple[str, Path]] = set()
    for option, sources in given.items():
        for source in sources:
            try:
                kind, folder = parse_source(source)
            except DataError as error:
                raise UserError(f"{option} {source}: {error}") from error
            if (kind, folder.resolve()) in seen:
                raise UserError(f"{option} {source} is given twice; give each folder once")
            seen.add((kind, folder.resolve()))


def pipeline_config(args: argparse.Namespace) -> PipelineConfig:
    """The pipeline's settings from the options.

    Raises:
        UserError: a value lies outside its range.
    """
    return PipelineConfig(hop_s=args.hop, lag_order=args.lag_order, silence_db=args.silence_db)
