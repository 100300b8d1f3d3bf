"""Keep messages of C libraries off the terminal."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# mpg123 (in libsndfile), ALSA, JACK, PortAudio and liblsl write to file descriptor 2, and this
# cannot be turned off. Real errors also come back as error codes.
_NOISE = re.compile(
    rb"^(Note|Warning|warning|error): |\[.*libmpg123.*\]|^ALSA lib |^Expression '.* failed in |"
    rb"^(Cannot connect to server|jack server is not running|JackShm|connect\(2\) call to )|"
    rb"^Host error description: |^\S+ \S+ \( *[\d.]+s\) \[.*\] .* INFO\| |^\s*$"
)
_STDERR = 2
_LINE_BUFFERED = 1  # _IOLBF of glibc
_lock = threading.Lock()
_capture: IO[bytes] | None = None


@contextlib.contextmanager
def without_library_noise() -> Iterator[None]:
    """Suppress the messages of C libraries on standard error in the body.

    Other output to standard error, for example log lines of other threads, is passed on at the end
    of the body. Only one thread at a time can be in a body, so keep it short.
    """
    global _capture
    with _lock:
        try:
            original = os.dup(_STDERR)
        except OSError:  # there is no standard error, as in a windowed program
            yield
            return
        if _capture is None:
            _capture = _open_capture()
            atexit.register(_capture.close)
        try:
            os.dup2(_capture.fileno(), _STDERR)
            try:
                yield
            finally:
                os.dup2(original, _STDERR)
                _release(_capture, original)
        finally:
            os.close(original)


@functools.cache
def filter_c_messages() -> None:
    """Keep these messages off the terminal until the process ends, from any thread.

    PortAudio prints when a device vanishes, long after the call that opened it. Only what C
    libraries print through stdio is filtered; Python's own output goes its usual way. Does nothing
    where the C library is not glibc.
    """
    try:
        os.fstat(_STDERR)  # fails where there is no standard error, as in a windowed program
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - in others, stderr is read-only or has another name
        stderr = ctypes.c_void_p.in_dll(libc, "stderr")
    except (AttributeError, ValueError, OSError, TypeError):
        return
    libc.fdopen.restype = ctypes.c_void_p
    read_end, write_end = os.pipe()
    # A pipe and a thread instead of a callback: a C library that prints never waits for Python.
    file = ctypes.c_void_p(libc.fdopen(write_end, b"w"))
    libc.setvbuf(file, None, _LINE_BUFFERED, ctypes.c_size_t(0))
    thread = threading.Thread(target=_pass_on, args=(read_end,), name="C messages", daemon=True)
    thread.start()
    original, stderr.value = stderr.value, file.value

    def end() -> None:
        stderr.value = original
        libc.fflush(file)
        with contextlib.suppress(OSError):
            os.dup2(_STDERR, write_end)  # the file stays usable; the thread ends
            thread.join()

    atexit.register(end)


def _pass_on(read_end: int) -> None:
    with open(read_end, "rb") as lines:
        for line in lines:
            if not _NOISE.search(line):
                with contextlib.suppress(OSError):
                    os.write(_STDERR, line)


def _release(capture: IO[bytes], to: int) -> None:
    """Write captured lines that are not from a library to `to`, then empty the capture."""
    if not capture.tell():
        return
    capture.seek(0)
    captured = capture.read()
    capture.seek(0)
    capture.truncate()
    others = b"".join(
        line for line in captured.splitlines(keepends=True) if not _NOISE.search(line)
    )
    if others:
        with contextlib.suppress(OSError):  # a full disk
            os.write(to, others)


def _open_capture() -> IO[bytes]:
    """Open a file for what is written in a body; one that keeps nothing if there is no place."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.fdopen(os.memfd_create("messages"), "w+b", buffering=0)
    with contextlib.suppress(OSError):
        return tempfile.TemporaryFile(buffering=0)
    return Path(os.devnull).open("w+b", buffering=0)
