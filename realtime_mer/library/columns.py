"""The columns of the tables of a library, the same in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from realtime_mer.core.mood import WORDS
from realtime_mer.errors import UserError
from realtime_mer.library.track import ARC_PARTS, Summary, Track

SCHEMA = 1
"""The version of the columns; a change of their names or meanings raises it."""

_ARCS = tuple(
    f"{name}_arc_{part}" for name in ("valence", "arousal") for part in range(1, ARC_PARTS + 1)
)
_SHARES = tuple(f"share_{word}" for word in WORDS)
_NUMBERS = (
    *("duration_s", "music_share", "valence", "arousal"),
    *(f"{name}_{of}" for name in ("valence", "arousal") for of in ("sd", "min", "max")),
    *("whole_valence", "whole_arousal", "change_t_s", "change_valence", "change_arousal"),
)
# What people look at comes first.
COLUMNS: Mapping[str, type[str] | type[int] | type[float]] = {
    "path": str,
    "mood": str,
    **dict.fromkeys((*_NUMBERS, *_SHARES, *_ARCS), float),
    "skipped": str,
    "size_bytes": int,
    "modified_ns": int,
    "settings": str,
    "analysed_utc": str,
}


def row_of(track: Track) -> tuple[str | int | float | None, ...]:
    """Return the row of a track, in the order of `COLUMNS`; cells of a missing summary are None."""
    cells: dict[str, Any] = {
        name: getattr(track, name)
        for name in ("path", "skipped", "size_bytes", "modified_ns", "settings", "analysed_utc")
    }
    summary = track.summary
    if summary is not None:
        cells |= {name: getattr(summary, name) for name in ("mood", *_NUMBERS)}
        cells |= {f"share_{word}": share for word, share in summary.mood_shares.items()}
        cells |= dict(zip(_ARCS, (*summary.valence_arc, *summary.arousal_arc), strict=True))
    return tuple(cells.get(name) for name in COLUMNS)


def track_of(row: Sequence[Any]) -> Track:
    """Return the track of a row.

    Args:
        row: in the order of `COLUMNS`; numbers may be their texts, and "" counts as None.

    Raises:
        UserError: a cell is not what its column holds.
    """
    cells: dict[str, Any] = {}
    for (name, kind), value in zip(COLUMNS.items(), row, strict=True):
        try:
            if kind is str:
                cells[name] = "" if value is None else str(value)
            else:
                cells[name] = None if value in (None, "") else kind(value)
        except (TypeError, ValueError) as error:
            raise UserError(f"the column {name} holds {value!r:.60}, which is no number") from error
    for name in ("size_bytes", "modified_ns"):
        if cells[name] is None:
            raise UserError(f"the column {name} is empty; every row of a library has it")
    summary = None
    if cells["duration_s"] is not None:
        summary = Summary(
            mood=cells["mood"],
            mood_shares={word: cells[f"share_{word}"] or 0.0 for word in WORDS},
            valence_arc=tuple(cells[name] for name in _ARCS[:ARC_PARTS]),
            arousal_arc=tuple(cells[name] for name in _ARCS[ARC_PARTS:]),
            **{name: cells[name] for name in _NUMBERS},
        )
    return Track(
        path=cells["path"],
        size_bytes=cells["size_bytes"],
        modified_ns=cells["modified_ns"],
        settings=cells["settings"],
        analysed_utc=cells["analysed_utc"],
        summary=summary,
        skipped=cells["skipped"],
    )
