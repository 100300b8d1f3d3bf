"""Markdown tables, lists and paragraphs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 80


def table(titles: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    Args:
        titles: column titles, separated by "|".
        rows: the cells of each row.

    Raises:
        ValueError: a row has another number of cells than there are titles.
    """
    columns = [title.strip() for title in titles.split("|")]
    lines = [_line(columns), "|" + "---|" * len(columns)]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(columns)}: {row}")
        lines.append(_line([cell.replace("|", "/") for cell in row]))
    return "\n".join(lines)


def paragraph(text: str) -> str:
    """Return a text as lines of at most 80 characters."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def bullets(items: Sequence[str]) -> str:
    """Return a bullet list with lines of at most 80 characters."""
    lines = [
        textwrap.fill(
            item, WIDTH, initial_indent="* ", subsequent_indent="  ",
            break_long_words=False, break_on_hyphens=False,
        )
        for item in items
    ]  # fmt: skip
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
