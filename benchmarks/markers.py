"""Tables that a program keeps up to date inside documents that people write.

<!-- accuracy -->
whatever stood here is replaced
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_BLOCK = re.compile(r"(<!-- ([a-z][a-z0-9 _-]*) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class UnknownMarkerError(ValueError):
    """A document asks for a table that nothing makes."""


def fill(text: str, tables: Mapping[str, Callable[[], str | None]]) -> tuple[str, list[str]]:
    """Replaces what stands between the markers.

    Args:
        text: the document.
        tables: by marker, what makes the new content; it returns None where its result is missing,
            and what stands there stays.

    Returns:
        The document, and the markers whose results are missing.

    Raises:
        UnknownMarkerError: a marker that `tables` does not have, or one that is not ended.
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
