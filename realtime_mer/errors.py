"""Errors that the user can correct. Commands print their message without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """An error that the user can correct.

    The message says what is wrong, with the value, and what to do. Commands print it to standard
    error and exit with `exit_code`.
    """

    exit_code = 2


class BadSamplesError(UserError):
    """A block of audio contains NaN or infinite values.

    Attributes:
        position: index of the first bad sample frame in the block.
        count: number of NaN or infinite values in the block.
        value: the first of them.
    """

    def __init__(self, position: int, count: int, value: float) -> None:
        self.position = position
        self.count = count
        self.value = value
        super().__init__(
            f"the audio contains {count} value(s) that are not finite numbers "
            f"(first: {value} at sample {position} of the block); check its source"
        )
