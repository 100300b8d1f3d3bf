"""One websocket connection: sends a channel's messages and handles the client's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from realtime_mer.clock import Clock, iso_utc
from realtime_mer.core.events import Event, Marker
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Item, LatestSlot, Notice
from realtime_mer.live.person import Person
from realtime_mer.live.session_pool import ClientSession, SessionPool, TooManySessionsError
from realtime_mer.live.show import Show
from realtime_mer.live.stats import Counter, Stats, Timing
from realtime_mer.server import protocol
from realtime_mer.server.audio_connection import (
    MAX_UNREAD_BYTES,
    AudioConnection,
    BinaryFrames,
    ReadPacing,
    unmask_samples,
)
from realtime_mer.server.broadcast import Broadcaster
from realtime_mer.server.channel import Channel, EncodedMessage
from realtime_mer.server.limits import TASK_COST_S, Limit, Refusals, Turns
from realtime_mer.server.protocol import CloseCode, ErrorCode, StreamFormat, WireError
from realtime_mer.server.rate_limit import RateLimit
from realtime_mer.server.session_list import SessionList
from realtime_mer.server.tokens import Role

logger = logging.getLogger(__name__)

# Assumed cost of a message that only this viewer gets.
REMARK_COST_S = 0.00003
# A connection that takes nothing for this long is cut off.
SEND_TIMEOUT_S = 30.0
TEXTS_PER_SECOND, TEXT_BURST = 20, 40
ERRORS_PER_SECOND, ERROR_BURST = 5, 50
# Changes of the taps, of all clients together: each writes a file and fits the map anew.
TAPS_PER_SECOND, TAP_BURST = 1, 10
# Limits of incoming audio. A client may always send a little faster than real time, after a burst.
# What goes beyond that all clients share, so that the machine's time goes to live streams; alone, a
# client reaches 20 times real time.
LIVE_SPEED, AUDIO_BURST_S = 1.1, 10.0
FAST_SPEED, FAST_BURST_S = 18.9, 0.1
FRAMES_PER_SECOND, FRAME_BURST = 2000, 1000
# Each message over the limits costs the client this delay; after so many it is cut off.
PENALTY_S, MAX_PENALTIES = 0.2, 50


def fast_audio_limit(clock: Clock) -> RateLimit:
    """Return the limit of audio that comes faster than real time, for all clients together."""
    return RateLimit(FAST_BURST_S / FAST_SPEED, clock)


def tap_limit(clock: Clock) -> RateLimit:
    """Return the limit of changes of the taps, for all clients together."""
    return RateLimit(TAP_BURST / TAPS_PER_SECOND, clock)


class ViewerHost(Protocol):
    """What a viewer needs of the server."""

    clock: Clock
    stats: Stats
    pool: SessionPool
    read_pacing: ReadPacing
    refusals: Refusals
    turns: Turns
    fast_audio: RateLimit
    taps: RateLimit
    show: Show
    draining: str
    person: Person | None
    session_list: SessionList

    def channel(self, session: str | None) -> Channel: ...
    def find_channel(self, session: str | None) -> Channel | None: ...
    def subscribe(self, viewer: Viewer, channel: Channel) -> Broadcaster: ...
    def unsubscribe(self, viewer: Viewer, broadcaster: Broadcaster) -> None: ...
    def make_room_for_stream(self, address: str) -> bool: ...
    def hello(self, channel: Channel, role: Role) -> dict[str, object]: ...
    def authenticate(self, connection: AudioConnection, token: str) -> bool: ...
    def standing(self, channel: Channel) -> list[Notice]: ...
    def broadcast_health_if_changed(self) -> None: ...
    def broadcast_health(self) -> None: ...


class Viewer:
    """Sends a channel's items to one connection and handles its messages.

    The broadcaster writes directly to a connection that takes everything at once. For a connection
    that does not (it is slow, or is still receiving the snapshot), new items wait in a slot that
    keeps only the newest, and a task sends them as the socket allows. A slow connection skips
    estimates and affects nobody else.

    Args:
        host: the server.
        connection: open and authenticated.
        session: the requested session; the server's own where None, unknown or private.
        since: the last `seq` of that session that the client has; -1 for none.
    """

    def __init__(
        self, host: ViewerHost, connection: AudioConnection, session: str | None, since: int
    ) -> None:
        self._host = host
        self.joined_at = host.clock.monotonic()
        self._connection = connection
        self._transport = connection.transport
        self._channel = host.find_channel(session) or host.channel(None)
        self._since = since if session == self._channel.session else -1
        self._next_channel: Channel | None = self._channel
        self._broadcaster: Broadcaster | None = None
        self._slot = LatestSlot()
        self._offered_at: float | None = None
        # Exists only while there is something that the broadcaster cannot write directly.
        self._sender: asyncio.Task[None] | None = None
        self._last_seq = -1
        # Events and markers that were sent with the snapshot.
        self._past_remarks: list[Event | Marker] = []
        self._end_sent = False
        self._dropped = 0
        self._health_requested = False
        self._farewell = ""
        self._wants_pulses = False
        self._client: ClientSession | None = None
        self._format: StreamFormat | None = None  # of the client's audio
        self._client_ended = asyncio.Event()
        self._text_limit = RateLimit(TEXT_BURST / TEXTS_PER_SECOND, host.clock)
        self._error_limit = RateLimit(ERROR_BURST / ERRORS_PER_SECOND, host.clock)
        self._frame_limit = RateLimit(FRAME_BURST / FRAMES_PER_SECOND, host.clock)
        self._live_limit = RateLimit(AUDIO_BURST_S / LIVE_SPEED, host.clock)
        self._penalties = 0

    async def run(self) -> None:
        """Serve the connection until it closes."""
        self._ensure_sender()
        self._connection.audio_handler = self._handle_frames
        try:
            await self._receive()
        finally:
            self._connection.audio_handler = None
            if self._sender is not None:
                self._sender.cancel()
                await asyncio.gather(self._sender, return_exceptions=True)
            self._host.session_list.remove(self)
            self._unsubscribe()
            self._release_stream()

    @property
    def address(self) -> str:
        """What limits by address apply to."""
        return self._connection.address

    @property
    def streaming(self) -> bool:
        """Whether the client sends audio."""
        return self._client is not None

    def give_way(self, kind: Limit, reason: str) -> None:
        """Leave at once: the place is for another address, which holds fewer."""
        self._release_stream()
        self._connection.refuse(kind, CloseCode.TRY_AGAIN_LATER, reason)

    def _release_stream(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            self._host.pool.drop(client)
            # Other viewers may be watching this stream.
            client.hub.publish(End("its client is gone"))

    # Called by the broadcaster, in the event loop.

    def offer(self, item: Item, message: EncodedMessage | None) -> bool:
        """Take an item; return whether its message was written at once.

        Args:
            item: published just now.
            message: the bytes to write; None where only the viewer's task may send the item.
        """
        if message is not None and self._writable:
            is_new = self._is_new(item)
            if is_new:
                self._transport.write(message.frame)
            return is_new
        if self._offered_at is None:
            self._offered_at = self._host.clock.monotonic()
        self._slot.offer(item)
        self._ensure_sender()
        return False

    def offer_health(self, message: EncodedMessage) -> bool:
        """Take a health message; return whether it was written at once."""
        if self._writable:
            self._transport.write(message.frame)
            return True
        # The task makes a current message when it can send one.
        self._health_requested = True
        self._ensure_sender()
        return False

    def offer_passing(self, message: EncodedMessage) -> bool:
        """Take pulses or a list, which a viewer that is behind misses; return if written."""
        writable = self._writable
        if writable:
            self._transport.write(message.frame)
        return writable

    def announce(self, message: EncodedMessage) -> None:
        """Send the announcement that the server goes away, before anything else that waits."""
        if self._writable:
            self._transport.write(message.frame)
        else:
            self._farewell = message.text
            self._ensure_sender()

    @property
    def _role(self) -> Role:
        assert self._connection.role is not None
        return self._connection.role

    @property
    def _writable(self) -> bool:
        """Everything so far has been sent, so that bytes written now go out next."""
        return (
            self._sender is None
            and not self._transport.get_write_buffer_size()
            and self._connection.state is State.OPEN
            # Broken a moment ago: the event loop would log each attempt.
            and not self._transport.is_closing()
        )

    async def drain(self) -> None:
        """Wait until everything published so far has been sent."""
        if self._broadcaster is not None:
            await self._broadcaster.drain()
        if self._sender is not None:
            await asyncio.wait((self._sender,))

    @property
    def backlog_bytes(self) -> int:
        """Bytes in the server's memory that the connection has not taken yet."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cut the connection off without a closing handshake."""
        self._transport.abort()

    # Sending what the broadcaster could not: a task that exists while there is something to send.

    def _ensure_sender(self) -> None:
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_pending())

    async def _send_pending(self) -> None:
        try:
            while (
                self._next_channel is not None
                or self._slot.waiting
                or self._health_requested
                or self._farewell
            ):
                if self._next_channel is not None:
                    await self._switch_to(self._next_channel)
                assert self._broadcaster is not None
                await self._send_items(self._broadcaster)
                if self._farewell:
                    farewell, self._farewell = self._farewell, ""
                    await self._send_text(farewell)
                if self._health_requested:
                    self._health_requested = False
                    await self._send(self._broadcaster.health())
        except (ConnectionClosed, TimeoutError):
            self.abort()
        except Exception:
            logger.exception("sending to a viewer failed")
            await self._close_with_internal_error()
        else:
            # Not after a failure: nothing more is sent then.
            self._sender = None

    async def _switch_to(self, channel: Channel) -> None:
        """Subscribe to a channel; send hello, the missed estimates and, where it is over, end."""
        self._unsubscribe()
        self._next_channel, self._channel = None, channel
        since, self._since = self._since, -1
        # Subscribe before the history is read, so that no estimate falls between the two.
        self._slot = LatestSlot()
        broadcaster = self._broadcaster = self._host.subscribe(self, channel)
        broadcaster.show_pulses(self, on=self._wants_pulses)
        self._end_sent = False
        self._dropped = 0
        await self._send(self._host.hello(channel, self._role))
        latest = channel.hub.latest
        first = since = min(since, -1 if latest is None else latest.seq)
        more = True
        while more:
            self._host.turns.spend(self.address, TASK_COST_S)
            part = broadcaster.snapshot_part(since)
            since, more = part.last_seq, part.more
            await self._send_text(part.text)
            # A socket that takes everything does not wait: others would, for the whole history.
            await asyncio.sleep(0)
        self._past_remarks = channel.hub.remarks(first)
        for remark in self._past_remarks:
            self._host.turns.spend(self.address, REMARK_COST_S)
            await self._send(remark.to_dict())
        # What was told before this viewer came, and still holds.
        if channel.hub.ended is None:
            for notice in self._host.standing(channel):
                self._slot.offer(notice)
        self._last_seq = since
        self._health_requested = True
        if channel.hub.ended is not None:
            await self._send_end(channel.hub.ended)

    def _unsubscribe(self) -> None:
        if self._broadcaster is not None:
            self._host.unsubscribe(self, self._broadcaster)
            self._broadcaster = None

    async def _send_items(self, broadcaster: Broadcaster) -> None:
        offered_at, self._offered_at = self._offered_at, None
        for item in self._slot.take():
            await self._send_item(item, broadcaster)
        if offered_at is not None:
            self._host.stats.observe(Timing.DELIVERY, self._host.clock.monotonic() - offered_at)
        self._host.stats.add(Counter.MESSAGES_DROPPED, self._slot.lost - self._dropped)
        self._dropped = self._slot.lost

    def _is_new(self, item: Item) -> bool:
        """Return whether the snapshot did not contain an item, and count it as sent."""
        if isinstance(item, Estimate):
            newer = item.seq > self._last_seq
            self._last_seq = max(item.seq, self._last_seq)
            return newer
        return not any(item is each for each in self._past_remarks)

    async def _send_item(self, item: Item, broadcaster: Broadcaster) -> None:
        if isinstance(item, End):
            await self._send_end(item)
        elif not self._is_new(item):
            return
        elif isinstance(item, Estimate):
            await self._send_text(broadcaster.encode(item).text)
        elif isinstance(item, Notice | Event | Marker):
            await self._send(protocol.remark(item))

    async def _send_end(self, ended: End) -> None:
        if self._end_sent:
            return
        self._end_sent = True
        await self._send(protocol.end(self._channel.session, ended))
        if self._channel.client is not None:
            # A client's stream is over: return to the server's own session.
            if self._channel.client is self._client:
                self._client = None
                self._client_ended.set()
            self._watch(self._host.channel(None))

    def _watch(self, channel: Channel) -> None:
        self._next_channel = channel
        self._ensure_sender()

    async def _send(self, message: Mapping[str, object]) -> None:
        """Send a message and wait until the connection can take more.

        Raises:
            TimeoutError: the connection takes nothing.
            ConnectionClosed: it is closed.
        """
        await self._send_text(protocol.dump(message))

    async def _send_text(self, text: str) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._connection.send(text)
        self._host.stats.add(Counter.MESSAGES_OUT)
        self._host.stats.add(Counter.BYTES_OUT, len(text))

    # Receiving. Replies are awaited: the server does not read from a client that does not read.

    async def _receive(self) -> None:
        try:
            await self._handle_messages()
        except (ConnectionClosed, TimeoutError):
            self.abort()
        except Exception:
            logger.exception("a connection failed")
            await self._close_with_internal_error()

    async def _handle_messages(self) -> None:
        async for message in self._connection:
            await self._host.turns.wait(self.address)
            if self._connection.state is not State.OPEN:
                continue
            self._host.stats.add(Counter.MESSAGES_IN)
            self._host.stats.add(Counter.BYTES_IN, len(message))
            try:
                if isinstance(message, str):
                    await self._handle_text(message)
                else:
                    await self._handle_audio(bytes(message))
            except WireError as error:
                await self._reply_error(error)
                if error.code is ErrorCode.UNAUTHORIZED:
                    await self._connection.close(CloseCode.POLICY, "unauthorized")
                    return
                if error.code is ErrorCode.GOING_AWAY:
                    await self._connection.close(CloseCode.RESTART, "the server is going away")
                    return
            except TooManySessionsError as error:
                self._host.refusals.limited(Limit.SESSIONS, self.address, "too many streams")
                await self._reply_error(WireError(ErrorCode.TOO_MANY_SESSIONS, str(error)))
                await self._connection.close(CloseCode.TRY_AGAIN_LATER, "too many sessions")
                return
            if self._penalties > MAX_PENALTIES:
                reason = "too many messages or errors"
                self._connection.refuse(Limit.MESSAGES, CloseCode.POLICY, reason)
                return
            self._connection.message_handled()

    async def _close_with_internal_error(self) -> None:
        message = "internal server error; the connection closes, see the server's log"
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            await self._send(protocol.error(ErrorCode.INTERNAL, message))
            await self._connection.close(CloseCode.INTERNAL, "internal error")

    async def _reply_error(self, error: WireError) -> None:
        self._host.stats.add(Counter.CLIENT_ERRORS)
        if self._error_limit.allows(1 / ERRORS_PER_SECOND):
            await self._send(protocol.error(error.code, str(error)))
        else:
            await self._penalize()

    async def _penalize(self) -> None:
        self._penalties += 1
        await asyncio.sleep(PENALTY_S)

    async def _handle_text(self, text: str) -> None:
        if not self._text_limit.allows(1 / TEXTS_PER_SECOND):
            await self._penalize()
            raise WireError(
                ErrorCode.RATE_LIMITED,
                f"more than {TEXTS_PER_SECOND} text messages a second; this one was ignored",
            )
        message = protocol.parse(text)
        if isinstance(message, protocol.Ping):
            await self._send(protocol.pong(message.id, iso_utc(self._host.clock.utc())))
        elif isinstance(message, protocol.Start):
            self._start_stream(message)
        elif isinstance(message, protocol.Auth):
            # A cookie came with the handshake, and the token gives more.
            if self._host.authenticate(self._connection, message.token):
                self._watch(self._channel)
        elif isinstance(message, protocol.Control):
            self._control(message)
        elif isinstance(message, protocol.TapChange):
            await self._change_taps(message)
        elif isinstance(message, protocol.ListSessions):
            await self._list_sessions(on=message.on)
        elif isinstance(message, protocol.Watch):
            self._follow(message.session)
        elif isinstance(message, protocol.PulseRequest):
            self._wants_pulses = message.on
            if self._broadcaster is not None:
                self._broadcaster.show_pulses(self, on=message.on)
        else:
            await self._stop_stream()

    def _control(self, message: protocol.Control) -> None:
        self._require_control("change the show or make markers")
        try:
            self._host.show.control(message.command)
        except UserError as error:
            raise WireError(ErrorCode.BAD_CONTROL, str(error)) from error

    def _require_control(self, what: str) -> None:
        if not self._role.includes(Role.CONTROL):
            raise WireError(
                ErrorCode.FORBIDDEN,
                f"the role {self._role} may not {what}; ask for a token for control",
            )

    async def _list_sessions(self, *, on: bool) -> None:
        """Begin or end the list of the sessions; the first list is the answer."""
        sessions = self._host.session_list
        if not on:
            sessions.remove(self)
            return
        self._require_control("list the streams of others")
        sessions.add(self)
        await self._send_text(sessions.newest().text)

    def _follow(self, session: str | None) -> None:
        """Follow another session, from its hello on; the server's own where None."""
        self._require_control("follow the streams of others")
        if self._client is not None:
            raise WireError(
                ErrorCode.ALREADY_STREAMING,
                "this connection is streaming and gets its own values; send stop before watch",
            )
        channel = self._host.find_channel(session)
        if channel is None:
            raise WireError(
                ErrorCode.UNKNOWN_SESSION,
                f"there is no session {session!r} to follow; it has ended, or it is private",
            )
        self._watch(channel)

    async def _change_taps(self, message: protocol.TapChange) -> None:
        """Change the taps of the person. Everyone who may send sound may; the answer is health."""
        person = self._host.person
        if person is None:
            raise WireError(
                ErrorCode.BAD_TAP, "the server keeps no person's taps; start it with --person NAME"
            )
        if not self._role.includes(Role.SEND):
            raise WireError(
                ErrorCode.FORBIDDEN,
                f"the role {self._role} may watch, not tap; ask for a token for send",
            )
        if not self._host.taps.allows(1 / TAPS_PER_SECOND):
            raise WireError(
                ErrorCode.RATE_LIMITED,
                f"more than {TAPS_PER_SECOND} tap a second; this one was ignored",
            )
        hub, utc = self._channel.hub, self._host.clock.utc()
        try:
            # It writes a file.
            if message.action == "add":
                await asyncio.to_thread(person.tap, message.valence, message.arousal, hub, utc)
            elif message.action == "undo":
                await asyncio.to_thread(person.undo)
            else:
                await asyncio.to_thread(person.reset)
        except UserError as error:
            raise WireError(ErrorCode.BAD_TAP, str(error)) from error
        self._host.broadcast_health()

    def _start_stream(self, message: protocol.Start) -> None:
        if not self._role.includes(Role.SEND):
            raise WireError(
                ErrorCode.FORBIDDEN,
                f"the role {self._role} may watch, not send sound; ask for a token for send",
            )
        if self._client is not None:
            raise WireError(
                ErrorCode.ALREADY_STREAMING,
                "this connection is streaming already; send stop before another start",
            )
        if self._host.draining:
            raise WireError(ErrorCode.GOING_AWAY, self._host.draining)
        pool = self._host.pool
        if len(pool) >= pool.max_sessions:
            self._host.make_room_for_stream(self.address)
        try:
            with self._host.turns.work(self.address):
                client = pool.open(message.format.audio, message.name, private=message.private)
        except UserError as error:
            raise WireError(ErrorCode.BAD_FORMAT, str(error)) from error
        self._client, self._format = client, message.format
        self._client_ended.clear()
        self._watch(self._host.channel(client.session))
        self._host.broadcast_health_if_changed()

    async def _stop_stream(self) -> None:
        self._host.pool.finish(self._require_stream()[0], "stopped by the client")
        # Later messages, such as another start, are read after the end has been sent.
        waiting = {
            asyncio.create_task(self._client_ended.wait()),
            asyncio.create_task(self._connection.wait_closed()),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self._host.broadcast_health_if_changed()

    def _handle_frames(self, frames: BinaryFrames) -> bool:
        """Push valid audio; all other frames arrive again through `_handle_audio`."""
        client = self._client
        if client is None or self._format is None:
            return False
        try:
            samples = unmask_samples(frames, self._format)
        except Exception:
            logger.exception("audio cannot be decoded")
            return False
        if samples is None:
            return False
        payload_bytes = frames.number * frames.size
        duration_s = len(samples) / client.format.sample_rate_hz
        if not self._frame_limit.allows(frames.number / FRAMES_PER_SECOND):
            return False
        live = self._live_limit.allows(duration_s / LIVE_SPEED)
        if not live and not self._host.fast_audio.allows(duration_s / FAST_SPEED):
            return False
        self._host.stats.add(Counter.MESSAGES_IN, frames.number)
        self._host.stats.add(Counter.BYTES_IN, payload_bytes)
        self._host.read_pacing.pause(
            self._connection,
            len(self._host.pool),
            enough_s=self._host.pool.push(client, samples),
            frame_s=duration_s / frames.number,
            unread_s=MAX_UNREAD_BYTES / payload_bytes * duration_s,
        )
        return True

    async def _handle_audio(self, data: bytes) -> None:
        client, stream_format = self._require_stream()
        samples = stream_format.decode(data)
        duration_s = len(samples) / client.format.sample_rate_hz
        delay_s = self._frame_limit.delay_s(1 / FRAMES_PER_SECOND)
        if not self._live_limit.allows(duration_s / LIVE_SPEED):
            delay_s = max(delay_s, self._host.fast_audio.delay_s(duration_s / FAST_SPEED))
        if delay_s > 0.0:
            await asyncio.sleep(delay_s)
        bad = samples.size - int(np.isfinite(samples).sum())
        if bad:
            client.stats.add(Counter.BAD_SAMPLES, bad)
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self._host.pool.push(client, samples)
        if bad:
            raise WireError(
                ErrorCode.BAD_SAMPLES,
                f"the binary frame contains {bad} value(s) that are NaN or infinite; "
                "they count as silence",
            )

    def _require_stream(self) -> tuple[ClientSession, StreamFormat]:
        if self._client is None or self._format is None:
            raise WireError(
                ErrorCode.NOT_STREAMING,
                "this connection is not streaming; send a start message first",
            )
        return self._client, self._format
