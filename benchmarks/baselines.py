"""Simpler methods on the same songs: the mean, six features, a random forest.

pip install 'realtime-mer[train]'
python benchmarks/baselines.py --data DIR
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import Any

from mer_engine import Engine
from mer_engine.training.collection import Collection

from realtime_mer.benchmarks.baselines import measure_baselines
from realtime_mer.benchmarks.study import run_study, show_progress, study_parser


def main(arguments: list[str] | None = None) -> int:
    args = study_parser("baselines", __doc__ or "", split="test").parse_args(arguments)
    if importlib.util.find_spec("sklearn") is None:
        print("scikit-learn is not installed; pip install 'realtime-mer[train]'", file=sys.stderr)
        return 2
    return run_study(args, _measure)


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    from importlib.metadata import version

    result = measure_baselines(
        engine,
        collection,
        args.split,
        songs=args.songs,
        seed=args.seed,
        workers=args.workers,
        progress=show_progress,
    )
    print(f"{'':<16}{'arousal R2':>12}{'RMSE':>8}{'valence R2':>12}{'RMSE':>8}")
    for row in result["rows"]:
        numbers = "".join(
            f"{row[name]['r2']:12.3f}{row[name]['rmse']:8.3f}" for name in ("arousal", "valence")
        )
        print(f"{row['name']:<16}{numbers}")
    return {**result, "versions": {"scikit-learn": version("scikit-learn")}}


if __name__ == "__main__":
    raise SystemExit(main())
