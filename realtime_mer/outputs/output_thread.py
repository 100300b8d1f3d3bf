"""The thread of one output: shaped values and events to its receiver, which may fail or hang."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.core.events import Event, Pulse
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError, printable_line
from realtime_mer.live.hub import Hub, Item
from realtime_mer.live.retry import Retry
from realtime_mer.live.show import Health, OutputStatus
from realtime_mer.outputs.output import Action, Output
from realtime_mer.outputs.shaping import Shaper

logger = logging.getLogger(__name__)

QUEUE_ITEMS = 256
HANG_S = 5.0
CLOSE_TIMEOUT_S = 2.0


class OutputThread(Closable):
    """Sends the estimates of a session to one output, shaped, at the rate of its settings.

    Args:
        hub: of the session.
        output: used by this thread alone from now on.
        shaper: shapes the values.
        rate_hz: values sent per second.
        delay_s: how long everything is held back, in seconds, to match the loudspeakers.
        clock: the time source.
    """

    def __init__(
        self,
        hub: Hub,
        output: Output,
        shaper: Shaper,
        *,
        rate_hz: float,
        delay_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.output = output
        self.shaper = shaper
        self._period_s = 1.0 / rate_hz
        self._clock = clock or SystemClock()
        self._retry = Retry(self._clock)
        self._hub = hub
        self._failure = ""
        self._dropped = 0
        self._is_open = False
        self._retry_at = 0.0
        self._busy_since: float | None = None
        self._next_at = self._clock.monotonic()
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, Item]] = deque()
        self._actions: deque[Action] = deque(maxlen=QUEUE_ITEMS)
        self._closing = threading.Event()
        self._subscription = hub.subscribe_bounded(QUEUE_ITEMS, pulses=True)
        self._thread = threading.Thread(target=self._run, name=f"output {output.name}", daemon=True)
        self._thread.start()

    @property
    def status(self) -> OutputStatus:
        """How the output does. Callable from any thread."""
        output, busy_since = self.output, self._busy_since
        answer = self._failure or output.answer
        health = Health.OK if self._is_open else Health.STARTING
        if busy_since is not None and self._clock.monotonic() - busy_since > HANG_S:
            health, answer = Health.FAILING, f"has not taken anything for {HANG_S:.0f} s"
        elif self._failure:
            health = Health.FAILING
        elif self.shaper.muted:
            health = Health.MUTED
        dropped = self._dropped + self._subscription.lost
        return OutputStatus(output.name, output.kind, health, output.sent, dropped, answer)

    def act(self, action: Action) -> None:
        """Do what a scene rule asks for, in the thread of the output. Returns at once."""
        self._actions.append(action)
        self._subscription.poke()

    def close(self) -> None:
        """Send what was published, then disconnect; a receiver that hangs is left behind."""
        self._hub.unsubscribe(self._subscription)
        self._closing.set()
        self._subscription.poke()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.is_set()
            timeout_s = self._timeout_s()
            items = self._subscription.take() if closing else self._subscription.wait(timeout_s)
            now = self._clock.monotonic()
            self._waiting += [(now + self._delay_s, item) for item in items]
            self._work(now, closing=closing)
        if (frame := self.shaper.last()) is not None:
            self._call(lambda: self.output.send(frame))
        self._disconnect()

    def _timeout_s(self) -> float:
        """Return how long nothing is due, in seconds."""
        due = self._next_at
        if self._waiting:
            due = min(due, self._waiting[0][0])
        return max(0.0, due - self._clock.monotonic())

    def _work(self, now: float, *, closing: bool) -> None:
        """Take in what is due, and send what it gives."""
        if not self._is_open and now >= self._retry_at:
            self._connect()
        fresh = False
        while self._waiting and (closing or self._waiting[0][0] <= now):
            item = self._waiting.popleft()[1]
            if isinstance(item, Estimate):
                self.shaper.add(item, now)
                fresh = True
            elif isinstance(item, Event | Pulse):
                self._send_event(item)
        while self._actions:
            self._call(partial(self.output.act, self._actions.popleft()))
        # A new estimate does not wait for the next tick, unless ticks are rarer than estimates.
        if now >= self._next_at or (fresh and self._period_s <= self.shaper.hop_s):
            self._next_at = now + self._period_s
            frame = self.shaper.frame(now)
            if frame is not None:
                self._call(lambda: self.output.send(frame))

    def _send_event(self, event: Event | Pulse) -> None:
        self.shaper.add_event(event)
        if not self.shaper.muted:
            self._call(lambda: self.output.send_event(event))

    def _connect(self) -> None:
        self._is_open = True
        if self._call(self.output.open):
            self._failure = ""
            self._retry.back()

    def _call(self, call: Callable[[], None]) -> bool:
        """Let the output work; return whether it succeeded."""
        if not self._is_open:
            self._dropped += 1
            return False
        self._busy_since = self._clock.monotonic()
        try:
            call()
        except Exception as error:
            self._dropped += 1
            self._fail(error)
            return False
        finally:
            self._busy_since = None
        return True

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, OSError | UserError):
            logger.exception("the output %s failed", self.output.name)
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._failure = printable_line(reason)
        self._disconnect()
        self._retry_at = self._clock.monotonic() + self._retry.next_pause_s()

    def _disconnect(self) -> None:
        self._is_open = False
        with contextlib.suppress(Exception):
            self.output.close()
