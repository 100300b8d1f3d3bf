"""Keeps the remarks of C libraries off the user's terminal."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

# mpg123 (in libsndfile), ALSA, JACK and PortAudio write to file descriptor 2 and offer no way to
# stop it; what matters of it comes back as an error code anyway.
_NOISE = re.compile(
    rb"^(Note|Warning|warning|error): |\[.*libmpg123.*\]|^ALSA lib |^Expression '.* failed in |"
    rb"^(Cannot connect to server|jack server is not running|JackShm|connect\(2\) call to )|"
    rb"^Host error description: |^\s*$"
)
_STDERR = 2
_lock = threading.Lock()
_capture: IO[bytes] | None = None


@contextlib.contextmanager
def without_library_noise() -> Iterator[None]:
    """Run a call into such a library with its prints to standard error caught.

    What others write meanwhile (another thread's log line) is not lost: it comes out right after.
    Only one thread at a time can be inside; the calls are short.
    """
    global _capture
    with _lock:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # there is no standard error (a windowed Windows program): nothing to keep
            yield
            return
        if _capture is None:
            _capture = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives with the process
        try:
            os.dup2(_capture.fileno(), _STDERR)
            try:
                yield
            finally:
                os.dup2(kept, _STDERR)
                _release(_capture, kept)
        finally:
            os.close(kept)


def _release(capture: IO[bytes], to: int) -> None:
    """Pass on what was caught and is not the library's, then empty the catch."""
    if not capture.tell():
        return
    capture.seek(0)
    caught = capture.read()
    capture.seek(0)
    capture.truncate()
    others = b"".join(line for line in caught.splitlines(keepends=True) if not _NOISE.search(line))
    if others:
        os.write(to, others)
