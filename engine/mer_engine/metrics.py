"""Agreement of predictions with labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Fit:
    """Agreement of pooled predictions with labels.

    Attributes:
        r2: coefficient of determination, at most 1.
        rmse: root mean squared error, in the labels' unit.
        ccc: Lin's concordance correlation coefficient, -1 to 1.
        r: Pearson's correlation coefficient, -1 to 1.
    """

    r2: float
    rmse: float
    ccc: float
    r: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def fit(labels: ArrayLike, predictions: ArrayLike) -> Fit:
    """Compute the agreement of predictions with labels of the same shape.

    Raises:
        ValueError: the shapes differ, there are fewer than two labels, or all labels are equal.
    """
    truth, guess = _pair(labels, predictions)
    error = float(np.mean((truth - guess) ** 2))
    variance, guess_variance = float(truth.var()), float(guess.var())
    if truth.size < 2 or variance == 0:
        raise ValueError(f"{truth.size} labels without variance: no agreement can be computed")
    covariance = float(np.mean((truth - truth.mean()) * (guess - guess.mean())))
    offset = float(truth.mean() - guess.mean())
    return Fit(
        r2=1 - error / variance,
        rmse=error**0.5,
        ccc=2 * covariance / (variance + guess_variance + offset**2),
        r=covariance / (variance * guess_variance) ** 0.5 if guess_variance > 0 else 0.0,
    )


def coverage(labels: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Return the share of labels that lie within their intervals, 0 to 1.

    Raises:
        ValueError: the shapes differ.
    """
    truth, lower = _pair(labels, low)
    _, upper = _pair(labels, high)
    return float(np.mean((truth >= lower) & (truth <= upper)))


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the receiver operating characteristic, 0 to 1.

    It is the probability that a positive example has a higher score than a negative one; equal
    scores count one half.

    Args:
        scores: float [n].
        positive: bool [n].

    Raises:
        ValueError: the shapes differ, or all examples have the same sign.
    """
    values, is_positive = np.asarray(scores, np.float64), np.asarray(positive, np.bool_)
    if values.shape != is_positive.shape:
        raise ValueError(f"scores {values.shape} and signs {is_positive.shape} differ in shape")
    positives = int(is_positive.sum())
    negatives = values.size - positives
    if not positives or not negatives:
        raise ValueError(f"{positives} positive and {negatives} negative examples: no AUC")
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks.
    ranks = (np.cumsum(size) - (size - 1) / 2)[group]
    above = ranks[is_positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def sign_auc(values: NDArray[np.float64], signs: NDArray[np.int64]) -> float | None:
    """Return the `auc` of values [n] for signs [n]; None where not both signs occur.

    Args:
        values: the values.
        signs: -1 or 1; values with 0 are left out.
    """
    known = signs != 0
    positive = signs[known] > 0
    return auc(values[known], positive) if positive.any() and not positive.all() else None


def _pair(labels: ArrayLike, others: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    truth, guess = np.asarray(labels, np.float64), np.asarray(others, np.float64)
    if truth.shape != guess.shape:
        raise ValueError(f"labels {truth.shape} and predictions {guess.shape} differ in shape")
    return truth, guess
