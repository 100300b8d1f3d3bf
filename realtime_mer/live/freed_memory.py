"""Give freed memory back to the operating system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Let the C library give back what was freed; other libraries than glibc do it by themselves.

    glibc keeps it: after a burst of audio in 64 streams, hundreds of megabytes. A call takes
    milliseconds.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
