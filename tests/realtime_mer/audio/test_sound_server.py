"""A real sound server that moves recordings: MicrophoneSource never follows it."""

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support_pulse import SINK, VirtualMicrophone

from realtime_mer.audio import microphone
from realtime_mer.audio.microphone import MicrophoneSource, list_input_devices
from realtime_mer.audio.sound_server import Recording, ServerSource, sound_server
from realtime_mer.audio.source import Block, SourceLost

RATE_HZ = 44_100
TIMEOUT_S = 60.0
WANTED_HZ, OTHER_HZ = 441.0, 3_000.0
# Of full scale. The tones have amplitudes of 0.5 and 0.25; the edge of a tone sounds at -50 dB.
HEARD, NOT_HEARD = 0.1, 0.01
SHORTEST = 882  # sample frames: in fewer, a click or a part of a wave is every tone


class TwoSinks:
    """A sink with the wanted sound and one with another sound, which the server prefers."""

    def __init__(self, server: VirtualMicrophone, folder: Path) -> None:
        self.server = server
        self._tones = folder
        for frequency_hz, amplitude in ((WANTED_HZ, 0.5), (OTHER_HZ, 0.25)):
            tone = amplitude * np.sin(
                2.0 * np.pi * frequency_hz * np.arange(60 * RATE_HZ) / RATE_HZ, dtype=np.float32
            )
            soundfile.write(self._path(frequency_hz), tone, RATE_HZ)
        server.play(self._path(OTHER_HZ))
        self.add()

    def add(self, *, rate_hz: int = RATE_HZ, channels: int = 2) -> None:
        self.server.add_sink("wanted", "Küche", rate_hz=rate_hz, channels=channels)
        self.server.play(self._path(WANTED_HZ), "wanted")

    def remove(self) -> None:
        self.server.remove_sink("wanted")

    def _path(self, frequency_hz: float) -> Path:
        return self._tones / f"{frequency_hz:.0f}.wav"


@pytest.fixture
def sinks(virtual_microphone: VirtualMicrophone, tmp_path: Path) -> TwoSinks:
    return TwoSinks(virtual_microphone, tmp_path)


def amplitude(samples: NDArray[np.float32], frequency_hz: float) -> float:
    """Return the amplitude of a tone; samples are [n, channels]."""
    window = np.hanning(len(samples))
    turns = np.exp(-2j * np.pi * frequency_hz * np.arange(len(samples)) / RATE_HZ)
    return float(abs(2.0 * np.sum(samples[:, 0] * window * turns) / np.sum(window)))


def blocks(source: MicrophoneSource) -> Iterator[Block]:
    """Yield the blocks until the loss of the device."""
    deadline = time.monotonic() + TIMEOUT_S
    before = np.zeros((SHORTEST, source.info.channels), np.float32)
    while True:
        assert time.monotonic() < deadline
        block = source.read(1.0)
        if block is not None:
            # Not a sample of the other source.
            heard = np.concatenate([before[len(block.samples) :], block.samples])
            assert amplitude(heard, OTHER_HZ) < NOT_HEARD
            before = heard[-SHORTEST:]
            yield block


def listen_to_wanted(source: MicrophoneSource) -> None:
    """Read until the wanted sound is heard."""
    for block in blocks(source):
        if len(block.samples) > 400 and amplitude(block.samples, WANTED_HZ) > HEARD:
            return


def listen_to_the_end(source: MicrophoneSource, message: str) -> None:
    with pytest.raises(SourceLost, match=message) as lost:
        for _ in blocks(source):
            pass
    assert lost.value.recoverable


def reopen(source: MicrophoneSource) -> None:
    """Reopen a device that is connected, and wait for its sound."""
    source.reopen()
    listen_to_wanted(source)


def test_sources_have_both_names(virtual_microphone: VirtualMicrophone) -> None:
    virtual_microphone.add_sink("wanted", "Küche")
    server = sound_server()
    assert server is not None
    assert (server.program, server.default_source) == ("PulseAudio", f"{SINK}.monitor")
    assert server.sources[1] == ServerSource(
        "wanted.monitor", "Monitor of Küche", 2, RATE_HZ, is_monitor=True
    )
    devices = {device.name: device for device in list_input_devices()}
    assert "pulse" not in devices
    assert [name for name, device in devices.items() if device.is_default] == [
        "Monitor of Null Output"
    ]
    assert devices["Monitor of Küche"].is_loopback
    assert devices["Monitor of Küche"].source == "wanted.monitor"
    assert len({device.index for device in devices.values()}) == len(devices)


