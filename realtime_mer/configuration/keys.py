"""What people need to know of each key: its type, its default and what it means."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from realtime_mer.configuration.builder import words

_ENTRY = re.compile(r"(\w+(?:, \w+)*): (.*)")


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a table.

    Attributes:
        name: the key.
        type: what its value must be, in words.
        default: what holds without it; None where nothing is set.
        required: whether it must be there.
        text: what it means, with units and ranges; "" if its class does not say.
        keys: those of its value, where that is a table or a list of tables.
    """

    name: str
    type: str
    default: object
    required: bool
    text: str
    keys: tuple[Key, ...] = ()


def keys_of(settings_class: type[Any]) -> list[Key]:
    """Return the keys of a dataclass of settings: its own first, then those that it inherits."""
    hints, texts = get_type_hints(settings_class), _texts(settings_class)
    keys = []
    for each in dataclasses.fields(settings_class):
        if not each.init:
            continue
        default, required = each.default, False
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        elif default is dataclasses.MISSING:
            default, required = None, True
        text = str(each.metadata.get("text", "")) or texts.get(each.name, "")
        hint = hints[each.name]
        keys.append(Key(each.name, _type(hint), default, required, text, _nested(hint)))
    inherited = {each.name for base in settings_class.__mro__[1:] for each in _fields(base)}
    return sorted(keys, key=lambda key: (not key.required, key.name in inherited))


def _nested(annotation: Any) -> tuple[Key, ...]:
    """Return the keys of a value that is described by a dataclass, or has such values."""
    if dataclasses.is_dataclass(annotation):
        return tuple(keys_of(annotation))  # type: ignore[arg-type]
    return tuple(key for each in get_args(annotation) for key in _nested(each))


def _fields(base: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(base) if dataclasses.is_dataclass(base) else ()


def _type(annotation: Any) -> str:
    """Return a type in words; lists also say of what."""
    arguments = get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_type(each) for each in arguments if each is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if get_origin(annotation) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return f"a list; each {words(arguments[0])}"
    return words(annotation)


def _texts(settings_class: type[Any]) -> dict[str, str]:
    """Return what the docstrings of a class and of its bases say of each attribute."""
    texts: dict[str, str] = {}
    for base in reversed(settings_class.__mro__):
        names: list[str] = []
        within = False
        for line in inspect.cleandoc(base.__dict__.get("__doc__") or "").splitlines():
            entry = _ENTRY.fullmatch(line.strip())
            indent = len(line) - len(line.lstrip())
            if line == "Attributes:" or not line.strip():
                within = line == "Attributes:" or within
                continue
            if indent == 0:
                within = False
            if not within:
                continue
            if indent == 4 and entry:
                names = entry[1].split(", ")
                texts |= dict.fromkeys(names, entry[2])
            else:
                texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts
