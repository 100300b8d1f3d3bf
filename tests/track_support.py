"""Rows of a library."""

from __future__ import annotations

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
