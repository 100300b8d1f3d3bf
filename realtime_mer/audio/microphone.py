"""Microphone, line-in and loopback devices: those of PortAudio (the package sounddevice), and the
sources of a sound server (`sound_server`)."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.conversion import Conversion
from realtime_mer.audio.quiet import filter_c_messages, without_library_noise
from realtime_mer.audio.sample_ring import SampleRing
from realtime_mer.audio.sound_server import Recording, SoundServer, sound_server
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.errors import UserError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PORTAUDIO_HINT = (
    "PortAudio is missing, so no microphone can be used: install libportaudio2 "
    "(Debian, Ubuntu: apt install libportaudio2; Fedora: dnf install portaudio; "
    "macOS: brew install portaudio); files, pipes, URLs and the demo work without it"
)

_RING_S = 2.0  # how far the reader may fall behind before samples are lost
_SLICE_S = 0.25  # the longest single wait for samples
_MAX_IDLE_SLICES = 12  # after this many waits without samples the device counts as gone (3 s)
_BLOCK_S = 0.02  # length of a callback's block
_CLOSE_TIMEOUT_S = 3.0  # do not wait forever for a sound server that hangs
_MAX_START_SLICES = 40  # the same before the first sample (10 s: Bluetooth starts slowly)
# ALSA's plug-in devices offer many channels and fill the extra ones with silence or copies. On an
# interface with more inputs, the first two are the usual ones.
_MAX_CHANNELS = 2
_LOOPBACK_WORDS = (
    *("monitor", "loopback", "stereo mix", "what u hear", "wave out mix", "blackhole"),
    *("soundflower", "cable output", "voicemeeter"),
)
# PortAudio's devices that record the sound server's default source. The server may move such a
# recording to another source, and nobody would know.
_SERVER_DEVICES = ("default", "pulse", "pipewire")


@dataclass(frozen=True, slots=True)
class InputDevice:
    """An input device.

    Attributes:
        index: PortAudio's number, from 0; the sources of a sound server follow. It may change when
            devices come and go.
        name: the device's name.
        host_api: the system's audio interface, for example "ALSA", "PipeWire" or "Core Audio".
        channels: number of input channels.
        sample_rate_hz: the native sample rate in Hz.
        is_default: whether it is the system's default input.
        is_loopback: whether it records what the computer plays: a monitor of the sound server, or
            by its name.
        source: the sound server's own name of it, for example "alsa_output.usb-0.monitor"; None for
            a device of PortAudio.
    """

    index: int
    name: str
    host_api: str
    channels: int
    sample_rate_hz: int
    is_default: bool
    is_loopback: bool
    source: str | None = None


def list_input_devices() -> list[InputDevice]:
    """Return all devices with at least one input channel, by index.

    Where PulseAudio or PipeWire runs, its sources and monitors take the place of the devices
    through which PortAudio records them.

    Raises:
        UserError: PortAudio is missing or fails, and there is no sound server.
    """
    server = sound_server()
    if server is None:
        return _portaudio_devices()
    try:
        devices = _portaudio_devices()
    except UserError:
        devices = []
    kept = [replace(device, is_default=False) for device in devices if not _records_server(device)]
    return kept + _server_devices(server, 1 + max((d.index for d in devices), default=-1))


def _records_server(device: InputDevice) -> bool:
    return device.host_api == "PulseAudio" or device.name.lower() in _SERVER_DEVICES


def _server_devices(server: SoundServer, first_index: int) -> list[InputDevice]:
    return [
        InputDevice(
            index=index,
            name=_one_line(source.description),
            host_api=server.program,
            channels=source.channels,
            sample_rate_hz=source.sample_rate_hz,
            is_default=source.name == server.default_source,
            is_loopback=source.is_monitor,
            source=source.name,
        )
        for index, source in enumerate(server.sources, first_index)
    ]


def _portaudio_devices() -> list[InputDevice]:
    sd = _sounddevice()
    try:
        apis = sd.query_hostapis()
        default = int(sd.default.device[0])
        if default < 0 and apis:
            default = int(apis[0]["default_input_device"])
        return [
            InputDevice(
                index=int(device["index"]),
                name=_one_line(str(device["name"])),
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
    """Return PortAudio's version text.

    Raises:
        UserError: PortAudio is missing.
    """
    return str(_sounddevice().get_portaudio_version()[1])


def default_device(devices: Sequence[InputDevice]) -> InputDevice:
    """Return the system's default input.

    Raises:
        UserError: there is no default, or no device at all.
    """
    for device in devices:
        if device.is_default:
            return device
    if devices:
        raise UserError(
            "there is no default input device; choose one of these:\n" + device_list(devices)
        )
    raise UserError("there is no input device; connect one, or use the input 'demo'")


def find_device(spec: str, devices: Sequence[InputDevice]) -> InputDevice:
    """Return the one device that `spec` names.

    Args:
        spec: "default", an index, a name ("name", "name, host API" or the sound server's name), or
            a part of a name. Case does not matter. An exact name has priority over a part of a
            name. If several host APIs offer the same name, the default device's host API has
            priority. "pulse" and "pipewire" mean the sound server's default, if there is one.
        devices: the candidates.

    Raises:
        UserError: no device matches, or several do; the message lists the candidates.
    """
    wanted = spec.lower()
    served = any(device.source is not None for device in devices)
    if wanted == "default" or (served and wanted in _SERVER_DEVICES):
        return default_device(devices)
    if not devices:
        raise UserError(
            f"there is no input device '{spec}': no input device is connected; connect one, or "
            "use the input 'demo'"
        )
    if spec.isdigit():
        for device in devices:
            if device.index == int(spec):
                return device
        raise UserError(f"no input device has the index {spec}; there are:\n{device_list(devices)}")
    matches = [d for d in devices if wanted in _names(d)]
    if len({d.name.lower() for d in matches}) == 1 and len(matches) > 1:
        apis = {d.host_api for d in devices if d.is_default}
        matches = [d for d in matches if d.host_api in apis] or matches
    if not matches:
        matches = [d for d in devices if any(wanted in name for name in _names(d))]
    if not matches:
        raise UserError(f"no input device is called '{spec}'; there are:\n{device_list(devices)}")
    if len(matches) > 1:
        raise UserError(
            f"'{spec}' matches {len(matches)} input devices; give more of the name, or the index "
            f"of one of them:\n{device_list(matches)}"
        )
    return matches[0]


def device_list(devices: Sequence[InputDevice]) -> str:
    """Return a text with one device per line and its index."""
    return "\n".join(
        f"  {d.index}  {d.name}, {d.host_api}{'' if d.source is None else f' ({d.source})'}"
        for d in devices
    )


def _one_line(name: str) -> str:
    """Return a device's name as it can be shown; devices and programs choose it freely."""
    return " ".join(printable(name).split())


def _names(device: InputDevice) -> tuple[str, ...]:
    """Return the names of a device in lower case."""
    names = (device.name, f"{device.name}, {device.host_api}", device.source or device.name)
    return tuple(name.lower() for name in names)


class MicrophoneSource(SourceBase):
    """Records from a device at its native rate: through PortAudio, or from a sound server.

    A callback copies into a ring of two seconds and returns. Samples that are not read in time are
    overwritten and counted (`Block.dropped_before`). Input that the system reports as lost is
    counted too (`Block.overflows`).

    When the device is unplugged, `read` raises a recoverable `SourceLost`; `reopen` opens the
    device again once it is back. It never opens a different device: "default" means the device that
    is the default when the source is made. A sound server that moves the recording to another
    source counts as unplugging, and no sample of the other source is returned.

    Args:
        spec: see `find_device`.
        clock: gives the time at which samples arrive; the system's where None.

    Raises:
        UserError: PortAudio is missing, not exactly one device matches `spec`, or the device cannot
            be opened.
    """

    def __init__(self, spec: str = "default", *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        devices = list_input_devices()
        self._device = find_device(spec, devices)
        self._same_name_count = len(_same_name(self._device, devices))
        channels = min(self._device.channels, _MAX_CHANNELS)
        self._stream: Any = None
        self._conversion: Conversion | None = None
        self._closing: threading.Thread | None = None
        self._closed = False
        self._prepare(self._device.sample_rate_hz, channels)
        try:
            self._start()
        except SourceLost as error:
            raise UserError(str(error)) from None
        self._info = Input(
            kind=InputKind.MICROPHONE,
            name=self._device.name,
            sample_rate_hz=self._rate,
            channels=channels,
            paced=False,
            live=True,
        )

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
                    f"the input device '{self._device.name}' is gone; connect it again",
                    recoverable=True,
                )
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return None
            if not self._ring.wait(min(left, _SLICE_S)) and left >= _SLICE_S:
                self._count_idle_slice()

    def reopen(self) -> None:
        self._ended = True  # until it succeeds, `read` reports the device as gone
        self._stop()
        if self._closing is not None and self._closing.is_alive():
            raise SourceLost(
                f"the sound system does not respond, so '{self._device.name}' cannot be reopened",
                recoverable=True,
            )
        self._device = self._same_device(self._devices_now())
        # In its own format of today: a driver may refuse the one of before.
        self._prepare(self._device.sample_rate_hz, min(self._device.channels, _MAX_CHANNELS))
        self._conversion = self._new_conversion()
        self._start()
        if self._closed:  # meanwhile, by another thread
            self._stop()

    def close(self) -> None:
        self._closed = True
        self._ring.wake()
        self._stop()

    def _devices_now(self) -> Sequence[InputDevice]:
        """Return the devices of today, of the kind in use."""
        if self._device.source is not None:
            server = sound_server()
            return [] if server is None else _server_devices(server, 0)
        sd = _sounddevice()
        try:
            # PortAudio lists the devices only when it starts.
            with without_library_noise():
                sd._terminate()
                sd._initialize()
            return _portaudio_devices()
        except (UserError, sd.PortAudioError) as error:
            raise SourceLost(_reason(error), recoverable=True) from None

    def _same_device(self, devices: Sequence[InputDevice]) -> InputDevice:
        """Return the device in use, as it is listed now."""
        name = self._device.name
        same = _same_name(self._device, devices)
        if not same:
            raise SourceLost(f"the input device '{name}' is not connected", recoverable=True)
        if len(same) == self._same_name_count == 1:
            return same[0]
        # Several devices have this name: accept only an unchanged list.
        unchanged = [d for d in same if d.index == self._device.index]
        if not unchanged or len(same) != self._same_name_count:
            raise SourceLost(
                f"there were {self._same_name_count} input devices called '{name}' and now there "
                f"are {len(same)}; connect them as before, or start again with the index of one",
                recoverable=True,
            )
        return unchanged[0]

    def _prepare(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._ring = SampleRing(round(_RING_S * rate), channels)
        self._overflows = 0  # counted by the callback
        self._overflows_reported = 0
        self._arrived = 0.0
        self._ended = False
        self._idle_slices = 0
        self._dropped = 0  # sample frames, not reported yet

    def _new_conversion(self) -> Conversion | None:
        """Return what converts the device's format to that of the session, if it differs."""
        rate, channels = self._info.sample_rate_hz, self._info.channels
        if (self._rate, self._ring.channels) == (rate, channels):
            return None
        try:
            return Conversion(
                self._rate, self._ring.channels, to_rate_hz=rate, to_channels=channels
            )
        except UserError as error:
            reason = f"the input device '{self._device.name}' cannot be used now: {error}"
            raise SourceLost(reason, recoverable=True) from None

    def _start(self) -> None:
        ring = self._ring
        clock = self._clock

        def on_audio(samples: NDArray[np.float32]) -> None:
            self._arrived = clock.monotonic()
            ring.write(samples)

        def on_end() -> None:
            if ring is self._ring:
                self._ended = True
                ring.wake()

        if self._device.source is None:
            self._start_portaudio(on_audio, on_end)
            return
        try:
            self._stream = Recording(
                self._device.source, self._rate, ring.channels, on_audio, on_end
            )
        except OSError as error:
            raise self._cannot_open(error) from None

    def _start_portaudio(
        self, on_audio: Callable[[NDArray[np.float32]], None], on_end: Callable[[], None]
    ) -> None:
        sd = _sounddevice()

        def callback(samples: NDArray[np.float32], _n: int, _time: Any, status: Any) -> None:
            if status.input_overflow:
                self._overflows += 1
            on_audio(samples)

        try:
            with without_library_noise():
                self._stream = sd.InputStream(
                    device=self._device.index,
                    samplerate=self._rate,
                    channels=self._ring.channels,
                    dtype="float32",
                    blocksize=round(_BLOCK_S * self._rate),
                    latency="high",  # safe from overflows, and still only tens of milliseconds
                    callback=callback,
                    finished_callback=on_end,
                )
                self._stream.start()
        except (sd.PortAudioError, ValueError) as error:
            raise self._cannot_open(error) from None

    def _cannot_open(self, error: Exception) -> SourceLost:
        self._ended = True
        self._stop()
        return SourceLost(
            f"the input device '{self._device.name}' cannot be opened at {self._rate} Hz: "
            f"{_reason(error)}; is another program using it, or is access denied?",
            recoverable=True,
        )

    def _stop(self) -> None:
        """Close the stream; do not wait longer than `_CLOSE_TIMEOUT_S`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._closing = threading.Thread(
                target=_close_stream, args=(stream,), name="microphone closer", daemon=True
            )
            self._closing.start()
            self._closing.join(_CLOSE_TIMEOUT_S)

    def _take(self) -> Block | None:
        read = self._ring.read(self._rate)
        if read is None:
            return None
        samples = read.samples
        self._dropped += read.dropped_before
        if self._conversion is not None:
            samples = self._conversion.convert(samples)
        if not len(samples):
            return None
        dropped = round(self._dropped * self._info.sample_rate_hz / self._rate)
        self._dropped = 0
        overflows = self._overflows
        new, self._overflows_reported = overflows - self._overflows_reported, overflows
        return Block(samples, dropped, new, self._arrived)

    def _count_idle_slice(self) -> None:
        """Count a wait without samples; after too many, report the device as gone.

        Some systems do not report it when a device is unplugged. Waits are counted instead of
        time, so that a machine in standby does not count as an unplugged device.
        """
        self._idle_slices += 1
        if self._idle_slices >= (_MAX_IDLE_SLICES if self._ring.written else _MAX_START_SLICES):
            self._idle_slices = 0
            raise SourceLost(
                f"the input device '{self._device.name}' no longer delivers audio; "
                "connect it again",
                recoverable=True,
            )


def _close_stream(stream: Any) -> None:
    # Not inside `without_library_noise`: a call that hangs would keep its lock.
    with contextlib.suppress(Exception):
        stream.close()


def _same_name(device: InputDevice, devices: Sequence[InputDevice]) -> list[InputDevice]:
    if device.source is not None:
        return [d for d in devices if d.source == device.source]
    return [d for d in devices if (d.name, d.host_api) == (device.name, device.host_api)]


def _reason(error: Exception) -> str:
    """Return PortAudio's reason, without its error number and further lines."""
    text = str(error.args[0] if error.args else error)
    return (
        text.splitlines()[0].split(" [PaErrorCode")[0].removeprefix("Error opening InputStream: ")
    )


def _sounddevice() -> ModuleType:
    filter_c_messages()
    try:
        with without_library_noise():
            import sounddevice
    except OSError:
        raise UserError(PORTAUDIO_HINT) from None
    module: ModuleType = sounddevice
    return module
