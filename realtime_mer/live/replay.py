"""Publishes a recorded session as if the music played now."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from realtime_mer.audio.source import Input, InputKind
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.core.events import Event, Marker
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import STOPPED, End, Hub, Notice
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.live.steady_time import SteadyTime

CLOSE_TIMEOUT_S = 5.0
ENDED = "the recording has ended"

ReplayItem = Estimate | Event | Marker | Notice | End | Mapping[str, int]
"""What a replay takes; a mapping has the counters of losses (`Counter`) so far."""


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """What a server says of a recorded session.

    Attributes:
        info: describes the recording, and the format of the audio that was recorded.
        model: `name`, `version` and `sha256`; empty texts where the recording does not say.
        hop_s: seconds of stream time between estimates.
        window_s: how far an estimate looks back.
        coverage: nominal coverage of the intervals, 0 to 1.
        value_range: `music` or `raw`.
        adapt: whether the range adapted to the stream.
        backend: what ran the model; "" where the recording does not say.
    """

    info: Input
    model: Mapping[str, str]
    hop_s: float
    window_s: float
    coverage: float
    value_range: str
    adapt: bool = False
    backend: str = ""


def recorded_input(name: str, sample_rate_hz: int = 0, channels: int = 0) -> Input:
    """Return the description of a recording; 0 where its audio is not known."""
    return Input(InputKind.RECORDING, name, sample_rate_hz, channels, paced=True, live=False)


class Replay(Closable):
    """Publishes the items of a recording on a hub, in a thread of its own, then the end.

    The first estimate comes at once, each further one in its time (`SteadyTime`); what is not an
    estimate comes with the one before it. A server takes a replay in place of a `LiveRunner`.

    Args:
        items: in order of time; they are read in the thread. A `UserError` that they raise ends the
            replay. An end among them names the reason if it is the last.
        hub: of the session.
        session: what a server says of it; None without a server.
        speed: times real time, above 0.
        clock: the time source.

    Attributes:
        error: what was wrong with the recording; None for nothing.
        stats: the recorded losses so far.
    """

    def __init__(
        self,
        items: Iterable[ReplayItem],
        hub: Hub,
        *,
        session: RecordedSession | None = None,
        speed: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self.error: UserError | None = None
        self.hub = hub
        self.session = session
        self.speed = speed
        self.stats = Stats()
        self._items = items
        self._counted: dict[Counter, int] = {}  # as recorded
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def start(self) -> None:
        """Begin; call it when all subscribers are there."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and publish the end; safe to call twice, and without `start`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def close(self) -> None:
        """As `stop`."""
        self.stop()

    @property
    def info(self) -> Input:
        """Describes the recording."""
        return recorded_input("recording") if self.session is None else self.session.info

    @property
    def ended(self) -> bool:
        """Whether the end has been published."""
        return self.hub.ended is not None

    def _run(self) -> None:
        reason = "the replay has failed"
        try:
            reason = self._publish_all()
        except UserError as error:
            self.error = error
            reason = str(error)
        finally:
            self.hub.publish(End(reason))

    def _publish_all(self) -> str:
        """Publish each item when it is due; return why it ended."""
        started_s, time = self._clock.monotonic(), SteadyTime()
        reason = ENDED
        for item in self._items:
            if isinstance(item, End):
                # The end of a part, maybe not of the recording. That somebody stopped it is usual.
                reason = ENDED if item.reason == STOPPED else f"{ENDED}: {item.reason}"
                continue
            reason = ENDED
            if isinstance(item, Mapping):
                self._count(item)
                continue
            if isinstance(item, Estimate):
                due_s = started_s + time.update(item) / self.speed
                if self._stopping.wait(max(0.0, due_s - self._clock.monotonic())):
                    return STOPPED
                self.stats.count_estimate(item.state)
            self.hub.publish(item)
        return reason

    def _count(self, counters: Mapping[str, int]) -> None:
        for name, count in counters.items():
            if name in tuple(Counter):  # a later version may have others
                counter = Counter(name)
                before = self._counted.get(counter, 0)
                # Where another run of the recording begins, counters start again.
                more = count if count < before else count - before
                if counter is Counter.DROPPED_SAMPLES and self.info.sample_rate_hz:
                    self.stats.add_lost(more, self.info.sample_rate_hz)
                else:
                    self.stats.add(counter, more)
                self._counted[counter] = count
