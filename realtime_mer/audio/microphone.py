"""Microphone, line-in and loopback devices through PortAudio; the only importer of sounddevice."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.quiet import without_library_noise
from realtime_mer.audio.sample_ring import SampleRing
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    InputInfo,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

PORTAUDIO_HINT = (
    "PortAudio is missing, so no microphone can be used: install libportaudio2 "
    "(Debian, Ubuntu: apt install libportaudio2; Fedora: dnf install portaudio; "
    "macOS: brew install portaudio); files, pipes, addresses and the demo work without it"
)

_RING_S = 2.0  # what the reader may fall behind before samples are lost
_SLICE_S = 0.25
_DEAD_SLICES = 12  # waiting this often in vain means that the device is gone (3 s)
_BLOCK_S = 0.02  # callbacks fifty times a second
_CLOSE_TIMEOUT_S = 3.0  # a sound server that hangs would keep us for ever
_START_SLICES = 40  # some take their time until the first sound (Bluetooth: 10 s are allowed)
# ALSA's plug-in devices offer many channels and fill those beyond the real ones with silence or
# copies; on an interface with more inputs the first two are the ones that people plug into.
_MOST_CHANNELS = 2
_LOOPBACK_WORDS = (
    *("monitor", "loopback", "stereo mix", "what u hear", "wave out mix", "blackhole"),
    *("soundflower", "cable output", "voicemeeter"),
)


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A device that can be listened to.

    Attributes:
        index: PortAudio's number, for `--input INDEX`; it may change when devices come and go.
        name: for `--input NAME`.
        host_api: the system's audio interface, for example "ALSA" or "Core Audio".
        channels: how many it offers.
        sample_rate_hz: its native rate.
        is_default: the system's choice.
        is_loopback: by its name it delivers what the computer plays.
    """

    index: int
    name: str
    host_api: str
    channels: int
    sample_rate_hz: int
    is_default: bool
    is_loopback: bool


def list_input_devices() -> list[InputDevice]:
    """All devices with at least one input channel, by index.

    Raises:
        UserError: PortAudio is missing or does not work.
    """
    sd = _sounddevice()
    try:
        apis = sd.query_hostapis()
        default = int(sd.default.device[0])
        if default < 0 and apis:
            default = int(apis[0]["default_input_device"])
        return [
            InputDevice(
                index=int(device["index"]),
                name=str(device["name"]),
                host_api=str(apis[device["hostapi"]]["name"]),
                channels=int(device["max_input_channels"]),
                sample_rate_hz=round(device["default_samplerate"]),
                is_default=int(device["index"]) == default,
                is_loopback=any(word in device["name"].lower() for word in _LOOPBACK_WORDS),
            )
            for device in sd.query_devices()
            if device["max_input_channels"] > 0
        ]
    except sd.PortAudioError as error:
        raise UserError(f"the audio devices cannot be listed: {error}") from None


def portaudio_version() -> str:
    """PortAudio's own version text.

    Raises:
        UserError: PortAudio is missing.
    """
    return str(_sounddevice().get_portaudio_version()[1])


def default_device(devices: Sequence[InputDevice]) -> InputDevice:
    """The system's default input.

    Raises:
        UserError: there is none.
    """
    for device in devices:
        if device.is_default:
            return device
    if devices:
        raise UserError(
            "the system names no default input device; choose one with --input:\n"
            + numbered(devices)
        )
    raise UserError("there is no input device; plug one in, or try --input demo")


