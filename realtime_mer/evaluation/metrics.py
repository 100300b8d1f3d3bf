"""Agreement of predictions with labels: pooled, by song, by group and by duration of the audio.

The formulas are in `mer_engine.metrics`; this module selects what they are applied to.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from mer_engine.datasets.types import DIMENSIONS, STEP_S
from mer_engine.metrics import Fit, coverage, fit
from numpy.typing import NDArray

from realtime_mer.evaluation.predictions import Predictions

# Standard deviation below which a song's label counts as constant: a tenth of the typical change
# within ten seconds of DEAM. Below it, r would be a correlation with rounding errors.
VARYING_SD = 0.002
_MIN_GENRE_SONGS = 20
_HYPHENATED_GENRES = ("hip-hop", "avant-garde", "trip-hop", "lo-fi")


@dataclass(frozen=True, slots=True)
class PooledMetrics:
    """Metrics of one dimension, pooled over all steps of a group of clips.

    Attributes:
        songs: number of songs.
        r2, rmse, ccc, r: as in `Fit`; r2, ccc and r are None where the labels are constant.
        coverage: share of labels within the interval, 0 to 1.
        width: mean width of the interval.
    """

    songs: int
    r2: float | None
    rmse: float
    ccc: float | None
    r: float | None
    coverage: float
    width: float

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the metrics by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PerSongMetrics:
    """Metrics of one dimension within and between songs.

    Attributes:
        songs: number of songs with labels.
        varying: number of songs whose label varies (`VARYING_SD`).
        ccc, r: mean over the varying songs of the agreement within the song; None without any.
        rmse: mean over all songs of the RMSE within the song.
        between: agreement of mean estimates with mean labels over the songs; None where fewer than
            two songs differ.
    """

    songs: int
    varying: int
    ccc: float | None
    r: float | None
    rmse: float
    between: Fit | None

    def to_dict(self) -> dict[str, object]:
        """Return the metrics by name."""
        return asdict(self)


def pooled_metrics(predictions: Predictions) -> dict[str, PooledMetrics]:
    """Compute pooled metrics by dimension; a dimension without labels is left out."""
    result = {}
    for column, name in enumerate(DIMENSIONS):
        known = _known(predictions, column)
        labels, values, low, high = _pooled(predictions, column, known)
        if not len(labels):
            continue
        clips = np.flatnonzero(known.any(axis=1))
        agreement = _fit_or_none(labels, values)
        result[name] = PooledMetrics(
            songs=len({predictions.songs[clip] for clip in clips}),
            r2=None if agreement is None else agreement.r2,
            rmse=_rmse(labels, values),
            ccc=None if agreement is None else agreement.ccc,
            r=None if agreement is None else agreement.r,
            coverage=coverage(labels, low, high),
            width=float(np.mean(high - low)),
        )
    return result


def per_song_metrics(predictions: Predictions) -> dict[str, PerSongMetrics]:
    """Compute metrics within and between songs by dimension; pool the clips of a song."""
    result = {}
    for column, name in enumerate(DIMENSIONS):
        known = _known(predictions, column)
        within, errors, means = [], [], []
        for song in dict.fromkeys(predictions.songs):
            of_song = known & np.array([s == song for s in predictions.songs])[:, None]
            labels, values, _, _ = _pooled(predictions, column, of_song)
            if not len(labels):
                continue
            errors.append(_rmse(labels, values))
            means.append((labels.mean(), values.mean()))
            if labels.std() >= VARYING_SD:
                within.append(fit(labels, values))
        if not errors:
            continue
        between = np.array(means)
        result[name] = PerSongMetrics(
            songs=len(errors),
            varying=len(within),
            ccc=float(np.mean([f.ccc for f in within])) if within else None,
            r=float(np.mean([f.r for f in within])) if within else None,
            rmse=float(np.mean(errors)),
            between=_fit_or_none(between[:, 0], between[:, 1]),
        )
    return result


def metrics_by_group(
    predictions: Predictions, groups: Sequence[str]
) -> dict[str, dict[str, PooledMetrics]]:
    """Compute pooled metrics of each group, in order of first appearance.

    Args:
        predictions: predictions of n clips.
        groups: group of each clip.
    """
    of_clip = np.array(groups)
    return {
        name: pooled_metrics(predictions.select(of_clip == name)) for name in dict.fromkeys(groups)
    }


def metrics_by_duration(
    predictions: Predictions, seconds: Sequence[float]
) -> dict[float, dict[str, PooledMetrics]]:
    """Compute metrics of the single steps after some durations of audio.

    Args:
        predictions: predictions at all steps, not `scored()`.
        seconds: durations since the beginning of the clip.
    """
    result = {}
    for second in seconds:
        step = round(second / STEP_S)
        result[second] = pooled_metrics(predictions.at_steps(slice(step - 1, step)))
    return result


def genre_groups(songs: Sequence[str], genres: dict[str, str | None]) -> list[str]:
    """Return the genre of each song; genres with fewer than 20 songs become "other".

    Of several genres in the metadata ("Pop-Electronic-Rock"), the first counts. Songs without a
    genre are "other".
    """
    first = {song: _first_genre(genres.get(song)) for song in songs}
    count = Counter(first.values())
    return [
        first[song] if first[song] and count[first[song]] >= _MIN_GENRE_SONGS else "other"
        for song in songs
    ]


def constant_half_widths(predictions: Predictions, share: float) -> dict[str, float]:
    """Return by dimension the half-width of a constant interval that contains a share of labels.

    Args:
        predictions: values and labels.
        share: share of labels within the interval, 0 to 1.
    """
    result = {}
    for column, name in enumerate(DIMENSIONS):
        known = _known(predictions, column)
        if known.any():
            labels, values, _, _ = _pooled(predictions, column, known)
            result[name] = float(np.quantile(np.abs(labels - values), share))
    return result


def with_constant_width(predictions: Predictions, half_widths: dict[str, float]) -> Predictions:
    """Replace the intervals by intervals of constant width, clipped to [-1, 1]."""
    half = np.array([half_widths.get(name, np.nan) for name in DIMENSIONS])
    return replace(
        predictions,
        low=np.clip(predictions.values - half, -1.0, 1.0),
        high=np.clip(predictions.values + half, -1.0, 1.0),
    )


def _first_genre(text: str | None) -> str:
    genre = (text or "").strip().casefold()
    for name in _HYPHENATED_GENRES:
        if genre.startswith(name):
            return name
    return re.split(r"[-/,;|]", genre)[0].strip()


def _known(predictions: Predictions, column: int) -> NDArray[np.bool_]:
    """Return a mask [n, steps] of the steps with a label and a value of one dimension."""
    labels, values = predictions.labels[..., column], predictions.values[..., column]
    return np.isfinite(labels) & np.isfinite(values)


def _pooled(
    predictions: Predictions, column: int, mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], ...]:
    """Return labels, values, lower and upper bounds [k] of one dimension where the mask is True."""
    arrays = (predictions.labels, predictions.values, predictions.low, predictions.high)
    return tuple(array[..., column][mask] for array in arrays)


def _rmse(labels: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((labels - values) ** 2)))


def _fit_or_none(labels: NDArray[np.float64], values: NDArray[np.float64]) -> Fit | None:
    return fit(labels, values) if len(labels) > 1 and labels.var() > 0 else None
