"""The errors that a user meets: one clear sentence each, never a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right.

    The message says what was wrong, with the value, and what to do. Commands print it on standard
    error and leave with `exit_code`.
    """

    exit_code = 2


class BadSamplesError(UserError):
    """A block of audio holds values that are not finite numbers.

    Attributes:
        position: index of the first bad sample frame within the block.
        count: how many values of the block are NaN or infinite.
    """

    def __init__(self, position: int, count: int, value: float) -> None:
        self.position = position
        self.count = count
        self.value = value
        super().__init__(
            f"the audio holds {count} value(s) that are not finite numbers "
            f"(first: {value} at sample {position} of the block); check what produced it"
        )
