"""Robustness: change of the estimates, and loss of accuracy, under simulated conditions.

python benchmarks/studies/robustness.py --data DIR
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from conditions import GAINS_DB, Condition, clipped_share, conditions
from mer_engine import Engine
from mer_engine.datasets.types import DIMENSIONS, Clip, Collection
from numpy.typing import NDArray
from study import run_study, show_progress, study_parser

from realtime_mer.core.types import Estimate
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

_CLEAN = "unchanged"
_ORDER = ("arousal", "valence")


def measure_robustness(
    engine: Engine,
    collection: Collection,
    clips: list[Clip],
    conditions: list[Condition],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict every clip unchanged and in every condition.

    The values are measured whatever the model takes the sound for: values that are repeated in
    noise would not change.

    Returns:
        `songs`; `clean`, the metrics by dimension; `conditions`, for each its `name`, `group` and
        `what`, and by dimension `r2`, `r2_loss`, `rmse`, `coverage` and the change of the estimates
        (`shift_mean`, `shift_rms`); `clipping` by gain: share of songs with clipped samples, and
        mean share of clipped samples; `left_out`.

    Raises:
        DataError: no clip could be measured.
    """
    engine = UngatedEngine(engine)
    clipping: dict[int, list[float]] = {decibel: [] for decibel in GAINS_DB if decibel > 0}

    def clean(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        for decibel, shares in clipping.items():
            shares.append(clipped_share(samples.mean(axis=1), decibel))
        return estimate_clip(engine, samples, rate)

    estimators: dict[str, ClipEstimator] = {_CLEAN: clean}
    estimators |= {condition.name: _changed(engine, condition) for condition in conditions}
    all_steps = predict_each(collection, clips, estimators, workers=workers, progress=progress)
    predictions = {name: one.scored() for name, one in all_steps.items()}
    reference = predictions[_CLEAN]
    clean_metrics = pooled_metrics(reference)
    rows = []
    for condition in conditions:
        row: dict[str, Any] = {
            "name": condition.name,
            "group": condition.group,
            "what": condition.what,
        }
        for name, metrics in pooled_metrics(predictions[condition.name]).items():
            clean_r2 = clean_metrics[name].r2
            row[name] = {
                "r2": metrics.r2,
                "r2_loss": None
                if metrics.r2 is None or clean_r2 is None
                else clean_r2 - metrics.r2,
                "rmse": metrics.rmse,
                "coverage": metrics.coverage,
                **shift(reference, predictions[condition.name], DIMENSIONS.index(name)),
            }
        rows.append(row)
    return {
        "songs": len(set(reference.songs)),
        "clean": {name: metrics.to_dict() for name, metrics in clean_metrics.items()},
        "conditions": rows,
        "clipping": {
            f"{decibel:+d} dB": {
                "songs": float(np.mean(np.array(shares) > 0)),
                "samples": float(np.mean(shares)),
            }
            for decibel, shares in clipping.items()
            if shares
        },
        "left_out": list(reference.left_out),
    }


def shift(reference: Predictions, other: Predictions, column: int) -> dict[str, float]:
    """Return the mean and the RMS change of the estimates of one dimension."""
    change = (other.values - reference.values)[..., column]
    change = change[np.isfinite(change)]
    return {
        "shift_mean": float(np.mean(change)),
        "shift_rms": float(np.sqrt(np.mean(change**2))),
    }


def _changed(engine: Engine, condition: Condition) -> ClipEstimator:
    def estimator(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        mono = np.ascontiguousarray(samples.mean(axis=1), dtype=np.float32)
        return estimate_clip(engine, *condition.change(mono, rate))

    return estimator


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    available, skipped = conditions(args.seed)
    for sentence in skipped:
        print(f"skipped: {sentence}")
    clips = clips_of(collection, args.split, args.songs)
    result = measure_robustness(
        engine, collection, clips, available, workers=args.workers, progress=show_progress
    )
    print(f"{'':<24}{'arousal R2':>12}{'loss':>8}{'valence R2':>12}{'loss':>8}")
    for row in result["conditions"]:
        numbers = "".join(f"{row[n]['r2']:12.3f}{row[n]['r2_loss']:8.3f}" for n in _ORDER)
        print(f"{row['name']:<24}{numbers}")
    return {**result, "skipped": skipped}


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("robustness", __doc__ or "", split="test")
    return run_study(parser.parse_args(arguments), _measure)


if __name__ == "__main__":
    raise SystemExit(main())
