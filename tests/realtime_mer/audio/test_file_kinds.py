"""Files of every kind are read to their true length, or what is missing is told."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import music
from support_audio import read_all

from realtime_mer.audio.file import open_file
from realtime_mer.audio.source import EndOfStream, SourceLost
from realtime_mer.errors import UserError

RATE_HZ = 44_100
SECONDS = 6.0
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

Make = Callable[..., bytes]


def encode(
    seconds: float = SECONDS,
    kind: str = "WAV",
    subtype: str = "PCM_16",
    *,
    rate: int = RATE_HZ,
    channels: int = 2,
    seed: int = 0,
) -> bytes:
    """Return music as soundfile writes it."""
    stream = io.BytesIO()
    samples = music(seconds, rate, channels=channels, seed=seed)
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    return stream.getvalue()


mp3 = partial(encode, kind="MP3", subtype="MPEG_LAYER_III")
vorbis = partial(encode, kind="OGG", subtype="VORBIS")
opus = partial(encode, kind="OGG", subtype="OPUS", rate=48_000)
flac = partial(encode, kind="FLAC")


def untagged_vbr() -> bytes:
    """8 s of music, 8 s of silence, 8 s of music as MP3 without a length tag."""
    loud = music(8, RATE_HZ, channels=2, seed=1)
    stream = io.BytesIO()
    soundfile.write(
        stream, np.concatenate([loud, np.zeros_like(loud), loud]), RATE_HZ, format="MP3",
        subtype="MPEG_LAYER_III", compression_level=0.5, bitrate_mode="VARIABLE",
    )  # fmt: skip
    return without_tag(stream.getvalue())


def without_tag(data: bytes) -> bytes:
    """Return an MP3 without the frame that states the length."""
    tag = next(data.find(name) for name in (b"Xing", b"Info") if name in data[:4096])
    return data[data.find(data[:2], tag) :]


def stated(data: bytes, field: bytes, value: int, at: int = 4) -> bytes:
    """Return a RIFF file with another size behind the name of a chunk."""
    changed = bytearray(data)
    position = data.find(field) + at
    changed[position : position + 4] = struct.pack("<I", value)
    return bytes(changed)


def xing_count(data: bytes, frames: int) -> bytes:
    changed = bytearray(data)
    at = next(data.find(name) for name in (b"Xing", b"Info") if name in data[:4096]) + 8
    changed[at : at + 4] = struct.pack(">I", frames)
    return bytes(changed)


def vbri(data: bytes) -> bytes:
    """Return an MP3 with a VBRI tag in a frame of its own (128 kbit/s: 417 bytes)."""
    tag = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(data) + 417, round(24 * 44_100 / 1152))
    return b"\xff\xfb\x90\x64" + (bytes(32) + tag).ljust(413, b"\0") + data


def without_total(data: bytes) -> bytes:
    """Return FLAC whose header states no number of samples."""
    changed = bytearray(data)
    changed[21] &= 0xF0
    changed[22:26] = bytes(4)
    return bytes(changed)


def id3(size: int) -> bytes:
    return b"ID3\x03\0\0" + bytes([0, size >> 14 & 127, size >> 7 & 127, size & 127]) + b"\1" * size


def at_offset(data: bytes, frames: int) -> bytes:
    """Return an Ogg stream whose positions start later, as cut out of internet radio."""
    pages = data.split(b"OggS")
    moved = [pages[0]]
    for page in pages[1:]:
        position = struct.unpack_from("<q", page, 2)[0]
        new = position + frames if position > 0 else position
        body = bytearray(page[:2] + struct.pack("<q", new) + page[10:])
        body[18:22] = bytes(4)
        body[18:22] = struct.pack("<I", ogg_crc(b"OggS" + bytes(body)))
        moved.append(bytes(body))
    return b"OggS".join(moved)


def ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc >> 31 else crc << 1
    return crc


WHOLE: dict[str, tuple[Callable[[], bytes], float]] = {
    "mp3 that begins within a frame.mp3": (lambda: untagged_vbr()[50:], 24),
    "mp3 behind 20 kB of zeros.mp3": (lambda: bytes(20_000) + without_tag(mp3()), SECONDS),
    "mp3 behind 70 kB of zeros.mp3": (lambda: bytes(70_000) + mp3(), SECONDS),
    "mp3 behind two tags.mp3": (lambda: id3(3000) + id3(90) + untagged_vbr(), 24),
    "mp3 with a tag in the middle.mp3": (
        lambda: (d := without_tag(mp3()))[: len(d) // 2] + id3(9000) + d[len(d) // 2 :], SECONDS
    ),
    "mp3 in front of zeros.mp3": (lambda: mp3() + bytes(300_000), SECONDS),
    "mp3 in front of tags.mp3": (lambda: mp3() + b"TAG" + bytes(125), SECONDS),
    "two mp3 in a row.mp3": (lambda: mp3() + mp3(4.0, seed=1), SECONDS + 4),
    "untagged mp3 in a row.mp3": (lambda: without_tag(mp3()) + without_tag(mp3()), 2 * SECONDS),
    "an mp3 that states too few frames.mp3": (lambda: xing_count(mp3(), 20), SECONDS),
    "an mp3 that states no frames.mp3": (lambda: xing_count(mp3(), 0), SECONDS),
    "mp3 with a tag of Fraunhofer's encoder.mp3": (lambda: vbri(untagged_vbr()), 24),
    "chained vorbis.ogg": (lambda: vorbis() + vorbis(3.0, seed=1), SECONDS + 3),
    "chained opus.opus": (lambda: opus() + opus(2.0) + opus(2.0), SECONDS + 4),
    "vorbis from the middle of radio.ogg": (lambda: at_offset(vorbis(), 3600 * RATE_HZ), SECONDS),
    "vorbis behind a tag.ogg": (lambda: id3(500) + vorbis(), SECONDS),
    "flac without a total.flac": (lambda: without_total(flac()), SECONDS),
    "flac behind a tag.flac": (lambda: id3(500) + flac(), SECONDS),
    "flac behind a padded tag.flac": (lambda: id3(500) + bytes(900) + flac(), SECONDS),
    "flac in front of a tag.flac": (lambda: flac() + b"TAG" + bytes(125), SECONDS),
    "two flac in a row.flac": (lambda: flac() + flac(3.0, seed=1), SECONDS + 3),
    "two wav in a row.wav": (lambda: encode() + encode(2.0), SECONDS + 2),
    "wav with a list behind the samples.wav": (
        lambda: encode() + b"LIST" + struct.pack("<I", 4) + b"INFO", SECONDS
    ),
    "caf.caf": (lambda: encode(kind="CAF"), SECONDS),
    **{
        f"wav that states {size:x} bytes.wav": (
            partial(lambda size: stated(encode(), b"data", size), size), SECONDS
        )
        for size in (0, 1, 4096, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFDB, 0xFFFFFFFF)
    },
    "w64 that states no size.w64": (
        lambda: (d := encode(kind="W64"))[: (at := d.find(b"data") + 16)]
        + b"\xff" * 8 + d[at + 8 :], SECONDS
    ),
    "au that states no size.au": (
        lambda: (d := encode(kind="AU"))[:8] + b"\xff\xff\xff\xff" + d[12:], SECONDS
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_good_file_is_read_to_its_end_without_a_word(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By libsndfile alone."""
    make, seconds = WHOLE[name]
    path = tmp_path / name
    path.write_bytes(make())
    monkeypatch.setenv("PATH", str(tmp_path))
    with open_file(path) as source:
        assert source.info.duration_s is None or 0 < source.info.duration_s < seconds + 1
        samples, end = read_all(source)
        assert isinstance(end, EndOfStream), end
        assert len(samples) / source.info.sample_rate_hz == pytest.approx(seconds, abs=0.1)
    assert float(np.abs(samples[-RATE_HZ // 2 :]).max()) > 0.01
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["two mp3 in a row.mp3", "chained vorbis.ogg"])
def test_streams_in_a_row_loop(name: str, tmp_path: Path) -> None:
    make, seconds = WHOLE[name]
    path = tmp_path / name
    path.write_bytes(make())
    with open_file(path) as source:
        once, _ = read_all(source)
    with open_file(path, loop=True, block_s=2.5 * seconds) as source:
        source.read(0)
        again = source.read(0)
    assert again is not None
    np.testing.assert_allclose(again.samples, once, atol=1e-3)


CUT: dict[str, tuple[Callable[[], bytes], str]] = {
    "wav": (encode, "of 6.00 s"),
    "aiff": (lambda: encode(kind="AIFF"), "of 6.00 s"),
    "au": (lambda: encode(kind="AU"), "of 6.00 s"),
    "w64": (lambda: encode(kind="W64"), "of 6.00 s"),
    "rf64": (lambda: encode(kind="RF64"), "of 6.00 s"),
    "caf": (lambda: encode(kind="CAF"), "of 6.00 s"),
    "flac": (flac, "of 6.00 s"),
    "mp3": (mp3, r"of 6\.\d\d s"),
    "ogg": (vorbis, ""),
    "opus": (opus, ""),
}


@pytest.mark.parametrize("suffix", CUT)
def test_a_cut_file_is_told_with_the_time(suffix: str, tmp_path: Path) -> None:
    make, of = CUT[suffix]
    data = make()
    path = tmp_path / f"half.{suffix}"
    path.write_bytes(data[: len(data) * 6 // 10 + 1])
    with open_file(path) as source:
        samples, end = read_all(source)
        seconds = len(samples) / source.info.sample_rate_hz
    assert isinstance(end, SourceLost)
    assert re.search(rf"half\.{suffix} breaks off at {seconds:.2f} s.*{of}", str(end))
    assert str(end).endswith("; the audio before that was read")
    assert 2.5 < seconds < 5


def test_missing_pages_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    pages = vorbis().split(b"OggS")
    middle = len(pages) // 2
    path = tmp_path / "hole.ogg"
    path.write_bytes(b"OggS".join(pages[:middle] + pages[middle + 3 :]))
    with open_file(path) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    found = re.search(r"hole\.ogg breaks off at ([\d.]+) s for about ([\d.]+) s: ", str(end))
    assert found
    assert 1 < float(found[1]) < 5
    assert len(samples) / RATE_HZ == pytest.approx(SECONDS - float(found[2]), abs=0.3)
    assert "the rest was read" in str(end)


def test_foreign_bytes_in_an_mp3_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    data = without_tag(mp3())
    half = len(data) // 2
    path = tmp_path / "hole.mp3"
    path.write_bytes(data[:half] + np.random.default_rng(1).bytes(60_000) + data[half:])
    with open_file(path) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert re.search(r"hole\.mp3 breaks off at [23]\.\d\d s for about [\d.]+ s: ", str(end))
    assert len(samples) / RATE_HZ == pytest.approx(SECONDS, abs=0.1)


@needs_ffmpeg
def test_what_follows_damage_in_flac_is_read_through_ffmpeg(tmp_path: Path) -> None:
    data = bytearray(flac())
    third = len(data) // 3
    data[third : third + 9000] = np.random.default_rng(1).bytes(9000)
    path = tmp_path / "hole.flac"
    path.write_bytes(data)
    with open_file(path, block_s=0.5) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    found = re.search(r"hole\.flac breaks off at ([\d.]+) s for about ([\d.]+) s: ", str(end))
    assert found
    assert str(end).endswith("; the rest was read")
    assert 1 < float(found[1]) < 3
    assert len(samples) / RATE_HZ == pytest.approx(SECONDS - float(found[2]), abs=0.01)
    original = music(SECONDS, RATE_HZ, channels=2)
    np.testing.assert_allclose(samples[-RATE_HZ:], original[-RATE_HZ:], atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: mp3() + mp3(4.0, rate=22_050),
        lambda: mp3() + mp3(4.0, channels=1),
        lambda: vorbis() + vorbis(4.0, rate=22_050),
        lambda: flac() + flac(4.0, channels=1),
    ],
)
def test_without_ffmpeg_a_change_of_format_is_told(
    make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "change"
    path.write_bytes(make())
    monkeypatch.setenv("PATH", str(tmp_path))
    with open_file(path) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert re.search(
        r"change changes from 44100 Hz and 2 channel\(s\) to .* at 6\.0\d s; install", str(end)
    )
    assert len(samples) / RATE_HZ == pytest.approx(SECONDS, abs=0.1)


@needs_ffmpeg
@pytest.mark.parametrize(
    "make",
    [
        lambda: mp3() + mp3(4.0, rate=22_050),
        lambda: mp3() + mp3(4.0, channels=1),
        lambda: mp3(4.0, rate=22_050, channels=1) + mp3(),
    ],
)
def test_with_ffmpeg_a_change_of_format_is_read(make: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "change.mp3"
    path.write_bytes(make())
    with open_file(path) as source:
        samples, end = read_all(source)
        assert isinstance(end, EndOfStream)
        assert len(samples) / source.info.sample_rate_hz == pytest.approx(10, abs=0.2)


def ffmpeg(source: Path, target: Path, *options: str) -> Path:
    subprocess.run(
        ["ffmpeg", "-y", "-loglevel", "error", "-i", source, *options, target],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return target


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    path.write_bytes(encode(8.0))
    return path


FOREIGN = {
    "oggflac.ogg": ("-c:a", "flac"),
    "speex.spx": ("-c:a", "libspeex", "-ar", "16000", "-ac", "1"),
    "base.tta": (),
    "base.ts": ("-c:a", "aac"),
    "base.flv": ("-c:a", "aac"),
    "base.avi": ("-c:a", "libmp3lame"),
    "base.dts": ("-ar", "48000", "-c:a", "dca", "-strict", "-2"),
    "base.latm": ("-c:a", "aac"),
    "alac.caf": ("-c:a", "alac"),
    "base.wv": (),
    "base.ac3": (),
    "pcm-alaw.mov": ("-c:a", "pcm_alaw"),
    "live.webm": ("-c:a", "libopus", "-ar", "48000", "-live", "1"),
    "fragments.mp4": ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "high.wv": ("-ar", "384000"),
    "high.wav": ("-ar", "384000"),
    "low.m4a": ("-ar", "7350", "-ac", "1", "-c:a", "aac"),
    "film.ogv": ("-f", "lavfi", "-i", "color=black:s=64x64:d=8:r=10", "-c:v", "libtheora",
                 "-c:a", "libvorbis", "-shortest"),
}  # fmt: skip


@needs_ffmpeg
@pytest.mark.parametrize("name", FOREIGN)
def test_what_libsndfile_refuses_is_read_through_ffmpeg(
    name: str, song: Path, tmp_path: Path
) -> None:
    try:
        path = ffmpeg(song, tmp_path / name, *FOREIGN[name])
    except subprocess.CalledProcessError:
        pytest.skip(f"this ffmpeg cannot write {name}")
    with open_file(path) as source:
        samples, end = read_all(source)
        assert isinstance(end, EndOfStream), end
        assert len(samples) / source.info.sample_rate_hz == pytest.approx(8, abs=0.15)
        assert 8_000 <= source.info.sample_rate_hz <= 192_000


@needs_ffmpeg
@pytest.mark.parametrize("prefix", [id3(700), id3(700) + bytes(900)], ids=["tag", "padded tag"])
def test_a_tag_does_not_hide_a_file_from_ffmpeg(prefix: bytes, song: Path, tmp_path: Path) -> None:
    plain = ffmpeg(song, tmp_path / "plain.tta")
    path = tmp_path / "tagged.tta"
    path.write_bytes(prefix + plain.read_bytes())
    with open_file(path) as source:
        samples, end = read_all(source)
        assert isinstance(end, EndOfStream)
        assert len(samples) / source.info.sample_rate_hz == pytest.approx(8, abs=0.1)


PICTURE = ("-f", "lavfi", "-i", "color=black:s=64x64:d=8:r=10")

CUT_FOREIGN = {
    "half.m4a": ("-c:a", "aac", "-movflags", "+faststart"),
    "half.wma": ("-c:a", "wmav2"),
    "half.wv": (),
    "half.tta": (),
    "half.mka": ("-c:a", "aac"),
    "half.avi": ("-c:a", "libmp3lame"),
    "half-fragments.mp4": ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "half.spx": ("-c:a", "libspeex", "-ar", "16000", "-ac", "1"),
    "half.oga": ("-c:a", "flac"),
    "half.flv": (*PICTURE, "-c:a", "aac"),
    "half.mp3.wav": ("-c:a", "libmp3lame", "-f", "wav"),
}


@needs_ffmpeg
@pytest.mark.parametrize("name", CUT_FOREIGN)
@pytest.mark.parametrize("loop", [False, True])
def test_ffmpeg_does_not_hide_that_a_file_is_cut(
    name: str, loop: bool, song: Path, tmp_path: Path
) -> None:
    """ffmpeg itself ends with the exit code 0."""
    try:
        path = ffmpeg(song, tmp_path / name, *CUT_FOREIGN[name])
    except subprocess.CalledProcessError:
        pytest.skip(f"this ffmpeg cannot write {name}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10 + 1])
    with open_file(path, loop=loop) as source:
        samples, end = read_all(source)
        seconds = len(samples) / source.info.sample_rate_hz
    assert isinstance(end, SourceLost)
    assert not end.recoverable
    assert f"{path.name} breaks off at {seconds:.2f} s" in str(end)
    assert 3 < seconds < 7


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_a_wav_that_holds_mpeg_audio_is_whole(codec: str, song: Path, tmp_path: Path) -> None:
    path = ffmpeg(song, tmp_path / "mpeg.wav", "-c:a", codec)
    with open_file(path) as source:
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    assert len(samples) / RATE_HZ == pytest.approx(8, abs=0.1)


@needs_ffmpeg
def test_a_piece_of_a_longer_flac_is_read(song: Path, tmp_path: Path) -> None:
    """Its header and its frames count as in the whole file."""
    whole, piece = ffmpeg(song, tmp_path / "whole.flac"), tmp_path / "piece.flac"
    ffmpeg(whole, piece, "-ss", "2", "-c", "copy")
    with open_file(piece) as source:
        samples, end = read_all(source)
        seconds = len(samples) / source.info.sample_rate_hz
    assert isinstance(end, EndOfStream), end
    assert seconds == pytest.approx(soundfile.info(whole).duration - 2, abs=0.3)
    data = piece.read_bytes()
    piece.write_bytes(data[: len(data) // 2])
    with open_file(piece) as source:
        _, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert f" of {seconds:.2f} s" in str(end)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mkv", "flv", "avi", "ts", "mp4", "wmv"])
def test_sound_that_starts_late_and_ends_before_its_film_is_whole(
    suffix: str, song: Path, tmp_path: Path
) -> None:
    """What ffprobe states as the length of the sound is then that of the film."""
    film, late = tmp_path / f"film.{suffix}", ("-itsoffset", "12", "-i", str(song))
    black = ("-f", "lavfi", "-i", "color=black:s=64x64:d=30:r=10")
    ffmpeg(song, film, *black, *late, "-map", "1:v", "-map", "2:a")
    with open_file(film) as source:
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream), end
    assert len(samples) / source.info.sample_rate_hz > 5
    data = film.read_bytes()
    if suffix in ("mkv", "flv", "avi", "wmv"):
        film.write_bytes(data[: len(data) * 7 // 10])
        with open_file(film) as source:
            _, end = read_all(source)
        assert isinstance(end, SourceLost)


@needs_ffmpeg
def test_audio_that_is_shorter_than_its_film_is_whole(song: Path, tmp_path: Path) -> None:
    for name in ("film.mp4", "film.mkv", "film.avi"):
        film = ffmpeg(song, tmp_path / name, "-f", "lavfi", "-i", "color=black:s=64x64:d=14:r=5")
        with open_file(film) as source:
            samples, end = read_all(source)
            assert isinstance(end, EndOfStream), end
            assert len(samples) / source.info.sample_rate_hz == pytest.approx(8, abs=0.15)


@needs_ffmpeg
def test_sound_that_starts_late_is_whole(song: Path, tmp_path: Path) -> None:
    path = ffmpeg(song, tmp_path / "late.mka", "-c:a", "aac", "-output_ts_offset", "30")
    with open_file(path) as source:
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream), end
    assert len(samples) / RATE_HZ == pytest.approx(8, abs=0.15)


@needs_ffmpeg
def test_a_film_without_sound_and_a_picture_are_called_so(tmp_path: Path) -> None:
    black = ["-f", "lavfi", "-i", "color=black:s=64x64:d=1:r=5"]
    for name, options, sentence in (
        ("film.mp4", black, "it is video without sound"),
        ("cover.mp3", [*black, "-frames:v", "1", "-f", "image2", "-c:v", "png"], "it is a picture"),
    ):
        path = tmp_path / name
        subprocess.run(["ffmpeg", "-loglevel", "error", *options, path], check=True)
        with pytest.raises(UserError, match=sentence):
            open_file(path)


@needs_ffmpeg
def test_two_m4a_in_a_row_are_told(song: Path, tmp_path: Path) -> None:
    data = ffmpeg(song, tmp_path / "one.m4a", "-c:a", "aac").read_bytes()
    path = tmp_path / "two.m4a"
    path.write_bytes(data + data)
    with open_file(path) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert "two.m4a also holds a second file behind the first, which was not read" in str(end)
    assert len(samples) / RATE_HZ == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "it is a picture"),
        (b"PK\x03\x04" + bytes(2000), "it is a ZIP archive"),
        (b"%PDF-1.7" + bytes(2000), "it is a PDF document"),
        (("Songs und Töne" * 50).encode("utf-16"), "it is text"),
        (b"\xef\xbb\xbf#EXTM3U\r\nhttp://a/b.mp3\r\n", "it is a playlist"),
        (b"[playlist]\nFile1=http://a/b\n", "it is a playlist"),
        (encode()[:44], "no samples|damaged"),
        (stated(encode(), b"fmt ", 1, at=12)[:60], "no samples|damaged|its sample rate is"),
        (b"\0" * 5000, "damaged, cut short or not audio|without ffmpeg"),
    ],
)
def test_what_is_not_music_gets_the_sentence_that_fits(
    data: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        open_file(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("make", [encode, mp3, vorbis])
def test_a_name_that_is_not_utf_8(make: Make, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(make())
    with open_file(path) as source:
        samples, end = read_all(source)
        assert source.info.name == "caf\N{REPLACEMENT CHARACTER}.wav"
    assert isinstance(end, EndOfStream)
    assert len(samples) / RATE_HZ == pytest.approx(SECONDS, abs=0.1)


@needs_ffmpeg
@pytest.mark.parametrize(
    "name", ["a:b.m4a", "-i.m4a", "100%d.m4a", "a'b\"c.m4a", "a\nb.m4a", "pipe:0.m4a", "é🎵.m4a"]
)
def test_a_name_that_means_something_to_ffmpeg(
    name: str, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ffmpeg(song, tmp_path / "plain.m4a", "-c:a", "aac")
    monkeypatch.chdir(tmp_path)
    plain.rename(tmp_path / name)
    with open_file(Path(name)) as source:
        samples, _ = read_all(source)
    assert len(samples) / RATE_HZ == pytest.approx(8, abs=0.1)
