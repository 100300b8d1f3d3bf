"""Predictions of a regression head for encoded clips, and their scores."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.network import RegressionHead

# Window lengths, in steps, at which clips are predicted. Others are interpolated.
LENGTHS = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20)


@torch.inference_mode()
def predict(head: RegressionHead, steps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Predict the distributions of the windows of `LENGTHS` steps from the start of clips.

    Args:
        head: the regression head; set to evaluation mode.
        steps: float16 [n, 20, E], embeddings.

    Returns:
        float32 [n, lengths, scores, bins].
    """
    head.eval()
    rows = []
    for start in range(0, len(steps), 128):
        batch = torch.from_numpy(steps[start : start + 128].astype(np.float32))
        logits = [head(batch[:, :end]) for end in LENGTHS]
        rows.append(torch.softmax(torch.stack(logits, dim=1), dim=3))
    return torch.cat(rows).numpy()


def moments(
    probabilities: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of distributions [..., bins], each float32 [...].

    The deviation is at least 1e-6, so that it can be divided by.
    """
    mean = probabilities @ centres
    return mean, np.sqrt(np.maximum(probabilities @ centres**2 - mean**2, 1e-12))


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
    total, count = torch.zeros(len(head.config.scores)), 0
    for part in np.array_split(steps, max(1, len(steps) // 128)):
        probabilities = torch.softmax(head(torch.from_numpy(part.astype(np.float32))), dim=2)
        total += ((probabilities @ centres**2) - (probabilities @ centres) ** 2).sum(0)
        count += len(part)
    return np.asarray((total / max(1, count)).sqrt().numpy())
