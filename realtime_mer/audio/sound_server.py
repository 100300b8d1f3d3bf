"""Sources of PulseAudio or PipeWire, listed by `pactl` and recorded through libpulse.

Such a sound server moves a recording to another source when its own is removed, or when the user
chooses another default. PortAudio neither forbids that nor says so; libpulse does both.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from ctypes import byref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INSTALL_HINT = (
    "install pactl (Debian, Ubuntu: apt install pulseaudio-utils; Fedora: dnf install "
    "pulseaudio-utils)"
)

_TIMEOUT_S = 2.0  # a sound server that hangs counts as absent
_FORMAT = re.compile(r"(\d+)ch (\d+)Hz")

# Of libpulse.
_FLOAT32 = 5 if sys.byteorder == "little" else 6
_SAMPLE_BYTES = 4
_FRAGMENT_S = 0.02  # how often samples arrive
_ANY = 0xFFFFFFFF
_NO_AUTOSPAWN = 0x1
_CONTEXT_READY = 4
_STREAM_CREATING = 1
_STREAM_READY = 2
# NO_REMAP_CHANNELS, DONT_MOVE, ADJUST_LATENCY
_FLAGS = 0x10 | 0x200 | 0x2000


@dataclass(frozen=True, slots=True)
class ServerSource:
    """A source of the sound server: a microphone, a line input or the monitor of an output.

    Attributes:
        name: the server's name; it stays when the source is removed and comes back.
        description: the name for users.
        channels: number of channels.
        sample_rate_hz: the native sample rate in Hz.
        is_monitor: whether it records what an output plays.
    """

    name: str
    description: str
    channels: int
    sample_rate_hz: int
    is_monitor: bool


@dataclass(frozen=True, slots=True)
class SoundServer:
    """What the sound server offers at one moment.

    Attributes:
        program: "PulseAudio" or "PipeWire".
        default_source: name of the source that `PULSE_SOURCE` or the user's settings choose.
        sources: all sources.
    """

    program: str
    default_source: str
    sources: tuple[ServerSource, ...]


def sound_server() -> SoundServer | None:
    """Return the running sound server; None if there is none, or pactl is missing."""
    if not pactl_installed():
        return None
    info = _pactl("info")
    listed = _pactl("list", "sources")
    if info is None or listed is None:
        return None
    about = _fields(info)
    sources = (_fields(text) for text in re.split(r"^Source #", listed, flags=re.MULTILINE)[1:])
    return SoundServer(
        program="PipeWire" if "PipeWire" in about.get("Server Name", "") else "PulseAudio",
        default_source=os.environ.get("PULSE_SOURCE") or about.get("Default Source", ""),
        sources=tuple(_source(fields) for fields in sources),
    )


def pactl_installed() -> bool:
    """Return whether pactl, and with it libpulse, is installed."""
    return shutil.which("pactl") is not None


class Recording:
    """A recording of one source. It ends when the source is removed, and never changes to another.

    Args:
        source: the server's name of the source.
        sample_rate_hz, channels: the format wanted; the server resamples. Fewer channels than the
            source has are its first ones.
        on_audio: called with float32 [n, channels], in a thread of the recording.
        on_end: called in the same thread when no more audio will come.

    Raises:
        OSError: libpulse is missing, or has no resources.
    """

    def __init__(
        self,
        source: str,
        sample_rate_hz: int,
        channels: int,
        on_audio: Callable[[NDArray[np.float32]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._source = source.encode()
        self._on_audio = on_audio
        self._on_end = on_end
        self._spec = _SampleSpec(_FLOAT32, sample_rate_hz, channels)
        fragment = round(_FRAGMENT_S * sample_rate_hz) * channels * _SAMPLE_BYTES
        self._buffer = _BufferAttributes(*[_ANY] * 4, fragment)
        self._pulse = _libpulse()
        self._loop = self._pulse.pa_mainloop_new()
        if not self._loop:
            raise OSError("libpulse cannot start")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="source reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the recording and wait for its thread; callable once."""
        self._closed = True
        self._pulse.pa_mainloop_wakeup(self._loop)
        self._thread.join()
        self._pulse.pa_mainloop_free(self._loop)

    def _run(self) -> None:
        pulse = self._pulse
        context = pulse.pa_context_new(pulse.pa_mainloop_get_api(self._loop), b"realtime-mer")
        try:
            if pulse.pa_context_connect(context, None, _NO_AUTOSPAWN, None) >= 0:
                self._record(context)
        finally:
            pulse.pa_context_disconnect(context)
            pulse.pa_context_unref(context)
            self._on_end()

    def _record(self, context: int) -> None:
        pulse = self._pulse
        while pulse.pa_context_get_state(context) != _CONTEXT_READY:
            if not self._iterate(context):
                return
        stream = pulse.pa_stream_new(context, b"music", byref(self._spec), None)
        if not stream:
            return
        try:
            pulse.pa_stream_connect_record(stream, self._source, byref(self._buffer), _FLAGS)
            while self._iterate(context):
                state = pulse.pa_stream_get_state(stream)
                if state == _STREAM_READY:
                    # A server that moves or replaces the source all the same says so before it
                    # sends the first sample of the other one.
                    if pulse.pa_stream_get_device_name(stream) != self._source:
                        return
                    self._pass_on(stream)
                elif state != _STREAM_CREATING:
                    return
        finally:
            pulse.pa_stream_disconnect(stream)
            pulse.pa_stream_unref(stream)

    def _iterate(self, context: int) -> bool:
        """Wait for and handle the next events; return False if the recording is over."""
        return (
            self._pulse.pa_mainloop_iterate(self._loop, 1, None) >= 0
            and not self._closed
            and self._pulse.pa_context_get_state(context) <= _CONTEXT_READY
        )

    def _pass_on(self, stream: int) -> None:
        """Pass on all samples that have arrived."""
        pulse = self._pulse
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        while pulse.pa_stream_peek(stream, byref(data), byref(size)) >= 0 and size.value:
            # Without data it is a hole: the server has lost samples.
            raw = ctypes.string_at(data, size.value) if data.value else bytes(size.value)
            pulse.pa_stream_drop(stream)
            self._on_audio(np.frombuffer(raw, np.float32).reshape(-1, self._spec.channels))


