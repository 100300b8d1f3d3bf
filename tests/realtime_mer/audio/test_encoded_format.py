import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support import music

from realtime_mer.audio.encoded_format import HEAD_BYTES, StartCheck, encoded_format
from realtime_mer.audio.pcm import PCM_FORMATS

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
# name, its beginning in the message, options of ffmpeg
ENCODERS = [
    ("mp3", "an MP3 file", []),
    ("mp3", "an MP3 file", ["-write_xing", "0", "-id3v2_version", "0", "-b:a", "320k"]),
    ("mp3", "an MP3 file", ["-write_xing", "0", "-id3v2_version", "0", "-ar", "8000"]),
    ("mp2", "an MP3 file", []),
    ("aac", "AAC audio", []),
    ("ac3", "AC-3 audio", []),
    ("m4a", "an MPEG-4 file", []),
    ("mov", "an MPEG-4 file", ["-c:a", "aac"]),
    ("mkv", "a Matroska or WebM file", ["-c:a", "flac"]),
    ("ts", "an MPEG transport stream", ["-c:a", "aac"]),
    ("ogg", "an Ogg file", ["-c:a", "flac"]),
    ("wav", "a WAV file", []),
    ("w64", "a W64 file", []),
    ("wav", "a WAV file (RF64)", ["-rf64", "always"]),
    ("flac", "a FLAC file", []),
    ("caf", "a CAF file", []),
    ("aiff", "an AIFF file", []),
    ("au", "an AU file", []),
    ("wma", "a Windows Media file", []),
    ("wv", "a WavPack file", []),
    ("tta", "a TTA file", []),
    ("flv", "an FLV film", ["-c:a", "aac"]),
    ("avi", "an AVI film", []),
    ("dts", "DTS audio", ["-strict", "-2", "-ar", "48000"]),
    ("mpg", "an MPEG film", []),
]


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, 0.5 * music(2, 44_100, channels=2), 44_100)
    return path


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "name", "options"), ENCODERS)
def test_encoded_audio_is_recognised_by_its_first_bytes(
    song: Path, suffix: str, name: str, options: list[str]
) -> None:
    path = song.parent / f"encoded.{suffix}"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(song), *options, str(path)]
    if subprocess.run(command, check=False, timeout=60).returncode:
        pytest.skip(f"this ffmpeg cannot write {suffix}")
    head = path.read_bytes()[:HEAD_BYTES]
    found = encoded_format(head)
    assert found is not None
    assert found.name.startswith(name)
    assert found.is_audio


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp3", "aac"])
def test_a_radio_stream_may_begin_within_a_frame_or_after_silence(song: Path, suffix: str) -> None:
    path = song.parent / f"stream.{suffix}"
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-i",
        str(song),
        "-b:a",
        "128k",
        str(path),
    ]
    subprocess.run(command, check=True, timeout=60)
    data = path.read_bytes()
    for start in (1000, 1111, 5000):
        assert encoded_format(data[start : start + HEAD_BYTES]) is not None
    check = StartCheck()
    assert check.add(bytes(50_000)) is None
    assert check.add(data[:HEAD_BYTES]) is not None


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"ID3\2\0\0\0\0\x0f\x76TT2", "an MP3 file"),
        (b"ID3\4\0\x40\0\0\x0f\x76", "an MP3 file"),
        (b"#!AMR-WB\n", "an AMR file"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3", "a compressed file (gzip)"),
        (b"PK\3\4\x14\0\0\0", "a ZIP archive"),
        (b"MThd\0\0\0\6\0\1", "a MIDI file"),
        (b"\n<!DOCTYPE html>\n<html>", "a web page"),
        (b"#EXTM3U\n", "text"),
        ("Fehler: „Gerät“ lässt sich nicht öffnen, weil es nicht da ist; bitte " * 3, "text"),
    ],
)
def test_marks_and_other_content(head: bytes | str, name: str) -> None:
    found = encoded_format(head if isinstance(head, bytes) else head.encode())
    assert found is not None
    assert found.name.startswith(name)


