"""Standard input, output and error of the commands: closed, full, or unable to hold a character."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from realtime_mer.errors import UserError


class StandardOutputError(UserError):
    """Standard output is closed, or its disk is full."""


def reason_of(error: OSError) -> str:
    """Return the system's reason, with the name of the file if the error has one."""
    reason = error.strerror or str(error) or type(error).__name__
    names = [
        os.fsdecode(n) for n in (error.filename, error.filename2) if isinstance(n, str | bytes)
    ]
    return f"{' and '.join(names)}: {reason}" if names else reason


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Turn a failure to write to standard output in the body into a `StandardOutputError`.

    A `BrokenPipeError` passes: the reader has seen enough.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StandardOutputError(
            f"standard output cannot be written ({reason_of(error)}); free some space or name "
            "another output"
        ) from error


def discard_output() -> None:
    """Drop what is and will be written to standard output, after a failure."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def prepare_streams() -> None:
    """Make standard output and error usable in every state in which a caller may leave them.

    A closed stream is replaced, so that no other file gets its number. Writing to a closed output
    fails with an `OSError`; messages nobody can see are dropped. A character that the encoding of
    the output cannot hold is replaced.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, flags)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Messages(sys.stderr)


class _Messages(io.TextIOWrapper):
    """Standard error; a message that cannot be written, on a full disk, does not end the program.

    Args:
        stream: the process's standard error, which stays open.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        # Without a buffer, so that a message that failed is not tried again.
        raw = getattr(stream.buffer, "raw", stream.buffer)
        super().__init__(
            raw, encoding=stream.encoding, errors="backslashreplace", write_through=True
        )

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()
