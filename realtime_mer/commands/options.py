"""Options that several commands share, with one text each."""

from __future__ import annotations

import argparse
from pathlib import Path

from realtime_mer.config import PipelineConfig


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--hop`, `--lag-order`, `--silence-db` and `--model`."""
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
        "sooner, a long one is surer (default: the model's own, 20 steps = 10 s)",
    )
    group.add_argument(
        "--silence-db",
        type=float,
        default=-60.0,
        metavar="DB",
        help="a second below this RMS level (dBFS) is silence: the last values are held "
        "(default: -60)",
    )
    group.add_argument(
        "--model",
        type=Path,
        default=None,
        metavar="FILE",
        help="a model file made by 'realtime-mer train' (default: the shipped model)",
    )


def pipeline_config(args: argparse.Namespace) -> PipelineConfig:
    """The pipeline's settings from the options.

    Raises:
        UserError: a value lies outside its range.
    """
    return PipelineConfig(hop_s=args.hop, lag_order=args.lag_order, silence_db=args.silence_db)
