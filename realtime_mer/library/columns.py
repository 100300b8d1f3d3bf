"""The columns of the tables of a library, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realtime_mer.core.mood import WORDS
from realtime_mer.errors import UserError
from realtime_mer.library.track import ARC_PARTS, Summary, Track

SCHEMA = 1
"""The version of the columns; a change of their names or meanings raises it."""

_MAX_WHOLE = 2**63 - 1  # what SQLite and Parquet hold
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


def track_of(row: Sequence[Any], place: str) -> Track:
    """Return the track of a row.

    Args:
        row: in the order of `COLUMNS`; numbers may be their texts, and "" counts as None.
        place: of the row, for errors.

    Raises:
        UserError: a cell is not what its column holds.
    """
    cells: dict[str, Any] = {}
    for (name, kind), value in zip(COLUMNS.items(), row, strict=True):
        try:
            cells[name] = _READERS[kind](value)
        except (TypeError, ValueError, OverflowError) as error:
            what = "text" if kind is str else "number"
            raise UserError(
                f"{place}: the column {name} holds {value!r:.60}, which is no {what}; mend it, or "
                "analyse into a new file"
            ) from error
    for name in ("path", "size_bytes", "modified_ns"):
        if cells[name] in (None, ""):
            raise UserError(f"{place}: the column {name} is empty; every row of a library has it")
    if cells["duration_s"] is None and not cells["skipped"]:
        raise UserError(f"{place}: duration_s and skipped are empty; every row has one of them")
    for name in ("valence", "arousal"):
        # Some spreadsheets take the point for a separator of thousands.
        if abs(cells[name] or 0.0) > 1.0:
            raise UserError(f"{place}: {name} is {cells[name]:g}; it is from -1 to 1, so mend it")
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


def _text(value: Any) -> str:
    if not isinstance(value, str | None):
        raise TypeError
    (value or "").encode()  # half a pair of surrogates is no text
    return value or ""


def _number(value: Any) -> float | None:
    if value in (None, ""):
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _whole_number(value: Any) -> int | None:
    try:
        number = None if value in (None, "") else int(value)
    except ValueError:  # spreadsheets write 1.8E+18, so the file is analysed again
        number = int(float(value))
    if number is not None and abs(number) > _MAX_WHOLE:
        raise ValueError
    return number


_READERS: Mapping[type, Callable[[Any], Any]] = {str: _text, int: _whole_number, float: _number}
