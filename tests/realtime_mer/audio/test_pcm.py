import os
import pty
import sys
import threading
from collections.abc import Iterator
from typing import IO

import numpy as np
import pytest
from support_audio import read_all

from realtime_mer.audio.pcm import PCM_FORMATS, PcmFormat, PcmSource
from realtime_mer.audio.source import EndOfStream, InputKind, SourceLost
from realtime_mer.errors import UserError

VALUES = np.array([[0.0, 0.5], [-0.5, -1.0], [0.25, 0.75]])


def encoded(encoding: str) -> bytes:
    """Encode `VALUES` independently of the code under test."""
    if encoding[0] == "f":
        kind = {"f32": "f4", "f64": "f8"}[encoding[:3]]
        return VALUES.astype(("<" if encoding.endswith("le") else ">") + kind).tobytes()
    bits = int("".join(c for c in encoding if c.isdigit()))
    order = "big" if encoding.endswith("be") else "little"
    data = b""
    for value in VALUES.ravel().tolist():
        number = round(value * 2 ** (bits - 1))
        if encoding[0] == "u":
            number += 2 ** (bits - 1)
        data += number.to_bytes(bits // 8, order, signed=encoding[0] == "s")
    return data


@pytest.mark.parametrize("encoding", PCM_FORMATS)
def test_every_format_is_decoded(encoding: str) -> None:
    pcm = PcmFormat(8000, 2, encoding)
    data = encoded(encoding)
    assert pcm.frame_bytes == len(data) // 3
    decoded = pcm.decode(data)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, VALUES, atol=1e-7)


def test_an_incomplete_frame_cannot_be_decoded() -> None:
    with pytest.raises(ValueError, match="5 bytes are not a whole number of frames of 4 bytes"):
        PcmFormat(8000, 2, "s16le").decode(b"12345")


@pytest.mark.parametrize(
    ("rate", "channels", "encoding", "sentence"),
    [
        (0, 1, "s16le", "sample rate is 0 Hz"),
        (7_999, 1, "s16le", "between 8000 and 192000"),
        (192_001, 1, "s16le", "192001 Hz"),
        (8_000, 0, "s16le", "number of PCM channels is 0"),
        (8_000, 65, "s16le", "between 1 and 64"),
        (8_000, 1, "s16", "format 's16' is unknown; use one of u8, "),
    ],
)
def test_invalid_formats(rate: int, channels: int, encoding: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        PcmFormat(rate, channels, encoding)


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        yield reader, writer


def test_frames_are_complete_for_any_chunks_of_the_pipe(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, writer = pipe
    data = np.arange(-9000, 9000, dtype="<i2").tobytes()
    source = PcmSource(PcmFormat(8000, 3, "s16le"), stream=reader, first_wait_s=0.0)
    assert source.info.kind == InputKind.PCM
    assert source.info.channels == 3

    def write() -> None:
        for start in range(0, len(data), 777):
            writer.write(data[start : start + 777])
        writer.write(b"xy")
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    samples, end = read_all(source)
    thread.join()
    np.testing.assert_array_equal(samples.ravel() * 32768, np.arange(-9000, 9000))
    assert str(end) == "standard input ended within a sample frame: 2 of 6 bytes ignored"
    source.close()


def test_a_pipe_without_data_is_not_the_end(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, writer = pipe
    with PcmSource(PcmFormat(8000, 1, "s16le"), stream=reader, first_wait_s=0.0) as source:
        assert source.read(0.01) is None
        writer.write(b"\0\1\2")
        block = source.read(60)
        assert block is not None
        assert block.samples.shape == (1, 1)
        assert source.read(0.01) is None


def test_a_fast_writer_has_to_wait(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    """Unread data stays in the pipe: memory does not grow."""
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)
    with PcmSource(PcmFormat(8000, 1, "s16le"), stream=reader, first_wait_s=0.0) as source:
        written = 0
        refused = 0
        while refused < 50:
            count = writer.write(bytes(4096))
            if count is None:  # full; let the reading thread run
                refused += 1
                source.read(0)
            else:
                written += count
        assert written < 300_000


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "standard input ended before any audio arrived"),
        (b"RIFF\x00\x00" + bytes(1000), "contains a WAV file, not raw PCM"),
        (b"OggS" + bytes(1000), "contains an Ogg file"),
        (b"fLaC" + bytes(1000), "contains a FLAC file"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_wrong_start_is_an_error(
    pipe: tuple[IO[bytes], IO[bytes]], data: bytes, sentence: str, late: bool
) -> None:
    reader, writer = pipe
    if late:
        with PcmSource(PcmFormat(), stream=reader, first_wait_s=0.0) as source:
            assert source.read(0) is None
            writer.write(data)
            writer.close()
            with pytest.raises(SourceLost, match=sentence) as lost:
                source.read(60)
        assert not lost.value.recoverable
        return
    writer.write(data)
    writer.close()
    with pytest.raises(UserError, match=sentence):
        PcmSource(PcmFormat(), stream=reader, first_wait_s=30.0)


def test_a_terminal_is_refused_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0), os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(UserError, match="standard input is a terminal; for example: ffmpeg"):
            PcmSource(PcmFormat())


def test_closing_ends_a_waiting_read(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, _ = pipe
    source = PcmSource(PcmFormat(), stream=reader, first_wait_s=0.0)
    outcome: list[str] = []

    def wait() -> None:
        try:
            source.read(60)
        except EndOfStream as end:
            outcome.append(str(end))

    thread = threading.Thread(target=wait)
    thread.start()
    source.close()
    thread.join(60)
    assert outcome == ["standard input was closed"]
