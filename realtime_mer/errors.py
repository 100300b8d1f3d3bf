"""Errors that the user can correct. Commands print their message without a traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Lone surrogates, control characters except tab and newline, marks of the direction of text.
_HIDDEN = "\ud800-\udfff\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNPRINTABLE = re.compile(f"[{_HIDDEN}]")
_NOT_IN_A_LINE = re.compile(f"[{_HIDDEN}\t\n\u2028\u2029]")


def printable(text: str) -> str:
    """Return valid Unicode that a terminal shows as it is.

    Bytes of a file name that are not UTF-8 and control characters, which could clear the screen,
    become U+FFFD.
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def printable_line(text: str) -> str:
    """Return text as `printable`, in one line: a newline in a name could forge a message."""
    return _NOT_IN_A_LINE.sub("\ufffd", text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return what to do about an unknown name: the nearest known one, or all."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are: {', '.join(names)}" if names else "there is none"


class UserError(Exception):
    """An error that the user can correct.

    The message says what is wrong, with the value, and what to do. Commands print it to standard
    error and exit with `exit_code`. It is valid Unicode, whatever names it contains.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class EngineError(UserError):
    """The engine failed: it raised an error, or returned numbers that are not finite, twice.

    Nothing that the user gave was wrong, so the exit code is that of a fault.
    """

    exit_code = 1


class BadSamplesError(UserError):
    """A block of audio contains values that cannot be samples: NaN, infinite or far too large.

    Attributes:
        position: index of the first bad sample frame in the block.
        count: number of bad values in the block.
        value: the first of them.
    """

    def __init__(self, position: int, count: int, value: float) -> None:
        self.position = position
        self.count = count
        self.value = value
        super().__init__(
            f"the audio contains {count} value(s) that are not finite or far above the full scale "
            f"of 1 (first: {value:g} at sample {position} of the block); check the sample format "
            "of its source"
        )
