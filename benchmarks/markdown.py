"""Parts of Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(titles: str, rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        titles: of the columns, divided by "|".

    Raises:
        ValueError: a row has another number of cells.
    """
    columns = [title.strip() for title in titles.split("|")]
    lines = [_line(columns), "|" + "---|" * len(columns)]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(columns)}: {row}")
        lines.append(_line([cell.replace("|", "/") for cell in row]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
