"""A terminal that gives keys at once and does not show them, and its old mode at the end."""

from __future__ import annotations

import contextlib
import os

try:
    import termios
except ImportError:  # Windows
    HAS_KEYS = False
else:
    HAS_KEYS = True
    _before: dict[int, list[int | list[bytes | int]]] = {}  # modes by descriptor


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
