"""Distribution of one session's estimates to any number of subscribers.

The publisher never waits. Every subscription takes an item in constant time and keeps it, replaces
an older item or drops the oldest, depending on its policy. A slow subscriber affects no other.
"""

from __future__ import annotations

import contextlib
import math
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from realtime_mer.clock import iso_utc
from realtime_mer.core.events import Event, Marker, RhythmEvent
from realtime_mer.core.pulse import PULSES_PER_SECOND, Pulse
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError, printable, printable_line
from realtime_mer.live.history import History

HISTORY_S = 600.0
MAX_NOTICES = 16
MAX_EVENTS = 16
MAX_REMARKS = 500
MAX_PULSES = PULSES_PER_SECOND // 2
# More than people make: each marker goes to every viewer and into the recording.
MAX_MARKS, MARKS_PERIOD_S = 20, 10.0
STOPPED = "stopped"  # the reason of the `End` if the program stops listening


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to subscribers: a code for programs and a sentence for people (`printable`)."""

    code: str
    message: str

    def __post_init__(self) -> None:
        # Both may come from another server.
        object.__setattr__(self, "code", printable_line(self.code))
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True, slots=True)
class End:
    """The end of a session: no more estimates follow."""

    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason))


Item = Estimate | Event | Marker | RhythmEvent | Notice | End
S = TypeVar("S", bound="Subscription")


class Subscription(ABC):
    """The items for one subscriber. Onsets and beats come only to those that ask for them.

    Args:
        wake: called in the publisher's thread when the first new item arrives after `take`; it
            must return at once. A subscriber with a thread of its own uses `wait` instead.
        rhythm: whether onsets and beats are wanted.

    Attributes:
        lost: number of estimates that were replaced or dropped before the subscriber took them.
    """

    def __init__(self, wake: Callable[[], None] | None = None, *, rhythm: bool = False) -> None:
        self._wake = wake
        self.rhythm = rhythm
        self._changed = threading.Condition()
        self._has_items = False
        self._poked = False
        self.lost = 0

    def offer(self, item: Item) -> None:
        """Add an item without waiting; called by the hub."""
        with self._changed:
            self._put(item)
            first = not self._has_items
            self._has_items = True
            if first:
                self._changed.notify_all()
        if first and self._wake is not None:
            self._wake()

    def take(self) -> list[Item]:
        """Remove and return all items, in order; empty if there are none."""
        with self._changed:
            self._has_items = False
            return self._pop_all()

    @property
    def waiting(self) -> bool:
        """Whether items can be taken."""
        return self._has_items

    def wait(self, timeout_s: float | None = None) -> list[Item]:
        """Wait for items, then as `take`; empty on a timeout and after `poke`."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_items or self._poked, timeout_s)
            self._has_items = self._poked = False
            return self._pop_all()

    def poke(self) -> None:
        """Make `wait` return at once, now or when it is called next, with what there is."""
        with self._changed:
            self._poked = True
            self._changed.notify_all()

    @abstractmethod
    def _put(self, item: Item) -> None: ...

    @abstractmethod
    def _pop_all(self) -> list[Item]: ...


