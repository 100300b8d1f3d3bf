"""How well estimates follow the movement of the label within a clip, beside plain meters."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass

import numpy as np
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.types import CLIP_STEPS, DIMENSIONS, FIRST_SCORED_STEP, Collection
from mer_engine.metrics import fit
from numpy.typing import NDArray

from realtime_mer.evaluation.meters import level_db, spectral_centroid
from realtime_mer.evaluation.predictions import Predictions

# A label moves if its largest and smallest scored value differ by this.
MOVING_RANGE = 0.1
SIGNALS = ("settled", "fast", "level", "centroid")


@dataclass(frozen=True, slots=True)
class MovementMetrics:
    """Agreement with the movement of one dimension within songs whose label moves.

    Each r is Pearson's correlation with the label within a clip, averaged over the moving clips of
    a song and then over songs; None where there is no such value.

    Attributes:
        songs: number of songs with a clip whose label moves (`MOVING_RANGE`).
        settled: r of the estimate.
        fast: r of the fast value.
        level: r of the level of the last three seconds.
        centroid: r of the spectral centroid of the last three seconds.
    """

    songs: int
    settled: float | None
    fast: float | None
    level: float | None
    centroid: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the metrics by name."""
        return asdict(self)


def movement_metrics(
    collection: Collection, predictions: Predictions
) -> dict[str, MovementMetrics]:
    """Measure the movement within clips by dimension; one in which no label moves is left out.

    Args:
        collection: the songs.
        predictions: predictions of its clips at all steps, not `scored()`.
    """
    scored = slice(FIRST_SCORED_STEP - 1, None)
    found: dict[str, dict[str, dict[str, list[float]]]] = {
        name: {signal: defaultdict(list) for signal in SIGNALS} for name in DIMENSIONS
    }
    for row, clip in enumerate(predictions.clips):
        labels = collection.movement(clip, CLIP_STEPS)[scored].astype(np.float64)
        moving = [column for column in range(len(DIMENSIONS)) if _range(labels[:, column])]
        if not moving:
            continue
        samples, rate = read_channels(clip)
        level = level_db(samples, rate, CLIP_STEPS)[scored]
        centroid = spectral_centroid(samples, rate, CLIP_STEPS)[scored]
        for column in moving:
            signals = {
                "settled": predictions.values[row, scored, column],
                "fast": None if predictions.fast is None else predictions.fast[row, scored, column],
                "level": level,
                "centroid": centroid,
            }
            for signal, values in signals.items():
                r = None if values is None else _correlation(labels[:, column], values)
                if r is not None:
                    found[DIMENSIONS[column]][signal][clip.song].append(r)
    return {
        name: MovementMetrics(
            songs=len(of_signal["settled"]),
            **{signal: _mean(songs) for signal, songs in of_signal.items()},
        )
        for name, of_signal in found.items()
        if of_signal["settled"]
    }


def _range(labels: NDArray[np.float64]) -> bool:
    """Return whether the known labels move."""
    known = labels[np.isfinite(labels)]
    return len(known) > 1 and float(np.ptp(known)) >= MOVING_RANGE - 1e-6


def _correlation(labels: NDArray[np.float64], values: NDArray[np.float64]) -> float | None:
    known = np.isfinite(labels) & np.isfinite(values)
    if known.sum() < 2 or not np.ptp(labels[known]):
        return None
    return fit(labels[known], values[known]).r


def _mean(songs: dict[str, list[float]]) -> float | None:
    return float(np.mean([np.mean(values) for values in songs.values()])) if songs else None
