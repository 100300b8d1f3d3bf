"""Live estimates as an iterator and as an asynchronous iterator."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from realtime_mer.closable import Closable
from realtime_mer.core.events import Event
from realtime_mer.core.types import Estimate
from realtime_mer.live.hub import End, Item, Notice, Subscription

# Windows delivers Ctrl-C only between two waits.
POLL_S = 0.25
MAX_NOTICES = 100
MAX_EVENTS = 100
QUEUE_CAPACITY = 10_000


class Alarm:
    """Wakes the event loop that waits for the next item. Callable from any thread."""

    def __init__(self) -> None:
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __call__(self) -> None:
        if self._waiting is not None:
            loop, event = self._waiting
            # The loop may have been closed meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def set_up(self) -> asyncio.Event:
        """Return an event of the running loop; the next call of the alarm sets it."""
        event = asyncio.Event()
        self._waiting = (asyncio.get_running_loop(), event)
        return event


class EstimateStream(Closable):
    """Live estimates in order: a context manager, an iterator and an asynchronous iterator.

    The stream and its thread end at the end of the `with` or `async with` block, on `close`, or
    when the last reference is dropped. Only one consumer at a time may iterate. `close` may be
    called from any thread and ends a waiting iteration.

    The producer never waits for the consumer: a queue keeps the newest 10,000 estimates, or only
    the newest one. Older ones are dropped and counted in `lost`.

    Args:
        queue: receives estimates, events, notices and the end from the producer.
        alarm: the `wake` callback of `queue`.
        stop: stops the producer; called once. It must not refer to this object.
        failure: returns the producer's error or None; called after the end.

    Attributes:
        notices: the newest 100 notices, oldest first; remove the ones that you have handled.
        events: the newest 100 change events, in the same way.
        reason: a sentence that says why the stream ended; None before the end.
    """

    def __init__(
        self,
        queue: Subscription,
        alarm: Alarm,
        *,
        stop: Callable[[], None],
        failure: Callable[[], Exception | None],
    ) -> None:
        self.notices: deque[Notice] = deque(maxlen=MAX_NOTICES)
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.reason: str | None = None
        self._queue = queue
        self._alarm = alarm
        self._failure = failure
        self._estimates: deque[Estimate] = deque()
        self._closed = False
        self._stop = weakref.finalize(self, stop)

    @property
    def lost(self) -> int:
        """Number of estimates that were dropped because the consumer was too slow."""
        return self._queue.lost

    def close(self) -> None:
        """End the stream and wait for its thread. Callable more than once and from any thread."""
        self._closed = True
        self._stop()
        self._alarm()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Estimate:
        while not self._over():
            if self._estimates:
                return self._estimates.popleft()
            self._sort(self._queue.wait(POLL_S))
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Estimate:
        while not self._over():
            if self._estimates:
                return self._estimates.popleft()
            arrived = self._alarm.set_up()
            # An item may have arrived before the alarm was set up.
            if not self._queue.waiting:
                await arrived.wait()
            self._sort(self._queue.take())
        raise StopAsyncIteration

    def _sort(self, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Estimate):
                self._estimates.append(item)
            elif isinstance(item, Notice):
                self.notices.append(item)
            elif isinstance(item, Event):
                self.events.append(item)
            elif isinstance(item, End):
                self.reason = item.reason

    def _over(self) -> bool:
        """Return whether the iteration is over; raise the producer's error, once."""
        if self._closed:
            return True
        if self._estimates or self.reason is None:
            return False
        failure = self._failure()
        self.close()
        if failure is not None:
            raise failure
        return True
