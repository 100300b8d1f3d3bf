"""JSON from files that anybody may have written, and JSON that every reader takes."""

from __future__ import annotations

import json
import math
from typing import Any

# Nothing that this project stores is nested more deeply than a dozen levels.
_DEPTH_LIMIT = 50


def load_json(text: str | bytes, *, limit: int) -> Any:
    """Parse JSON of bounded size and depth. NaN and infinities, which JSON has not, become None.

    Args:
        text: what to parse.
        limit: the largest length, in characters or bytes.

    Raises:
        ValueError: it is no JSON, larger or deeper than that, or has an object with two equal keys.
    """
    if len(text) > limit:
        raise ValueError(f"it is longer than {limit:,} characters")
    try:
        value = json.loads(
            text, parse_constant=_none, parse_float=_finite, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(value)
    return value


def to_json(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Return JSON for plain values; numbers that are not finite become null."""
    finite = _with_finite(value)
    return json.dumps(finite, indent=indent, sort_keys=sort_keys, allow_nan=False)


def _none(constant: str) -> None:
    return None


def _finite(text: str) -> float | None:
    number = float(text)  # 1e999 is infinite
    return number if math.isfinite(number) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {twice[:40]!r} twice")
    return members


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _with_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
