"""One websocket connection: what it is sent, at its own pace, and what it sends us."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Item, LatestSlot, Notice
from realtime_mer.live.session_pool import ClientSession, SessionPool, TooManySessionsError
from realtime_mer.live.stats import Counter, Timing
from realtime_mer.server import broadcast, protocol
from realtime_mer.server.audio_connection import (
    AudioConnection,
    BinaryFrame,
    ReadPacing,
    unmasked_samples,
)
from realtime_mer.server.broadcast import Broadcaster
from realtime_mer.server.channel import Channel, Ready
from realtime_mer.server.protocol import CloseCode, ErrorCode, StreamFormat, WireError
from realtime_mer.server.rate_limit import RateLimit

logger = logging.getLogger(__name__)

# A viewer that takes nothing for so long is cut off.
SEND_TIMEOUT_S = 30.0
TEXTS_PER_SECOND, TEXT_BURST = 20, 40
ERRORS_PER_SECOND, ERROR_BURST = 5, 50
# Audio may come so many times faster than real time, ten seconds of it at once, in so many frames
# a second.
AUDIO_SPEED, AUDIO_BURST_S, FRAMES_PER_SECOND = 20.0, 10.0, 2000
# A client that is told to slow down waits this long for each message; after so many it is cut off.
PENALTY_S, MAX_PENALTIES = 0.05, 200


class Host(broadcast.Host, Protocol):
    """What a viewer needs of the server."""

    pool: SessionPool
    gathering: ReadPacing

    def channel(self, session: str | None) -> Channel: ...
    def room(self, channel: Channel) -> Broadcaster: ...
    def leave(self, viewer: Viewer, room: Broadcaster) -> None: ...
    def hello(self, channel: Channel) -> dict[str, object]: ...
    def utc(self) -> str: ...
    def tell_all(self) -> None: ...


class Viewer:
    """Sends a channel's items to one connection and takes its messages.

    While the connection takes everything at once, the room writes to it directly. Where it does not
    (it is slow, or has just come and is told the past), what comes waits in a slot that keeps the
    newest, and a task sends it as the socket allows: a slow connection skips estimates and nobody
    else notices.

    Args:
        host: the server.
        connection: open.
        session: which session it asks for; the server's own where None or gone.
        since: the last `seq` of that session that the client has; -1 for none.
    """

    def __init__(
        self, host: Host, connection: AudioConnection, session: str | None, since: int
    ) -> None:
        self._host = host
        self._connection = connection
        self._transport = connection.transport
        self._channel = host.channel(session)
        self._since = since if session == self._channel.session else -1
        self._next: Channel | None = self._channel
        self._room: Broadcaster | None = None
        self._slot = LatestSlot()
        self._offered_at: float | None = None
        # Only while there is something that the room cannot write directly.
        self._sender: asyncio.Task[None] | None = None
        self._seen = -1
        self._told_end = False
        self._lost = 0
        self._health_wanted = False
        self._client: ClientSession | None = None
        self._format: StreamFormat | None = None  # of its audio
        self._client_over = asyncio.Event()
        self._texts = RateLimit(TEXT_BURST / TEXTS_PER_SECOND, host.clock)
        self._errors = RateLimit(ERROR_BURST / ERRORS_PER_SECOND, host.clock)
        self._audio = RateLimit(AUDIO_BURST_S / AUDIO_SPEED, host.clock)
        self._penalties = 0

    async def run(self) -> None:
        """Serves the connection until it closes."""
        self._send_soon()
        self._connection.audio = self._take_audio_now
        try:
            await self._receive_all()
        finally:
            self._connection.audio = None
            if self._sender is not None:
                self._sender.cancel()
                await asyncio.gather(self._sender, return_exceptions=True)
            self._leave()
            if self._client is not None:
                self._host.pool.drop(self._client)
                # Others may have been watching it.
                self._client.hub.publish(End("its client is gone"))

    # Called by the room, in the event loop.

    def offer(self, item: Item, message: Ready | None) -> bool:
        """Takes an item; whether its message has been written at once.

        Args:
            item: published just now.
            message: what to write; None where only the task may tell it.
        """
        if message is not None and isinstance(item, Estimate) and self._free:
            # The snapshot may have told it already.
            if item.seq <= self._seen:
                return False
            self._seen = item.seq
            self._transport.write(message.frame)
            return True
        if self._offered_at is None:
            self._offered_at = self._host.clock.monotonic()
        self._slot.offer(item)
        self._send_soon()
        return False

    def offer_health(self, message: Ready) -> bool:
        """Takes a health message; whether it has been written at once."""
        if self._free:
            self._transport.write(message.frame)
            return True
        # The task makes its own, as new as the moment in which it can be sent.
        self._health_wanted = True
        self._send_soon()
        return False

    @property
    def _free(self) -> bool:
        """Everything so far has been taken, so that what is written now comes next."""
        return (
            self._sender is None
            and not self._transport.get_write_buffer_size()
            and self._connection.state is State.OPEN
        )

    async def quiet(self) -> None:
        """Waits until everything that is there has been sent."""
        if self._room is not None:
            await self._room.quiet()
        if self._sender is not None:
            await asyncio.wait((self._sender,))

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait in our memory for the connection to take them."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cuts the connection off without a word."""
        self._transport.abort()

    # Sending what the room could not: a task that exists as long as there is something.

    def _send_soon(self) -> None:
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._next is not None or self._slot.waiting or self._health_wanted:
                if self._next is not None:
                    await self._enter(self._next)
                await self._send_items()
                if self._health_wanted:
                    self._health_wanted = False
                    await self._write(self._host.health(self._channel))
        except (ConnectionClosed, TimeoutError):
            self.abort()
        except Exception:
            logger.exception("sending to a viewer failed")
            await self._apologize()
        else:
            # Not after a failure: nothing more is sent then.
            self._sender = None

    async def _enter(self, channel: Channel) -> None:
        """Makes a channel the one that is watched: hello, what was missed, perhaps the end."""
        self._leave()
        self._next, self._channel = None, channel
        since, self._since = self._since, -1
        # Before the history is read, so that nothing falls between the two.
        self._slot = LatestSlot()
        self._room = self._host.room(channel)
        self._room.enter(self)
        self._told_end = False
        self._lost = 0
        await self._write(self._host.hello(channel))
        latest = channel.hub.latest
        since = min(since, -1 if latest is None else latest.seq)
        more = True
        while more:
            part = self._room.past(since)
            since, more = part.last, part.more
            await self._write_text(part.text)
        # It was published before this viewer came, perhaps long ago, and still holds.
        slowed = None if channel.client is None else channel.client.stream.slowed
        if slowed is not None and channel.hub.ended is None:
            self._slot.offer(slowed)
        self._seen = since
        self._health_wanted = True
        if channel.hub.ended is not None:
            await self._send_end(channel.hub.ended)

    def _leave(self) -> None:
        if self._room is not None:
            self._host.leave(self, self._room)
            self._room = None

    async def _send_items(self) -> None:
        offered_at, self._offered_at = self._offered_at, None
        for item in self._slot.take():
            await self._send_item(item)
        if offered_at is not None:
            self._host.stats.observe(Timing.DELIVERY, self._host.clock.monotonic() - offered_at)
        self._host.stats.add(Counter.MESSAGES_DROPPED, self._slot.lost - self._lost)
        self._lost = self._slot.lost

    async def _send_item(self, item: Item) -> None:
        if isinstance(item, Estimate):
            # The snapshot may have told it already.
            if item.seq > self._seen:
                self._seen = item.seq
                await self._write_text(self._host.text(item))
        elif isinstance(item, Notice):
            await self._write(protocol.warning(item))
        else:
            await self._send_end(item)

    async def _send_end(self, ended: End) -> None:
        if self._told_end:
            return
        self._told_end = True
        await self._write(protocol.end(self._channel.session, ended))
        if self._channel.client is not None:
            # A client's stream is over: back to what everyone watches.
            if self._channel.client is self._client:
                self._client = None
                self._client_over.set()
            self._switch(self._host.channel(None))

    def _switch(self, channel: Channel) -> None:
        self._next = channel
        self._send_soon()

    async def _write(self, message: Mapping[str, object]) -> None:
        """Sends a message and waits until the connection can take more.

        Raises:
            TimeoutError: it takes nothing.
            ConnectionClosed: it is closed.
        """
        await self._write_text(protocol.dump(message))

    async def _write_text(self, text: str) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._connection.send(text)
        self._host.stats.add(Counter.MESSAGES_OUT)
        self._host.stats.add(Counter.BYTES_OUT, len(text))

    # Receiving. Answers are awaited, so that a client that does not read is not read either.

    async def _receive_all(self) -> None:
        try:
            await self._take_all()
        except (ConnectionClosed, TimeoutError):
            self.abort()
        except Exception:
            logger.exception("a connection failed")
            await self._apologize()

    async def _take_all(self) -> None:
        async for message in self._connection:
            self._host.stats.add(Counter.MESSAGES_IN)
            self._host.stats.add(Counter.BYTES_IN, len(message))
            try:
                if isinstance(message, str):
                    await self._take_text(message)
                else:
                    await self._take_audio(bytes(message))
            except WireError as error:
                await self._refuse(error)
            except TooManySessionsError as error:
                self._host.stats.add(Counter.REFUSALS)
                await self._refuse(WireError(ErrorCode.TOO_MANY_SESSIONS, str(error)))
                await self._connection.close(CloseCode.TRY_AGAIN_LATER, "too many sessions")
                return
            if self._penalties > MAX_PENALTIES:
                await self._connection.close(CloseCode.POLICY, "too many messages or errors")
                return
            self._connection.handled += 1

    async def _apologize(self) -> None:
        message = "the server made a mistake and closes this connection; its log says more"
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            await self._write(protocol.error(ErrorCode.INTERNAL, message))
            await self._connection.close(CloseCode.INTERNAL, "internal error")

    async def _refuse(self, error: WireError) -> None:
        self._host.stats.add(Counter.CLIENT_ERRORS)
        if self._errors.allows(1 / ERRORS_PER_SECOND):
            await self._write(protocol.error(error.code, str(error)))
        else:
            await self._punish()

    async def _punish(self) -> None:
        self._penalties += 1
        await asyncio.sleep(PENALTY_S)

    async def _take_text(self, text: str) -> None:
        if not self._texts.allows(1 / TEXTS_PER_SECOND):
            await self._punish()
            raise WireError(
                ErrorCode.RATE_LIMITED,
                f"more than {TEXTS_PER_SECOND} text messages a second came; this one was ignored",
            )
        message = protocol.parse(text)
        if isinstance(message, protocol.Ping):
            await self._write(protocol.pong(message.id, self._host.utc()))
        elif isinstance(message, protocol.Start):
            self._start(message)
        else:
            await self._stop()

    def _start(self, message: protocol.Start) -> None:
        if self._client is not None:
            raise WireError(
                ErrorCode.ALREADY_STREAMING,
                "this connection is streaming already; send stop before another start",
            )
        try:
            client = self._host.pool.open(message.format.audio, message.name)
        except UserError as error:
            raise WireError(ErrorCode.BAD_FORMAT, str(error)) from error
        self._client, self._format = client, message.format
        self._client_over.clear()
        self._switch(self._host.channel(client.session))
        self._host.tell_all()

    async def _stop(self) -> None:
        self._host.pool.finish(self._streaming()[0], "stopped by the client")
        # What follows, perhaps another start, is read once the end has been told.
        waiting = {
            asyncio.create_task(self._client_over.wait()),
            asyncio.create_task(self._connection.wait_closed()),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self._host.tell_all()

    def _take_audio_now(self, frames: Sequence[BinaryFrame]) -> bool:
        """Takes audio that nothing is wrong with; all else comes again through `_take_audio`."""
        client = self._client
        if client is None or self._format is None:
            return False
        try:
            samples = unmasked_samples(frames, self._format)
        except Exception:
            logger.exception("audio cannot be read")
            return False
        if samples is None:
            return False
        wait_s = len(samples) / (AUDIO_SPEED * client.format.sample_rate_hz)
        if not self._audio.allows(max(wait_s, len(frames) / FRAMES_PER_SECOND)):
            return False
        self._host.stats.add(Counter.MESSAGES_IN, len(frames))
        self._host.stats.add(Counter.BYTES_IN, sum([frame.size for frame in frames]))
        self._host.pool.push(client, samples)
        self._host.gathering.rest(self._connection, len(self._host.pool))
        return True

    async def _take_audio(self, data: bytes) -> None:
        client, stream_format = self._streaming()
        samples = stream_format.decode(data)
        rate = client.format.sample_rate_hz
        delay = self._audio.delay_s(max(len(samples) / (AUDIO_SPEED * rate), 1 / FRAMES_PER_SECOND))
        if delay > 0.0:
            await asyncio.sleep(delay)
        bad = samples.size - int(np.isfinite(samples).sum())
        if bad:
            client.stats.add(Counter.BAD_SAMPLES, bad)
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self._host.pool.push(client, samples)
        if bad:
            raise WireError(
                ErrorCode.BAD_SAMPLES,
                f"the binary frame holds {bad} value(s) that are NaN or infinite; "
                "they count as silence",
            )

    def _streaming(self) -> tuple[ClientSession, StreamFormat]:
        if self._client is None or self._format is None:
            raise WireError(
                ErrorCode.NOT_STREAMING,
                "this connection is not streaming; send a start message first",
            )
        return self._client, self._format
