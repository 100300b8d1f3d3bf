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
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidMessage, SecurityError, TooManyHeaders
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State

from realtime_mer.clock import Clock
from realtime_mer.live.session_pool import MAX_UNREAD_S
from realtime_mer.server.door import Door
from realtime_mer.server.http import MAX_REQUEST_BYTES, TLS_HANDSHAKE
from realtime_mer.server.limits import LargeMessages, Limit, Refusals, Turns, address_of
from realtime_mer.server.protocol import MAX_MESSAGE_BYTES, CloseCode, Encoding, StreamFormat
from realtime_mer.server.rate_limit import RateLimit
from realtime_mer.server.tokens import Role

# Larger frames go to the library, so that one that arrives in small pieces is not copied each time.
MAX_DIRECT_BYTES = 2**16
# Enough of a request to say what is wrong with it.
HEAD_BYTES = 1024
# With many streams each connection is read less often, several frames at a time, because a read
# costs more than parsing what it brings. The pause grows with the number of streams: about 1,000
# reads a second in total. It ends before the stream has its next estimate, so it delays none.
READ_PAUSE_S_PER_STREAM, MAX_READ_PAUSE_S = 0.001, MAX_UNREAD_S
# A shorter pause would not collect a second frame: a browser's frame is 21 ms long.
MIN_READ_PAUSE_S = 0.01
# What a socket takes in any case, before its buffer has grown; a client must not have to wait.
MAX_UNREAD_BYTES = 48 * 2**10
# Read at once after a pause.
READ_BYTES = 2**16
# The event loop of Windows reads by itself, even while reading is paused.
READS_ALONE = sys.platform == "win32"
# Pings, pongs and closes; fragments of messages. Whoever sends more is cut off.
CONTROLS_PER_SECOND, CONTROL_BURST = 50, 100
FRAGMENTS_PER_SECOND, FRAGMENT_BURST = 500, 1000
# Frames for the library in one turn: about 1 ms.
FRAMES_PER_TURN = 64
# Received and not yet processed: one read, and a few that came although reading was paused.
MAX_HELD_BYTES = 2**20
# A connection that must close is cut off after this time, long enough to read the reason.
CUT_OFF_S = 1.0
_END_OF_REQUEST = b"\r\n\r\n"
_MASK_BYTES = 4
_BINARY = 0x80 | Opcode.BINARY
_MESSAGES = frozenset((Opcode.CONT, Opcode.TEXT, Opcode.BINARY))


