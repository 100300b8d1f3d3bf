"""Agreement of the mean estimate of each song with its label, for every kind of label."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from mer_engine.datasets.types import DIMENSIONS, Collection
from mer_engine.metrics import fit, sign_auc
from numpy.typing import NDArray

from realtime_mer.evaluation.predictions import Predictions

_VALENCE, _AROUSAL = DIMENSIONS.index("valence"), DIMENSIONS.index("arousal")


@dataclass(frozen=True)
class SongTable:
    """Mean estimates and labels of songs.

    Attributes:
        songs: names.
        values: float64 [n, 2] (valence, arousal), mean of the scored estimates.
        labels: float64 [n, 2], mean of the labels of the same steps; NaN where unknown.
        signs: int [n, 2], sign of each dimension, -1 or 1; 0 where unknown.
        comparable: whether values and labels have the same scale.
    """

    songs: tuple[str, ...]
    values: NDArray[np.float64]
    labels: NDArray[np.float64]
    signs: NDArray[np.int64]
    comparable: bool


@dataclass(frozen=True, slots=True)
class SongMetrics:
    """Agreement of one dimension over songs.

    Attributes:
        songs: number of songs with a label or a sign.
        r2, rmse, ccc, bias: agreement on the labels' scale; bias is the mean of estimate minus
            label. None without comparable labels.
        r: Pearson's correlation with the labels; None without labels.
        auc: probability that a song with a positive sign has a higher estimate than one with a
            negative sign; None without songs of both signs. Labels on a scale of their own are
            positive above their mean.
    """

    songs: int
    r2: float | None
    rmse: float | None
    ccc: float | None
    bias: float | None
    r: float | None
    auc: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the metrics by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class QuadrantMetrics:
    """Agreement of the signs of valence and arousal over songs.

    Attributes:
        songs: number of songs with both signs.
        share: share of songs whose estimate has both signs right; None where the labels' zero is
            not that of the estimates.
        auc_valence_calm, auc_valence_excited: AUC of the sign of valence among songs with negative
            and with positive arousal; None without songs of both signs.
    """

    songs: int
    share: float | None
    auc_valence_calm: float | None
    auc_valence_excited: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the metrics by name."""
        return asdict(self)


def song_table(collection: Collection, scored: Predictions) -> SongTable:
    """Average the estimates and labels of each song.

    Args:
        collection: the songs.
        scored: predictions of its clips at the scored steps.
    """
    names = tuple(dict.fromkeys(scored.songs))
    of_clip = np.array(scored.songs)
    comparable = collection.scale == "shared"
    values, labels = np.full((2, len(names), len(DIMENSIONS)), np.nan)
    for row, name in enumerate(names):
        clips = of_clip == name
        for column in range(len(DIMENSIONS)):
            guess, truth = scored.values[clips, :, column], scored.labels[clips, :, column]
            known = np.isfinite(truth) & np.isfinite(guess)
            if known.any():
                labels[row, column] = truth[known].mean()
            use = known if known.any() else np.isfinite(guess)
            if use.any():
                values[row, column] = guess[use].mean()
    signs = np.nan_to_num(np.sign(labels - (0.0 if comparable else _mean(labels)))).astype(np.int64)
    for row, name in enumerate(names):
        quadrant = collection.songs[name].quadrant
        if quadrant is not None:
            signs[row] = quadrant
    return SongTable(names, values, labels, signs, comparable)


def song_metrics(table: SongTable) -> dict[str, SongMetrics]:
    """Compute the agreement by dimension; one without labels and signs is left out."""
    result = {}
    for column, name in enumerate(DIMENSIONS):
        values, labels = table.values[:, column], table.labels[:, column]
        signs = table.signs[:, column]
        estimated = np.isfinite(values)
        known = estimated & np.isfinite(labels)
        songs = int((estimated & (np.isfinite(labels) | (signs != 0))).sum())
        if not songs:
            continue
        agreement = None
        if known.sum() > 1 and labels[known].var() > 0:
            agreement = fit(labels[known], values[known])
        numbers = agreement if table.comparable else None
        result[name] = SongMetrics(
            songs=songs,
            r2=None if numbers is None else numbers.r2,
            rmse=None if numbers is None else numbers.rmse,
            ccc=None if numbers is None else numbers.ccc,
            bias=None if numbers is None else float(np.mean(values[known] - labels[known])),
            r=None if agreement is None else agreement.r,
            auc=sign_auc(values[estimated], signs[estimated]),
        )
    return result


def quadrant_metrics(table: SongTable) -> QuadrantMetrics | None:
    """Compute the agreement of quadrants; None if no song has both signs."""
    known = np.isfinite(table.values).all(axis=1) & (table.signs != 0).all(axis=1)
    if not known.any():
        return None
    guess = np.where(table.values[known] > 0, 1, -1)
    right = (guess == table.signs[known]).all(axis=1)
    valence, excited = table.values[:, _VALENCE], table.signs[:, _AROUSAL] > 0
    signs = table.signs[:, _VALENCE]
    calm, excited = known & ~excited, known & excited
    return QuadrantMetrics(
        songs=int(known.sum()),
        share=float(right.mean()) if table.comparable else None,
        auc_valence_calm=sign_auc(valence[calm], signs[calm]),
        auc_valence_excited=sign_auc(valence[excited], signs[excited]),
    )


def _mean(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the known labels of each dimension [2]; NaN without any."""
    known = np.isfinite(labels)
    count = known.sum(axis=0)
    sums = np.where(known, labels, 0.0).sum(axis=0)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
