import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from memory_support import in_own_process, read_to_end
from support import music
from support_audio import read_all

from realtime_mer.audio import ffmpeg
from realtime_mer.audio.file import open_file
from realtime_mer.audio.source import EndOfStream, InputKind, Source, SourceLost
from realtime_mer.errors import UserError

RATE_HZ = 44_100
FORMATS = {
    "wav": {"subtype": "PCM_16"},
    "flac": {"subtype": "PCM_16"},
    "ogg": {"subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"subtype": "MPEG_LAYER_III"},
}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same five seconds in every format."""
    folder = tmp_path_factory.mktemp("music")
    for suffix, options in FORMATS.items():
        rate = 48_000 if suffix == "opus" else RATE_HZ
        soundfile.write(folder / f"song.{suffix}", music(5, rate, channels=2), rate, **options)
    return folder


@pytest.mark.parametrize("suffix", FORMATS)
def test_blocks_of_every_size_hold_the_same_samples(folder: Path, suffix: str) -> None:
    """Bit-identical, so that a file gives the same estimates live and offline."""
    with open_file(folder / f"song.{suffix}", block_s=0.02) as source:
        expected, _ = read_all(source)
    for block_s in (0.0001, 0.3331, 100.0):
        with open_file(folder / f"song.{suffix}", block_s=block_s) as source:
            np.testing.assert_array_equal(read_all(source)[0], expected)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("block_s", [0.02, 0.3331])
def test_every_format_is_read_as_soundfile_reads_it(
    folder: Path, suffix: str, block_s: float
) -> None:
    path = folder / f"song.{suffix}"
    expected, rate = soundfile.read(path, dtype="float32", always_2d=True)
    with open_file(path, block_s=block_s) as source:
        info = source.info
        assert (info.kind, info.name) == (InputKind.FILE, path.name)
        assert (info.sample_rate_hz, info.channels) == (rate, 2)
        assert (info.paced, info.live) == (True, False)
        assert info.duration_s == pytest.approx(5.0, abs=0.05)
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    # The output of the Opus decoder depends slightly on the size of a read.
    np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"long.{suffix}"
    soundfile.write(path, music(20, RATE_HZ, channels=2), RATE_HZ)  # 7 MB as float32
    assert in_own_process(read_to_end, path) < 500_000


def read_frames(source: Source, count: int) -> npt.NDArray[np.float32]:
    """Return at least `count` sample frames."""
    blocks: list[npt.NDArray[np.float32]] = []
    while sum(map(len, blocks)) < count:
        block = source.read(30)
        assert block is not None
        blocks.append(block.samples)
    return np.concatenate(blocks)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_the_loop_is_seamless(folder: Path, suffix: str) -> None:
    path = folder / f"song.{suffix}"
    once = soundfile.read(path, dtype="float32", always_2d=True)[0]
    with open_file(path, loop=True, block_s=1.7) as source:
        assert source.info.duration_s is None
        played = read_frames(source, 5 * len(once) // 2)
    np.testing.assert_allclose(played, np.tile(once, (3, 1))[: len(played)], atol=1e-4)


def test_a_file_shorter_than_a_block_can_loop(tmp_path: Path) -> None:
    path = tmp_path / "tick.wav"
    tick = music(0.01, RATE_HZ, channels=1)
    soundfile.write(path, tick, RATE_HZ, subtype="FLOAT")
    with open_file(path, loop=True, block_s=0.05) as source:
        np.testing.assert_array_equal(read_frames(source, 3 * 441), np.tile(tick, (3, 1)))


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac"])
def test_a_loop_plays_the_file_that_replaced_it(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "song.wav"
    shutil.copy(folder / f"song.{suffix}", path)
    other = music(3, RATE_HZ, channels=2, seed=7)
    with open_file(path, loop=True, block_s=0.5) as source:
        first = read_frames(source, RATE_HZ)
        soundfile.write(tmp_path / "new.flac", other, RATE_HZ)
        (tmp_path / "new.flac").replace(path)
        played = read_frames(source, 9 * RATE_HZ)
    assert len(first) == RATE_HZ
    start = 4 * RATE_HZ
    np.testing.assert_allclose(played[start : start + len(other)], other, atol=1e-3)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a"])
def test_a_looped_file_that_is_gone_can_come_back(
    folder: Path, foreign: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    original = foreign.get(suffix, folder / f"song.{suffix}")
    path = tmp_path / original.name
    shutil.copy(original, path)
    with open_file(path, loop=True, block_s=0.5) as source:
        read_frames(source, RATE_HZ)
        path.unlink()
        _, end = read_all(source)
        assert isinstance(end, SourceLost)
        assert end.recoverable
        assert "there is no file" in str(end)
        path.write_bytes(b"not music " * 100)
        with pytest.raises(SourceLost, match="cannot be read as music"):
            source.reopen()
        shutil.copy(original, path)
        source.reopen()
        assert len(read_frames(source, RATE_HZ)) >= RATE_HZ


@pytest.mark.parametrize(("rate", "channels"), [(22_050, 2), (RATE_HZ, 1)])
def test_a_loop_converts_the_file_that_replaced_it(
    folder: Path, tmp_path: Path, rate: int, channels: int
) -> None:
    path = tmp_path / "song.wav"
    shutil.copy(folder / "song.wav", path)
    other = music(3, rate, channels=channels, seed=7)
    with open_file(path, loop=True, block_s=0.5) as source:
        info = source.info
        soundfile.write(tmp_path / "new.wav", other, rate)
        (tmp_path / "new.wav").replace(path)
        played = read_frames(source, 8 * RATE_HZ - 2000)
        assert source.info == info
    second = played[5 * RATE_HZ :]
    assert second.shape[1] == 2
    assert second.std() == pytest.approx(float(other.mean(axis=1).std()), rel=0.05)


def test_a_looped_file_that_is_written_again_while_it_plays_can_come_back(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "song.wav"
    shutil.copy(folder / "song.wav", path)
    with open_file(path, loop=True, block_s=0.5) as source:
        read_frames(source, RATE_HZ)
        path.write_bytes(path.read_bytes()[: 2 * RATE_HZ * 4])
        _, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert end.recoverable


def test_an_mp3_with_variable_bit_rate_and_no_length_is_read_to_its_end(tmp_path: Path) -> None:
    """libsndfile alone stops at the length that the first frame's bit rate implies."""
    path = tmp_path / "song.mp3"
    quiet = np.zeros((RATE_HZ * 8, 2), np.float32)
    loud = music(8, RATE_HZ, channels=2, seed=1)
    soundfile.write(
        path, np.concatenate([loud, quiet, loud]), RATE_HZ, subtype="MPEG_LAYER_III",
        compression_level=0.5, bitrate_mode="VARIABLE",
    )  # fmt: skip
    data = path.read_bytes()
    tag = next(data.find(m) for m in (b"Xing", b"Info") if m in data[:4096])
    second = data.find(b"\xff\xfb", tag)
    path.write_bytes(data[second:])  # without the frame that states the length, as after a bad cut
    assert soundfile.info(path).duration != pytest.approx(24, abs=1)
    with open_file(path) as source:
        assert source.info.duration_s == pytest.approx(24, abs=0.1)
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    assert len(samples) == pytest.approx(24 * RATE_HZ, abs=RATE_HZ / 10)
    with open_file(path, loop=True) as source:
        played = read_frames(source, 2 * len(samples))
    again = played[len(samples) : 2 * len(samples)]
    np.testing.assert_allclose(again[RATE_HZ:], samples[RATE_HZ:], atol=1e-3)


def write(path: Path, data: bytes | bytearray) -> Path:
    path.write_bytes(data)
    return path


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file '.*gone\.flac'; check the name"):
        open_file(tmp_path / "gone.flac")
    with pytest.raises(UserError, match="is a folder; give a music file in it"):
        open_file(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would block
    with pytest.raises(UserError, match=r"pipe\.wav' is not a regular file; .* the input '-'"):
        open_file(tmp_path / "pipe.wav")
    with pytest.raises(UserError, match=r"'song\\x00\.wav' is not a path"):
        open_file(Path("song\0.wav"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "secret.wav", b"x")
    path.chmod(0)
    with pytest.raises(UserError, match="cannot be read; check its permissions"):
        open_file(path)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg"])
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"dear diary, today I heard a song\n" * 300, "cannot be read as music: it is text"),
        ("Chère musique, ".encode() * 300, "cannot be read as music: it is text"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"#EXTM3U\nhttp://x/y.mp3\n", "it is a playlist"),
        (np.random.default_rng(1).bytes(50_000), "damaged, cut short or not audio|without ffmpeg"),
    ],
)
def test_the_error_names_the_kind_of_a_file_without_audio(
    tmp_path: Path, suffix: str, data: bytes, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / f"song.{suffix}", data)
    with pytest.raises(UserError, match=sentence) as caught:
        open_file(path)
    assert f"song.{suffix}'" in str(caught.value)
    assert capfd.readouterr().err == ""  # libraries print nothing


