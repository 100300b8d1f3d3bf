"""The paper's five measures of how far predictions are from labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

MEASURES = ("r2", "rmse", "mae", "mse", "mape")
# On a scale of 0 to 1 an error relative to a label near 0 says nothing and outweighs all others.
LEAST_LABEL = 0.05


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of predictions with labels of 0 to 1.

    Attributes:
        r2: share of the labels' variance that is explained, at most 1.
        rmse, mae, mse: root of the mean squared, mean absolute, and mean squared error.
        mape: mean absolute error relative to the label, 1 for 100 %; over labels of `LEAST_LABEL`
            and more. The paper does not say what it does about labels near 0.
    """

    r2: float
    rmse: float
    mae: float
    mse: float
    mape: float

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def score(labels: ArrayLike, predictions: ArrayLike) -> Scores:
    """Compare predictions with labels.

    Args:
        labels, predictions: float [n].

    Raises:
        ValueError: the shapes differ, or all labels are the same.
    """
    truth, guess = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if truth.shape != guess.shape:
        raise ValueError(f"labels {truth.shape} and predictions {guess.shape} differ in shape")
    if not truth.size or np.ptp(truth) == 0:
        raise ValueError(f"{truth.size} labels without spread cannot be compared with")
    error = np.abs(truth - guess)
    mse = float(np.mean(error**2))
    large = truth >= LEAST_LABEL
    return Scores(
        r2=1 - mse / float(truth.var()),
        rmse=mse**0.5,
        mae=float(error.mean()),
        mse=mse,
        mape=float(np.mean(error[large] / truth[large])) if large.any() else float("nan"),
    )
