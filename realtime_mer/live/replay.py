"""Publishes recorded estimates as if the music played now."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.core.change_detector import ChangeDetector
from realtime_mer.core.events import Event
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import STOPPED, End, Hub
from realtime_mer.live.steady_time import SteadyTime

CLOSE_TIMEOUT_S = 5.0


def with_events(estimates: Iterable[Estimate]) -> Iterator[Estimate | Event]:
    """Return estimates, each followed by the events that it shows, as in a live stream."""
    detector = ChangeDetector()
    for estimate in estimates:
        yield estimate
        yield from detector.add(estimate)


class Replay(Closable):
    """Publishes estimates and their events on a hub, in a thread of its own, then the end.

    The first estimate comes at once, each further one in its time (`SteadyTime`).

    Args:
        estimates: in order of time; they are read in the thread. A `UserError` that they raise
            ends the replay.
        hub: of the session.
        speed: times real time, above 0.
        clock: the time source.

    Attributes:
        error: what was wrong with the estimates; None for nothing.
    """

    def __init__(
        self,
        estimates: Iterable[Estimate],
        hub: Hub,
        *,
        speed: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self.error: UserError | None = None
        self._estimates = estimates
        self._hub = hub
        self._speed = speed
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def start(self) -> None:
        """Begin; call it when all subscribers are there."""
        self._thread.start()

    def close(self) -> None:
        """Stop and publish the end; safe to call twice, and without `start`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        reason = "the replay has failed"
        try:
            reason = "the recording has ended" if self._publish_all() else STOPPED
        except UserError as error:
            self.error = error
            reason = str(error)
        finally:
            self._hub.publish(End(reason))

    def _publish_all(self) -> bool:
        """Publish each item when it is due; return whether that was all."""
        started_s, time = self._clock.monotonic(), SteadyTime()
        for item in with_events(self._estimates):
            if isinstance(item, Estimate):
                due_s = started_s + time.update(item) / self._speed
                if self._stopping.wait(max(0.0, due_s - self._clock.monotonic())):
                    return False
            self._hub.publish(item)
        return True
