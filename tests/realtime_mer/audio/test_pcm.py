import os
import pty
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from support_audio import read_all

from realtime_mer.audio.pcm import PCM_FORMATS, PcmFormat, PcmSource, standard_input
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


def test_values_beyond_32_bits_are_infinite_without_a_warning() -> None:
    decoded = PcmFormat(8000, 1, "f64le").decode(np.array([1e300, -1e40]).tobytes())
    np.testing.assert_array_equal(decoded, [[np.inf], [-np.inf]])


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
        (b"RIFF\0\0\0\0WAVE" + bytes(1000), "contains a WAV file, not raw PCM; give --pcm-format"),
        (b"OggS" + bytes(1000), "contains an Ogg file"),
        (b"fLaC" + bytes(1000), "contains a FLAC file"),
        (b"<html>" + bytes(1000), "contains a web page, not raw PCM; check the program"),
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
            standard_input()


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="needs standard input, which is closed"):
        standard_input()
    with Path(os.devnull).open() as closed:
        pass
    monkeypatch.setattr(sys, "stdin", closed)
    with pytest.raises(UserError, match="needs standard input, which is closed"):
        standard_input()


def read_frames(source: PcmSource, n_frames: int) -> list[int]:
    """Return the next samples of the first channel as 16-bit numbers."""
    numbers: list[int] = []
    while len(numbers) < n_frames:
        block = source.read(30)
        if block is not None:
            numbers += (block.samples[:, 0] * 32768).astype(int).tolist()
    return numbers


def test_a_fifo_is_read_until_its_writer_closes_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = PcmSource(PcmFormat(8000, 1), stream=fifo, name="fifo", first_wait_s=0.0)
    assert source.read(0.01) is None  # no writer yet
    with fifo.open("wb", buffering=0) as writer:
        assert source.read(0.01) is None
        writer.write(b"\1\0\2\0\3")
        assert read_frames(source, 2) == [1, 2]
    end = read_all(source)[1]
    assert str(end) == "fifo ended within a sample frame: 1 of 2 bytes ignored"
    source.close()


def test_with_loop_the_next_writer_of_a_fifo_goes_on(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with PcmSource(PcmFormat(8000, 1), stream=fifo, loop=True, first_wait_s=0.0) as source:
        for first in (1, 11, 21):  # each writer ends within a frame
            with fifo.open("wb", buffering=0) as writer:
                writer.write(np.arange(first, first + 5, dtype="<i2").tobytes() + b"\7")
                assert read_frames(source, 5) == list(range(first, first + 5))
            # One writer is gone before the next one comes.
            while source._incomplete:
                assert source.read(30) is None
        with fifo.open("wb", buffering=0) as writer:
            writer.write(b"fLaC" + bytes(1000))
        lost = read_all(source)[1]
        assert isinstance(lost, SourceLost)
        assert "contains a FLAC file" in str(lost)


def test_closing_ends_the_wait_for_a_writer(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = PcmSource(PcmFormat(8000, 1), stream=fifo, loop=True, first_wait_s=0.0)
    thread = source._pipe._thread
    source.close()
    assert isinstance(read_all(source)[1], EndOfStream)
    thread.join(60)
    assert not thread.is_alive()


def test_a_missing_fifo_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none' cannot be opened: No such file"):
        PcmSource(PcmFormat(), stream=tmp_path / "none")


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