class BinaryFrames(NamedTuple):
    """Complete binary frames of a client with equal headers, one after the other, still masked.

    Attributes:
        data: the receive buffer.
        start: offset of the first payload; the mask of each is the four bytes before it.
        size: bytes of each payload.
        stride: bytes from one payload to the next.
        number: how many.
    """

    data: bytes
    start: int
    size: int
    stride: int
    number: int


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a server's connections share.

    Attributes:
        turns: of the addresses.
        refusals: counts and logs the connections that are closed.
        clock: the time source.
        large: the memory of large messages.
        door: where the connections come in; None if the library accepts them.
    """

    turns: Turns
    refusals: Refusals
    clock: Clock
    large: LargeMessages
    door: Door | None


class AudioConnection(ServerConnection):
    """The server's side of a connection.

    Attributes:
        address: what limits by address apply to.
        audio_handler: called with binary frames that arrived together. Returns False where they
            must be received as messages (`recv`) instead. It is not called while earlier messages
            wait.
        joined_at: when it was accepted (`Clock.monotonic`).
        role: what the client may do; None until it has shown a token.

    Args:
        answer_unparsed: answers a request that the library cannot parse, in place of the library.
        limits: shared by all connections of the server.
    """

    def __init__(
        self,
        *args: Any,
        answer_unparsed: Callable[[AudioConnection, bytes, Exception], Response],
        limits: ConnectionLimits,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._answer_unparsed = answer_unparsed
        self._limits = limits
        self.address = ""
        self.joined_at = limits.clock.monotonic()
        # Reading is paused by `ReadPacing`.
        self.paced = False
        self._controls = RateLimit(CONTROL_BURST / CONTROLS_PER_SECOND, limits.clock)
        self._fragments = RateLimit(FRAGMENT_BURST / FRAGMENTS_PER_SECOND, limits.clock)
        # Received, and waiting for a turn.
        self._held = b""
        self._waiting = False
        self._paused = False
        self._cut_off: asyncio.TimerHandle | None = None
        self._head = b""
        self._head_bytes = 0
        # The end of what came of the request, to find its last four bytes.
        self._head_end = b""
        self.audio_handler: Callable[[BinaryFrames], bool] | None = None
        self.role: Role | None = None
        # Messages that wait for the receiver: how much of the bound of large messages each takes.
        self._queued: deque[int] = deque()
        # The same of the message that is being received.
        self._receiving = 0
        self._handshake_done = False
        # From now on the library gets all bytes.
        self._library_only = False
        # The start of an incomplete frame.
        self._incomplete = b""
        # Bytes of the current frame that still go to the library.
        self._library_bytes = 0
        self._fragmented = False

    @property
    def authenticated(self) -> bool:
        """Whether the client has shown what it needs to be served."""
        return self.role is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the transport is ready."""
        self.address = address_of(transport.get_extra_info("peername"))
        super().connection_made(transport)
        self.recv_messages.resume = self.resume_reading
        if self._limits.door is not None:
            self._limits.door.entered(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the transport is closed."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        self._held = b""
        self._limits.large.forget(self)
        if self._limits.door is not None:
            self._limits.door.left(self.transport)
        super().connection_lost(exc)
        # The library's objects are freed late, because they refer to each other.
        self.protocol.reader.discard()
        self._incomplete = b""
        # Where its last bytes were read late, asyncio's transport would raise an AttributeError
        # when it is aborted once more, as the library does.
        self.transport.abort = _do_nothing  # type: ignore[method-assign]

    def opened(self) -> None:
        """Count as open, no longer as a handshake that may have to give way."""
        if self._limits.door is not None:
            self._limits.door.opened(self.transport)

    def resume_reading(self) -> None:
        """Read on, if no other reason is left to pause."""
        if not (self._paused or self.paced or self.recv_messages.paused or self._cut_off):
            self.transport.resume_reading()

    def end_pause(self) -> None:
        """Read what has come during a pause of `ReadPacing`, which may then begin another.

        This leaves out the event loop, which would take longer to watch the socket for it than to
        read it.
        """
        self.paced = False
        transport = self.transport
        others = self._paused or self.recv_messages.paused or self._cut_off
        if not (READS_ALONE or others or transport.is_closing()):
            data = b""
            with contextlib.suppress(OSError):  # nothing has come; or the event loop will see why
                data = os.read(transport.get_extra_info("socket").fileno(), READ_BYTES)
            if data:
                # With TLS, the transport is the receiver of the socket's own one.
                receiver = transport if isinstance(transport, asyncio.Protocol) else self
                receiver.data_received(data)
                if len(data) == READ_BYTES:
                    self.paced = False
        self.resume_reading()

    def _pause_reading(self) -> None:
        self._paused = True
        self.transport.pause_reading()

    def refuse(self, kind: Limit, code: int, reason: str) -> None:
        """Close the connection at once, and read nothing more of it."""
        self._limits.refusals.limited(kind, self.address, reason)
        self.protocol.fail(code, reason)
        self.send_data()
        self.transport.pause_reading()
        self._cut_off_soon()

    def _cut_off_soon(self) -> None:
        """All is said: ignore whatever else comes, but not for long."""
        self._held = b""
        if self._limits.door is not None:
            self._limits.door.closing(self.transport, self.address)
        if self._cut_off is None:
            self._cut_off = self.loop.call_later(CUT_OFF_S, self.transport.abort)

    def message_handled(self) -> None:
        """Count a message that was received and processed: the receiver calls this for each."""
        if size := self._queued.popleft():
            self._limits.large.release(self, size)

    def process_event(self, event: Any) -> None:
        """Count the messages that pass through the library."""
        if isinstance(event, Frame) and event.fin and event.opcode in _MESSAGES:
            self._queued.append(self._receiving)
            self._receiving = 0
        super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Process received bytes, which may begin or end inside a frame, when their turn comes."""
        if self._cut_off is not None:
            return
        self._held += data
        if len(self._held) > MAX_HELD_BYTES:
            self.refuse(Limit.MESSAGES, CloseCode.POLICY, "too much data at once")
        elif self._waiting:
            self._pause_reading()
        elif self._handshake_done:
            self._take_turn()
        else:
            # The door has waited for the turn of the handshake.
            with self._limits.turns.work(self.address):
                self._proceed()

    def _take_turn(self) -> None:
        self._waiting = True
        if not self._limits.turns.run(self.address, self._proceed):
            self._pause_reading()

    def _proceed(self) -> None:
        """Process a part of what is held; read on after all of it."""
        self._waiting = False
        data, self._held = self._held, b""
        try:
            rest = self._process(data)
        except Exception as error:
            # As an event loop does where `data_received` fails.
            self.set_connection_exc(error)
            self.transport.abort()
            return
        if self._cut_off is not None or self.transport.is_closing():
            return
        if self.protocol.eof_sent:
            self._cut_off_soon()
            return
        self._held = rest
        if rest:
            self._pause_reading()
            if self.state is State.OPEN:
                self._waiting = True
                self._limits.turns.run_later(self.address, self._proceed)
        elif self._paused:
            self._paused = False
            self.resume_reading()

    def _process(self, data: bytes) -> bytes:
        """Process received bytes; return what must wait for another turn, or for the handshake."""
        if self.protocol.eof_sent:
            # What follows a refused request is ignored.
            super().data_received(data)
            return b""
        if self._handshake_done:
            if self.state is State.CONNECTING:
                return data
            if self._library_only:
                super().data_received(data)
                return b""
            return self._split_frames(data)
        self._head = (self._head + data)[:HEAD_BYTES]
        tail = self._head_end + data
        end = tail.find(_END_OF_REQUEST)
        size = len(data) if end < 0 else end + len(_END_OF_REQUEST) - len(self._head_end)
        self._head_end = tail[-3:]
        self._head_bytes += size
        if self._head_bytes > MAX_REQUEST_BYTES:
            self._refuse_request()
            return b""
        # A client that speaks TLS waits for an answer without having ended a line.
        tls = self._head.startswith(TLS_HANDSHAKE)
        super().data_received(data[:size] + b"\n" if tls else data[:size])
        self._handshake_done = self.request is not None
        if self._handshake_done:
            self._head = self._head_end = b""
        # A client need not wait for the response before it sends its first frame.
        return b"" if self.protocol.eof_sent else data[size:]

    def _refuse_request(self) -> None:
        # `_answer_unparsed` logs it.
        self._limits.refusals.counts[Limit.REQUEST_SIZE] += 1
        answer = self._answer_unparsed(self, self._head, TooManyHeaders("too long"))
        self.transport.write(answer.serialize())
        self.transport.pause_reading()
        self._cut_off_soon()

    def send_data(self) -> None:
        """Send what the library has to send, or our answer to an unparsed request."""
        if self.transport.is_closing():
            # The event loop would log each attempt.
            self.protocol.data_to_send()
            return
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
        if self._held and not self._waiting:
            # What came with the request, or directly after it.
            if self.protocol.eof_sent:
                self._held, self._paused = b"", False
                self.resume_reading()
            elif self.state is State.OPEN:
                self._take_turn()

    def _end_output(self) -> None:
        """Send nothing more, without an exception in the event loop if the client is gone."""
        if self.transport.get_write_buffer_size():
            # Half-closed later, when the rest is sent, asyncio would raise it where nobody catches.
            self.transport.close()
        else:
            with contextlib.suppress(OSError):
                self.transport.write_eof()

    def _split_frames(self, data: bytes) -> bytes:
        """Pass whole frames on; return what must wait for another turn."""
        if self._library_bytes:
            count = min(self._library_bytes, len(data))
            self._library_bytes -= count
            super().data_received(data[:count])
            data = data[count:]
        if self._incomplete:
            data = self._incomplete + data
        start, size = 0, len(data)
        taken = 0  # by the library
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
                super().data_received(data[start:])
                return b""
            header = data[start:head]
            head += _MASK_BYTES
            end = head + length
            if first == _BINARY and not self._fragmented and length <= MAX_DIRECT_BYTES:
                if end > size:
                    break
                stride = end - start
                while end + stride <= size and data.startswith(header, end):
                    end += stride
                frames = BinaryFrames(data, head, length, stride, (end - start) // stride)
                self._deliver(frames, start, end)
            else:
                if taken == FRAMES_PER_TURN:
                    break
                taken += 1
                if self._is_too_much(first, length):
                    return b""
                if first & 0x0F in _MESSAGES:
                    self._fragmented = not first & 0x80
                self._library_bytes = max(0, end - size)
                super().data_received(data[start:end])
            start = end
        if taken == FRAMES_PER_TURN:
            self._incomplete = b""
            return data[start:]
        self._incomplete = data[start:]
        return b""

    def _is_too_much(self, first: int, length: int) -> bool:
        """Close the connection and return True where a frame is one too many.

        Args:
            first: the first byte of the frame.
            length: bytes of its payload.
        """
        opcode, final = first & 0x0F, first & 0x80
        if length > MAX_DIRECT_BYTES or opcode == Opcode.CONT or not final:
            # The library refuses longer ones.
            size = min(length, MAX_MESSAGE_BYTES)
            self._receiving += size
            self._limits.large.take(self, size)
        if opcode not in _MESSAGES:
            if not self._controls.allows(1 / CONTROLS_PER_SECOND):
                reason = f"more than {CONTROLS_PER_SECOND} pings or pongs a second"
                self.refuse(Limit.CONTROL_FRAMES, CloseCode.POLICY, reason)
        elif (opcode == Opcode.CONT or not final) and not self._fragments.allows(
            1 / FRAGMENTS_PER_SECOND
        ):
            reason = f"more than {FRAGMENTS_PER_SECOND} fragments of messages a second"
            self.refuse(Limit.FRAGMENTS, CloseCode.POLICY, reason)
        return self._cut_off is not None

    def _deliver(self, frames: BinaryFrames, start: int, end: int) -> None:
        """Pass frames to the audio handler, or the same bytes to the library.

        Args:
            frames: complete.
            start, end: where they are in the receive buffer.
        """
        blocked = self._queued or self.state is not State.OPEN
        if self.audio_handler is None or blocked or not self.audio_handler(frames):
            super().data_received(frames.data[start:end])


def _do_nothing() -> None:
    """Stand for the abort of a transport that is closed already."""


class ReadPacing:
    """Pauses reading from connections that have just sent audio.

    A pause ends at a multiple of `MIN_READ_PAUSE_S`, so that the event loop wakes up for many.
    """

    def __init__(self) -> None:
        self._paused: dict[int, list[AudioConnection]] = {}

    def pause(
        self,
        connection: AudioConnection,
        streams: int,
        *,
        enough_s: float,
        frame_s: float,
        unread_s: float,
    ) -> None:
        """Pause a connection, if a pause saves work.

        Args:
            connection: whose audio was processed just now.
            streams: number of streams.
            enough_s: in how many seconds its stream needs the audio.
            frame_s: length of the audio in one frame. The newest one may have come so long before
                it was read, so that the next one comes as much earlier.
            unread_s: length of the audio in `MAX_UNREAD_BYTES`.
        """
        most_s = min(MAX_READ_PAUSE_S, streams * READ_PAUSE_S_PER_STREAM)
        pause_s = min(enough_s - frame_s, unread_s, most_s)
        if pause_s < MIN_READ_PAUSE_S:
            return
        now = connection.loop.time()
        slot = int((now + pause_s) / MIN_READ_PAUSE_S)
        end = slot * MIN_READ_PAUSE_S
        if end <= now:
            return
        connection.paced = True
        connection.transport.pause_reading()
        paused = self._paused.get(slot)
        if paused is None:
            paused = self._paused[slot] = []
            connection.loop.call_at(end, self._resume, slot)
        paused.append(connection)

    def _resume(self, slot: int) -> None:
        for connection in self._paused.pop(slot, ()):
            if connection.paced:
                connection.end_pause()


def unmask_samples(frames: BinaryFrames, stream_format: StreamFormat) -> NDArray[np.float32] | None:
    """Decode the samples of masked frames.

    Returns:
        float32 [n, channels], full scale 1.0. None where the frames are empty, are not a whole
        number of 4-byte words or of sample frames, or hold values that are not finite.
    """
    data, start, size, stride, number = frames
    if not size or size % 4 or size % stream_format.frame_bytes:
        return None
    if stride % 4:
        return _unmask_each(frames, stream_format)
    # The mask is four bytes long, so every word is XORed with the same word, in any byte order.
    rows: NDArray[np.uint32] = np.ndarray(
        (number, size // 4 + 1), np.uint32, data, start - _MASK_BYTES, (stride, 4)
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


def _unmask_each(frames: BinaryFrames, stream_format: StreamFormat) -> NDArray[np.float32] | None:
    """Decode frames one by one, where they do not follow each other in whole words."""
    data, start, size, stride, number = frames
    parts = [
        unmask_samples(BinaryFrames(data, start + k * stride, size, 4, 1), stream_format)
        for k in range(number)
    ]
    valid = [part for part in parts if part is not None]
    return np.concatenate(valid) if len(valid) == len(parts) else None