class LatestSlot(Subscription):
    """Keeps only the newest estimate, for displays: browser, terminal.

    The newest 16 notices, the newest 16 events and markers, and the end are stored separately, so
    estimates never replace them.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        super().__init__(wake)
        self._estimate: Estimate | None = None
        self._end: End | None = None
        self._notices: deque[Notice] = deque(maxlen=MAX_NOTICES)
        self._events: deque[Event | Marker] = deque(maxlen=MAX_EVENTS)

    def _put(self, item: Item) -> None:
        if isinstance(item, Estimate):
            self.lost += self._estimate is not None
            self._estimate = item
        elif isinstance(item, Notice):
            self._notices.append(item)
        elif isinstance(item, Event | Marker):
            self._events.append(item)
        elif isinstance(item, End):
            self._end = item

    def _pop_all(self) -> list[Item]:
        items: list[Item] = list(self._notices)
        if self._estimate is not None:
            items.append(self._estimate)
        items += self._events
        if self._end is not None:
            items.append(self._end)
        self._notices.clear()
        self._events.clear()
        self._estimate = self._end = None
        return items


class BoundedQueue(Subscription):
    """Keeps the newest `capacity` items in order and drops the oldest, for senders (OSC, MQTT)."""

    def __init__(
        self, capacity: int, wake: Callable[[], None] | None = None, *, rhythm: bool = False
    ) -> None:
        super().__init__(wake, rhythm=rhythm)
        if capacity < 1:
            raise ValueError(f"the capacity of the queue is {capacity}; it must be at least 1")
        self._items: deque[Item] = deque(maxlen=capacity)

    def _put(self, item: Item) -> None:
        if len(self._items) == self._items.maxlen:
            self.lost += isinstance(self._items[0], Estimate)
        self._items.append(item)

    def _pop_all(self) -> list[Item]:
        items = list(self._items)
        self._items.clear()
        return items


class LosslessQueue(Subscription):
    """Keeps all items until they are taken, for recorders.

    It grows if its subscriber stops taking: one hour of ten estimates per second is about 25 MB.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        super().__init__(wake)
        self._items: list[Item] = []

    def _put(self, item: Item) -> None:
        self._items.append(item)

    def _pop_all(self) -> list[Item]:
        items, self._items = self._items, []
        return items


