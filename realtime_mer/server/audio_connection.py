"""A websocket connection on which audio takes the short way.

A browser sends 47 frames of audio a second. The library gives each a generator, a queue and a task
switch; of many streams that costs more than what is done with the audio. So frames are told apart
here: whole binary ones are handed over as they lie in the buffer, all others (text, control,
fragments, large ones, mistakes) go to the library as they came, which does with them what it always
does. Whoever cannot take audio at once says so, and it goes to the library too, in its order.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from realtime_mer.server.protocol import Encoding, StreamFormat

# Larger frames are not gathered here, so that one that comes in crumbs is not copied each time.
MAX_WHOLE_BYTES = 2**16
# With many streams each is read less often, several frames at a time: reading costs more than what
# is read. The time between grows with the streams, so that they are about 3,000 reads a second.
GATHER_S_PER_STREAM, MOST_GATHER_S = 0.0003, 0.1
# Shorter than this there would be nothing to gather: a browser's frame is 21 ms long.
LEAST_GATHER_S = 0.01
_MASK_BYTES = 4
_BINARY = 0x80 | Opcode.BINARY
_MESSAGES = frozenset((Opcode.CONT, Opcode.TEXT, Opcode.BINARY))


class BinaryFrame(NamedTuple):
    """A whole binary frame of a client, still masked.

    Attributes:
        data: what was received.
        start: where the payload begins; its mask is the four bytes before.
        size: bytes of the payload.
    """

    data: bytes
    start: int
    size: int


class AudioConnection(ServerConnection):
    """A server's side of a connection.

    Attributes:
        audio: takes binary frames that came together; False where they must be received as messages
            (`recv`) instead. Not called while messages wait that came before.
        handled: messages that were received and dealt with; counted by whoever receives them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.audio: Callable[[Sequence[BinaryFrame]], bool] | None = None
        self.handled = 0
        self._queued = 0
        self._shaken = False
        # Whether everything is left to the library for good.
        self._plain = False
        # What has come of a frame that is not whole, and how much of one is the library's.
        self._rest = b""
        self._through = 0
        self._fragmented = False

    def process_event(self, event: Any) -> None:
        """Counts the messages that go through the library."""
        if isinstance(event, Frame) and event.fin and event.opcode in _MESSAGES:
            self._queued += 1
        super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Takes what came, from the first byte of a frame or from the middle of one."""
        if self._plain:
            super().data_received(data)
        elif self._shaken:
            self._split(data)
        else:
            super().data_received(data)
            self._shaken = self.request is not None
            # A client that does not wait for the answer: where its frames begin is not known here.
            self._plain = self._shaken and not data.endswith(b"\r\n\r\n")

    def _split(self, data: bytes) -> None:
        if self._through:
            mine = min(self._through, len(data))
            self._through -= mine
            super().data_received(data[:mine])
            data = data[mine:]
        if self._rest:
            data = self._rest + data
        start, size = 0, len(data)
        audio: list[BinaryFrame] = []
        audio_start = 0
        while size - start >= 2:
            first, second = data[start], data[start + 1]
            length, head = second & 0x7F, start + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                if size < head + wide:
                    break
                length = int.from_bytes(data[head : head + wide], "big")
                head += wide
            if not second & 0x80:
                # Clients mask; the library knows what to say, and nothing is read afterwards.
                self._plain = True
                self._hand_over(audio, data[audio_start:start])
                super().data_received(data[start:])
                return
            head += _MASK_BYTES
            end = head + length
            if first == _BINARY and not self._fragmented and length <= MAX_WHOLE_BYTES:
                if end > size:
                    break
                if not audio:
                    audio_start = start
                audio.append(BinaryFrame(data, head, length))
            else:
                self._hand_over(audio, data[audio_start:start])
                audio = []
                if first & 0x0F in _MESSAGES:
                    self._fragmented = not first & 0x80
                self._through = max(0, end - size)
                super().data_received(data[start:end])
            start = end
        self._hand_over(audio, data[audio_start:start])
        self._rest = data[start:]

    def _hand_over(self, frames: Sequence[BinaryFrame], data: bytes) -> None:
        """Gives audio to who takes it, or as the same bytes to the library."""
        if not frames:
            return
        waits = self._queued != self.handled or self.state is not State.OPEN
        if self.audio is None or waits or not self.audio(frames):
            super().data_received(data)


class ReadPacing:
    """Lets connections rest whose audio was just taken, all until the same moment."""

    def __init__(self) -> None:
        self._resting: list[AudioConnection] = []
        self._timer: asyncio.TimerHandle | None = None

    def rest(self, connection: AudioConnection, streams: int) -> None:
        """Reads nothing from a connection for a while, where so many streams make that worth it."""
        rest_s = min(MOST_GATHER_S, streams * GATHER_S_PER_STREAM)
        if rest_s < LEAST_GATHER_S:
            return
        connection.transport.pause_reading()
        self._resting.append(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(rest_s, self.read_on)

    def read_on(self) -> None:
        """Reads from all of them again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        resting, self._resting = self._resting, []
        for connection in resting:
            connection.transport.resume_reading()


def unmasked_samples(
    frames: Sequence[BinaryFrame], stream_format: StreamFormat
) -> NDArray[np.float32] | None:
    """The samples of frames as they came.

    Returns:
        float32 [n, channels]; None where a frame is empty, is no whole number of words or of sample
        frames, or holds values that are not finite.
    """
    size = frames[0].size
    for frame in frames:
        if frame.size != size:
            return _one_by_one(frames, stream_format)
    if not size or size % 4 or size % stream_format.frame_bytes:
        return None
    # The mask is four bytes long, so it is the same word throughout, in any order of bytes.
    words = size // 4 + 1
    stride = frames[1].start - frames[0].start if len(frames) > 1 else 4 * words
    if stride % 4:
        return _one_by_one(frames, stream_format)
    rows: NDArray[np.uint32] = np.ndarray(
        (len(frames), words), np.uint32, frames[0].data, frames[0].start - 4, (stride, 4)
    )
    unmasked = (rows[:, 1:] ^ rows[:, :1]).reshape(-1)
    if stream_format.encoding is Encoding.F32LE:
        samples = unmasked.view("<f4").astype(np.float32, copy=False)
        # Not finite where a value is not, and cheaper than asking each of them.
        with np.errstate(over="ignore", invalid="ignore"):
            power = np.dot(samples, samples)
        if not math.isfinite(power):
            return None
    else:
        samples = unmasked.view("<i2").astype(np.float32)
        samples /= np.float32(32768.0)
    signal: NDArray[np.float32] = samples.reshape(-1, stream_format.audio.channels)
    return signal


def _one_by_one(
    frames: Sequence[BinaryFrame], stream_format: StreamFormat
) -> NDArray[np.float32] | None:
    """The same for frames of several sizes."""
    parts = [unmasked_samples((frame,), stream_format) for frame in frames]
    whole = [part for part in parts if part is not None]
    return np.concatenate(whole) if len(whole) == len(parts) else None
