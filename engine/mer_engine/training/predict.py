"""Predictions of a regression head for encoded clips, and their scores."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.datasets.types import CLIP_STEPS, FIRST_SCORED_STEP
from mer_engine.metrics import Fit, fit
from mer_engine.network import SCORES, RegressionHead


@torch.inference_mode()
def predict(head: RegressionHead, steps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Predict the distributions after each step of clips.

    Args:
        head: the regression head; set to evaluation mode.
        steps: float16 [n, 20, E], embeddings.

    Returns:
        float32 [n, 20, scores, bins].
    """
    head.eval()
    rows = []
    for start in range(0, len(steps), 128):
        batch = torch.from_numpy(steps[start : start + 128].astype(np.float32))
        ends = range(1, CLIP_STEPS + 1)
        rows.append(torch.stack([torch.softmax(head(batch[:, :end]), dim=2) for end in ends], 1))
    return torch.cat(rows).numpy()


@torch.inference_mode()
def window_statistics(
    head: RegressionHead, steps: NDArray[np.float16], last: int, first: int = 0
) -> NDArray[np.float32]:
    """Compute the statistics of steps `first` to `last` - 1 of clips [n, 20, E]: float32 [n, D]."""
    rows = [
        head.statistics(torch.from_numpy(part[:, first:last].astype(np.float32))).numpy()
        for part in np.array_split(steps, max(1, len(steps) // 512))
    ]
    return np.concatenate(rows)


@torch.inference_mode()
def mean_spread(head: RegressionHead, steps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return the root mean variance of the predicted distributions: float32 [scores].

    Args:
        head: the regression head; set to evaluation mode.
        steps: float16 [n, 20, E], embeddings.
    """
    head.eval()
    centres = head.config.bin_centres()
    total, count = torch.zeros(len(SCORES)), 0
    for part in np.array_split(steps, max(1, len(steps) // 128)):
        probabilities = torch.softmax(head(torch.from_numpy(part.astype(np.float32))), dim=2)
        total += ((probabilities @ centres**2) - (probabilities @ centres) ** 2).sum(0)
        count += len(part)
    return np.asarray((total / max(1, count)).sqrt().numpy())


def score_values(values: NDArray[np.floating], labels: NDArray[np.float32]) -> tuple[Fit, Fit]:
    """Score values [n, 20, 2] against the labels, after five to ten seconds, pooled.

    Returns:
        The scores of valence and of arousal. Unknown labels (NaN) are ignored.
    """
    scored = slice(FIRST_SCORED_STEP - 1, CLIP_STEPS)
    pairs = []
    for dimension in (0, 1):
        truth, values_of_dimension = labels[:, scored, dimension], values[:, scored, dimension]
        known = np.isfinite(truth)
        pairs.append(fit(truth[known], values_of_dimension[known]))
    return pairs[0], pairs[1]
