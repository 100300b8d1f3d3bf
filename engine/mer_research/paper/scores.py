"""The paper's five error measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

MEASURES = ("r2", "rmse", "mae", "mse", "mape")
# MAPE leaves smaller labels out: relative to a label near 0, any error is huge.
MIN_MAPE_LABEL = 0.05


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of predictions with labels of 0 to 1.

    Attributes:
        r2: share of the labels' variance that is explained, at most 1.
        rmse, mae, mse: root of the mean squared, mean absolute, and mean squared error.
        mape: mean absolute error relative to the label, 1 for 100 %, over labels of at least
            `MIN_MAPE_LABEL`. The paper does not describe how it treats labels near 0.
    """

    r2: float
    rmse: float
    mae: float
    mse: float
    mape: float

    def to_dict(self) -> dict[str, float]:
        """Return the measures by name."""
        return asdict(self)


def score(labels: ArrayLike, predictions: ArrayLike) -> Scores:
    """Compare predictions with labels.

    Args:
        labels, predictions: float [n].

    Raises:
        ValueError: the shapes differ, or the labels are constant.
    """
    truth, guess = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if truth.shape != guess.shape:
        raise ValueError(f"labels {truth.shape} and predictions {guess.shape} differ in shape")
    if not truth.size or np.ptp(truth) == 0:
        raise ValueError(f"{truth.size} constant labels: R2 is not defined")
    error = np.abs(truth - guess)
    mse = float(np.mean(error**2))
    large = truth >= MIN_MAPE_LABEL
    return Scores(
        r2=1 - mse / float(truth.var()),
        rmse=mse**0.5,
        mae=float(error.mean()),
        mse=mse,
        mape=float(np.mean(error[large] / truth[large])) if large.any() else float("nan"),
    )
