"""Accuracy in bad conditions: levels, microphone, room, crowd, codecs, telephone, channels, rates.

python benchmarks/robustness.py --data DIR
"""

from __future__ import annotations

import argparse
from typing import Any

from mer_engine import Engine
from mer_engine.training.collection import Collection

from realtime_mer.benchmarks.conditions import conditions
from realtime_mer.benchmarks.listening import clips_of
from realtime_mer.benchmarks.robustness import measure_robustness
from realtime_mer.benchmarks.study import run_study, show_progress, study_parser


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("robustness", __doc__ or "", split="test")
    return run_study(parser.parse_args(arguments), _measure)


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    found, skipped = conditions(args.seed)
    for sentence in skipped:
        print(f"skipped: {sentence}")
    clips = clips_of(collection, args.split, args.songs)
    result = measure_robustness(
        engine, collection, clips, found, workers=args.workers, progress=show_progress
    )
    print(f"{'':<24}{'arousal R2':>12}{'loss':>8}{'valence R2':>12}{'loss':>8}")
    for row in result["conditions"]:
        numbers = "".join(f"{row[n]['r2']:12.3f}{row[n]['r2_loss']:8.3f}" for n in _ORDER)
        print(f"{row['name']:<24}{numbers}")
    return {**result, "skipped": skipped}


_ORDER = ("arousal", "valence")

if __name__ == "__main__":
    raise SystemExit(main())
