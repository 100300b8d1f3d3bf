"""Quadrants in tables: a word for the signs of valence and arousal."""

from __future__ import annotations

from mer_engine.datasets.problems import BAD_LABELS, Problem
from mer_engine.datasets.table import Row, Table
from mer_engine.datasets.types import QUADRANTS


def read_quadrant(song: str, table: Table, row: Row) -> tuple[int, int] | Problem:
    """Return the signs (valence, arousal) in the column ``quadrant``, or the problem with it."""
    text = row.cells["quadrant"].strip()
    if text in QUADRANTS:
        return QUADRANTS[text]
    where = f"{table.path.name}, line {row.line}"
    return Problem(song, BAD_LABELS, f"{where}: {text!r} is not one of {', '.join(QUADRANTS)}")
