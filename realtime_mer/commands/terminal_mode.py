"""A terminal that gives keys at once and does not show them; its second screen; its old mode."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

try:
    import termios
except ImportError:  # Windows
    HAS_KEYS = False
else:
    HAS_KEYS = True
    _before: dict[int, list[int | list[bytes | int]]] = {}  # modes by descriptor

_SHOW_CURSOR, _HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"
_ENTER_SCREEN, _LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
_has_second_screen = False


def is_ours(descriptor: int) -> bool:
    """Return whether a descriptor is a terminal whose keys belong to this program."""
    if not HAS_KEYS:
        return False
    try:
        # A program in the background that touches the terminal is stopped by the system.
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def give_keys(descriptor: int) -> None:
    """Let a terminal give keys at once, without showing them. Ctrl-C and Ctrl-Z work as before.

    A shell may have set its own mode meanwhile (Ctrl-Z, then `fg`), so this may be called often.

    Raises:
        OSError: the terminal is gone.
    """
    try:
        mode = termios.tcgetattr(descriptor)
        _before.setdefault(descriptor, [*mode])
        wanted = mode[3] & ~(termios.ICANON | termios.ECHO)
        if mode[3] != wanted:
            mode[3] = wanted
            # At once: a terminal that was stopped with Ctrl-S takes no output to wait for.
            termios.tcsetattr(descriptor, termios.TCSANOW, mode)
    except termios.error as error:
        raise OSError(*error.args) from error


def restore_terminals() -> None:
    """Set the modes of before again; safe to call more than once."""
    if HAS_KEYS:
        for descriptor in list(_before):
            mode = _before.pop(descriptor)
            if is_ours(descriptor):
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(descriptor, termios.TCSANOW, mode)


@contextlib.contextmanager
def second_screen() -> Iterator[None]:
    """Show a screen without scrollback; at the end, and while Ctrl-Z stops the program, the first.

    What was on the first screen is there again afterwards. The cursor is hidden meanwhile.

    Raises:
        OSError: the terminal is gone.
    """
    global _has_second_screen
    stop = getattr(signal, "SIGTSTP", None)  # missing on Windows

    def suspend(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(1, closing_codes())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # returns when the shell continues the program
        signal.signal(number, suspend)
        with contextlib.suppress(OSError):
            os.write(1, _ENTER_SCREEN + _HIDE_CURSOR)

    previous = None if stop is None else signal.signal(stop, suspend)
    os.write(1, _ENTER_SCREEN + _HIDE_CURSOR)
    _has_second_screen = True
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.write(1, closing_codes())
        _has_second_screen = False
        if stop is not None:
            signal.signal(stop, previous)


def closing_codes() -> bytes:
    """Return what a terminal gets at the end: its cursor, and its first screen if it is hidden."""
    return (_LEAVE_SCREEN if _has_second_screen else b"") + _SHOW_CURSOR
