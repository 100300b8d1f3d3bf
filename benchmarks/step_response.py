"""How soon the estimates follow a change of mood: clips of different labels, one after the other.

python benchmarks/step_response.py --data DIR
"""

from __future__ import annotations

import argparse
from typing import Any

from mer_engine import Engine
from mer_engine.training.collection import Collection

from realtime_mer.benchmarks.listening import clips_of
from realtime_mer.benchmarks.step_response import choose_pairs, measure_step_response
from realtime_mer.benchmarks.study import run_study, show_progress, study_parser


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("step_response", __doc__ or "", split="test")
    parser.add_argument(
        "--pairs", type=int, default=60, metavar="N", help="pairs a dimension (default: 60)"
    )
    return run_study(parser.parse_args(arguments), _measure)


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    clips = clips_of(collection, args.split, args.songs)
    pairs = choose_pairs(collection, clips, args.pairs, args.seed)
    result = measure_step_response(engine, pairs, progress=show_progress)
    print(f"{'window':<8}{'dimension':<12}{'counted':>10}{'50 %':>18}{'90 %':>18}")
    for row in result["rows"]:
        times = "".join(f"{_text(row[key]):>18}" for key in ("half_s", "ninety_s"))
        counted = f"{row['counted']} of {row['pairs']}"
        print(f"{row['window_s']:<8g}{row['dimension']:<12}{counted:>10}{times}")
    return result


def _text(times: dict[str, float] | None) -> str:
    if times is None:
        return "-"
    return f"{times['median']:.1f} s ({times['lower']:.1f}-{times['upper']:.1f})"


if __name__ == "__main__":
    raise SystemExit(main())