class PulseQueue:
    """The newest half second of pulses for one subscriber that shows them. Older ones are lost.

    Args:
        wake: called in the publisher's thread when there are pulses; it must return at once.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pulses: deque[Pulse] = deque(maxlen=MAX_PULSES)

    def offer(self, pulses: Sequence[Pulse]) -> None:
        """Add pulses without waiting; called by the hub."""
        self._pulses.extend(pulses)
        self._wake()

    def take(self) -> list[Pulse]:
        """Remove and return all pulses, oldest first; empty if there are none. From one thread."""
        pulses = []
        with contextlib.suppress(IndexError):
            while True:
                pulses.append(self._pulses.popleft())
        return pulses


class Hub:
    """Publishes the items of a session to its subscribers and stores the last ten minutes.

    Of events and markers it stores those of these ten minutes, at most the newest 500.

    Args:
        hop_s: seconds between estimates, which determines the size of the history.
        history_s: length of the history in seconds.
    """

    def __init__(self, *, hop_s: float = 1.0, history_s: float = HISTORY_S) -> None:
        self._lock = threading.Lock()
        self._history = History(max(1, math.ceil(history_s / hop_s - 1e-9)))
        self._history_s = history_s
        # Each with the `seq` of the newest estimate before it, -1 for none.
        self._remarks: deque[tuple[int, Event | Marker]] = deque(maxlen=MAX_REMARKS)
        self._marked: deque[datetime] = deque(maxlen=MAX_MARKS)  # when the last ones were made
        # Replaced and never changed, so that `publish` iterates over it without the lock.
        self._subscriptions: tuple[Subscription, ...] = ()
        self._pulse_queues: tuple[PulseQueue, ...] = ()
        self._ended: End | None = None

    def publish(self, item: Item) -> None:
        """Give an item to all subscribers. Callable from any thread; never waits for a subscriber.

        Nothing follows the end: it may come before a call of the engine that hangs has returned.

        Only one thread at a time may publish the items of a session, so that they stay in order.
        """
        with self._lock:
            if self._ended is not None:
                return
            if isinstance(item, Estimate):
                self._history.append(item)
                while self._remarks and self._remarks[0][1].t < item.t - self._history_s:
                    self._remarks.popleft()
            elif isinstance(item, Event | Marker):
                latest = self._history.latest
                self._remarks.append((-1 if latest is None else latest.seq, item))
            elif isinstance(item, End):
                self._ended = item
            subscriptions = self._subscriptions
        for subscription in subscriptions:
            if subscription.rhythm or not isinstance(item, RhythmEvent):
                subscription.offer(item)

    def publish_pulses(self, pulses: Sequence[Pulse]) -> None:
        """Give pulses, oldest first, to those that want them. They are never stored.

        Only the thread that publishes the estimates may call it.
        """
        for queue in self._pulse_queues:
            queue.offer(pulses)

    def mark(self, text: str, utc: datetime, t: float | None = None) -> Marker:
        """Publish a marker and return it. From any thread.

        Args:
            text: what somebody remarks.
            utc: now.
            t: stream time of the moment, in seconds, which may be earlier; None for that of the
                newest estimate. The marker gets the `utc` of this moment.

        Raises:
            UserError: the text is empty, there are too many at once, or the session has ended.
        """
        if self.ended is not None:
            raise UserError("the session has ended, so there is no moment to mark")
        latest = self.latest
        now_s = 0.0 if latest is None else latest.t
        ago_s = 0.0 if t is None else min(max(0.0, now_s - t), now_s)
        marker = Marker(now_s - ago_s, iso_utc(utc - timedelta(seconds=ago_s)), text)
        with self._lock:
            first = self._marked[0] if len(self._marked) == MAX_MARKS else None
            if first is not None and 0.0 <= (utc - first).total_seconds() < MARKS_PERIOD_S:
                raise UserError(
                    f"there were {MAX_MARKS} markers within {MARKS_PERIOD_S:g} s, and this one was "
                    "not made; make it again in a few seconds"
                )
            self._marked.append(utc)
        self.publish(marker)
        return marker

    def subscribe_latest(self, wake: Callable[[], None] | None = None) -> LatestSlot:
        """Return a subscription that keeps only the newest estimate."""
        return self._add(LatestSlot(wake))

    def subscribe_bounded(
        self, capacity: int, wake: Callable[[], None] | None = None, *, rhythm: bool = False
    ) -> BoundedQueue:
        """Return a subscription that keeps the newest `capacity` items."""
        return self._add(BoundedQueue(capacity, wake, rhythm=rhythm))

    def subscribe_lossless(self, wake: Callable[[], None] | None = None) -> LosslessQueue:
        """Return a subscription that keeps all items."""
        return self._add(LosslessQueue(wake))

    def subscribe_pulses(self, wake: Callable[[], None]) -> PulseQueue:
        """Return a queue of the pulses from now on; `wake` is that of `PulseQueue`."""
        queue = PulseQueue(wake)
        with self._lock:
            self._pulse_queues = (*self._pulse_queues, queue)
        return queue

    def unsubscribe_pulses(self, queue: PulseQueue) -> None:
        """Remove a queue of pulses; no effect if it was removed before."""
        with self._lock:
            self._pulse_queues = tuple(other for other in self._pulse_queues if other is not queue)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription; no effect if it was removed before."""
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def history(self, since: int = -1, limit: int | None = None) -> tuple[list[Estimate], bool]:
        """Return stored estimates with a `seq` greater than `since`, oldest first.

        Args:
            since: the last `seq` that the caller has; -1 for none.
            limit: maximum number of estimates, the oldest first; None for all.

        Returns:
            The estimates, and whether they follow `since` without a gap (always True for -1).
        """
        with self._lock:
            return self._history.since(since, limit)

    def remarks(self, since: int = -1) -> list[Event | Marker]:
        """Return the stored events and markers, in the order in which they were published.

        Args:
            since: leave out those that were published before the estimate of this `seq`.
        """
        with self._lock:
            return [item for seq, item in self._remarks if seq >= since]

    @property
    def history_capacity(self) -> int:
        """Maximum number of stored estimates."""
        return self._history.capacity

    @property
    def latest(self) -> Estimate | None:
        """The newest estimate, None if there is none."""
        with self._lock:
            return self._history.latest

    @property
    def ended(self) -> End | None:
        """The end of the session, None while it goes on."""
        with self._lock:
            return self._ended

    @property
    def wants_rhythm(self) -> bool:
        """Whether a subscriber wants onsets and beats, which cost time to find."""
        return any(subscription.rhythm for subscription in self._subscriptions)

    @property
    def wants_pulses(self) -> bool:
        """Whether anyone shows pulses, which cost time to make."""
        return bool(self._pulse_queues)

    @property
    def subscribers(self) -> int:
        """Number of subscriptions."""
        return len(self._subscriptions)

    def _add(self, subscription: S) -> S:
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription
