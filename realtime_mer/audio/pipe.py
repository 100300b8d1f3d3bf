"""Read a pipe in a background thread, so that reads can time out on any system."""

from __future__ import annotations

import os
import queue
import select
import threading
from pathlib import Path
from typing import IO

_MAX_CHUNKS = 4
"""Chunks buffered between the thread and the reader; when full, the pipe's writer waits."""
_WRITER_POLL_S = 0.1
"""How often the thread looks whether a FIFO has a writer again."""


class PipeReader:
    """Reads chunks of bytes from a pipe, in order, with back-pressure; nothing is dropped.

    Args:
        stream: a binary stream with a file descriptor, or the path of a FIFO, which may have no
            writer yet.
        chunk_bytes: the largest chunk; smaller amounts of data are passed on at once.
        follow: go on with the next writer of a FIFO when the last one is gone.

    Raises:
        OSError: the FIFO cannot be opened.
    """

    def __init__(self, stream: IO[bytes] | Path, chunk_bytes: int, *, follow: bool = False) -> None:
        self._is_fifo = isinstance(stream, Path)
        self._follow = follow
        if isinstance(stream, Path):
            # Opened without waiting for a writer, which might never come.
            self._fd = os.open(stream, os.O_RDONLY | os.O_NONBLOCK)
        else:
            # A duplicate that only the thread closes: after a foreign close, the same number could
            # belong to another file.
            self._fd = os.dup(stream.fileno())
        self._chunk_bytes = chunk_bytes
        self._chunks: queue.Queue[bytes] = queue.Queue(_MAX_CHUNKS)
        self._closed = threading.Event()
        self._ended = False
        # A daemon thread: a read from a terminal or an idle pipe cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name="pipe reader", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> bytes | None:
        """Return the next chunk; b"" after the end; None if none arrives within `timeout_s`.

        With `follow`, b"" means that a writer is gone, and the next one's chunks come after it.
        """
        if self._ended or self._closed.is_set():
            return b""
        try:
            chunk = (
                self._chunks.get(timeout=timeout_s) if timeout_s > 0 else self._chunks.get(False)
            )
        except queue.Empty:
            return None
        if self._closed.is_set():
            return b""
        self._ended = not chunk and not self._follow
        return chunk

    def close(self) -> None:
        """End a waiting `read` and the thread; this and later reads return b""."""
        self._closed.set()
        while True:  # make room for the end mark and for a chunk of the thread
            try:
                self._chunks.put_nowait(b"")
                return
            except queue.Full:
                try:
                    self._chunks.get_nowait()
                except queue.Empty:
                    continue

    def join(self, timeout_s: float) -> None:
        """Wait for the thread after `close`; it ends once the pipe's writer is gone."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            has_data = not self._is_fifo  # since the last end
            while not self._closed.is_set():
                try:
                    chunk = os.read(self._fd, self._chunk_bytes)
                except BlockingIOError:  # there is a writer, which pauses
                    select.select([self._fd], [], [], _WRITER_POLL_S)
                    continue
                except OSError:  # for example a terminal that hung up: the end, too
                    chunk = b""
                if chunk or has_data:
                    self._enqueue(chunk)
                    has_data = bool(chunk)
                    if not chunk and not self._follow:
                        return
                else:  # the FIFO has no writer yet
                    self._closed.wait(_WRITER_POLL_S)
        finally:
            os.close(self._fd)

    def _enqueue(self, chunk: bytes) -> None:
        while not self._closed.is_set():
            try:
                self._chunks.put(chunk, timeout=0.5)
                return
            except queue.Full:
                continue
