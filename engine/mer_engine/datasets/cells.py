"""Labels in the cells of tables: words for quadrants, and numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from mer_engine.datasets.problems import BAD_LABELS, OUTSIDE, Problem
from mer_engine.datasets.table import Row, Table
from mer_engine.datasets.types import QUADRANTS


def read_quadrant(song: str, table: Table, row: Row) -> tuple[int, int] | Problem:
    """Return the signs (valence, arousal) in the column ``quadrant``, or the problem with it."""
    text = row.cells["quadrant"].strip()
    if text in QUADRANTS:
        return QUADRANTS[text]
    where = f"{table.path.name}, line {row.line}"
    return Problem(song, BAD_LABELS, f"{where}: {text!r} is not one of {', '.join(QUADRANTS)}")


def read_numbers(
    song: str, table: Table, row: Row, columns: Sequence[str], labels: Collection[str]
) -> tuple[float, ...] | Problem:
    """Return the numbers in some columns, or the problem with the first bad one.

    Args:
        song: the song of the row.
        table, row: the row and its table.
        columns: the columns to read.
        labels: those of them whose numbers must be in [-1, 1].
    """
    numbers = []
    for column in columns:
        where = f"{table.path.name}, line {row.line}, {column}"
        text = row.cells[column]
        try:
            number = table.number(text)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            return Problem(song, BAD_LABELS, f"{where}: {text!r} is not a number")
        if column in labels and abs(number) > 1:
            return Problem(song, OUTSIDE, f"{where}: {number:g} is outside [-1, 1]")
        numbers.append(number)
    return tuple(numbers)
