"""Small pieces of HTML that all sections of a report use."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from realtime_mer.errors import printable
from realtime_mer.report.measures import Point
from realtime_mer.report.session import Session
from realtime_mer.report.text import signed

NONE = "&ndash;"


def escaped(text: object) -> str:
    """Return text for HTML; a recording may come from anybody, its folder may be no Unicode."""
    return html.escape(printable(str(text)), quote=True)


def table(header: Iterable[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """Return a table that scrolls where it is wider than the page.

    Args:
        header: of the columns, HTML.
        rows: cells, HTML; the first names the row.
        kind: its class.
    """
    heads = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def pair(point: Point | None) -> str:
    """Return valence and arousal in one cell."""
    if point is None:
        return NONE
    return f'<span class="values">{signed(point[0])}, {signed(point[1])}</span>'


def swatch(index: int, sessions: Sequence[Session]) -> str:
    """Return the line that stands for a session; nothing where there is only one."""
    if len(sessions) == 1:
        return ""
    return f'<span class="key {"line" if index == 0 else "other"}"></span>'


def heading(session: Session, sessions: Sequence[Session]) -> str:
    """Return the heading of a session's part of a section; nothing where there is only one."""
    return "" if len(sessions) == 1 else f"<h3>{escaped(session.name)}</h3>"


def section(title: str, *content: str) -> str:
    """Return a section; nothing where it has no content."""
    inner = "\n".join(part for part in content if part)
    return f"<section>\n<h2>{title}</h2>\n{inner}\n</section>" if inner else ""


def note(text: str) -> str:
    """Return a small paragraph below a drawing or table."""
    return f'<p class="note">{text}</p>'
