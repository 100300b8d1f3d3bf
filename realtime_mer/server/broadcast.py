"""Sends the messages of one channel to all its viewers. Each message is encoded once.

The broadcaster writes directly to every viewer whose connection has taken everything so far. That
needs no task, lock or timer per viewer. A viewer that is behind sends the newest item itself, from
its own task and at its own pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from realtime_mer.clock import Clock
from realtime_mer.core.events import RhythmEvent
from realtime_mer.core.types import Estimate
from realtime_mer.live.hub import End, Item, PulseQueue
from realtime_mer.live.stats import Counter, Stats, Timing
from realtime_mer.live.stream import PULSE_BLOCK_S
from realtime_mer.server import protocol
from realtime_mer.server.channel import Channel, EncodedMessage

logger = logging.getLogger(__name__)

# Least time between health messages after changes; the periodic message covers later changes.
MIN_HEALTH_INTERVAL_S = 0.5
# Viewers written to before the event loop may handle audio and newer estimates: about 2 ms.
CHUNK = 128
# Three pulses a message, so 17 messages a second. Many viewers get more pulses in fewer messages:
# sending takes at most this share of a processor core, until the picture would no longer seem live.
PULSE_INTERVAL_S, MAX_PULSE_INTERVAL_S = PULSE_BLOCK_S, 0.4
PULSE_SHARE = 0.015
# Pulses that come so much too early are sent at once.
PULSE_EARLY_S = 0.01
# Estimates go first: how long pulses wait before they look again.
PULSE_WAIT_S = 0.005


class Subscriber(Protocol):
    """What the broadcaster needs of a viewer."""

    def offer(self, item: Item, message: EncodedMessage | None) -> bool: ...
    def offer_health(self, message: EncodedMessage) -> bool: ...
    def offer_passing(self, message: EncodedMessage) -> bool: ...
    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """A part of a snapshot.

    Attributes:
        text: the message.
        last_seq: the newest `seq` that the viewer has after this part.
        more: whether another part follows.
    """

    text: str
    last_seq: int
    more: bool


def pulse_interval_s(cost_s: float) -> float:
    """Return the time from one message of pulses to the next.

    Args:
        cost_s: processor time of sending the last one to all viewers.
    """
    return min(MAX_PULSE_INTERVAL_S, max(PULSE_INTERVAL_S, cost_s / PULSE_SHARE))


class Broadcaster:
    """The viewers of one channel. Only the hub's wake-up runs outside the event loop's thread.

    Args:
        channel: the session to broadcast, from now until `close`.
        health: returns the channel's current health message.
        stats: the server's counters.
        clock: the time source.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        health: Callable[[], Mapping[str, object]],
        stats: Stats,
        clock: Clock,
    ) -> None:
        self.channel = channel
        self.health = health
        self._stats = stats
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # In the order of arrival; a dict, because viewers leave in any order.
        self._viewers: dict[Subscriber, None] = {}
        self._offered_at: float | None = None
        self._dropped = 0
        self._newest: tuple[Estimate, EncodedMessage] | None = None
        self._health_requested = False
        self._health_message = EncodedMessage.from_text("")
        self._health_pending: list[Subscriber] = []
        self._sent_health: object = None
        self._health_sent_at = float("-inf")
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._snapshot_parts: dict[int, SnapshotPart] = {}
        self._slot = channel.hub.subscribe_latest(self._on_publish)
        self._pulse_viewers: dict[Subscriber, None] = {}
        self._pulse_queue: PulseQueue | None = None
        self._pulses_planned = False
        self._pulses_due = float("-inf")

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, viewer: Subscriber) -> None:
        """Add a viewer: it receives what is published from now on."""
        self._viewers[viewer] = None

    def remove(self, viewer: Subscriber) -> None:
        """Remove a viewer; do nothing if it is not there."""
        self._viewers.pop(viewer, None)
        self.show_pulses(viewer, on=False)

    def show_pulses(self, viewer: Subscriber, *, on: bool) -> None:
        """Send a viewer pulses from now on, or no more. They are made while anyone wants them."""
        if on:
            self._pulse_viewers[viewer] = None
        else:
            self._pulse_viewers.pop(viewer, None)
        hub = self.channel.hub
        if self._pulse_viewers and self._pulse_queue is None:
            self._pulse_queue = hub.subscribe_pulses(self._on_pulses)
        elif not self._pulse_viewers and self._pulse_queue is not None:
            hub.unsubscribe_pulses(self._pulse_queue)
            self._pulse_queue = None

    def close(self) -> None:
        """Unsubscribe from the channel's hub, after the last viewer has left."""
        self.channel.hub.unsubscribe(self._slot)

    def encode(self, estimate: Estimate) -> EncodedMessage:
        """Encode an estimate. The newest one is cached for all viewers."""
        if self._newest is None or self._newest[0] is not estimate:
            text = protocol.dump(estimate.to_dict())
            self._newest = (estimate, EncodedMessage.from_text(text))
        return self._newest[1]

    def snapshot_part(self, since: int) -> SnapshotPart:
        """Return the next part of the history after an estimate.

        Parts end where `seq` is a multiple of their size. So most viewers get the same parts, which
        are encoded once even when many viewers connect at the same time.

        Args:
            since: the last `seq` that the viewer has; -1 for none.
        """
        size = protocol.SNAPSHOT_CHUNK
        estimates, complete = self.channel.hub.history(since, size + 1)
        first = estimates[0].seq if estimates else 0
        cached = self._snapshot_parts.get(first) if complete else None
        if cached is not None:
            return cached
        length = size - first % size
        chunk, more = estimates[:length], len(estimates) > length
        text = protocol.dump(
            protocol.snapshot(self.channel.session, chunk, complete=complete, more=more)
        )
        part = SnapshotPart(text, chunk[-1].seq if chunk else since, more)
        if more and complete and length == size:
            self._snapshot_parts[first] = part
            # Evict what the hub has dropped from its history: the parts that were added first.
            while len(self._snapshot_parts) * size > self.channel.hub.history_capacity:
                del self._snapshot_parts[next(iter(self._snapshot_parts))]
        return part

    def broadcast_health_if_changed(self) -> None:
        """Send the health if it has changed and the last message is not too recent."""
        if self._clock.monotonic() - self._health_sent_at < MIN_HEALTH_INTERVAL_S:
            return
        if _noteworthy(self.health()) != self._sent_health:
            self.broadcast_health()

    def broadcast_health(self) -> None:
        """Send the health to all viewers."""
        self._health_requested = True
        self._start()

    async def drain(self) -> None:
        """Wait until everything published so far has been offered to the viewers."""
        # What another thread has just published is scheduled in the loop: let it run first.
        await asyncio.sleep(0)
        await self._idle.wait()

    def _on_publish(self) -> None:
        # Runs in the publisher's thread; the loop may have ended.
        self._offered_at = self._clock.monotonic()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._continue()

    def _continue(self) -> None:
        """Send what is pending, estimates before health; repeat until nothing is."""
        items = self._slot.take()
        dropped, self._dropped = self._slot.lost - self._dropped, self._slot.lost
        self._stats.add(Counter.MESSAGES_DROPPED, dropped * len(self._viewers))
        if items:
            self._send_items(items)
        elif self._health_requested or self._health_pending:
            self._send_health_chunk()
            self._loop.call_soon(self._continue)
        else:
            self._busy = False
            self._idle.set()

    def _send_items(self, items: Sequence[Item]) -> None:
        """Send the first item to all viewers, then the next one."""
        offered_at = self._offered_at
        item, later = items[0], items[1:]
        message = self._try_encode(item)

        def after() -> None:
            if later:
                self._send_items(later)
            else:
                self.broadcast_health_if_changed()
                self._continue()

        self._send_chunk(
            tuple(self._viewers),
            lambda viewer: viewer.offer(item, message),
            0 if message is None else message.size,
            after,
            offered_at,
        )

    def _try_encode(self, item: Item) -> EncodedMessage | None:
        """Encode an item; None for those that each viewer's own task must send."""
        if isinstance(item, End | RhythmEvent):
            return None
        try:
            if isinstance(item, Estimate):
                return self.encode(item)
            return EncodedMessage.from_text(protocol.dump(protocol.remark(item)))
        except Exception:
            # The viewers' tasks will fail in the same way and report it to each client.
            logger.exception("a message cannot be encoded")
            return None

    def _send_health_chunk(self) -> None:
        """Send the health to some viewers. A new estimate then waits for one chunk only."""
        if self._health_requested:
            self._health_requested = False
            self._health_sent_at = self._clock.monotonic()
            health = self.health()
            self._sent_health = _noteworthy(health)
            self._health_message = EncodedMessage.from_text(protocol.dump(health))
            self._health_pending = list(self._viewers)
        chunk, self._health_pending = self._health_pending[:CHUNK], self._health_pending[CHUNK:]
        message = self._health_message
        sent = self._offer(chunk, lambda viewer: viewer.offer_health(message))
        self._count(sent, message.size)

    def _send_chunk(
        self,
        viewers: tuple[Subscriber, ...],
        offer: Callable[[Subscriber], int],
        size: int,
        after: Callable[[], None],
        offered_at: float | None = None,
        first: int = 0,
    ) -> None:
        """Offer items to some viewers, then yield to the event loop before the next chunk."""
        last = first + CHUNK
        sent = self._offer(viewers[first:last], offer)
        self._count(sent, size)
        if sent and offered_at is not None:
            delay_s = self._clock.monotonic() - offered_at
            self._stats.observe(Timing.DELIVERY, delay_s, times=sent)
        if last < len(viewers):
            self._loop.call_soon(self._send_chunk, viewers, offer, size, after, offered_at, last)
        else:
            after()

    def _on_pulses(self) -> None:
        # Runs in the publisher's thread; the loop may have ended.
        if not self._pulses_planned:
            self._pulses_planned = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._plan_pulses)

    def _plan_pulses(self) -> None:
        delay_s = self._pulses_due - self._loop.time()
        if delay_s > PULSE_EARLY_S:
            self._loop.call_later(delay_s, self._send_pulses)
        else:
            self._send_pulses()

    def _send_pulses(self) -> None:
        """Send all pulses that have come in one message to each viewer that keeps up."""
        started_s = self._loop.time()
        pulses = self._pulse_queue.take() if self._pulse_queue is not None else []
        if not pulses:
            self._pulses_planned = False
            return
        message = EncodedMessage.from_text(protocol.dump(protocol.pulses(pulses)))
        self._send_pulse_chunk(tuple(self._pulse_viewers), message, started_s, cost_s=0.0)

    def _send_pulse_chunk(
        self,
        viewers: tuple[Subscriber, ...],
        message: EncodedMessage,
        started_s: float,
        *,
        cost_s: float,
    ) -> None:
        """Offer pulses to some viewers, then yield to the event loop before the next chunk."""
        if self._busy:
            again = partial(self._send_pulse_chunk, viewers, message, started_s, cost_s=cost_s)
            self._loop.call_later(PULSE_WAIT_S, again)
            return
        began_s = time.thread_time()
        chunk, rest = viewers[:CHUNK], viewers[CHUNK:]
        sent = self._offer(chunk, lambda viewer: viewer.offer_passing(message))
        self._count(sent, message.size)
        self._stats.add(Counter.PULSES_OUT, sent)
        self._stats.add(Counter.PULSES_DROPPED, len(chunk) - sent)
        cost_s += time.thread_time() - began_s
        if rest:
            again = partial(self._send_pulse_chunk, rest, message, started_s, cost_s=cost_s)
            self._loop.call_soon(again)
        else:
            self._pulses_due = started_s + pulse_interval_s(cost_s)
            self._pulses_planned = False

    def _offer(self, viewers: Sequence[Subscriber], offer: Callable[[Subscriber], int]) -> int:
        """Return how many messages were written at once."""
        sent = 0
        for viewer in viewers:
            # A viewer may have left since the chunk was planned.
            if viewer in self._viewers:
                try:
                    sent += offer(viewer)
                except Exception:
                    # A failure of one viewer must not affect the others.
                    logger.exception("writing to a viewer failed")
                    viewer.abort()
        return sent

    def _count(self, messages: int, size: int) -> None:
        self._stats.add(Counter.MESSAGES_OUT, messages)
        self._stats.add(Counter.BYTES_OUT, messages * size)


def _noteworthy(health: Mapping[str, object]) -> object:
    """Return the fields of a health message whose change is worth a message."""
    fields: dict[str, object] = {k: v for k, v in health.items() if k not in ("uptime_s", "show")}
    show = health.get("show")
    if isinstance(show, Mapping):
        # The number of sent messages and the reasons of scenes change all the time.
        outputs = [{k: v for k, v in output.items() if k != "sent"} for output in show["outputs"]]
        fields["show"] = (show["control"], outputs, [scene["active"] for scene in show["scenes"]])
    return fields
