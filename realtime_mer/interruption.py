"""Interruptions by a signal that a callback of a C library cannot raise, so that they get lost."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_REPEAT_S = 0.01
_lost: list[tuple[KeyboardInterrupt, threading.Timer]] = []


@contextlib.contextmanager
def repeated_interruptions(forget: Callable[[], object]) -> Iterator[None]:
    """Send a signal again whose KeyboardInterrupt was lost in a callback of a C library.

    `raise_lost_interruption` may raise it before.

    Args:
        forget: called before the signal comes again, in another thread; from then on its handler
            must take it for a first one.
    """

    def keep(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            timer = threading.Timer(_REPEAT_S, repeat)
            _lost.append((unraisable.exc_value, timer))
            timer.start()
        else:
            previous_hook(unraisable)

    def repeat() -> None:
        lost = _take()
        if lost is not None:
            forget()
            _send(*lost.args)

    previous_hook, sys.unraisablehook = sys.unraisablehook, keep
    try:
        yield
    finally:
        sys.unraisablehook = previous_hook


def raise_lost_interruption() -> None:
    """Raise what was lost, if anything was; for use behind a call that has callbacks.

    What such a call returns is not to be trusted: libsndfile takes a lost interruption of a read
    for the end of the file.
    """
    if threading.current_thread() is threading.main_thread():  # signals are handled nowhere else
        lost = _take()
        if lost is not None:
            raise lost


def _take() -> KeyboardInterrupt | None:
    """Return the oldest one; a callback that is called again may lose more for the same reason."""
    oldest = None
    while _lost:
        oldest, timer = _lost.pop()
        timer.cancel()
    return oldest


def _send(number: int = signal.SIGINT) -> None:
    """Send a signal to the main thread, which may be waiting for something."""
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)
