"""Sources of PulseAudio or PipeWire, listed and recorded through libpulse.

Such a sound server moves a recording to another source when its own is removed, or when the user
chooses another default. PortAudio neither forbids that nor notices it; libpulse does both.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime_mer.closable import Closable

_TIMEOUT_S = 2.0  # a sound server that hangs counts as absent
_POLL_S = 0.1  # how long a recording without samples takes to end
_FRAGMENT_S = 0.02  # how often samples arrive

# Constants of libpulse.
_FLOAT32 = 5 if sys.byteorder == "little" else 6
_SAMPLE_BYTES = 4
_ANY = 0xFFFFFFFF  # "no index", and "the server's choice"
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
    """Return the running sound server; None if there is none, or libpulse is missing."""
    try:
        connection = _Connection()
    except OSError:
        return None
    with connection:
        return _sound_server(connection)


def _sound_server(connection: _Connection) -> SoundServer | None:
    pulse = connection.pulse
    about: list[tuple[str, str]] = []
    sources: list[ServerSource] = []
    complete = False

    def on_server(_context: int, info: Any, _data: int) -> None:
        if info:
            names = info.contents.server_name, info.contents.default_source_name
            about.append((_text(names[0]), _text(names[1])))

    def on_source(_context: int, info: Any, last: int, _data: int) -> None:
        nonlocal complete
        complete = complete or last != 0
        if info and not last:
            sources.append(_source(info.contents))

    # libpulse calls these until all is complete or the connection is closed.
    server_callback, source_callback = _SERVER_CALLBACK(on_server), _SOURCE_CALLBACK(on_source)
    deadline = time.monotonic() + _TIMEOUT_S
    asked = False
    while not complete:
        if not connection.wait(_POLL_S) or time.monotonic() > deadline:
            return None
        if connection.ready and not asked:
            asked = True
            for operation in (
                pulse.pa_context_get_server_info(connection.context, server_callback, None),
                pulse.pa_context_get_source_info_list(connection.context, source_callback, None),
            ):
                if operation:
                    pulse.pa_operation_unref(operation)
    if not about:
        return None
    name, default_source = about[0]
    return SoundServer(
        program="PipeWire" if "PipeWire" in name else "PulseAudio",
        default_source=os.environ.get("PULSE_SOURCE") or default_source,
        sources=tuple(sources),
    )


class Recording:
    """A recording of one source. It ends when the source is removed, and never changes to another.

    Args:
        source: the server's name of the source.
        sample_rate_hz, channels: the format wanted; the server resamples. Fewer channels than the
            source has are its first ones.
        on_audio: called with float32 [n, channels], in a thread of the recording.
        on_end: called in the same thread when no more audio will come.

    Raises:
        OSError: the sound server does not answer.
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
        self._closed = False
        self._connection = _Connection()
        self._thread = threading.Thread(target=self._run, name="source reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the recording and wait for its thread."""
        self._closed = True
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._connection:
                while not self._connection.ready:
                    if not self._wait():
                        return
                self._record()
        finally:
            self._on_end()

    def _record(self) -> None:
        pulse, context = self._connection.pulse, self._connection.context
        stream = pulse.pa_stream_new(context, b"music", byref(self._spec), None)
        if not stream:
            return
        try:
            pulse.pa_stream_connect_record(stream, self._source, byref(self._buffer), _FLAGS)
            while self._wait():
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

    def _wait(self) -> bool:
        """Wait for the next events; return False if the recording is over."""
        return self._connection.wait(_POLL_S) and not self._closed

    def _pass_on(self, stream: int) -> None:
        """Pass on all samples that have arrived."""
        pulse = self._connection.pulse
        data, size = c_void_p(), c_size_t()
        while pulse.pa_stream_peek(stream, byref(data), byref(size)) >= 0 and size.value:
            # Without data it is a hole: the server has lost samples.
            raw = ctypes.string_at(data, size.value) if data.value else bytes(size.value)
            pulse.pa_stream_drop(stream)
            self._on_audio(np.frombuffer(raw, np.float32).reshape(-1, self._spec.channels))


class _Connection(Closable):
    """A connection to the sound server; used by one thread at a time.

    Raises:
        OSError: libpulse is missing, or no sound server answers.

    Attributes:
        pulse: the library.
        context: the `pa_context`.
    """

    def __init__(self) -> None:
        self.pulse = _libpulse()
        self._loop = self.pulse.pa_mainloop_new()
        if not self._loop:
            raise OSError("libpulse cannot start")
        api = self.pulse.pa_mainloop_get_api(self._loop)
        self.context: int = self.pulse.pa_context_new(api, b"realtime-mer")
        if self.pulse.pa_context_connect(self.context, None, 0, None) < 0:
            self.close()
            raise OSError("no sound server answers")

    @property
    def ready(self) -> bool:
        """Whether the connection is established."""
        return bool(self.pulse.pa_context_get_state(self.context) == _CONTEXT_READY)

    def wait(self, timeout_s: float) -> bool:
        """Wait for events and handle them; return False if the connection is lost."""
        pulse, loop = self.pulse, self._loop
        return bool(
            pulse.pa_mainloop_prepare(loop, round(timeout_s * 1e6)) >= 0
            and pulse.pa_mainloop_poll(loop) >= 0
            and pulse.pa_mainloop_dispatch(loop) >= 0
            and pulse.pa_context_get_state(self.context) <= _CONTEXT_READY
        )

    def close(self) -> None:
        """Disconnect; once."""
        self.pulse.pa_context_disconnect(self.context)
        self.pulse.pa_context_unref(self.context)
        self.pulse.pa_mainloop_free(self._loop)


class _SampleSpec(ctypes.Structure):
    """pa_sample_spec."""

    _fields_ = (("format", c_int), ("rate", c_uint32), ("channels", c_uint8))


class _BufferAttributes(ctypes.Structure):
    """pa_buffer_attr."""

    _fields_ = tuple(
        (name, c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    )


class _PerChannel(ctypes.Structure):
    """pa_channel_map and pa_cvolume."""

    _fields_ = (("channels", c_uint8), ("values", c_uint32 * 32))


class _ServerInfo(ctypes.Structure):
    """pa_server_info, up to what is used here."""

    _fields_ = (
        ("user_name", c_char_p),
        ("host_name", c_char_p),
        ("server_version", c_char_p),
        ("server_name", c_char_p),
        ("sample_spec", _SampleSpec),
        ("default_sink_name", c_char_p),
        ("default_source_name", c_char_p),
    )


class _SourceInfo(ctypes.Structure):
    """pa_source_info, up to what is used here."""

    _fields_ = (
        ("name", c_char_p),
        ("index", c_uint32),
        ("description", c_char_p),
        ("sample_spec", _SampleSpec),
        ("channel_map", _PerChannel),
        ("owner_module", c_uint32),
        ("volume", _PerChannel),
        ("mute", c_int),
        ("monitor_of_sink", c_uint32),
    )


_SERVER_CALLBACK = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_ServerInfo), c_void_p)
_SOURCE_CALLBACK = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_SourceInfo), c_int, c_void_p)


