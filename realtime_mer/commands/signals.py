"""What SIGINT (Ctrl-C), SIGTERM and SIGHUP (a terminal that closes) do to a command."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from realtime_mer.commands.streams import takes_output
from realtime_mer.commands.terminal_mode import closing_codes, restore_terminals
from realtime_mer.interruption import repeated_interruptions

_HANG_UP = getattr(signal, "SIGHUP", None)  # missing on Windows
_NUMBERS = [number for number in (signal.SIGINT, signal.SIGTERM, _HANG_UP) if number is not None]
# A terminal, a shell and a service manager may all send a signal for the same reason.
_SAME_REASON_S = 0.3
# How long the end of the program waits for somebody to take its output.
_OUTPUT_PERIOD_S = 2.0


@contextlib.contextmanager
def on_signals(
    first: Callable[[int], object], second: Callable[[int], object] | None = None
) -> Iterator[None]:
    """Call a function at the first SIGINT, SIGTERM or SIGHUP; the last one ends the program.

    A signal that the caller of the program ignores (`nohup`) stays ignored. After the first signal,
    an output that nobody takes (a terminal stopped with Ctrl-S, a pipe) is given up, so that the
    program ends. So is a terminal that was closed.

    Args:
        first: called with the number of the signal, in the main thread; may raise.
        second: called at the second signal, so that only the third ends the program.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are not ours
        yield
        return
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
    arrived: list[tuple[int, float]] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if not arrived:
            arrived.append((number, time.monotonic()))
            for descriptor in terminals:
                if not os.isatty(descriptor):  # it was closed
                    _discard(descriptor)
            _limit_output()
            first(number)
        elif number == _HANG_UP or time.monotonic() - arrived[-1][1] <= _SAME_REASON_S:
            return
        elif second is not None and len(arrived) == 1:
            arrived.append((number, time.monotonic()))
            second(number)
        else:
            _leave(exit_code_of(number))

    previous = {}
    for number in _NUMBERS:
        # None: a handler that is not Python's.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            previous[number] = signal.signal(number, handle)
    try:
        with repeated_interruptions(arrived.clear):
            yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def interrupt(number: int) -> None:
    """Raise KeyboardInterrupt with the number of a signal, so that commands treat all alike."""
    raise KeyboardInterrupt(number)


def exit_code_of(number: int) -> int:
    """Return the exit code of a program that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number


def end_output_limit() -> None:
    """Stop giving up outputs; for the end of the program."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _limit_output() -> None:
    """Let writes to an output that nobody takes return after some seconds.

    Python repeats a write that a signal interrupts, and then it goes to the null device.
    """
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.signal(signal.SIGALRM, _give_up_output)
        signal.setitimer(signal.ITIMER_REAL, _OUTPUT_PERIOD_S, _OUTPUT_PERIOD_S)


def _give_up_output(number: int, frame: FrameType | None) -> None:
    for descriptor in (1, 2):
        if not takes_output(descriptor):
            _discard(descriptor)


def _discard(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


def _leave(code: int) -> None:
    """End the program at once, with the terminal as it was and its cursor shown."""
    restore_terminals()
    with contextlib.suppress(OSError, ValueError):
        if os.isatty(1) and takes_output(1):
            os.write(1, closing_codes())
    os._exit(code)
