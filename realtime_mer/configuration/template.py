"""The configuration file that `realtime-mer init` writes: every table and key, as comments."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from realtime_mer.configuration.keys import Key

WIDTH = 98


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the file.

    Attributes:
        header: as in the file, such as `[[osc]]`; "" for keys that other tables may have, which
            stay comments.
        text: what it is for.
        keys: its keys.
        examples: values of keys that have no default.
        remark: what stands below its keys.
    """

    header: str
    text: str
    keys: Sequence[Key]
    examples: Mapping[str, object] = dataclasses.field(default_factory=dict)
    remark: str = ""


def template(introduction: str, tables: Sequence[Table]) -> str:
    """Return the text of a file in which everything is a comment.

    Lines that begin with `#` and no space are settings: without the `#` they hold.
    """
    parts = [_comment(introduction)]
    parts += ["\n".join(_lines(table)) for table in tables]
    return "\n\n".join(parts) + "\n"


def toml_value(value: object) -> str:
    """Return a value as in a TOML document."""
    if isinstance(value, Enum):
        value = value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = [f"{key} = {toml_value(x)}" for key, x in value.items() if x is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    assert isinstance(value, tuple | list)
    return f"[{', '.join(map(toml_value, value))}]"


def _lines(table: Table) -> Iterator[str]:
    yield f"# {'-' * (WIDTH - 2)}"
    yield _comment(table.text)
    if table.header:
        yield f"#{table.header}"
    for key in table.keys:
        yield ""
        about = key.text or key.type
        if key.text and key.default is None:
            about = f"{key.text} ({key.type})"
        if key.required:
            about += " This key must be there."
        yield _comment(f"{key.name}: {about}")
        for part in key.keys:
            default = "" if part.default is None else f"; {toml_value(part.default)} without it"
            yield _comment(f"  {part.name}: {part.text or part.type}{default}")
        value: Any = table.examples.get(key.name) if key.default is None else key.default
        if value is not None:
            yield f"#{'' if table.header else ' '}{key.name} = {toml_value(value)}"
    if table.remark:
        yield f"\n{_comment(table.remark)}"


def _comment(text: str) -> str:
    paragraphs = [
        textwrap.wrap(line, WIDTH - 2, subsequent_indent="  " * line.startswith("  ")) or [""]
        for line in text.splitlines()
    ]
    return "\n".join(f"# {line}".rstrip() for lines in paragraphs for line in lines)
