"""A plain probe of the tagger, at the songs' own levels and at one level.

pip install 'realtime-mer[train]'; pip download musicnn --no-deps
python benchmarks/tagger_probe.py --data DIR --teacher WHEEL

Fitted on the training and validation songs: the mean of MusiCNN's embeddings (three seconds each,
once a second) and ridge regression, whose strength is chosen in five parts by artist.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

from mer_engine import Engine
from mer_engine.training.collection import Collection

from realtime_mer.benchmarks.study import run_study, show_progress, study_parser


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("tagger_probe", __doc__ or "", split="test")
    parser.add_argument(
        "--teacher", type=Path, required=True, metavar="PATH",
        help="the wheel of the package musicnn, or the folder it was unpacked into",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed; pip install 'realtime-mer[train]'", file=sys.stderr)
        return 2
    return run_study(args, _measure)


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    import torch
    from mer_engine.training.teacher import Teacher
    from mer_engine.training.train import read_teacher

    from realtime_mer.benchmarks.tagger_probe import measure_probe

    torch.set_flush_denormal(True)  # the tagger's dead weights lie at 1e-30
    result = measure_probe(
        Teacher(read_teacher(args.teacher)),
        collection,
        args.split,
        songs=args.songs,
        seed=args.seed,
        progress=show_progress,
    )
    for row in result["rows"]:
        print(f"{row['name']:<28}{row['arousal']['r2']:8.3f}{row['valence']['r2']:8.3f}")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
