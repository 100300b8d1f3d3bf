"""Which steps the classifier of sounds must look at, and the logits of the others.

The classifier costs more than all the rest of the network, and looks at two seconds for each step
of half a second. Where it is clearly music, the steps between two classified ones get interpolated
logits. Where the mean of a window is not decided, all of its new steps are classified.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# At least every fourth step is classified, so that all of the audio is seen once.
SOUND_EVERY = 4
# Newest steps of a window whose logits the model averages. Each looks at two seconds, so the sound
# output covers 4.5 s.
SOUND_STEPS = 6
# Log-odds of music against all else. Live and in files, a window is music above -0.6 or 0.
CLEAR_STEP, DECIDED_WINDOW = 3.0, 4.0

Classify = Callable[[NDArray[np.bool_]], NDArray[np.float32]]
"""Takes bool [B, k], which new steps to classify; returns their logits [n, sounds], in order."""


def estimate_logits(
    before: NDArray[np.float32], count: int, classify: Classify
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the logits of consecutive new steps of B streams; of clear music by interpolation.

    Args:
        before: float32 [B, 1, sounds], the logits of the step before; [B, 0, sounds] without one.
        count: number of new steps, k.
        classify: see `Classify`; called at most twice.

    Returns:
        Logits, float32 [B, k, sounds]; and bool [B, k], which of them were classified.
    """
    batch, earlier, sounds = before.shape
    anchors = list(range(count - 1, -1, -SOUND_EVERY))[::-1]
    if not earlier and anchors[0] > 0:
        anchors.insert(0, 0)
    classified = np.zeros((batch, count), dtype=np.bool_)
    classified[:, anchors] = True
    logits = np.empty((batch, earlier + count, sounds), dtype=np.float32)
    new = logits[:, earlier:]
    logits[:, :earlier] = before
    new[classified] = classify(classified)
    unclear = np.zeros_like(classified)
    for first, last in pairwise(([-1] if earlier else []) + anchors):
        if last - first == 1:
            continue
        # From -1, the step before, to the last new one.
        left, right = logits[:, first + earlier, None], new[:, last, None]
        share = (np.arange(1, last - first, dtype=np.float32) / (last - first))[:, None]
        new[:, first + 1 : last] = (1 - share) * left + share * right
        least = np.minimum(log_odds(left), log_odds(right))
        unclear[:, first + 1 : last] = ~(least >= CLEAR_STEP)
    if unclear.any():
        new[unclear] = classify(unclear)
    return new, classified | unclear


def undecided(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return whether all steps of windows must be classified, bool [B].

    Args:
        logits: float32 [B, L, sounds], those of the windows' steps.
    """
    mean = logits[:, -SOUND_STEPS:].mean(axis=1)
    return np.asarray(~(log_odds(mean) >= DECIDED_WINDOW))


def log_odds(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-odds of music against all other sounds, [...], of logits [..., sounds]."""
    with np.errstate(invalid="ignore"):  # the caller refuses numbers that are not finite
        others = np.logaddexp.reduce(logits[..., 1:], axis=-1)
    return np.asarray(logits[..., 0] - others)