class _SampleSpec(ctypes.Structure):
    """pa_sample_spec."""

    _fields_ = (
        ("format", ctypes.c_int),
        ("rate", ctypes.c_uint32),
        ("channels", ctypes.c_uint8),
    )


class _BufferAttributes(ctypes.Structure):
    """pa_buffer_attr."""

    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    )


@functools.cache
def _libpulse() -> ctypes.CDLL:
    """Return libpulse with the types of the functions that are used here.

    Raises:
        OSError: it is missing.
    """
    library = ctypes.CDLL("libpulse.so.0")
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, *arguments in (
        ("pa_mainloop_new", pointer),
        ("pa_mainloop_get_api", pointer, pointer),
        ("pa_mainloop_iterate", integer, pointer, integer, pointer),
        ("pa_mainloop_wakeup", None, pointer),
        ("pa_mainloop_free", None, pointer),
        ("pa_context_new", pointer, pointer, text),
        ("pa_context_connect", integer, pointer, text, integer, pointer),
        ("pa_context_get_state", integer, pointer),
        ("pa_context_disconnect", None, pointer),
        ("pa_context_unref", None, pointer),
        ("pa_stream_new", pointer, pointer, text, pointer, pointer),
        ("pa_stream_connect_record", integer, pointer, text, pointer, integer),
        ("pa_stream_get_state", integer, pointer),
        ("pa_stream_get_device_name", text, pointer),
        ("pa_stream_peek", integer, pointer, pointer, pointer),
        ("pa_stream_drop", integer, pointer),
        ("pa_stream_disconnect", integer, pointer),
        ("pa_stream_unref", None, pointer),
    ):
        function = getattr(library, str(name))
        function.restype = result
        function.argtypes = arguments
    return library


def _pactl(*arguments: str) -> str | None:
    """Return what pactl prints; None if no sound server answers."""
    try:
        run = subprocess.run(
            ["pactl", *arguments],
            # Not translated. (The JSON of pactl 16 loses descriptions with an umlaut.)
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.decode(errors="replace") if run.returncode == 0 else None


def _fields(text: str) -> dict[str, str]:
    """Return the lines "Name: value" of a text of pactl; the first of a name counts."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.strip().partition(": ")
        if colon:
            fields.setdefault(name, value)
    return fields


def _source(fields: dict[str, str]) -> ServerSource:
    name = fields.get("Name", "")
    form = _FORMAT.search(fields.get("Sample Specification", ""))
    channels, rate = (int(form[1]), int(form[2])) if form else (2, 48_000)
    return ServerSource(
        name=name,
        description=fields.get("Description", name),
        channels=channels,
        sample_rate_hz=rate,
        is_monitor=fields.get("Monitor of Sink", "n/a") != "n/a",
    )