def find_device(spec: str, devices: Sequence[InputDevice]) -> InputDevice:
    """The one device that `spec` names.

    Args:
        spec: "default", an index, a name ("name" or "name, host API"), or a part of a name. Case
            does not matter; an exact name wins over parts, the default device's host API over
            others that offer a device of the very same name.
        devices: what there is to choose from.

    Raises:
        UserError: none or several fit; the sentence lists the candidates.
    """
    if spec.lower() == "default":
        return default_device(devices)
    if not devices:
        raise UserError(
            f"there is no input device '{spec}', nor any other; plug one in, or try --input demo"
        )
    if spec.isdigit():
        for device in devices:
            if device.index == int(spec):
                return device
        raise UserError(f"no input device has the index {spec}; there are:\n{numbered(devices)}")
    wanted = spec.lower()
    fits = [d for d in devices if wanted in (d.name.lower(), f"{d.name}, {d.host_api}".lower())]
    if len({d.name.lower() for d in fits}) == 1 and len(fits) > 1:
        apis = {d.host_api for d in devices if d.is_default}
        fits = [d for d in fits if d.host_api in apis] or fits
    if not fits:
        fits = [d for d in devices if wanted in f"{d.name}, {d.host_api}".lower()]
    if not fits:
        raise UserError(f"no input device is called '{spec}'; there are:\n{numbered(devices)}")
    if len(fits) > 1:
        raise UserError(
            f"'{spec}' fits {len(fits)} input devices; give more of the name, or the index of "
            f"one of them:\n{numbered(fits)}"
        )
    return fits[0]


def numbered(devices: Sequence[InputDevice]) -> str:
    """The devices, one a line, with the index that `--input` takes."""
    return "\n".join(f"  {d.index}  {d.name}, {d.host_api}" for d in devices)


