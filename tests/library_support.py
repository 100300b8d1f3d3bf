"""Rows of a library for tests."""

from __future__ import annotations

import random
from dataclasses import replace

from realtime_mer.core.mood import WORDS
from realtime_mer.library.track import ARC_PARTS, Summary, Track


def summary(seed: int = 0) -> Summary:
    """Return a summary with numbers of its own."""
    draw = random.Random(seed)

    def number() -> float:
        return round(draw.uniform(-1.0, 1.0), 6)

    shares = [draw.random() for _ in WORDS]
    return Summary(
        duration_s=round(draw.uniform(1.0, 600.0), 3),
        music_share=round(draw.random(), 6),
        valence=number(),
        valence_sd=abs(number()),
        valence_min=number(),
        valence_max=number(),
        arousal=number(),
        arousal_sd=abs(number()),
        arousal_min=number(),
        arousal_max=number(),
        whole_valence=None,
        whole_arousal=None,
        valence_arc=(None, *(number() for _ in range(ARC_PARTS - 1))),
        arousal_arc=(None, *(number() for _ in range(ARC_PARTS - 1))),
        mood=draw.choice(WORDS),
        mood_shares={
            word: round(share / sum(shares), 6) for word, share in zip(WORDS, shares, strict=True)
        },
        change_t_s=round(draw.uniform(1.0, 600.0), 3),
        change_valence=number(),
        change_arousal=number(),
    )


def track(path: str, seed: int = 0) -> Track:
    """Return the row of an analysed file."""
    return Track(
        path=path,
        size_bytes=1000 + seed,
        modified_ns=1_700_000_000_123_456_789 + seed,
        settings="model=0123 hop_s=1",
        analysed_utc="2026-01-02T03:04:05.678Z",
        summary=summary(seed),
    )


def skipped(path: str, reason: str) -> Track:
    """Return the row of a file that was skipped."""
    return replace(track(path), summary=None, skipped=reason)
