import os
import threading
import time
from collections.abc import Iterator
from typing import IO

import pytest

from realtime_mer.audio.pipe import PipeReader


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        yield reader, writer


def test_chunks_arrive_as_they_are_written(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, writer = pipe
    chunks = PipeReader(reader, 4)
    assert chunks.read(0) is None
    writer.write(b"ab")
    assert chunks.read(60) == b"ab"
    writer.write(b"cdefgh")
    assert chunks.read(60) == b"cdef"
    assert chunks.read(60) == b"gh"
    writer.close()
    assert chunks.read(60) == b""
    assert chunks.read(0) == b""
    chunks.close()


def test_the_timeout_is_kept(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    chunks = PipeReader(pipe[0], 4)
    begin = time.monotonic()
    assert chunks.read(0.05) is None
    assert time.monotonic() - begin >= 0.05
    chunks.close()


def test_closing_a_full_reader_ends_its_thread(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, writer = pipe
    writer.write(bytes(1000))
    chunks = PipeReader(reader, 4)
    assert chunks.read(60) == bytes(4)
    chunks.close()
    chunks.join(60)
    assert not chunks._thread.is_alive()
    assert chunks.read(0) == b""


def test_a_reused_descriptor_number_is_not_read(
    pipe: tuple[IO[bytes], IO[bytes]],
) -> None:
    """After a close, the number of a descriptor may belong to another file."""
    reader, writer = pipe
    chunks = PipeReader(reader, 4)
    number = reader.fileno()
    reader.close()
    other_reading, other_writing = os.pipe()
    assert number in (other_reading, other_writing)
    writer.write(b"mine")
    os.write(other_writing, b"others")
    assert chunks.read(60) == b"mine"
    writer.close()
    assert chunks.read(60) == b""
    chunks.close()
    chunks.join(60)
    assert os.read(other_reading, 100) == b"others"
    os.close(other_reading)
    os.close(other_writing)


def test_closing_ends_a_waiting_read(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    chunks = PipeReader(pipe[0], 4)
    outcome: list[bytes | None] = []
    thread = threading.Thread(target=lambda: outcome.append(chunks.read(60)))
    thread.start()
    chunks.close()
    thread.join(60)
    assert outcome == [b""]