class MicrophoneSource(SourceBase):
    """A device that PortAudio records from, at its native rate.

    PortAudio's callback copies into a ring of two seconds and returns; what the reader leaves
    longer is overwritten and counted (`Block.dropped_before`), and so is each time that the system
    itself reports lost input (`Block.overflows`).

    A device that goes away raises a recoverable `SourceLost`; `reopen` takes it up again when a
    device with the same name is back, and no other device instead.

    Args:
        spec: see `find_device`.
        clock: tells when samples arrived.

    Raises:
        UserError: PortAudio is missing, no single device fits `spec`, or it cannot be opened.
    """

    def __init__(self, spec: str = "default", *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        devices = list_input_devices()
        self._device = find_device(spec, devices)
        self._namesakes = len(_same_name(self._device, devices))
        channels = min(self._device.channels, _MOST_CHANNELS)
        self._stream: Any = None
        self._closing: threading.Thread | None = None
        self._closed = False
        self._prepare(self._device.sample_rate_hz, channels)
        try:
            self._start()
        except SourceLost as error:
            raise UserError(str(error)) from None
        self._info = InputInfo(
            kind=InputKind.MICROPHONE,
            name=self._device.name,
            sample_rate_hz=self._rate,
            channels=channels,
            paced=False,
            live=True,
        )

    @property
    def device(self) -> InputDevice:
        """The device that is listened to."""
        return self._device

    def read(self, timeout_s: float) -> Block | None:
        deadline = self._clock.monotonic() + timeout_s
        while True:
            if self._closed:
                raise EndOfStream(f"{self._device.name} was closed")
            block = self._take()
            if block is not None:
                self._idle_slices = 0
                return block
            if self._ended:
                raise SourceLost(
                    f"the input device '{self._device.name}' is gone; plug it in again",
                    recoverable=True,
                )
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return None
            if not self._ring.wait(min(left, _SLICE_S)) and left >= _SLICE_S:
                self._count_idle_slice()

    def reopen(self) -> None:
        self._ended = True  # until it works, reading says again that the device is gone
        self._stop()
        if self._closing is not None and self._closing.is_alive():
            raise SourceLost(
                f"the sound system does not answer, so '{self._device.name}' cannot be reopened",
                recoverable=True,
            )
        sd = _sounddevice()
        try:
            # PortAudio looks at the devices only when it starts.
            with without_library_noise():
                sd._terminate()
                sd._initialize()
            devices = list_input_devices()
        except (UserError, sd.PortAudioError) as error:
            raise SourceLost(_plain(error), recoverable=True) from None
        self._device = self._same_device(devices)
        self._prepare(self._info.sample_rate_hz, self._info.channels)
        self._start()

    def close(self) -> None:
        self._closed = True
        self._ring.wake()
        self._stop()

    def _same_device(self, devices: Sequence[InputDevice]) -> InputDevice:
        """The device that we had, among those that are there now."""
        name = self._device.name
        same = _same_name(self._device, devices)
        if not same:
            raise SourceLost(f"the input device '{name}' is not there", recoverable=True)
        if len(same) == self._namesakes == 1:
            return same[0]
        # Among twins of one name nobody can tell which of them went away and came back.
        in_place = [d for d in same if d.index == self._device.index]
        if not in_place or len(same) != self._namesakes:
            raise SourceLost(
                f"there were {self._namesakes} input devices called '{name}' and now there are "
                f"{len(same)}; choose one by its index and start again",
                recoverable=False,
            )
        return in_place[0]

    def _prepare(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._ring = SampleRing(round(_RING_S * rate), channels)
        self._overflows = 0  # counted by the callback
        self._overflows_told = 0
        self._arrived = 0.0
        self._ended = False
        self._idle_slices = 0

    def _start(self) -> None:
        sd = _sounddevice()
        ring = self._ring
        clock = self._clock

        def on_audio(samples: NDArray[np.float32], _n: int, _time: Any, status: Any) -> None:
            if status.input_overflow:
                self._overflows += 1
            self._arrived = clock.monotonic()
            ring.write(samples)

        def on_end() -> None:
            if ring is self._ring:
                self._ended = True
                ring.wake()

        try:
            with without_library_noise():
                self._stream = sd.InputStream(
                    device=self._device.index,
                    samplerate=self._rate,
                    channels=self._ring.channels,
                    dtype="float32",
                    blocksize=round(_BLOCK_S * self._rate),
                    latency="high",  # safe from overflows, and still only tens of milliseconds
                    callback=on_audio,
                    finished_callback=on_end,
                )
                self._stream.start()
        except (sd.PortAudioError, ValueError) as error:
            self._ended = True
            self._stop()
            raise SourceLost(
                f"the input device '{self._device.name}' cannot be opened at {self._rate} Hz: "
                f"{_plain(error)}; is another program using it, or access not allowed?",
                recoverable=True,
            ) from None

    def _stop(self) -> None:
        """Close the stream; where the sound system hangs, go on without waiting for it."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._closing = threading.Thread(
                target=_close_stream, args=(stream,), name="microphone closer", daemon=True
            )
            self._closing.start()
            self._closing.join(_CLOSE_TIMEOUT_S)

    def _take(self) -> Block | None:
        reading = self._ring.read(self._rate)
        if reading is None:
            return None
        overflows = self._overflows
        new, self._overflows_told = overflows - self._overflows_told, overflows
        return Block(reading.samples, reading.dropped_before, new, self._arrived)

    def _count_idle_slice(self) -> None:
        """Some systems end a stream without a word when its device goes away.

        Slices are counted, not time, so that a machine that slept does not count as a device that
        was gone.
        """
        self._idle_slices += 1
        if self._idle_slices >= (_DEAD_SLICES if self._ring.written else _START_SLICES):
            self._idle_slices = 0
            raise SourceLost(
                f"the input device '{self._device.name}' delivers nothing any more; "
                "plug it in again",
                recoverable=True,
            )


def _close_stream(stream: Any) -> None:
    # Not inside `without_library_noise`: others would have to wait for its lock while this hangs.
    with contextlib.suppress(Exception):
        stream.close(ignore_errors=True)


def _same_name(device: InputDevice, devices: Sequence[InputDevice]) -> list[InputDevice]:
    return [d for d in devices if (d.name, d.host_api) == (device.name, device.host_api)]


def _plain(error: Exception) -> str:
    """PortAudio's reason without its number, and without a second line."""
    text = str(error.args[0] if error.args else error)
    return (
        text.splitlines()[0].split(" [PaErrorCode")[0].removeprefix("Error opening InputStream: ")
    )


def _sounddevice() -> ModuleType:
    try:
        with without_library_noise():
            import sounddevice
    except OSError:
        raise UserError(PORTAUDIO_HINT) from None
    module: ModuleType = sounddevice
    return module