def test_a_description_is_shown_as_one_harmless_line(
    virtual_microphone: VirtualMicrophone,
) -> None:
    virtual_microphone.add_sink("wanted", "Red \x1b[31m\nUSB")
    names = [device.name for device in list_input_devices()]
    assert "Monitor of Red \ufffd[31m USB" in names


def test_the_environment_chooses_the_default_source(
    virtual_microphone: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual_microphone.add_sink("wanted", "Küche")
    monkeypatch.setenv("PULSE_SOURCE", "wanted.monitor")
    with MicrophoneSource("default") as source:
        assert source.info.name == "Monitor of Küche"


def test_a_server_without_sources_offers_no_device(virtual_microphone: VirtualMicrophone) -> None:
    """PortAudio's device of it would record nothing, and another source later."""
    virtual_microphone.remove_sink(SINK)
    assert not {"default", "pulse"} & {device.name for device in list_input_devices()}


def test_without_a_server_there_are_no_sources(virtual_microphone: VirtualMicrophone) -> None:
    virtual_microphone.kill()
    assert sound_server() is None


def test_a_server_that_does_not_answer_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as silent:
        # Not pytest's folder: the path of a socket must be short.
        silent.bind(f"{folder}/native")
        silent.listen()
        monkeypatch.setenv("PULSE_SERVER", f"unix:{folder}/native")
        monkeypatch.setattr("realtime_mer.audio.sound_server._TIMEOUT_S", 0.2)
        assert sound_server() is None


def test_a_removed_source_is_not_replaced_and_comes_back(sinks: TwoSinks) -> None:
    with MicrophoneSource("monitor of küche") as source:
        listen_to_wanted(source)
        for _ in range(3):
            sinks.remove()
            listen_to_the_end(source, "the input device 'Monitor of Küche' is gone")
            with pytest.raises(SourceLost, match="'Monitor of Küche' is not connected") as lost:
                source.reopen()
            assert lost.value.recoverable
            sinks.add()
            reopen(source)


def test_a_source_that_comes_back_with_another_format_is_converted(sinks: TwoSinks) -> None:
    with MicrophoneSource("monitor of küche") as source:
        info = source.info
        listen_to_wanted(source)
        sinks.remove()
        listen_to_the_end(source, "the input device 'Monitor of Küche' is gone")
        sinks.add(rate_hz=22_050, channels=1)
        reopen(source)
        assert source.info == info


def test_default_means_the_default_at_the_start(sinks: TwoSinks) -> None:
    sinks.server.set_default("wanted")
    with MicrophoneSource("default") as source:
        listen_to_wanted(source)
        sinks.server.set_default(SINK)
        audio_s = 0.0
        for block in blocks(source):
            audio_s += len(block.samples) / RATE_HZ
            if audio_s > 1.0:
                break
        sinks.remove()
        listen_to_the_end(source, "the input device 'Monitor of Küche' is gone")
        with pytest.raises(SourceLost, match="'Monitor of Küche' is not connected"):
            source.reopen()


def test_a_recording_cannot_be_moved(sinks: TwoSinks) -> None:
    with MicrophoneSource("wanted.monitor") as source:
        listen_to_wanted(source)
        assert sinks.server.move_recordings(SINK) == [False]
        listen_to_wanted(source)


def test_a_suspended_source_is_waited_for(sinks: TwoSinks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "_SLICE_S", 0.02)
    with MicrophoneSource("wanted.monitor") as source:
        while True:  # the source may start later than these short waits allow
            try:
                listen_to_wanted(source)
                break
            except SourceLost:
                source.reopen()
        sinks.server.suspend("wanted", True)
        listen_to_the_end(source, "'Monitor of Küche' no longer delivers audio")
        source.reopen()
        listen_to_the_end(source, "'Monitor of Küche' no longer delivers audio")
        sinks.server.suspend("wanted", False)
        monkeypatch.undo()
        reopen(source)


def test_a_source_that_does_not_exist_ends_at_once(virtual_microphone: VirtualMicrophone) -> None:
    """As where a source vanishes between the list and the recording."""
    ended = threading.Event()
    recording = Recording("theremin.monitor", RATE_HZ, 1, lambda samples: None, ended.set)
    assert ended.wait(TIMEOUT_S)
    recording.close()


def test_closing_ends_the_recording(virtual_microphone: VirtualMicrophone) -> None:
    source = MicrophoneSource("default")
    next(blocks(source))
    source.close()
    assert virtual_microphone.move_recordings(SINK) == []
