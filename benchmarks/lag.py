"""Latency against accuracy: R2 by lag order and by hop.

python benchmarks/lag.py --data DIR
"""

from __future__ import annotations

import argparse
from typing import Any

from mer_engine import Engine
from mer_engine.training.collection import Collection

from realtime_mer.benchmarks.lag import measure_lag
from realtime_mer.benchmarks.listening import clips_of
from realtime_mer.benchmarks.study import run_study, show_progress, study_parser


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("lag", __doc__ or "", split="test")
    return run_study(parser.parse_args(arguments), _measure)


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    clips = clips_of(collection, args.split, args.songs)
    result = measure_lag(engine, collection, clips, workers=args.workers, progress=show_progress)
    for key, title in (("lag_orders", "lag_order"), ("hops", "hop_s")):
        print(f"{title:<12}{'arousal R2':>12}{'valence R2':>12}")
        for row in result[key]:
            print(f"{row[title]:<12}{row['arousal']['r2']:>12.3f}{row['valence']['r2']:>12.3f}")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