@functools.cache
def _libpulse() -> ctypes.CDLL:
    """Return libpulse with the types of the functions that are used here.

    Raises:
        OSError: it is missing.
    """
    library = ctypes.CDLL("libpulse.so.0")
    for name, result, *arguments in (
        ("pa_mainloop_new", c_void_p),
        ("pa_mainloop_get_api", c_void_p, c_void_p),
        ("pa_mainloop_prepare", c_int, c_void_p, c_int),
        ("pa_mainloop_poll", c_int, c_void_p),
        ("pa_mainloop_dispatch", c_int, c_void_p),
        ("pa_mainloop_free", None, c_void_p),
        ("pa_context_new", c_void_p, c_void_p, c_char_p),
        ("pa_context_connect", c_int, c_void_p, c_char_p, c_int, c_void_p),
        ("pa_context_get_state", c_int, c_void_p),
        ("pa_context_get_server_info", c_void_p, c_void_p, _SERVER_CALLBACK, c_void_p),
        ("pa_context_get_source_info_list", c_void_p, c_void_p, _SOURCE_CALLBACK, c_void_p),
        ("pa_context_disconnect", None, c_void_p),
        ("pa_context_unref", None, c_void_p),
        ("pa_operation_unref", None, c_void_p),
        ("pa_stream_new", c_void_p, c_void_p, c_char_p, c_void_p, c_void_p),
        ("pa_stream_connect_record", c_int, c_void_p, c_char_p, c_void_p, c_int),
        ("pa_stream_get_state", c_int, c_void_p),
        ("pa_stream_get_device_name", c_char_p, c_void_p),
        ("pa_stream_peek", c_int, c_void_p, c_void_p, c_void_p),
        ("pa_stream_drop", c_int, c_void_p),
        ("pa_stream_disconnect", c_int, c_void_p),
        ("pa_stream_unref", None, c_void_p),
    ):
        function = getattr(library, str(name))
        function.restype = result
        function.argtypes = arguments
    return library


def _text(text: bytes | None) -> str:
    return (text or b"").decode(errors="replace")


def _source(info: _SourceInfo) -> ServerSource:
    name = _text(info.name)
    return ServerSource(
        name=name,
        description=_text(info.description) or name,
        channels=info.sample_spec.channels,
        sample_rate_hz=info.sample_spec.rate,
        is_monitor=info.monitor_of_sink != _ANY,
    )
