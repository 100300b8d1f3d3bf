"""Makes frozen dataclasses of settings from the tables of a TOML document, by their annotations."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, get_type_hints

from realtime_mer.configuration.lines import KeyPath
from realtime_mer.errors import UserError, nearest

T = TypeVar("T")
MAX_TEXT = 60
"""Characters of a text that a message repeats."""
_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
}


class SettingError(UserError):
    """A key or value of a document is wrong.

    Attributes:
        path: where it is in the document.
    """

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


def build(settings_class: type[T], table: object, path: KeyPath) -> T:
    """Return the settings that a table describes.

    Args:
        settings_class: a dataclass. A field without a default is a key that must be there.
        table: as `tomllib` reads it.
        path: where the table is in its document.

    Raises:
        SettingError: a key is unknown or missing, or a value has another type or is out of range.
    """
    return _build(settings_class, table, path, depth=len(path))


def words(annotation: object) -> str:
    """Return what a type means to people, such as `a number`."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either([_said(each) for each in arguments])
    if _is_enum(annotation):
        return _either([_said(each.value) for each in annotation])
    if origin in (Union, types.UnionType):
        return _either([words(each) for each in arguments if each is not type(None)])
    if origin is tuple:
        return f"a list of {len(arguments)}" if Ellipsis not in arguments else "a list"
    return "a table"


def _build(settings_class: type[T], table: object, path: KeyPath, *, depth: int) -> T:
    if not isinstance(table, dict):
        raise SettingError(path, _wrong_type(table, settings_class, path, depth))
    assert dataclasses.is_dataclass(settings_class)
    fields = {each.name: each for each in dataclasses.fields(settings_class) if each.init}
    for key in table:
        if key not in fields:
            where = _place(path, depth)
            sentence = f"{f'{where} ' if where else ''}has no key {key}; {nearest(key, fields)}"
            raise SettingError((*path, key), sentence)
    for name, each in fields.items():
        nothing = dataclasses.MISSING
        if name not in table and each.default is nothing and each.default_factory is nothing:
            raise SettingError(path, f"needs the key {_place((*path, name), depth)}")
    hints = get_type_hints(settings_class)
    values = {key: _convert(hints[key], value, (*path, key), depth) for key, value in table.items()}
    try:
        return settings_class(**values)
    except SettingError:
        raise
    except UserError as error:
        # By convention the sentence begins with the name of the field.
        name = str(error).split(maxsplit=1)[0].rstrip(":")
        at = (*path, name) if name in table else path
        within = _place(path, depth)
        raise SettingError(at, f"{within}.{error}" if within else str(error)) from error


def _convert(annotation: Any, value: object, path: KeyPath, depth: int) -> object:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (object, Any):
        return value
    if annotation is float and isinstance(value, int | float) and _is_finite(value):
        return float(value)
    if annotation is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if annotation in (bool, str) and isinstance(value, annotation):
        return value
    if origin is Literal and any(value == each and type(value) is type(each) for each in arguments):
        return value
    if _is_enum(annotation) and value in [each.value for each in annotation]:
        return annotation(value)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, annotation, path, depth)
    if origin is tuple and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) == len(value):
            places = enumerate(zip(arguments, value, strict=True))
            return tuple(_convert(kind, x, (*path, i), depth) for i, (kind, x) in places)
    if origin in (dict, Mapping) and isinstance(value, dict):
        kind = arguments[1]
        return {key: _convert(kind, x, (*path, key), depth) for key, x in value.items()}
    if dataclasses.is_dataclass(annotation):
        return _build(annotation, value, path, depth=depth)  # type: ignore[arg-type]
    raise SettingError(path, _wrong_type(value, annotation, path, depth))


def _convert_union(
    arguments: tuple[Any, ...], value: object, annotation: object, path: KeyPath, depth: int
) -> object:
    """Return the value as the first type that it fits; whole numbers stay whole if they may."""
    deeper = None
    for each in sorted(arguments, key=lambda kind: kind is float):
        if each is type(None):
            continue
        try:
            return _convert(each, value, path, depth)
        except SettingError as error:
            if error.path != path or (dataclasses.is_dataclass(each) and isinstance(value, dict)):
                deeper = error  # it has the right type, and is wrong inside
    if deeper is not None:
        raise deeper
    raise SettingError(path, _wrong_type(value, annotation, path, depth))


def _wrong_type(value: object, annotation: Any, path: KeyPath, depth: int) -> str:
    sentence = f"{_place(path, depth)} is {_said_with_type(value)}; it must be {words(annotation)}"
    options: list[object] = []
    for kind in (annotation, *get_args(annotation)):  # also of one or None
        if get_origin(kind) is Literal:
            options += get_args(kind)
        elif _is_enum(kind):
            options += [each.value for each in kind]
    texts = [each for each in options if isinstance(each, str)]
    if isinstance(value, str) and difflib.get_close_matches(value, texts, 1):
        sentence += f"; {nearest(value, texts)}"
    return sentence.strip()


def _place(path: KeyPath, depth: int) -> str:
    """Return where a value is within its table, such as `do[2].args`; lists count from 1."""
    place = ""
    for part in path[depth:]:
        place += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return place.removeprefix(".")


def _said(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _said_with_type(value: object) -> str:
    if isinstance(value, str):
        return f"the text {_said(value if len(value) <= MAX_TEXT else f'{value[:MAX_TEXT]}…')}"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool | int | float):
        return _said(value).replace("Infinity", "inf").replace("NaN", "nan")
    return f"the date or time {value}"


def _either(choices: list[str]) -> str:
    *most, last = dict.fromkeys(choices)
    return f"{', '.join(most)} or {last}" if most else last


def _is_finite(value: float) -> bool:
    """Return whether a value is a number that fits; True and False are none."""
    return not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_enum(annotation: object) -> TypeGuard[type[Enum]]:
    return isinstance(annotation, type) and issubclass(annotation, Enum)
