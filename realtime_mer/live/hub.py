"""Fan-out of one session's estimates; how much a slow subscriber loses is its own affair.

The publisher never waits: every subscription takes an item in constant time and either keeps it,
replaces an older one or drops the oldest, as its policy says.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from realtime_mer.core.types import Estimate
from realtime_mer.live.history import History

HISTORY_S = 600.0
MAX_NOTICES = 16


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that whoever watches should be told: a code for programs, a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class End:
    """The session gives no more estimates."""

    reason: str


Item = Estimate | Notice | End
S = TypeVar("S", bound="Subscription")


class Subscription(ABC):
    """One subscriber's place at the hub.

    Args:
        wake: called, from the publisher's thread, when something is there after nothing was; it
            must return at once. A subscriber with a thread of its own uses `wait` instead.

    Attributes:
        lost: estimates that this subscriber was too slow for.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._waiting_since_take = False
        self.lost = 0

    def offer(self, item: Item) -> None:
        """Takes an item from the hub without waiting."""
        with self._changed:
            self._put(item)
            first = not self._waiting_since_take
            self._waiting_since_take = True
            if first:
                self._changed.notify_all()
        if first and self._wake is not None:
            self._wake()

    def take(self) -> list[Item]:
        """Everything that is there now, in order; an empty list where nothing is."""
        with self._changed:
            self._waiting_since_take = False
            return self._pop_all()

    @property
    def waiting(self) -> bool:
        """Something is there to be taken."""
        return self._waiting_since_take

    def wait(self, timeout_s: float | None = None) -> list[Item]:
        """Waits until something is there, then as `take`; empty where the time ran out."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting_since_take, timeout_s)
            self._waiting_since_take = False
            return self._pop_all()

    @abstractmethod
    def _put(self, item: Item) -> None: ...

    @abstractmethod
    def _pop_all(self) -> list[Item]: ...


class LatestSlot(Subscription):
    """Keeps the newest estimate only, for who shows the present: browser, terminal.

    Notices (the newest 16) and the end are kept beside it, so that estimates never push them out.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        super().__init__(wake)
        self._estimate: Estimate | None = None
        self._end: End | None = None
        self._notices: deque[Notice] = deque(maxlen=MAX_NOTICES)

    def _put(self, item: Item) -> None:
        if isinstance(item, Estimate):
            self.lost += self._estimate is not None
            self._estimate = item
        elif isinstance(item, Notice):
            self._notices.append(item)
        else:
            self._end = item

    def _pop_all(self) -> list[Item]:
        items: list[Item] = list(self._notices)
        if self._estimate is not None:
            items.append(self._estimate)
        if self._end is not None:
            items.append(self._end)
        self._notices.clear()
        self._estimate = self._end = None
        return items


class BoundedQueue(Subscription):
    """Keeps the newest `capacity` items in order and drops the oldest, for senders (OSC, MQTT)."""

    def __init__(self, capacity: int, wake: Callable[[], None] | None = None) -> None:
        super().__init__(wake)
        if capacity < 1:
            raise ValueError(f"a queue for {capacity} items holds nothing; take at least 1")
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
    """Keeps everything until it is taken, for who must not lose a line (recorder).

    It grows with a subscriber that stops taking: an hour of ten estimates a second is about 25 MB.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        super().__init__(wake)
        self._items: list[Item] = []

    def _put(self, item: Item) -> None:
        self._items.append(item)

    def _pop_all(self) -> list[Item]:
        items, self._items = self._items, []
        return items


class Hub:
    """Hands a session's items to its subscribers and remembers its last ten minutes.

    Args:
        hop_s: seconds between estimates, which sizes the memory.
        history_s: how far back `history` reaches, in seconds.
    """

    def __init__(self, *, hop_s: float = 1.0, history_s: float = HISTORY_S) -> None:
        self._lock = threading.Lock()
        self._history = History(max(1, math.ceil(history_s / hop_s - 1e-9)))
        # Replaced, never changed, so that publishing walks it without holding the lock.
        self._subscriptions: tuple[Subscription, ...] = ()
        self._ended: End | None = None

    def publish(self, item: Item) -> None:
        """Hands an item to everyone. Callable from any thread; never waits for a subscriber.

        Items of one session come from one thread at a time, which keeps them in order.
        """
        with self._lock:
            if isinstance(item, Estimate):
                self._history.append(item)
            elif isinstance(item, End):
                self._ended = item
            subscriptions = self._subscriptions
        for subscription in subscriptions:
            subscription.offer(item)

    def subscribe_latest(self, wake: Callable[[], None] | None = None) -> LatestSlot:
        """A subscription that keeps the newest estimate only."""
        return self._add(LatestSlot(wake))

    def subscribe_bounded(
        self, capacity: int, wake: Callable[[], None] | None = None
    ) -> BoundedQueue:
        """A subscription that keeps the newest `capacity` items."""
        return self._add(BoundedQueue(capacity, wake))

    def subscribe_lossless(self, wake: Callable[[], None] | None = None) -> LosslessQueue:
        """A subscription that keeps everything."""
        return self._add(LosslessQueue(wake))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forgets a subscription; nothing happens where it was forgotten before."""
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def history(self, since: int = -1, limit: int | None = None) -> tuple[list[Estimate], bool]:
        """Remembered estimates with a `seq` greater than `since`, oldest first.

        Args:
            since: the last `seq` that is already known; -1 for all.
            limit: at most so many, the oldest of them; None for all.

        Returns:
            The estimates, and whether none between `since` and the first of them is missing
            (where `since` is -1 nothing is known to be missing: ten minutes are all one can ask).
        """
        with self._lock:
            return self._history.since(since, limit)

    @property
    def memory(self) -> int:
        """How many estimates are remembered at most."""
        return self._history.maxlen or 0

    @property
    def latest(self) -> Estimate | None:
        """The newest estimate, where there is one."""
        with self._lock:
            return self._history.latest

    @property
    def ended(self) -> End | None:
        """How the session ended, where it has."""
        with self._lock:
            return self._ended

    @property
    def subscribers(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscriptions)

    def _add(self, subscription: S) -> S:
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription
