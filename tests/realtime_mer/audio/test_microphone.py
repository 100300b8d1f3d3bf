import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support import ManualClock
from support_pulse import VirtualMicrophone, find_in, refresh_devices

from realtime_mer.audio import microphone
from realtime_mer.audio.demo import SAMPLE_RATE_HZ, render_demo
from realtime_mer.audio.microphone import (
    InputDevice,
    MicrophoneSource,
    default_device,
    find_device,
    list_input_devices,
)
from realtime_mer.audio.source import Block, EndOfStream, InputKind, SourceLost
from realtime_mer.errors import UserError


def device(index: int, name: str, *, api: str = "ALSA", default: bool = False) -> InputDevice:
    return InputDevice(index, name, api, 2, 48_000, default, False)


DEVICES = (
    device(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)"),
    device(2, "USB Audio CODEC: - (hw:1,0)"),
    device(5, "USB Audio CODEC 2: - (hw:2,0)"),
    device(6, "pulse"),
    device(7, "pulse (second)"),
    device(9, "default", default=True),
)


@pytest.mark.parametrize(
    ("spec", "index"),
    [
        ("default", 9),
        ("Default", 9),
        ("5", 5),
        ("hda intel", 0),
        ("CODEC 2", 5),
        ("pulse", 6),  # an exact name has priority over a part of a name
        ("PULSE, alsa", 6),
        ("(second)", 7),
    ],
)
def test_a_device_by_index_name_or_part_of_it(spec: str, index: int) -> None:
    assert find_device(spec, DEVICES).index == index


def test_an_ambiguous_name_lists_the_matches() -> None:
    with pytest.raises(UserError) as caught:
        find_device("usb audio", DEVICES)
    assert "'usb audio' matches 2 input devices" in str(caught.value)
    assert "  2  USB Audio CODEC: - (hw:1,0), ALSA\n  5  USB Audio CODEC 2" in str(caught.value)
    assert "HDA" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("theremin", "no input device is called 'theremin'; there are:\n  0  HDA"),
        ("3", "no input device has the index 3; there are:\n  0  HDA"),
    ],
)
def test_an_unknown_device_lists_the_devices(spec: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        find_device(spec, DEVICES)
    assert str(caught.value).startswith(sentence)


def test_without_a_device_the_error_suggests_the_demo() -> None:
    for spec in ("default", "USB"):
        with pytest.raises(UserError, match="use the input 'demo'"):
            find_device(spec, [])


def test_without_a_default_the_error_lists_the_devices() -> None:
    with pytest.raises(UserError, match="there is no default input device; choose one"):
        default_device(DEVICES[:2])


def test_the_host_api_of_the_default_device_has_priority() -> None:
    same = [
        device(1, "Line In", api="MME"),
        device(4, "Line In", api="Windows WASAPI"),
        device(5, "Microphone", api="Windows WASAPI", default=True),
    ]
    assert find_device("line in", same).index == 4
    assert find_device("Line In, MME", same).index == 1
    with pytest.raises(UserError, match="matches 2 input devices"):
        find_device("line in", same[:2])


SERVED = (
    device(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)"),
    InputDevice(6, "Mikrofon", "PipeWire", 1, 48_000, True, False, "alsa_input.usb.mono"),
    InputDevice(7, "Monitor of Küche", "PipeWire", 2, 44_100, False, True, "kitchen.monitor"),
    InputDevice(8, "Monitor of Küche 2", "PipeWire", 2, 44_100, False, True, "other.monitor"),
)


@pytest.mark.parametrize(
    ("spec", "index"),
    [
        ("default", 6),
        ("pulse", 6),
        ("pipewire", 6),
        ("monitor of küche", 7),
        ("Other.Monitor", 8),
        ("alsa_input", 6),
        ("7", 7),
        ("hda", 0),
    ],
)
def test_a_source_of_the_sound_server_by_either_name(spec: str, index: int) -> None:
    assert find_device(spec, SERVED).index == index


def test_an_ambiguous_source_lists_both_names() -> None:
    with pytest.raises(UserError, match=r"  8  Monitor of Küche 2, PipeWire \(other.monitor\)"):
        find_device("monitor of", SERVED)


def test_without_portaudio_the_error_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real_import(name, *args, **kwargs)

    import builtins

    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"PortAudio is missing.*install libportaudio2"):
        MicrophoneSource("default")


