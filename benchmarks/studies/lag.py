"""Latency against accuracy: what shorter windows and slower updates cost.

python benchmarks/studies/lag.py --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from mer_engine import Engine
from mer_engine.datasets.types import DIMENSIONS, STEP_S, Clip, Collection
from study import run_study, show_progress, study_parser

from realtime_mer.evaluation.metrics import figures
from realtime_mer.evaluation.predictions import (
    STEPS,
    Predictions,
    Progress,
    clips_of,
    listen,
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
    """Hears every clip with each lag order (hop 0.5 s) and each hop (the model's own lag order).

    Orders beyond the model's longest window are left out. What counts at a moment is the newest
    estimate until then, so a slow hop pays for the age of what it shows.

    Returns:
        `songs`; `lag_orders` and `hops`: rows of `lag_order` and `window_s`, or `hop_s`, and by
        dimension the figures over 5 to 10 s heard, and `after_10_s` the R2 of that moment alone;
        `left_out`.

    Raises:
        DataError: not one clip could be measured.
    """
    orders = [order for order in lag_orders if order <= engine.info.lag_order_max]
    listeners = {f"lag {order}": partial(listen, engine, lag_order=order) for order in orders}
    listeners |= {f"hop {hop:g}": partial(listen, engine, hop_s=hop) for hop in hops_s}
    heard = predict_each(collection, clips, listeners, workers=workers, progress=progress)
    first = next(iter(heard.values()))
    return {
        "songs": len(set(first.songs)),
        "lag_order_default": engine.info.lag_order_default,
        "lag_orders": [
            {
                "lag_order": order,
                "window_s": order * engine.info.step_s,
                **_row(heard[f"lag {order}"]),
            }
            for order in orders
        ],
        "hops": [{"hop_s": hop, **_row(heard[f"hop {hop:g}"])} for hop in hops_s],
        "left_out": list(first.left_out),
    }


def _row(heard: Predictions) -> dict[str, Any]:
    last = figures(heard.moments(slice(STEPS - 1, STEPS)))
    return {
        name: {
            **mine.to_dict(),
            f"after_{STEPS * STEP_S:g}_s": last[name].r2 if name in last else None,
        }
        for name, mine in figures(heard.scored()).items()
        if name in DIMENSIONS
    }


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
