"""Latency against accuracy: the cost of shorter windows and slower updates.

python benchmarks/studies/lag.py --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from mer_engine import Engine
from mer_engine.datasets.types import CLIP_S, CLIP_STEPS, Clip, Collection
from study import run_study, show_progress, study_parser

from realtime_mer.evaluation.metrics import pooled_metrics
from realtime_mer.evaluation.predictions import (
    ClipEstimator,
    Predictions,
    Progress,
    UngatedEngine,
    clips_of,
    estimate_clip,
    predict_each,
)

LAG_ORDERS = tuple(range(2, 21))
HOPS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def measure_lag(
    engine: Engine,
    collection: Collection,
    clips: list[Clip],
    *,
    lag_orders: Sequence[int] = LAG_ORDERS,
    hops_s: Sequence[float] = HOPS_S,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict every clip with each lag order (hop 0.5 s) and each hop (default lag order).

    Lag orders beyond the longest window of the model are left out. Each step is scored with the
    newest estimate, so a slow hop also costs by the age of its estimate. The values are measured
    whatever the model takes the sound for.

    Returns:
        `songs`; `lag_orders` and `hops`: rows with `lag_order` and `window_s`, or `hop_s`, and by
        dimension the metrics over 5 to 10 s, and `after_10_s`, the R2 of that step; `left_out`.

    Raises:
        DataError: no clip could be measured.
    """
    engine = UngatedEngine(engine)
    orders = [order for order in lag_orders if order <= engine.info.lag_order_max]
    estimators: dict[str, ClipEstimator] = {
        f"lag {order}": partial(estimate_clip, engine, lag_order=order) for order in orders
    }
    estimators |= {f"hop {hop:g}": partial(estimate_clip, engine, hop_s=hop) for hop in hops_s}
    predictions = predict_each(collection, clips, estimators, workers=workers, progress=progress)
    first = next(iter(predictions.values()))
    return {
        "songs": len(set(first.songs)),
        "lag_order_default": engine.info.lag_order_default,
        "lag_orders": [
            {
                "lag_order": order,
                "window_s": order * engine.info.step_s,
                **_row(predictions[f"lag {order}"]),
            }
            for order in orders
        ],
        "hops": [{"hop_s": hop, **_row(predictions[f"hop {hop:g}"])} for hop in hops_s],
        "left_out": list(first.left_out),
    }


def _row(predictions: Predictions) -> dict[str, Any]:
    last = pooled_metrics(predictions.at_steps(slice(CLIP_STEPS - 1, CLIP_STEPS)))
    return {
        name: {
            **metrics.to_dict(),
            f"after_{CLIP_S:g}_s": last[name].r2 if name in last else None,
        }
        for name, metrics in pooled_metrics(predictions.scored()).items()
    }


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    clips = clips_of(collection, args.split, args.songs)
    result = measure_lag(engine, collection, clips, workers=args.workers, progress=show_progress)
    for key, title in (("lag_orders", "lag_order"), ("hops", "hop_s")):
        print(f"{title:<12}{'arousal R2':>12}{'valence R2':>12}")
        for row in result[key]:
            print(f"{row[title]:<12}{row['arousal']['r2']:>12.3f}{row['valence']['r2']:>12.3f}")
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("lag", __doc__ or "", split="test")
    return run_study(parser.parse_args(arguments), _measure)


if __name__ == "__main__":
    raise SystemExit(main())
