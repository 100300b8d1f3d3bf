"""A websocket connection with a fast path for audio.

A browser sends 47 frames of audio a second. The websocket library spends a generator, a queue entry
and a task switch on each. With many streams that costs more than processing the audio. So this
connection parses frame headers itself. Complete binary frames go to a handler straight from the
receive buffer. All other bytes (text, control frames, fragments, large frames, protocol errors) go
to the library unchanged. Audio that the handler cannot take now also goes to the library, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidMessage, SecurityError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State

from realtime_mer.server.http import TLS_HANDSHAKE
from realtime_mer.server.protocol import Encoding, StreamFormat

# Larger frames go to the library, so that one that arrives in small pieces is not copied each time.
MAX_DIRECT_BYTES = 2**16
# Enough of a request to say what is wrong with it.
HEAD_BYTES = 1024
# With many streams each connection is read less often, several frames at a time, because a read
# costs more than parsing what it brings. The pause grows with the number of streams: about 3,000
# reads a second in total.
READ_PAUSE_S_PER_STREAM, MAX_READ_PAUSE_S = 0.0003, 0.1
# A shorter pause would not collect a second frame: a browser's frame is 21 ms long.
MIN_READ_PAUSE_S = 0.01
_MASK_BYTES = 4
_BINARY = 0x80 | Opcode.BINARY
_MESSAGES = frozenset((Opcode.CONT, Opcode.TEXT, Opcode.BINARY))


class BinaryFrame(NamedTuple):
    """A complete binary frame of a client, still masked.

    Attributes:
        data: the receive buffer.
        start: offset of the payload; the mask is the four bytes before it.
        size: bytes of the payload.
    """

    data: bytes
    start: int
    size: int


class AudioConnection(ServerConnection):
    """The server's side of a connection.

    Attributes:
        audio_handler: called with the binary frames that arrived together. Returns False where they
            must be received as messages (`recv`) instead. It is not called while earlier messages
            wait.
        handled: messages that were received and processed; the receiver counts them.

    Args:
        answer_unparsed: answers a request that the library cannot parse, in place of the library.
    """

    def __init__(
        self,
        *args: Any,
        answer_unparsed: Callable[[AudioConnection, bytes, Exception], Response],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._answer_unparsed = answer_unparsed
        self._head = b""
        self.audio_handler: Callable[[Sequence[BinaryFrame]], bool] | None = None
        self.handled = 0
        self._queued = 0
        self._handshake_done = False
        # From now on the library gets all bytes.
        self._library_only = False
        # The start of an incomplete frame.
        self._incomplete = b""
        # Bytes of the current frame that still go to the library.
        self._library_bytes = 0
        self._fragmented = False

    def process_event(self, event: Any) -> None:
        """Count the messages that pass through the library."""
        if isinstance(event, Frame) and event.fin and event.opcode in _MESSAGES:
            self._queued += 1
        super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Process received bytes, which may begin or end inside a frame."""
        if self._library_only:
            super().data_received(data)
        elif self._handshake_done:
            self._split_frames(data)
        elif self.protocol.handshake_exc is not None:
            # What follows a refused request is ignored.
            super().data_received(data)
        else:
            self._head = (self._head + data)[:HEAD_BYTES]
            # A client that speaks TLS waits for an answer without having ended a line.
            tls = self._head.startswith(TLS_HANDSHAKE)
            super().data_received(data + b"\n" if tls else data)
            self._handshake_done = self.request is not None
            if self._handshake_done:
                self._head = b""
            # A client that does not wait for the response: where its first frame begins is unknown.
            self._library_only = self._handshake_done and not data.endswith(b"\r\n\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the transport is closed."""
        super().connection_lost(exc)
        # Where its last bytes were read late, asyncio's transport would raise an AttributeError
        # when it is aborted once more, as the library does.
        self.transport.abort = _do_nothing  # type: ignore[method-assign]

    def send_data(self) -> None:
        """Send what the library has to send, or our answer to an unparsed request."""
        error = self.protocol.handshake_exc
        # Nothing is said to a client that has said nothing.
        if isinstance(error, InvalidMessage | SecurityError) and self._head:
            head, self._head = self._head, b""
            self.protocol.data_to_send()
            self.transport.write(self._answer_unparsed(self, head, error).serialize())
            self._end_output()
        elif self.transport.get_write_buffer_size():
            for data in self.protocol.data_to_send():
                self.transport.write(data) if data else self._end_output()
        else:
            super().send_data()

    def _end_output(self) -> None:
        """Send nothing more, without an exception in the event loop if the client is gone."""
        if self.transport.get_write_buffer_size():
            # Half-closed later, when the rest is sent, asyncio would raise it where nobody catches.
            self.transport.close()
        else:
            with contextlib.suppress(OSError):
                self.transport.write_eof()

    def _split_frames(self, data: bytes) -> None:
        if self._library_bytes:
            count = min(self._library_bytes, len(data))
            self._library_bytes -= count
            super().data_received(data[:count])
            data = data[count:]
        if self._incomplete:
            data = self._incomplete + data
        start, size = 0, len(data)
        audio: list[BinaryFrame] = []
        audio_start = 0
        while size - start >= 2:
            first, second = data[start], data[start + 1]
            length, head = second & 0x7F, start + 2
            if length >= 126:
                length_bytes = 2 if length == 126 else 8
                if size < head + length_bytes:
                    break
                length = int.from_bytes(data[head : head + length_bytes], "big")
                head += length_bytes
            if not second & 0x80:
                # Clients must mask. The library closes the connection with the right code.
                self._library_only = True
                self._deliver(audio, data[audio_start:start])
                super().data_received(data[start:])
                return
            head += _MASK_BYTES
            end = head + length
            if first == _BINARY and not self._fragmented and length <= MAX_DIRECT_BYTES:
                if end > size:
                    break
                if not audio:
                    audio_start = start
                audio.append(BinaryFrame(data, head, length))
            else:
                self._deliver(audio, data[audio_start:start])
                audio = []
                if first & 0x0F in _MESSAGES:
                    self._fragmented = not first & 0x80
                self._library_bytes = max(0, end - size)
                super().data_received(data[start:end])
            start = end
        self._deliver(audio, data[audio_start:start])
        self._incomplete = data[start:]

    def _deliver(self, frames: Sequence[BinaryFrame], data: bytes) -> None:
        """Pass frames to the audio handler, or the same bytes to the library."""
        if not frames:
            return
        blocked = self._queued != self.handled or self.state is not State.OPEN
        if self.audio_handler is None or blocked or not self.audio_handler(frames):
            super().data_received(data)


def _do_nothing() -> None:
    """Stand for the abort of a transport that is closed already."""


class ReadPacing:
    """Pauses reading from connections that have just sent audio. All resume at the same time."""

    def __init__(self) -> None:
        self._paused: list[AudioConnection] = []
        self._timer: asyncio.TimerHandle | None = None

    def pause(self, connection: AudioConnection, streams: int) -> None:
        """Pause a connection, if there are so many streams that a pause saves work."""
        pause_s = min(MAX_READ_PAUSE_S, streams * READ_PAUSE_S_PER_STREAM)
        if pause_s < MIN_READ_PAUSE_S:
            return
        connection.transport.pause_reading()
        self._paused.append(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(pause_s, self.resume_all)

    def resume_all(self) -> None:
        """Resume reading from all paused connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        paused, self._paused = self._paused, []
        for connection in paused:
            connection.transport.resume_reading()


def unmask_samples(
    frames: Sequence[BinaryFrame], stream_format: StreamFormat
) -> NDArray[np.float32] | None:
    """Decode the samples of masked frames.

    Returns:
        float32 [n, channels], full scale 1.0. None where a frame is empty, is not a whole number of
        4-byte words or of sample frames, or holds values that are not finite.
    """
    size = frames[0].size
    for frame in frames:
        if frame.size != size:
            return _unmask_each(frames, stream_format)
    if not size or size % 4 or size % stream_format.frame_bytes:
        return None
    # The mask is four bytes long, so every word is XORed with the same word, in any byte order.
    words = size // 4 + 1
    stride = frames[1].start - frames[0].start if len(frames) > 1 else 4 * words
    if stride % 4:
        return _unmask_each(frames, stream_format)
    rows: NDArray[np.uint32] = np.ndarray(
        (len(frames), words), np.uint32, frames[0].data, frames[0].start - 4, (stride, 4)
    )
    unmasked = (rows[:, 1:] ^ rows[:, :1]).reshape(-1)
    if stream_format.encoding is Encoding.F32LE:
        samples = unmasked.view("<f4").astype(np.float32, copy=False)
        # The power is not finite if any value is not; this is cheaper than testing each value.
        with np.errstate(over="ignore", invalid="ignore"):
            power = np.dot(samples, samples)
        if not math.isfinite(power):
            return None
    else:
        samples = unmasked.view("<i2").astype(np.float32)
        samples /= np.float32(32768.0)
    signal: NDArray[np.float32] = samples.reshape(-1, stream_format.audio.channels)
    return signal


def _unmask_each(
    frames: Sequence[BinaryFrame], stream_format: StreamFormat
) -> NDArray[np.float32] | None:
    """Decode frames of different sizes one by one."""
    parts = [unmask_samples((frame,), stream_format) for frame in frames]
    valid = [part for part in parts if part is not None]
    return np.concatenate(valid) if len(valid) == len(parts) else None
