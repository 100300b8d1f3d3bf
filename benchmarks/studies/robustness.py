"""How far estimates move, and how much worse they get, when music arrives in another condition.

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
from realtime_mer.evaluation.metrics import figures
from realtime_mer.evaluation.predictions import (
    ClipEstimator,
    Predictions,
    Progress,
    clips_of,
    listen,
    predict_each,
)

CLEAN = "as it is"


def measure_robustness(
    engine: Engine,
    collection: Collection,
    clips: list[Clip],
    conditions: list[Condition],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Hears every clip as it is and in every condition.

    Returns:
        `songs`; `clean`, the figures by dimension; `conditions`, for each its `name`, `group` and
        `what`, and by dimension `r2`, `r2_loss`, `rmse`, `coverage` and the change of the estimates
        against the clean ones (`shift_mean`, `shift_rms`); `clipping` by gain: share of songs with
        clipped samples and mean share of samples; `left_out`.

    Raises:
        DataError: not one clip could be measured.
    """
    clipping: dict[int, list[float]] = {decibel: [] for decibel in GAINS_DB if decibel > 0}

    def clean(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        for decibel, shares in clipping.items():
            shares.append(clipped_share(samples.mean(axis=1), decibel))
        return listen(engine, samples, rate)

    listeners: dict[str, ClipEstimator] = {CLEAN: clean}
    listeners |= {condition.name: _changed(engine, condition) for condition in conditions}
    everything = predict_each(collection, clips, listeners, workers=workers, progress=progress)
    heard = {name: one.scored() for name, one in everything.items()}
    reference = heard[CLEAN]
    clean_figures = figures(reference)
    rows = []
    for condition in conditions:
        row: dict[str, Any] = {
            "name": condition.name,
            "group": condition.group,
            "what": condition.what,
        }
        for name, mine in figures(heard[condition.name]).items():
            before = clean_figures[name].r2
            row[name] = {
                "r2": mine.r2,
                "r2_loss": None if mine.r2 is None or before is None else before - mine.r2,
                "rmse": mine.rmse,
                "coverage": mine.coverage,
                **shift(reference, heard[condition.name], DIMENSIONS.index(name)),
            }
        rows.append(row)
    return {
        "songs": len(set(reference.songs)),
        "clean": {name: one.to_dict() for name, one in clean_figures.items()},
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
    """Mean and RMS change of one dimension's estimates."""
    change = (other.values - reference.values)[..., column]
    change = change[np.isfinite(change)]
    return {
        "shift_mean": float(np.mean(change)),
        "shift_rms": float(np.sqrt(np.mean(change**2))),
    }


def _changed(engine: Engine, condition: Condition) -> ClipEstimator:
    def listener(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        mono = np.ascontiguousarray(samples.mean(axis=1), dtype=np.float32)
        return listen(engine, *condition.change(mono, rate))

    return listener


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
