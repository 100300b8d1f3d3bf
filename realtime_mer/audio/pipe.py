"""Reads a pipe in a thread of its own, so that a reader can wait with a timeout on any system."""

from __future__ import annotations

import os
import queue
import threading
from typing import IO

_DEPTH = 4
"""Chunks held between thread and reader; when they are full the pipe's writer has to wait."""


class PipeReader:
    """Chunks of bytes from a pipe, in order, with back-pressure: nothing is ever dropped.

    Args:
        stream: a raw (unbuffered) or buffered binary stream with a file descriptor.
        chunk_bytes: the most that one chunk holds; what a slow writer has ready comes at once.
    """

    def __init__(self, stream: IO[bytes], chunk_bytes: int) -> None:
        # Our own descriptor, closed by the thread: a number that somebody else closes may soon
        # belong to another file, and we would read that.
        self._fd = os.dup(stream.fileno())
        self._chunk_bytes = chunk_bytes
        self._chunks: queue.Queue[bytes] = queue.Queue(_DEPTH)
        self._closed = threading.Event()
        self._over = False
        # A daemon: a read from a terminal or an idle pipe cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name="pipe reader", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> bytes | None:
        """The next chunk, b"" at the end (again and again), None where none came in time."""
        if self._over or self._closed.is_set():
            return b""
        try:
            chunk = (
                self._chunks.get(timeout=timeout_s) if timeout_s > 0 else self._chunks.get(False)
            )
        except queue.Empty:
            return None
        if self._closed.is_set():
            return b""
        self._over = not chunk
        return chunk

    def close(self) -> None:
        """End a waiting `read` (it and all later ones return b"") and let the thread go."""
        self._closed.set()
        while True:  # make room, so that neither the end mark nor the thread's own chunk is stuck
            try:
                self._chunks.put_nowait(b"")
                return
            except queue.Full:
                try:
                    self._chunks.get_nowait()
                except queue.Empty:
                    continue

    def join(self, timeout_s: float) -> None:
        """After `close`: wait for the thread, where the pipe's writer is gone and it can end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                try:
                    chunk = os.read(self._fd, self._chunk_bytes)
                except OSError:  # a terminal that hung up, for example: the end either way
                    chunk = b""
                self._hand_over(chunk)
                if not chunk:
                    return
        finally:
            os.close(self._fd)

    def _hand_over(self, chunk: bytes) -> None:
        while not self._closed.is_set():
            try:
                self._chunks.put(chunk, timeout=0.5)
                return
            except queue.Full:
                continue
