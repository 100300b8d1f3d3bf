"""Generated tables between markers in hand-written documents.

<!-- accuracy -->
this text is replaced
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_BLOCK = re.compile(r"(<!-- ([a-z][a-z0-9 _-]*) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class UnknownMarkerError(ValueError):
    """A document has a marker without a table or without an end."""


def fill(text: str, tables: Mapping[str, Callable[[], str | None]]) -> tuple[str, list[str]]:
    """Replace the text between the markers of a document.

    Args:
        text: the document.
        tables: for each marker, a function that returns the new text, or None if its result file is
            missing; the old text then stays.

    Returns:
        The document, and the markers whose results are missing.

    Raises:
        UnknownMarkerError: a marker is not in `tables`, or has no end.
    """
    missing = []

    def replace(match: re.Match[str]) -> str:
        opening, name, old, end = match.groups()
        if "<!--" in old:
            raise UnknownMarkerError(f"the marker {name!r} has no <!-- end --> before the next one")
        if name not in tables:
            raise UnknownMarkerError(f"there is no table {name!r}; there are {', '.join(tables)}")
        new = tables[name]()
        if new is None:
            missing.append(name)
            return match.group(0)
        return f"{opening}{new.rstrip()}\n{end}"

    return _BLOCK.sub(replace, text), missing
