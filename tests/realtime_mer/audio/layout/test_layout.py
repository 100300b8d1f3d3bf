"""The scans find streams, lengths and gaps without a decoder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from memory_support import in_own_process, scan_layout
from support import music

from realtime_mer.audio.layout import flac, mpeg, ogg, pcm
from realtime_mer.audio.layout.types import Layout, Part, tolerance_s
from realtime_mer.audio.layout.view import FileView

RATE_HZ = 44_100


def encoded(kind: str, subtype: str | None = None, seconds: float = 3.0) -> bytes:
    stream = io.BytesIO()
    samples = music(seconds, RATE_HZ, channels=2)
    soundfile.write(stream, samples, RATE_HZ, format=kind, subtype=subtype)
    return stream.getvalue()


def frame(byte: int = 0) -> bytes:
    """An MP3 frame of 128 kbit/s at 44.1 kHz: 417 bytes, 26.12 ms."""
    return b"\xff\xfb\x90\x64" + bytes([byte]) * 413


def scan(data: bytes) -> Layout | None:
    return mpeg.scan(io.BytesIO(data), 0, len(data))


def test_frames_are_counted() -> None:
    layout = scan(frame() * 1000)
    assert layout is not None
    [part] = layout.parts
    assert (part.sample_rate_hz, part.channels) == (44_100, 2)
    assert part.duration_s == pytest.approx(1000 * 1152 / 44_100)
    assert part.is_guessed
    assert part.ranges == ((0, 417_000),)


@pytest.mark.parametrize(
    "prefix", [b"", bytes(300_000), b"x" * 400, b"ID3\3\0\0\0\0\1\0" + bytes(128)]
)
def test_what_is_in_front_of_the_first_frame_is_left_out(prefix: bytes) -> None:
    layout = scan(prefix + frame() * 100)
    assert layout is not None
    assert layout.parts[0].ranges == ((len(prefix), len(prefix) + 41_700),)
    assert layout.gaps == ()


def test_foreign_bytes_are_a_gap_and_a_tag_is_none() -> None:
    tag = b"ID3\3\0\0\0\0\x27\x08" + b"\1" * 5000
    layout = scan(frame() * 200 + b"\1" * 9_000 + frame() * 200 + tag + frame() * 200)
    assert layout is not None
    assert layout.duration_s == pytest.approx(600 * 1152 / 44_100)
    [gap] = layout.gaps
    assert gap.at_s == pytest.approx(200 * 1152 / 44_100)
    assert gap.duration_s == pytest.approx(9_000 / 417 * 1152 / 44_100, rel=0.01)


def test_another_format_is_another_part() -> None:
    mono = b"\xff\xf3\x40\xc4" + bytes(100)  # 32 kbit/s at 22.05 kHz: 104 bytes
    layout = scan(frame() * 50 + mono * 50)
    assert layout is not None
    assert [(p.sample_rate_hz, p.channels) for p in layout.parts] == [(44_100, 2), (22_050, 1)]
    assert layout.needs_ffmpeg


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_not_mpeg_audio(seed: int) -> None:
    assert scan(np.random.default_rng(seed).bytes(300_000)) is None
    assert scan(b"\xff" * 50_000) is None


def test_a_few_frames_in_a_large_file_are_not_mpeg_audio() -> None:
    assert scan(frame() * 20 + np.random.default_rng(1).bytes(300_000)) is None


def test_a_long_scan_takes_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.mp3"
    path.write_bytes(frame() * 40_000)  # 17 MB, 17 minutes
    duration_s, peak = in_own_process(scan_layout, path)
    assert duration_s == pytest.approx(40_000 * 1152 / 44_100)
    assert peak < 8_000_000


def test_the_length_of_flac_is_that_of_its_last_frame() -> None:
    data = bytearray(encoded("FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    layout = flac.scan(io.BytesIO(bytes(data)), 0, len(data))
    assert layout is not None
    [(at, new)] = layout.parts[0].patches
    assert int.from_bytes(new) & 0xF_FFFF_FFFF == 3 * RATE_HZ
    data[at : at + 8] = new
    assert soundfile.info(io.BytesIO(bytes(data))).frames == 3 * RATE_HZ


def test_links_and_missing_pages_of_ogg() -> None:
    one = encoded("OGG", "VORBIS")
    layout = ogg.scan(io.BytesIO(one + one), 0, 2 * len(one))
    assert layout is not None
    assert [part.ranges for part in layout.parts] == [
        ((0, len(one)),),
        ((len(one), 2 * len(one)),),
    ]
    assert layout.duration_s == pytest.approx(6.0)
    assert not layout.is_cut
    pages = one.split(b"OggS")
    holed = b"OggS".join(pages[:6] + pages[7:])
    layout = ogg.scan(io.BytesIO(holed), 0, len(holed))
    assert layout is not None
    [gap] = layout.gaps
    assert 0.3 < gap.at_s < 2.7
    layout = ogg.scan(io.BytesIO(one[:-1]), 0, len(one) - 1)
    assert layout is not None
    assert layout.is_cut


def test_a_position_that_cannot_be_right_is_not_believed() -> None:
    pages = encoded("OGG", "VORBIS").split(b"OggS")
    pages[-1] = pages[-1][:2] + (1 << 50).to_bytes(8, "little") + pages[-1][10:]
    data = b"OggS".join(pages)
    layout = ogg.scan(io.BytesIO(data), 0, len(data))
    assert layout is not None
    assert layout.is_unfinished


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_the_missing_share_of_a_cut_file(kind: str) -> None:
    data = encoded(kind, "PCM_16")
    cut = data[: len(data) // 2]
    layout = pcm.scan(io.BytesIO(cut), 0, len(cut))
    assert layout is not None
    assert layout.missing_share == pytest.approx(0.5, abs=0.01)
    layout = pcm.scan(io.BytesIO(data), 0, len(data))
    assert layout is not None
    assert layout.missing_share == 0


def test_a_view_joins_ranges_and_applies_patches(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(100)))
    part = Part(((10, 20), (50, 60)), patches=((18, b"ABCD"), (52, b"x")))
    with FileView(path, part) as view:
        assert view.seek(0, 2) == 20
        view.seek(0)
        expected = bytes(range(10, 18)) + b"AB" + bytes([50, 51]) + b"x" + bytes(range(53, 60))
        assert view.read() == expected
        view.seek(7)
        assert view.read(4) == expected[7:11]


def test_a_view_of_a_guessed_length_ends_at_its_real_end(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(200)))
    with FileView(path, Part(((0, 200),), is_guessed=True)) as view:
        size = view.seek(0, 2)
        assert size > 200
        view.seek(-128, 2)
        assert view.read(128) == bytes(128)
        view.seek(190)
        assert view.read(50) == bytes(range(190, 200))


def test_a_read_error_ends_the_view_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(100))

    class Broken(io.FileIO):
        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with FileView(path, Part(((0, 100),))) as view:
        view._file.close()
        view._file = Broken(path)  # type: ignore[assignment]
        assert view.read(10) == b""
        assert view.error is not None
        assert view.error.strerror == "Input/output error"


@pytest.mark.parametrize(("seconds", "tolerance"), [(1, 0.1), (10, 0.2), (3600, 0.5)])
def test_tolerance(seconds: float, tolerance: float) -> None:
    assert tolerance_s(seconds) == pytest.approx(tolerance)