def test_a_file_without_samples(tmp_path: Path) -> None:
    path = tmp_path / "nothing.wav"
    soundfile.write(path, np.zeros((0, 2)), RATE_HZ)
    with pytest.raises(UserError, match="holds no samples"):
        open_file(path)


def test_a_file_without_a_header_points_to_the_pipe(tmp_path: Path) -> None:
    path = write(tmp_path / "take.raw", bytes(1000))
    with pytest.raises(UserError, match="convert it to wav, or pipe"):
        open_file(path)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("loop", [False, True])
def test_an_incomplete_file_is_read_and_reported(
    folder: Path, tmp_path: Path, suffix: str, loop: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    data = (folder / f"song.{suffix}").read_bytes()
    path = write(tmp_path / f"half.{suffix}", data[: len(data) * 6 // 10 + 1])
    with open_file(path, loop=loop) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert not end.recoverable
    seconds = len(samples) / source.info.sample_rate_hz
    assert f"half.{suffix} breaks off at {seconds:.2f} s" in str(end)
    assert 1.5 < seconds < 4.5
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg"])
@pytest.mark.parametrize("block_s", [0.02, 1.0])
def test_damage_in_the_middle_is_found(
    folder: Path, tmp_path: Path, suffix: str, block_s: float
) -> None:
    data = bytearray((folder / f"song.{suffix}").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(2).bytes(3000)
    with open_file(write(tmp_path / f"bad.{suffix}", data), block_s=block_s) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert "breaks off at" in str(end)
    assert len(samples) > 2.2 * RATE_HZ  # up to the damage, for any block length


def test_a_wav_written_to_a_pipe_is_complete(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "song.wav").read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    with open_file(write(tmp_path / "piped.wav", data)) as source:
        samples, end = read_all(source)
    assert isinstance(end, EndOfStream)
    assert len(samples) == 5 * RATE_HZ


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("block_s", [0.02, 1.0])
def test_a_value_that_is_not_finite_is_reported_with_its_position(
    tmp_path: Path, value: float, block_s: float
) -> None:
    signal = music(1, RATE_HZ, channels=2)
    signal[30_000, 1] = value
    path = tmp_path / "broken.wav"
    soundfile.write(path, signal, RATE_HZ, subtype="FLOAT")
    with open_file(path, block_s=block_s) as source:
        samples, end = read_all(source)
    assert isinstance(end, SourceLost)
    assert f"broken.wav holds {value} at 0.68 s (sample frame 30000, channel 2)" in str(end)
    np.testing.assert_array_equal(samples, signal[:30_000])  # everything before it


def test_a_closed_file_is_over(folder: Path) -> None:
    source = open_file(folder / "song.ogg")
    source.close()
    source.close()
    with pytest.raises(EndOfStream):
        source.read(0)


def test_it_may_be_closed_while_another_thread_reads(folder: Path) -> None:
    source = open_file(folder / "song.mp3", loop=True)
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            while True:
                source.read(0)
        except EndOfStream as end:
            outcome.append(end)

    thread = threading.Thread(target=read)
    thread.start()
    source.close()
    thread.join(30)
    assert outcome


@pytest.fixture(scope="module")
def foreign(folder: Path) -> dict[str, Path]:
    """Formats that only ffmpeg reads."""
    paths = {}
    for suffix in ("m4a", "aac", "webm", "wma"):
        paths[suffix] = folder / f"song.{suffix}"
        subprocess.run(
            ["ffmpeg", "-y", "-loglevel", "error", "-i", folder / "song.wav", paths[suffix]],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    return paths


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "aac", "webm", "wma"])
def test_other_formats_come_through_ffmpeg(foreign: dict[str, Path], suffix: str) -> None:
    expected = music(5, RATE_HZ, channels=2)
    with open_file(foreign[suffix]) as source:
        assert source.info.kind == InputKind.FILE
        assert source.info.channels == 2
        samples, end = read_all(source)
        rate = source.info.sample_rate_hz
    assert isinstance(end, EndOfStream)
    assert len(samples) / rate == pytest.approx(5, abs=0.1)
    assert samples.std() == pytest.approx(float(expected.std()), rel=0.1)


@needs_ffmpeg
def test_a_loop_through_ffmpeg(foreign: dict[str, Path]) -> None:
    with open_file(foreign["m4a"], loop=True) as source:
        frames = 0
        while frames < 12 * source.info.sample_rate_hz:
            block = source.read(30)
            assert block is not None
            frames += len(block.samples)


@needs_ffmpeg
def test_without_ffmpeg_the_error_says_what_to_install(
    foreign: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ffmpeg.ffmpeg_path() is None
    with pytest.raises(
        UserError, match=r"is an MPEG-4 file \(m4a, mp4\), which needs ffmpeg \(.*install ffmpeg"
    ):
        open_file(foreign["m4a"])


@needs_ffmpeg
def test_a_broken_m4a_is_an_error(foreign: dict[str, Path], tmp_path: Path) -> None:
    path = write(tmp_path / "broken.m4a", foreign["m4a"].read_bytes()[:2000])
    with pytest.raises(UserError, match=r"broken\.m4a' cannot be read as music: it is damaged"):
        open_file(path)
