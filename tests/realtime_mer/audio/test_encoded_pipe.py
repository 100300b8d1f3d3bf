import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile
from support import music
from support_audio import read_all

from realtime_mer.audio.encoded_pipe import EncodedPipeSource
from realtime_mer.audio.source import EndOfStream, InputKind, SourceLost
from realtime_mer.errors import UserError

RATE_HZ = 44_100
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.mp3"
    soundfile.write(path, music(3, RATE_HZ, channels=2), RATE_HZ, subtype="MPEG_LAYER_III")
    return path


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        yield reader, writer


def write_in_background(writer: IO[bytes], data: bytes) -> threading.Thread:
    """Write all of `data` and close."""

    def write() -> None:
        with writer:
            rest = memoryview(data)
            while rest:
                rest = rest[writer.write(rest) :]

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp3", "ogg", "aac", "ts"])
def test_encoded_audio_is_decoded_to_its_end(
    song: Path, pipe: tuple[IO[bytes], IO[bytes]], suffix: str
) -> None:
    path = song.with_suffix(f".{suffix}")
    if path != song:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(song), str(path)]
        subprocess.run(command, check=True, timeout=60)
    reader, writer = pipe
    thread = write_in_background(writer, path.read_bytes())
    with EncodedPipeSource(reader) as source:
        assert (source.info.kind, source.info.name) == (InputKind.PCM, "standard input")
        assert (source.info.sample_rate_hz, source.info.channels) == (RATE_HZ, 2)
        samples, end = read_all(source)
    thread.join()
    assert isinstance(end, EndOfStream)
    expected = soundfile.read(song)[0]
    # Encoders pad, and decoders cut off different parts of it.
    assert len(samples) == pytest.approx(len(expected), abs=6000)
    assert samples.std() == pytest.approx(float(expected.std()), rel=0.05)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "standard input ended before any audio arrived"),
        (bytes(100), "standard input has no header that tells its format; if it is raw PCM, give"),
        (b"\1\3\0\7\2" * 20_000, "standard input has no header that tells its format"),
        (b"<html><body>hello", "standard input contains a web page, not audio"),
    ],
)
def test_what_cannot_be_decoded_is_an_error(
    pipe: tuple[IO[bytes], IO[bytes]], data: bytes, sentence: str
) -> None:
    reader, writer = pipe
    thread = write_in_background(writer, data[:60_000])
    with pytest.raises(UserError, match=sentence):
        EncodedPipeSource(reader)
    thread.join()


