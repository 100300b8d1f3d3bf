import os
import socket
from pathlib import Path

import pytest
import soundfile
from support import music

from realtime_mer.audio import microphone
from realtime_mer.audio.file import AUDIO_SUFFIXES
from realtime_mer.audio.microphone import InputDevice
from realtime_mer.audio.open_input import default_input, input_kind, open_file_or_demo, open_source
from realtime_mer.audio.pcm import PcmFormat
from realtime_mer.audio.source import InputKind
from realtime_mer.errors import UserError


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[InputDevice]:
    """The devices of the machine; tests change the list."""
    devices = [InputDevice(0, "Line 1/2", "ALSA", 2, 48_000, True, False)]
    monkeypatch.setattr(microphone, "list_input_devices", lambda: devices)
    return devices


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("default", InputKind.MICROPHONE),
        ("demo", InputKind.DEMO),
        ("Demo", InputKind.DEMO),
        ("browser", InputKind.BROWSER),
        ("-", InputKind.PCM),
        ("https://radio.example/stream.mp3", InputKind.URL),
        ("3", InputKind.MICROPHONE),
        ("USB Audio", InputKind.MICROPHONE),
        ("Line 1/2", InputKind.MICROPHONE),  # a slash, but a device
        ("Line 1/", InputKind.MICROPHONE),
        ("song.mp3", InputKind.FILE),  # missing, but a file
        ("SONG.FLAC", InputKind.FILE),
        ("music/song", InputKind.FILE),
        ("..\\song", InputKind.FILE),
        ("file:///music/song", InputKind.FILE),
        ("~/song", InputKind.FILE),
        ("x" * 300, InputKind.MICROPHONE),
        ("x" * 300 + ".wav", InputKind.FILE),
        ("music/" + "x" * 300, InputKind.FILE),
    ],
)
@pytest.mark.usefixtures("devices")
def test_kinds_of_input(spec: str, kind: InputKind) -> None:
    assert input_kind(spec) == kind


def test_an_existing_file_is_a_file_with_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take five").write_bytes(b"x")
    assert input_kind("take five") == InputKind.FILE


def test_a_fifo_is_read_as_raw_samples(tmp_path: Path) -> None:
    fifo = tmp_path / "mpd.fifo"
    os.mkfifo(fifo)
    assert input_kind(str(fifo)) == InputKind.PCM
    with open_source(str(fifo), pcm=PcmFormat(48_000, 1, "s32le"), loop=True) as source:
        assert (source.info.kind, source.info.name) == (InputKind.PCM, str(fifo))
        assert (source.info.sample_rate_hz, source.info.channels) == (48_000, 1)
        with fifo.open("wb", buffering=0) as writer:
            writer.write(bytes(400))
            block = source.read(30)
            assert block is not None
            assert len(block.samples) == 100


@pytest.mark.usefixtures("devices")
def test_sockets_and_devices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        for spec in (str(path), "/dev/zero"):
            with pytest.raises(UserError, match=f"'{spec}' is not a regular file"):
                open_source(spec)


@pytest.mark.usefixtures("devices")
def test_the_error_for_a_missing_file_is_about_a_file() -> None:
    with pytest.raises(UserError, match=r"there is no file 'holiday\.ogg'"):
        open_source("holiday.ogg")


def test_without_input_the_default_device_or_the_demo(devices: list[InputDevice]) -> None:
    spec, sentence = default_input()
    assert (spec, sentence) == (
        "default",
        "no --input given: using the default input, Line 1/2",
    )
    devices.clear()
    spec, sentence = default_input()
    assert spec == "demo"
    assert "there is no input device" in sentence
    announced: list[str] = []
    with open_source(announce=announced.append) as source:
        assert source.info.kind == InputKind.DEMO
    assert announced == [sentence]


def test_a_folder_called_demo_does_not_hide_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    with open_file_or_demo("demo", block_s=0.5) as source:
        assert source.info.kind == InputKind.DEMO
    (tmp_path / "demo").rmdir()
    soundfile.write(tmp_path / "demo", music(0.1, 44_100), 44_100, format="WAV")
    with open_file_or_demo("demo") as source:
        assert source.info.kind == InputKind.FILE


def test_home_and_addresses_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "a song.wav"
    soundfile.write(path, music(0.1, 44_100), 44_100)
    for name in ("~/a song.wav", path.as_uri()):
        for open_it in (open_source, open_file_or_demo):
            with open_it(name) as source:
                assert source.info.name == "a song.wav"


def test_a_folder_is_not_called_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: list[InputDevice]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("songs").mkdir()
    devices.clear()
    with pytest.raises(UserError, match="'songs' is a folder"):
        open_source("songs")


def test_options_reach_the_source(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, music(0.1, 44_100), 44_100)
    with open_source(str(path), loop=True, block_s=0.05) as source:
        blocks = [source.read(0) for _ in range(5)]
    assert [block and len(block.samples) for block in blocks] == 5 * [2205]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("browser", "realtime-mer serve --input browser"),
        ("", "the input is empty"),
        (" ", "the input is empty"),
        ("ftp://x/a.mp3", "addresses that start with ftp://"),
        ("file://nas/a.mp3", "on the computer 'nas'"),
        ("x" * 300 + ".wav", "File name too long"),
    ],
)
def test_inputs_that_cannot_be_opened(spec: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        open_source(spec)


def test_suffixes_of_audio_files() -> None:
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3"} <= AUDIO_SUFFIXES
