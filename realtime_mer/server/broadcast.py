"""Everyone who watches one channel: a message is made once and handed to all of them.

A viewer whose connection took everything so far is written to directly, without a task, a lock or a
timer of its own; one that is behind gets the newest through its own task, at its own pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from realtime_mer.clock import Clock
from realtime_mer.core.types import Estimate
from realtime_mer.live.hub import Item
from realtime_mer.live.stats import Counter, Stats, Timing
from realtime_mer.server import protocol
from realtime_mer.server.channel import Channel, Ready

logger = logging.getLogger(__name__)

# Changes are told at once, but not more often than this; the periodic health tells the rest.
HEALTH_PAUSE_S = 0.5
# So many are written to before the loop looks after audio and newer estimates: about 2 ms.
CHUNK = 128


class Host(Protocol):
    """What a room needs of the server."""

    clock: Clock
    stats: Stats

    def health(self, channel: Channel) -> dict[str, object]: ...
    def text(self, estimate: Estimate) -> str: ...


class Subscriber(Protocol):
    """What a room needs of a viewer."""

    def offer(self, item: Item, message: Ready | None) -> bool: ...
    def offer_health(self, message: Ready) -> bool: ...
    def abort(self) -> None: ...


class Broadcaster:
    """The viewers of one channel. Everything but the hub's wake-up belongs to the event loop.

    Args:
        host: the server.
        channel: what is watched; followed from now until `close`.
    """

    def __init__(self, host: Host, channel: Channel) -> None:
        self.channel = channel
        self._host = host
        self._loop = asyncio.get_running_loop()
        # In the order of their coming; a dict, because they also leave in any order.
        self._viewers: dict[Subscriber, None] = {}
        self._offered_at: float | None = None
        self._lost = 0
        self._health_wanted = False
        self._health = Ready.of("")
        self._health_left: list[Subscriber] = []
        self._health_told: object = None
        self._health_at = float("-inf")
        self._busy = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._past: dict[int, Past] = {}
        self._slot = channel.hub.subscribe_latest(self._offered)

    def __len__(self) -> int:
        return len(self._viewers)

    def enter(self, viewer: Subscriber) -> None:
        """Adds a viewer: what is published from now on reaches it."""
        self._viewers[viewer] = None

    def leave(self, viewer: Subscriber) -> None:
        """Removes a viewer; nothing happens where it is not there."""
        self._viewers.pop(viewer, None)

    def past(self, since: int) -> Past:
        """The next part of what a viewer missed after an estimate (-1: from the beginning).

        A part ends where `seq` is a multiple of its size, so that most viewers are told the same
        parts, which are written once: many may come at the same time.
        """
        size = protocol.SNAPSHOT_CHUNK
        estimates, complete = self.channel.hub.history(since, size + 1)
        first = estimates[0].seq if estimates else 0
        held = self._past.get(first) if complete else None
        if held is not None:
            return held
        length = size - first % size
        part, more = estimates[:length], len(estimates) > length
        text = protocol.dump(
            protocol.snapshot(self.channel.session, part, complete=complete, more=more)
        )
        past = Past(text, part[-1].seq if part else since, more)
        if more and complete and length == size:
            self._past[first] = past
            # What the hub has forgotten is not asked for any more; they were added in its order.
            while len(self._past) * size > self.channel.hub.history_capacity:
                del self._past[next(iter(self._past))]
        return past

    def close(self) -> None:
        """Stops following the channel."""
        self.channel.hub.unsubscribe(self._slot)

    def look(self) -> None:
        """Tells the health where it has changed and was not told just now."""
        if self._host.clock.monotonic() - self._health_at < HEALTH_PAUSE_S:
            return
        if _what_counts(self._host.health(self.channel)) != self._health_told:
            self.broadcast_health()

    def broadcast_health(self) -> None:
        """Tells the health, changed or not."""
        self._health_wanted = True
        self._begin()

    async def quiet(self) -> None:
        """Waits until everything that is there has been handed to the viewers."""
        # What another thread has just offered is scheduled; let it come first.
        await asyncio.sleep(0)
        await self._quiet.wait()

    def _offered(self) -> None:
        # In the publisher's thread; the loop may just have ended.
        self._offered_at = self._host.clock.monotonic()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if not self._busy:
            self._busy = True
            self._quiet.clear()
            self._next()

    def _next(self) -> None:
        """Hands out what is there, the newest estimate before any health; called until all is."""
        items = self._slot.take()
        lost, self._lost = self._slot.lost - self._lost, self._slot.lost
        self._host.stats.add(Counter.MESSAGES_DROPPED, lost * len(self._viewers))
        if items:
            self._hand_out(items)
        elif self._health_wanted or self._health_left:
            self._hand_out_health()
            self._loop.call_soon(self._next)
        else:
            self._busy = False
            self._quiet.set()

    def _hand_out(self, items: list[Item]) -> None:
        offered_at = self._offered_at
        direct = [(item, self._direct(item)) for item in items]

        def offer(viewer: Subscriber) -> int:
            return sum([viewer.offer(item, message) for item, message in direct])

        def after() -> None:
            self.look()
            self._next()

        size = sum(message.size for _, message in direct if message is not None)
        self._serve(tuple(self._viewers), offer, size, after, offered_at)

    def _direct(self, item: Item) -> Ready | None:
        """An estimate as it goes to everyone; None for what each viewer's own task must tell."""
        if not isinstance(item, Estimate):
            return None
        try:
            return Ready.of(self._host.text(item))
        except Exception:
            # The viewers' tasks will find the same, and say so to each of them.
            logger.exception("an estimate cannot be written")
            return None

    def _hand_out_health(self) -> None:
        """Tells some viewers, so that an estimate that comes meanwhile waits for these alone."""
        if self._health_wanted:
            self._health_wanted = False
            self._health_at = self._host.clock.monotonic()
            health = self._host.health(self.channel)
            self._health_told = _what_counts(health)
            self._health = Ready.of(protocol.dump(health))
            self._health_left = list(self._viewers)
        part, self._health_left = self._health_left[:CHUNK], self._health_left[CHUNK:]
        message = self._health
        sent = self._offer(part, lambda viewer: viewer.offer_health(message))
        self._count(sent, message.size)

    def _serve(
        self,
        viewers: tuple[Subscriber, ...],
        offer: Callable[[Subscriber], int],
        size: int,
        after: Callable[[], None],
        offered_at: float | None = None,
        first: int = 0,
    ) -> None:
        """Serves some viewers and lets the loop breathe before it serves the others."""
        last = first + CHUNK
        sent = self._offer(viewers[first:last], offer)
        self._count(sent, size)
        if sent and offered_at is not None:
            delay_s = self._host.clock.monotonic() - offered_at
            self._host.stats.observe(Timing.DELIVERY, delay_s, times=sent)
        if last < len(viewers):
            self._loop.call_soon(self._serve, viewers, offer, size, after, offered_at, last)
        else:
            after()

    def _offer(self, viewers: Sequence[Subscriber], offer: Callable[[Subscriber], int]) -> int:
        """Messages that were written at once."""
        sent = 0
        for viewer in viewers:
            # Some may have left since.
            if viewer in self._viewers:
                try:
                    sent += offer(viewer)
                except Exception:
                    # One that cannot be served must not keep it from the others.
                    logger.exception("a viewer cannot be written to")
                    viewer.abort()
        return sent

    def _count(self, messages: int, size: int) -> None:
        self._host.stats.add(Counter.MESSAGES_OUT, messages)
        self._host.stats.add(Counter.BYTES_OUT, messages * size)


@dataclass(frozen=True, slots=True)
class Past:
    """A part of a snapshot.

    Attributes:
        text: the message.
        last: the last `seq` that the viewer knows then.
        more: whether another part follows.
    """

    text: str
    last: int
    more: bool


def _what_counts(health: Mapping[str, object]) -> object:
    """What of a health message is news."""
    return health["counters"], health["viewers"], health["sessions"]