@needs_ffmpeg
def test_a_damaged_file_is_an_error_in_our_words(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, writer = pipe
    thread = write_in_background(writer, b"\x1a\x45\xdf\xa3" + b"\1\0\3\7" * 5000)
    with pytest.raises(UserError, match="standard input cannot be played: it is damaged or not"):
        EncodedPipeSource(reader)
    thread.join()


@needs_ffmpeg
@pytest.mark.parametrize("name", ["half.m4a", "half.mka"])
def test_a_cut_file_is_told(
    song: Path, pipe: tuple[IO[bytes], IO[bytes]], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(song), "-c:a", "aac"]
    command += ["-movflags", "+faststart"] if name.endswith("m4a") else []
    subprocess.run([*command, str(path)], check=True, timeout=60)
    data = path.read_bytes()
    reader, writer = pipe
    thread = write_in_background(writer, data[: len(data) * 6 // 10])
    with EncodedPipeSource(reader) as source:
        samples, end = read_all(source)
    thread.join()
    assert isinstance(end, SourceLost)
    assert f"standard input breaks off at {len(samples) / RATE_HZ:.2f} s: " in str(end)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "mp3"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_the_length_that_the_start_states_is_compared(
    pipe: tuple[IO[bytes], IO[bytes]], tmp_path: Path, suffix: str, is_cut: bool
) -> None:
    """ffmpeg reads such a file from a pipe to any end."""
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, music(5, RATE_HZ, channels=2), RATE_HZ)
    data = path.read_bytes()
    reader, writer = pipe
    thread = write_in_background(writer, data[: len(data) * 6 // 10] if is_cut else data)
    with EncodedPipeSource(reader) as source:
        samples, end = read_all(source)
    thread.join()
    assert isinstance(end, SourceLost if is_cut else EndOfStream), end
    if is_cut:
        assert f"breaks off at {len(samples) / RATE_HZ:.2f} s of 5.0" in str(end)


@needs_ffmpeg
def test_a_recorder_that_does_not_know_its_length_is_whole(
    pipe: tuple[IO[bytes], IO[bytes]], tmp_path: Path
) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, music(2, RATE_HZ, channels=2), RATE_HZ)
    data = bytearray(path.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = b"\0\0\0\x80"
    reader, writer = pipe
    thread = write_in_background(writer, bytes(data))
    with EncodedPipeSource(reader) as source:
        assert isinstance(read_all(source)[1], EndOfStream)
    thread.join()


@needs_ffmpeg
def test_a_file_whose_index_is_at_its_end_needs_more_than_a_pipe(
    song: Path, pipe: tuple[IO[bytes], IO[bytes]]
) -> None:
    path = song.with_suffix(".m4a")  # ffmpeg writes the index last
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-stream_loop", "9", "-i", str(song)]
    subprocess.run([*command, "-b:a", "256k", str(path)], check=True, timeout=60)
    assert path.stat().st_size > 500_000  # more than ffmpeg keeps of a pipe
    reader, writer = pipe
    thread = write_in_background(writer, path.read_bytes())
    with EncodedPipeSource(reader) as source:
        samples, lost = read_all(source)
    thread.join()
    assert not len(samples)
    assert isinstance(lost, SourceLost)
    assert "holds no audio that can be read from a pipe; give a file to --input" in str(lost)


def test_zeros_are_not_read_for_ever() -> None:
    with (
        Path("/dev/zero").open("rb") as zeros,
        pytest.raises(UserError, match="has no header that tells its format"),
    ):
        EncodedPipeSource(zeros, open_timeout_s=120.0)


def test_a_silent_pipe_times_out(pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    with pytest.raises(UserError, match="standard input delivered no audio within 0 s"):
        EncodedPipeSource(pipe[0], open_timeout_s=0.1)


@needs_ffmpeg
def test_closing_stops_a_pipe_that_goes_on(song: Path, pipe: tuple[IO[bytes], IO[bytes]]) -> None:
    reader, writer = pipe
    writer.write(song.read_bytes()[:30_000])
    source = EncodedPipeSource(reader)
    assert source.read(30) is not None
    process = source._decoder._process
    source.close()
    assert process.poll() is not None
    assert isinstance(read_all(source)[1], EndOfStream)


@needs_ffmpeg
def test_with_loop_the_next_writer_of_a_fifo_goes_on(song: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def write() -> threading.Thread:
        return threading.Thread(target=fifo.write_bytes, args=(song.read_bytes(),))

    thread = write()
    thread.start()
    with EncodedPipeSource(fifo, loop=True, name="fifo") as source:
        samples, lost = read_all(source)
        thread.join()
        assert isinstance(lost, SourceLost)
        assert lost.recoverable
        with pytest.raises(SourceLost, match="fifo delivered no audio within") as again:
            source.reopen()
        assert again.value.recoverable
        thread = write()
        thread.start()
        source.reopen()
        np.testing.assert_array_equal(read_all(source)[0], samples)
        thread.join()


@needs_ffmpeg
def test_the_next_writer_of_a_fifo_may_have_another_format(song: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    other = tmp_path / "other.flac"
    soundfile.write(other, music(2, 22_050), 22_050)
    thread = threading.Thread(target=fifo.write_bytes, args=(song.read_bytes(),))
    thread.start()
    with EncodedPipeSource(fifo, loop=True, name="fifo") as source:
        info = source.info
        assert isinstance(read_all(source)[1], SourceLost)
        thread.join()
        thread = threading.Thread(target=fifo.write_bytes, args=(other.read_bytes(),))
        thread.start()
        source.reopen()
        samples = read_all(source)[0]
        thread.join()
        assert source.info == info
    assert samples.shape[1] == 2
    assert len(samples) == pytest.approx(2 * RATE_HZ, abs=100)


SHOW = """
from realtime_mer.audio.open_input import open_source
with open_source("-", pcm="auto") as source:
    print(source.info.kind, source.info.name, source.info.duration_s)
"""


def test_a_file_on_standard_input_is_read_as_a_file(tmp_path: Path) -> None:
    if not Path("/dev/stdin").exists():
        pytest.skip("this system has no /dev/stdin")
    path = tmp_path / "song.wav"
    soundfile.write(path, music(2, RATE_HZ), RATE_HZ)
    with path.open("rb") as file:
        command = [sys.executable, "-c", SHOW]
        shown = subprocess.run(command, stdin=file, capture_output=True, check=True, timeout=60)
    assert shown.stdout.split() == [b"file", b"song.wav", b"2.0"]