class FakePortAudio:
    """A fake of the module sounddevice, with devices that tests plug in, unplug and break."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.names = ["HDA Intel", "USB Audio"]
        self.listed = list(self.names)  # the devices when PortAudio last started
        self.refuse = False
        self.rate_hz = 48_000
        self.channels: int | None = None
        self.streams: list[SimpleNamespace] = []
        self.default = SimpleNamespace(device=(0, -1))

    def query_hostapis(self) -> list[dict[str, object]]:
        return [{"name": "ALSA", "default_input_device": 0}]

    def query_devices(self) -> list[dict[str, object]]:
        return [
            {
                "index": index,
                "name": name,
                "hostapi": 0,
                "max_input_channels": self.channels or (8 if "USB" in name else 1),
                "default_samplerate": float(self.rate_hz),
            }
            for index, name in enumerate(self.listed)
        ]

    def _terminate(self) -> None:
        self.listed = []

    def _initialize(self) -> None:
        self.listed = list(self.names)

    def InputStream(self, **options: Any) -> Any:
        if self.refuse:
            raise self.PortAudioError("Error opening InputStream: Device unavailable", -9985)
        stream = SimpleNamespace(
            **options, start=lambda: None, closed=False, device_name=self.listed[options["device"]]
        )
        stream.close = lambda: setattr(stream, "closed", True)
        self.streams.append(stream)
        return stream

    def send(self, samples: NDArray[np.float32], *, overflow: bool = False) -> None:
        """Call the callback, as PortAudio's thread does."""
        stream = self.streams[-1]
        stream.callback(samples, len(samples), None, SimpleNamespace(input_overflow=overflow))

    def unplug(self, name: str) -> None:
        self.names.remove(name)
        self.streams[-1].finished_callback()


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio()
    monkeypatch.setattr(microphone, "_sounddevice", lambda: fake)
    return fake


def frames(n: int, value: float = 0.5, channels: int = 2) -> NDArray[np.float32]:
    return np.full((n, channels), value, np.float32)


def test_opens_at_the_native_rate_with_at_most_two_channels(portaudio: FakePortAudio) -> None:
    with MicrophoneSource("usb") as source:
        assert (source.info.sample_rate_hz, source.info.channels) == (48_000, 2)
        assert source.info.kind == InputKind.MICROPHONE
        assert source.info.live
        assert not source.info.paced
    with MicrophoneSource("hda") as source:
        assert source.info.channels == 1
    assert [stream.closed for stream in portaudio.streams] == [True, True]


def test_overflows_and_losses_are_in_the_next_block(portaudio: FakePortAudio) -> None:
    clock = ManualClock()
    with MicrophoneSource("usb", clock=clock) as source:
        portaudio.send(frames(100))
        block = source.read(0)
        assert block is not None
        assert (block.dropped_before, block.overflows, block.captured_at) == (0, 0, 100.0)
        clock.advance(2.5)
        portaudio.send(frames(48_000), overflow=True)
        portaudio.send(frames(48_000), overflow=True)
        portaudio.send(frames(1_000, 0.25))
        blocks = [source.read(0), source.read(0), source.read(0)]
        assert isinstance(blocks[0], Block)
        assert isinstance(blocks[1], Block)
        assert blocks[2] is None
        assert blocks[0].dropped_before == 1_000  # the ring holds two seconds
        assert blocks[0].overflows == 2
        assert blocks[1].overflows == 0
        assert blocks[0].captured_at == 102.5
        assert blocks[1].samples[-1, 0] == 0.25
        assert len(blocks[0].samples) + len(blocks[1].samples) == 96_000


