"""Rows of a library for tests."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from realtime_mer.core.mood import WORDS
from realtime_mer.library.track import ARC_PARTS, Summary, Track


def summary(
    valence: float | None = 0.2,
    arousal: float | None = -0.1,
    *,
    mood: str = "calm",
    duration_s: float = 240.0,
    music_share: float = 1.0,
) -> Summary:
    """Return a summary with equal values in all of the file."""
    spread = None if valence is None else 0.05
    return Summary(
        duration_s=duration_s,
        music_share=music_share,
        valence=valence,
        valence_sd=spread,
        valence_min=valence,
        valence_max=valence,
        arousal=arousal,
        arousal_sd=spread,
        arousal_min=arousal,
        arousal_max=arousal,
        whole_valence=None,
        whole_arousal=None,
        valence_arc=(valence,) * ARC_PARTS,
        arousal_arc=(arousal,) * ARC_PARTS,
        mood=mood,
        mood_shares={word: float(word == mood) for word in WORDS},
        change_t_s=None,
        change_valence=None,
        change_arousal=None,
    )


def track(path: str | Path, of: Summary | None, *, skipped: str = "") -> Track:
    """Return the row of a file; size and time of change are those of the file if there is one."""
    try:
        status = Path(path).stat()
        size_bytes, modified_ns = status.st_size, status.st_mtime_ns
    except OSError:
        size_bytes, modified_ns = 1, 1
    return Track(
        path=str(path),
        size_bytes=size_bytes,
        modified_ns=modified_ns,
        settings="model=0123456789abcdef hop_s=1",
        analysed_utc="2026-01-02T03:04:05.000Z",
        summary=of,
        skipped=skipped,
    )


def varied_summary(seed: int = 0) -> Summary:
    """Return a summary with numbers of its own in every field."""
    draw = random.Random(seed)

    def number() -> float:
        return round(draw.uniform(-1.0, 1.0), 6)

    shares = [draw.random() for _ in WORDS]
    return replace(
        summary(number(), number(), mood=draw.choice(WORDS)),
        duration_s=round(draw.uniform(1.0, 600.0), 3),
        music_share=round(draw.random(), 6),
        valence_sd=abs(number()),
        valence_min=number(),
        valence_max=number(),
        arousal_sd=abs(number()),
        arousal_min=number(),
        arousal_max=number(),
        valence_arc=(None, *(number() for _ in range(ARC_PARTS - 1))),
        arousal_arc=(None, *(number() for _ in range(ARC_PARTS - 1))),
        mood_shares={
            word: round(share / sum(shares), 6) for word, share in zip(WORDS, shares, strict=True)
        },
        change_t_s=round(draw.uniform(1.0, 600.0), 3),
        change_valence=number(),
        change_arousal=number(),
    )


def varied_track(path: str, seed: int = 0) -> Track:
    """Return the row of an analysed file, with numbers of its own in every field."""
    return replace(
        track(path, varied_summary(seed)),
        size_bytes=1000 + seed,
        modified_ns=1_700_000_000_123_456_789 + seed,
    )


def skipped(path: str, reason: str) -> Track:
    """Return the row of a file that was skipped."""
    return replace(varied_track(path), summary=None, skipped=reason)
