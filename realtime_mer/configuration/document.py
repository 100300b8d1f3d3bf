"""A TOML document and where its keys are; one of its profiles laid over the rest."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime_mer.configuration.lines import KeyPath, key_lines
from realtime_mer.errors import UserError, nearest

MAX_BYTES = 1_000_000
PROFILE = "profile"
# A key of 64 parts. The time to read one grows with the square of their number.
_LONG_KEY = re.compile(r"(?:[^\s.=#\[\]]{1,40}[ \t]*\.[ \t]*){64}")
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, kw_only=True)
class Document:
    """The tables of a file, those of a profile laid over them.

    Attributes:
        label: name of the file in messages.
        data: as `tomllib` reads it, without the profiles.
        lines: the line of each key in `data`.
        profiles: names of the profiles.
    """

    label: str
    data: dict[str, Any]
    lines: dict[KeyPath, int]
    profiles: tuple[str, ...]

    def error(self, path: KeyPath, message: str) -> UserError:
        """Return an error about a place in the file, with its line."""
        for end in range(len(path), 0, -1):
            if line := self.lines.get(path[:end]):
                return UserError(f"{self.label} line {line}: {message}")
        return UserError(f"{self.label}: {message}")


def read_document(file: Path, profile: str) -> Document:
    """Return what a file says.

    Args:
        file: the file.
        profile: its tables win over the others; "" for none.

    Raises:
        OSError: the file cannot be read.
        UserError: it is not valid, or has no such profile.
    """
    label = str(file)
    with file.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise UserError(f"{label} is larger than 1 MB; it is no configuration file")
    try:
        text = raw.decode("utf-8-sig")  # Windows' editor writes a mark first
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{label} line {line}: this is not UTF-8; save the file so") from error
    if long := _LONG_KEY.search(text):
        line = text.count("\n", 0, long.start()) + 1
        raise UserError(f"{label} line {line}: this key has more than 64 parts; shorten it")
    try:
        data = tomllib.loads(text)
        lines = key_lines(text)
    except tomllib.TOMLDecodeError as error:
        sentence = _POSITION.sub("", str(error))
        position = _POSITION.search(str(error))
        last = text.rstrip().count("\n") + 1
        where = position[1] if position and position[1] else last
        raise UserError(
            f"{label} line {where}: this is not valid TOML: {sentence[:1].lower()}{sentence[1:]}"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, 5000 brackets
        raise UserError(f"{label} is not valid TOML: {error}") from error
    return _with_profile(label, data, lines, profile)


def _with_profile(
    label: str, data: dict[str, Any], lines: dict[KeyPath, int], profile: str
) -> Document:
    profiles = data.pop(PROFILE, {})
    within = {path: line for path, line in lines.items() if path[0] == PROFILE}
    lines = {path: line for path, line in lines.items() if path not in within}
    names = tuple(profiles) if isinstance(profiles, dict) else ()
    document = Document(label=label, data=data, lines=lines, profiles=names)
    if not isinstance(profiles, dict):
        line = within[(PROFILE,)]
        raise UserError(f"{label} line {line}: write a profile as [profile.NAME.TABLE]")
    for name, tables in profiles.items():
        if not isinstance(tables, dict):
            line = within[(PROFILE, name)]
            raise UserError(f"{label} line {line}: profile.{name} must be a table")
    if not profile:
        return document
    if profile not in profiles:
        raise UserError(f"{label} has no profile {profile}; {nearest(profile, names)}")
    _lay_over(data, profiles[profile], (), lines)
    prefix = (PROFILE, profile)
    lines |= {path[2:]: line for path, line in within.items() if path[:2] == prefix and path[2:]}
    return document


def _lay_over(
    below: dict[str, Any], above: dict[str, Any], path: KeyPath, lines: dict[KeyPath, int]
) -> None:
    """Replace what both have; tables are laid over each other key by key."""
    for key, value in above.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value, here, lines)
            continue
        below[key] = value
        for each in [each for each in lines if each[: len(here)] == here]:
            del lines[each]