def test_a_device_that_cannot_be_opened(portaudio: FakePortAudio) -> None:
    portaudio.refuse = True
    with pytest.raises(UserError, match="'USB Audio' cannot be opened at 48000 Hz: Device unava"):
        MicrophoneSource("usb")


def test_an_unplugged_device_is_reopened_by_name(portaudio: FakePortAudio) -> None:
    source = MicrophoneSource("usb")
    portaudio.send(frames(10))
    portaudio.unplug("USB Audio")
    assert source.read(0) is not None  # samples from before the loss
    with pytest.raises(SourceLost, match="'USB Audio' is gone") as lost:
        source.read(0)
    assert lost.value.recoverable
    for _ in range(2):
        with pytest.raises(SourceLost, match="'USB Audio' is not connected") as lost:
            source.reopen()
        assert lost.value.recoverable
        with pytest.raises(SourceLost, match="gone"):
            source.read(0)
    portaudio.names = ["Webcam", "Bluetooth", "HDA Intel", "USB Audio"]
    source.reopen()
    assert portaudio.streams[-1].device_name == "USB Audio"
    portaudio.send(frames(10, 0.125))
    block = source.read(0)
    assert block is not None
    assert block.samples[0, 0] == 0.125
    assert portaudio.streams[-1].device == 3
    source.close()


def test_a_different_device_is_never_opened_instead(portaudio: FakePortAudio) -> None:
    portaudio.names = portaudio.listed = ["USB Audio", "USB Audio"]
    source = MicrophoneSource("1")
    portaudio.names = ["USB Audio"]
    portaudio.streams[-1].finished_callback()
    with pytest.raises(SourceLost, match=r"there were 2 .* now there are 1") as lost:
        source.reopen()
    assert lost.value.recoverable
    assert len(portaudio.streams) == 1
    portaudio.names = ["USB Audio", "USB Audio"]
    source.reopen()
    assert portaudio.streams[-1].device == 1
    source.close()


