"""Standard input, output and error of the commands: closed, full, or unable to hold a character."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys

from realtime_mer.errors import UserError, printable


class StandardOutputError(UserError):
    """Standard output is closed, or its disk is full."""


def announce(sentence: str) -> None:
    """Say a sentence on standard error."""
    print(printable(sentence), file=sys.stderr, flush=True)


def reason_of(error: OSError) -> str:
    """Return the system's reason, with the name of the file if the error has one."""
    reason = error.strerror or str(error) or type(error).__name__
    names = [
        os.fsdecode(name)
        for name in (error.filename, error.filename2)
        if isinstance(name, str | bytes)
    ]
    return f"{' and '.join(names)}: {reason}" if names else reason


def prepare_streams() -> None:
    """Make standard output and error usable in every state in which a caller may leave them.

    A closed stream is replaced, so that no other file gets its number. A character that the
    encoding of the output cannot hold is replaced. Writing to an output that is closed or full
    raises `StandardOutputError`, or `BrokenPipeError` if its reader is gone. Messages on standard
    error that nobody can see are dropped.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),  # so that writing to it fails
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            stream = os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    # Other streams in their place, as in tests and notebooks, stay.
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(sys.stdout)
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Messages(sys.stderr)


def takes_output(descriptor: int) -> bool:
    """Return whether a write to an open file would not wait; True where the system cannot say."""
    try:
        return bool(select.select([], [descriptor], [], 0.0)[1])
    except (OSError, ValueError):  # closed, or Windows
        return True


def line_room() -> int | None:
    """Return how many characters fit into a line of standard error; None where unknown."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return None
    return max(0, columns - 1) if columns else None


def drop_late_messages() -> None:
    """From now on, drop messages that standard error does not take at once.

    For servers: a terminal that was stopped with Ctrl-S must not stop them.
    """
    if isinstance(sys.stderr, _Messages):
        sys.stderr.waits = False


def discard_output() -> None:
    """Drop what is and will be written to standard output, after a failure."""
    with contextlib.suppress(OSError):  # in a test, it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(io.TextIOWrapper):
    """Standard output with the errors of `prepare_streams`.

    Args:
        stream: the process's standard output, which stays open.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="replace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _output_error(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _output_error(error) from error


def _output_error(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    reason = "it is closed" if error.errno == errno.EBADF else reason_of(error)
    return StandardOutputError(f"standard output cannot be written ({reason}); direct it elsewhere")


class _Messages(io.TextIOWrapper):
    """Standard error; a message that cannot be written, on a full disk, does not end the program.

    Args:
        stream: the process's standard error, which stays open.

    Attributes:
        waits: whether to wait for whoever takes the messages, instead of dropping them.
    """

    waits = True

    def __init__(self, stream: io.TextIOWrapper) -> None:
        # Without a buffer, so that a message that failed is not tried again.
        raw = getattr(stream.buffer, "raw", stream.buffer)
        super().__init__(
            raw, encoding=stream.encoding, errors="backslashreplace", write_through=True
        )

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            if self.waits or takes_output(self.fileno()):
                super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()
