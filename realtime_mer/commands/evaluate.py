"""`realtime-mer evaluate`: how far a model's estimates are from what listeners said."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from realtime_mer.commands.options import add_data_argument, add_model_argument
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from realtime_mer.benchmarks.accuracy import Report

HELP = "measure a model on labelled songs"
DESCRIPTION = """\
Measures a model on DEAM (songs with valence and arousal that listeners gave twice a
second). Each clip of ten seconds goes through the pipeline as a live stream of its
own, with nothing before it and nothing after; the estimates after 5.0, 5.5 ... 10.0
seconds are compared with the labels of the same moments, all songs together. No song
of the test split had a part in the making of the shipped model.

The report is on standard output, progress on standard error. Needs no torch; takes
a minute or two.
"""
EXAMPLES = """\
  realtime-mer evaluate --data /data
  realtime-mer evaluate --data /data/deam --split validation --json
  realtime-mer evaluate --data /data --model my-model.onnx
"""

_NAME_WIDTH = 42


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    add_model_argument(parser)
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), default="test",
        help="which songs (default: test)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from mer_engine import ModelError, load_engine
    from mer_engine.training.dataset import DataError

    from realtime_mer.benchmarks.accuracy import measure_accuracy

    try:
        engine = load_engine(args.model)
        report = measure_accuracy(engine, args.data, args.split, progress=_progress)
    except (DataError, ModelError) as error:
        raise UserError(str(error)) from error
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr)
    for sentence in report.left_out:
        print(f"left out: {sentence}", file=sys.stderr)
    if report.left_out:
        print(f"{len(report.left_out)} songs were left out", file=sys.stderr)
    print(json.dumps(report.to_dict()) if args.json else _table(report))
    return 0


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} songs", end="", file=sys.stderr, flush=True)
    elif done % 50 == 0 or done == total:
        print(f"{done} of {total} songs", file=sys.stderr, flush=True)


def _table(report: Report) -> str:
    data: dict[str, Any] = report.to_dict()
    lines = [
        f"model {data['model']['name']} {data['model']['version']}"
        f" ({data['model']['sha256'][:12]}), {data['songs']} songs of the {data['split']} split",
        "",
        f"{'':<{_NAME_WIDTH}}{'R2':>8}{'RMSE':>8}{'CCC':>8}{'r':>8}",
    ]
    titles = {
        "dynamic": "over time, 5 to 10 s heard",
        "static": "whole song (1 to 9), 10 s heard",
    }
    for kind, title in titles.items():
        for dimension in ("arousal", "valence"):
            figures = data[kind].get(dimension)
            if figures is None:
                continue
            numbers = "".join(f"{figures[key]:8.3f}" for key in ("r2", "rmse", "ccc", "r"))
            lines.append(f"{dimension + ', ' + title:<{_NAME_WIDTH}}{numbers}")
    level = data["coverage"]["level"]
    lines += [
        "",
        f"labels within the {level:.0%} interval:"
        f" arousal {data['coverage']['arousal']:.1%}, valence {data['coverage']['valence']:.1%}",
        f"{data['seconds']:.0f} s on {data['machine']['processor']}",
    ]
    return "\n".join(lines)