@pytest.mark.parametrize(("rate_hz", "name"), [(16_000, "USB Audio"), (96_000, "HDA Intel")])
def test_a_device_that_comes_back_with_another_format_is_converted(
    portaudio: FakePortAudio, rate_hz: int, name: str
) -> None:
    source = MicrophoneSource(name)
    info = source.info
    portaudio.unplug(name)
    portaudio.names.append(name)
    portaudio.rate_hz = rate_hz
    portaudio.channels = 2 if info.channels == 1 else 1
    source.reopen()
    assert source.info == info
    assert portaudio.streams[-1].samplerate == rate_hz
    parts: list[Block] = []
    for _ in range(10):
        portaudio.send(frames(rate_hz // 10, channels=portaudio.channels))
        while (block := source.read(0)) is not None:
            parts.append(block)
    heard = np.concatenate([block.samples for block in parts])
    assert heard.shape == (pytest.approx(48_000, abs=500), info.channels)
    assert heard[4_800:] == pytest.approx(0.5, abs=0.01)
    assert all(block.dropped_before == 0 for block in parts)
    for _ in range(3):
        portaudio.send(frames(rate_hz, channels=portaudio.channels))
    block = source.read(0)
    assert block is not None
    assert block.dropped_before == 48_000  # of three seconds, the ring holds two
    source.close()


def test_a_device_without_data_counts_as_gone(
    portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "_SLICE_S", 0.001)
    source = MicrophoneSource("usb")
    portaudio.send(frames(10))
    assert source.read(1) is not None
    with pytest.raises(SourceLost, match="no longer delivers audio"):
        source.read(60)
    source.close()


def test_a_sound_system_that_hangs_does_not_block_the_source(
    portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "_CLOSE_TIMEOUT_S", 0.01)
    closed = threading.Event()
    source = MicrophoneSource("usb")
    portaudio.streams[-1].close = lambda: closed.wait(60)
    portaudio.streams[-1].finished_callback()
    for _ in range(2):
        with pytest.raises(SourceLost, match="the sound system does not respond") as lost:
            source.reopen()
        assert lost.value.recoverable
    assert portaudio.listed  # PortAudio was not restarted while a stream was closing
    closed.set()
    assert source._closing is not None
    source._closing.join(60)
    source.reopen()
    assert len(portaudio.streams) == 2
    source.close()


def test_closing_while_it_is_reopened_leaves_no_stream(portaudio: FakePortAudio) -> None:
    source = MicrophoneSource("usb")
    source.close()
    source.reopen()
    assert [stream.closed for stream in portaudio.streams] == [True, True]


def test_the_name_of_a_device_is_one_harmless_line(portaudio: FakePortAudio) -> None:
    portaudio.listed = ["HDA Intel", "USB\x1b[31m  Audio\n17"]
    with MicrophoneSource("usb") as source:
        assert source.info.name == "USB\ufffd[31m Audio 17"


def test_closing_ends_a_waiting_read(portaudio: FakePortAudio) -> None:
    source = MicrophoneSource("usb")
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            source.read(60)
        except EndOfStream as end:
            outcome.append(end)

    reader = threading.Thread(target=wait)
    reader.start()
    source.close()
    reader.join(60)
    assert outcome
    source.close()


def read_until(source: MicrophoneSource, enough: Callable[[int], bool]) -> NDArray[np.float32]:
    """Record until `enough` returns True for the number of frames."""
    parts: list[NDArray[np.float32]] = []
    deadline = time.monotonic() + 60
    while not enough(sum(len(part) for part in parts)):
        assert time.monotonic() < deadline
        block = source.read(1)
        if block is not None:
            parts.append(block.samples)
    return np.concatenate(parts)


def test_a_real_microphone_records_what_is_played(
    virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    music = render_demo()[24 * SAMPLE_RATE_HZ : 27 * SAMPLE_RATE_HZ]
    path = tmp_path / "music.wav"
    soundfile.write(path, music, SAMPLE_RATE_HZ)
    with MicrophoneSource("default") as source:
        assert source.info.sample_rate_hz == SAMPLE_RATE_HZ
        assert source.info.channels == 2
        recorded = [read_until(source, lambda n: n > SAMPLE_RATE_HZ // 2)]  # until it runs
        player = virtual_microphone.play(path)
        recorded.append(read_until(source, lambda n: player.poll() is not None))
        recorded.append(read_until(source, lambda n: n > SAMPLE_RATE_HZ // 2))
    played = music.astype(np.float32) / np.float32(32768)
    everything = np.concatenate(recorded)
    start = find_in(everything, played)
    found = everything[start : start + len(played)]
    assert len(found) == len(played)
    # On a busy machine the sound server may drop or repeat a few milliseconds.
    correlation = float(np.sum(found * played) / np.sqrt(np.sum(found**2) * np.sum(played**2)))
    assert correlation > 0.98
    assert 20 * np.log10(np.sqrt(np.mean(found**2) / np.mean(played**2))) == pytest.approx(
        0, abs=0.2
    )


def unplug_and_connect_again(microphone: VirtualMicrophone, *, gone: str, absent: str) -> None:
    """Record from the input "pulse" until it is gone, and again when it is back."""
    with MicrophoneSource("pulse") as source:
        read_until(source, lambda n: n > 0)
        microphone.kill()
        with pytest.raises(SourceLost, match=gone) as lost:
            read_until(source, lambda n: False)
        assert lost.value.recoverable
        with pytest.raises(SourceLost, match=absent):
            source.reopen()
        microphone.start()
        source.reopen()
        assert len(read_until(source, lambda n: n > 1000)) > 1000


def test_a_real_microphone_is_unplugged_and_connected_again(
    virtual_microphone: VirtualMicrophone,
) -> None:
    unplug_and_connect_again(
        virtual_microphone,
        gone="'Monitor of Null Output' is gone",
        absent="'Monitor of Null Output' is not connected",
    )


def test_without_libpulse_a_real_microphone_is_recorded_through_portaudio(
    virtual_microphone: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "sound_server", lambda: None)
    assert "pulse" in [found.name for found in list_input_devices()]
    unplug_and_connect_again(virtual_microphone, gone="'pulse'", absent="'pulse' is not connected")
    refresh_devices()
