"""The summary of a file from its estimates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.mood import WORDS
from realtime_mer.core.types import Estimate, State
from realtime_mer.library.track import ARC_PARTS, Summary

Numbers = NDArray[np.float64]


def summarise(estimates: Sequence[Estimate], *, duration_s: float, hop_s: float) -> Summary:
    """Return the summary of a file.

    Each estimate stands for the time since the one before. Numbers are rounded to six decimals,
    times to three.

    Args:
        estimates: all of the file, in order; at least one.
        duration_s: length of the audio in seconds.
        hop_s: seconds between the estimates.
    """
    t = np.array([estimate.t for estimate in estimates])
    lengths_s = np.diff(t, prepend=0.0)
    music = np.array([not estimate.state.repeats for estimate in estimates])
    valence = np.array([estimate.valence for estimate in estimates])
    arousal = np.array([estimate.arousal for estimate in estimates])
    rated = np.array([estimate.whole is not None for estimate in estimates])
    whole = np.array([estimate.whole or (0.0, 0.0) for estimate in estimates])
    words = np.array([estimate.mood or "" for estimate in estimates])
    shares = _shares(words[music], lengths_s[music])
    mood = max(WORDS, key=lambda word: shares[word])
    middle_s = t - lengths_s / 2
    part = np.minimum((middle_s / duration_s * ARC_PARTS).astype(int), ARC_PARTS - 1)
    parts = [music & (part == index) for index in range(ARC_PARTS)]
    change_t_s, change_valence, change_arousal = _largest_change(estimates, valence, arousal, hop_s)
    return Summary(
        duration_s=round(duration_s, 3),
        music_share=round(float(lengths_s[music].sum() / lengths_s.sum()), 6),
        valence=_mean(valence, lengths_s, music),
        valence_sd=_deviation(valence, lengths_s, music),
        valence_min=_least(valence, music),
        valence_max=_largest(valence, music),
        arousal=_mean(arousal, lengths_s, music),
        arousal_sd=_deviation(arousal, lengths_s, music),
        arousal_min=_least(arousal, music),
        arousal_max=_largest(arousal, music),
        whole_valence=_mean(whole[:, 0], lengths_s, rated),
        whole_arousal=_mean(whole[:, 1], lengths_s, rated),
        valence_arc=tuple(_mean(valence, lengths_s, chosen) for chosen in parts),
        arousal_arc=tuple(_mean(arousal, lengths_s, chosen) for chosen in parts),
        mood=mood if shares[mood] > 0.0 else "",
        mood_shares=shares,
        change_t_s=change_t_s,
        change_valence=change_valence,
        change_arousal=change_arousal,
    )


def _mean(values: Numbers, weights: Numbers, chosen: NDArray[np.bool_]) -> float | None:
    if not chosen.any():
        return None
    return round(float(np.average(values[chosen], weights=weights[chosen])), 6)


def _deviation(values: Numbers, weights: Numbers, chosen: NDArray[np.bool_]) -> float | None:
    if not chosen.any():
        return None
    values, weights = values[chosen], weights[chosen]
    variance = np.average((values - np.average(values, weights=weights)) ** 2, weights=weights)
    return round(float(np.sqrt(variance)), 6)


def _least(values: Numbers, chosen: NDArray[np.bool_]) -> float | None:
    return round(float(values[chosen].min()), 6) if chosen.any() else None


def _largest(values: Numbers, chosen: NDArray[np.bool_]) -> float | None:
    return round(float(values[chosen].max()), 6) if chosen.any() else None


def _shares(words: NDArray[np.str_], weights: Numbers) -> dict[str, float]:
    """Return the share of every mood; all are 0 without music."""
    lengths_s = {word: float(weights[words == word].sum()) for word in WORDS}
    total = sum(lengths_s.values()) or 1.0
    return {word: round(length_s / total, 6) for word, length_s in lengths_s.items()}


def _largest_change(
    estimates: Sequence[Estimate], valence: Numbers, arousal: Numbers, hop_s: float
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Return the time at which the windows before and after differ most, and the differences."""
    apart = max(1, round(np.ceil(estimates[0].latency.window_s / hop_s - 1e-9)))
    full = np.array([estimate.state is State.TRACKING for estimate in estimates])
    both = full[:-apart] & full[apart:]
    if not both.any():
        return None, None, None
    valence, arousal = valence[apart:] - valence[:-apart], arousal[apart:] - arousal[:-apart]
    place = int(np.argmax(np.where(both, np.hypot(valence, arousal), -1.0)))
    return (
        round(estimates[place].t, 3),
        round(float(valence[place]), 6),
        round(float(arousal[place]), 6),
    )