def as_pcm(samples: NDArray[np.float64], encoding: str) -> bytes:
    if encoding[0] == "f":
        kind = {"f32": "f4", "f64": "f8"}[encoding[:3]]
        return bytes(samples.astype(("<" if encoding.endswith("le") else ">") + kind))
    bits = int("".join(c for c in encoding if c.isdigit()))
    limit = 2 ** (bits - 1)
    numbers = np.clip(np.round(samples * limit), -limit, limit - 1).astype("<i8")
    octets = (numbers + (128 if encoding == "u8" else 0)).view(np.uint8).reshape(-1, 8)
    octets = octets[:, : bits // 8]
    return bytes(octets[:, ::-1] if encoding.endswith("be") else octets)


def raw_signals() -> Iterator[NDArray[np.float64]]:
    """Music, tones, squares, constants and noise of many levels, with and without an offset."""
    rng = np.random.default_rng(5)
    time = np.arange(6000)
    song = music(1, 44_100, channels=2).ravel().astype(float)
    for _ in range(12):
        start = rng.integers(len(song) - len(time))
        tone = np.sin(2 * np.pi * time / rng.integers(2, 600))
        for signal in (
            song[start : start + len(time)],
            tone,
            np.sign(tone),
            tone + rng.normal(0, 0.01, len(time)),
            rng.uniform(-1, 1, len(time)),
            np.zeros(len(time)),
        ):
            level = 10 ** rng.uniform(-6.5, 0.3)
            yield level * signal + rng.choice([0, 1, -1]) * 10 ** rng.uniform(-7, -1)


@pytest.mark.parametrize("encoding", PCM_FORMATS)
def test_raw_samples_are_never_taken_for_a_file(encoding: str) -> None:
    for signal in raw_signals():
        data = as_pcm(signal, encoding)[:HEAD_BYTES]
        check = StartCheck()
        for start in range(0, len(data), 1764):
            assert check.add(data[start : start + 1764]) is None
        assert check.add(b"") is None


def test_random_bytes_are_never_taken_for_a_file() -> None:
    rng = np.random.default_rng(6)
    for _ in range(500):
        assert encoded_format(rng.bytes(8192)) is None
    for mark in (b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80\x2e\x7f\xfc", b"\x0b\x77", b"\x47"):
        for _ in range(50):  # the mark alone proves nothing
            assert encoded_format(mark + rng.bytes(8192)) is None


def test_an_exactly_periodic_tone_is_raw() -> None:
    """Its bytes repeat, and so does what looks like a frame header in them."""
    rng = np.random.default_rng(8)
    for _ in range(150):
        period = rng.integers(20, 300)
        level = 10 ** rng.uniform(-6, 0)
        tone = level * np.sin(2 * np.pi * np.arange(4096) / period) - rng.uniform(0, 0.6)
        for encoding in ("s32be", "s24be", "s16be"):
            assert encoded_format(as_pcm(tone, encoding)) is None


def test_constant_samples_are_not_text() -> None:
    """An offset can have the bytes of letters and line ends."""
    for octets in (b"n\n", b"T9X\r", b"j\r", b"Ab ", b"PPPQ", b"a b c d\n"):
        assert encoded_format(octets * 1000) is None


def test_slow_samples_full_of_sync_words_are_raw() -> None:
    """Values that s24be and s32be write with FF FB or FF F1 in each sample."""
    rng = np.random.default_rng(7)
    for value in range(-1200, -900, 7):
        for spread in (0, 1, 40):
            samples = (value + rng.integers(-spread, spread + 1, 4096)).astype(">i4")
            assert encoded_format(samples.tobytes()) is None
            octets = samples.view(np.uint8).reshape(-1, 4)[:, 1:]
            assert encoded_format(octets.tobytes()) is None


def test_pieces_of_a_stream_are_recognised_once_they_are_together() -> None:
    data = b"RIFF\0\0\0\0WAVEfmt " + bytes(3000)
    check = StartCheck()
    assert check.is_empty
    found = [check.add(data[at : at + 1]) for at in range(len(data))]
    assert any(kind is not None and kind.name == "a WAV file" for kind in found)
    assert not check.is_empty
    check = StartCheck()
    assert not any(check.add(os.urandom(1000)) for _ in range(30))
    assert check.is_complete
