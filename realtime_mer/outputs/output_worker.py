"""The work for one output: shaped values and events to its receiver, which may fail or hang."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.core.events import Event, Marker, RhythmEvent
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError, printable_line
from realtime_mer.live.hub import End, Hub, Item
from realtime_mer.live.retry import Retry
from realtime_mer.live.show import Health, OutputStatus
from realtime_mer.outputs.frame_times import FrameTimes
from realtime_mer.outputs.output import Action, Frame, Output
from realtime_mer.outputs.output_thread import OutputThread
from realtime_mer.outputs.shaping import Shaper

logger = logging.getLogger(__name__)

QUEUE_ITEMS = 256
HANG_S = 5.0
CLOSE_TIMEOUT_S = 2.0
T = TypeVar("T")


class OutputWorker(Closable):
    """Sends the estimates of a session to one output, with the rate and delay of its settings.

    While its output is not open, frames, events and actions count as dropped.

    Args:
        hub: of the session.
        output: used by the thread alone from now on.
        shaper: shapes the values; used by the thread alone from now on.
        thread: does the work; None for one of its own.
        clock: the time source.
    """

    def __init__(
        self,
        hub: Hub,
        output: Output,
        shaper: Shaper,
        *,
        thread: OutputThread | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.output = output
        self._clock = clock or SystemClock()
        self._retry = Retry(self._clock)
        self._hub = hub
        self._failure = ""
        self._told = ""  # why it fails, as the log says
        self._logged = ""  # the fault whose traceback was logged
        self._dropped = 0
        self._is_open = False
        self._retry_at = 0.0
        self._busy_since: float | None = None
        self._left_behind = False
        self._waiting: deque[tuple[float, Item]] = deque()  # with when they are due
        self._actions: deque[Action] = deque(maxlen=QUEUE_ITEMS)
        self._reshaped: Shaper | None = None
        self._use(shaper)
        self._hurried = False
        self._closing = threading.Event()
        self._closed = threading.Event()
        self._thread = thread or OutputThread(f"output {output.name}", clock=self._clock)
        self._subscription = hub.subscribe_bounded(
            QUEUE_ITEMS, self._thread.wake, rhythm=output.rhythm
        )
        self._thread.add(self)

    @property
    def status(self) -> OutputStatus:
        """How the output does. Callable from any thread."""
        output, busy_since = self.output, self._busy_since
        answer = self._failure or output.answer
        health = Health.OK if self._is_open else Health.STARTING
        if busy_since is not None and self._clock.monotonic() - busy_since > HANG_S:
            health, answer = Health.FAILING, f"has not taken anything for {HANG_S:.0f} s"
        elif self._failure or output.failing:
            health = Health.FAILING
        elif self.shaper.muted:
            health = Health.MUTED
        dropped = self._dropped + self._subscription.lost
        return OutputStatus(output.name, output.kind, health, output.sent, dropped, answer)

    def act(self, action: Action) -> None:
        """Do what a scene rule asks for, in the thread. Returns at once."""
        self._actions.append(action)
        self._thread.wake()

    def reshape(self, shaper: Shaper) -> None:
        """Go on with other settings and the same connection. Returns at once."""
        self._reshaped = shaper
        self._thread.wake()

    def hurry(self) -> None:
        """Send a frame now, because something was set by hand. Returns at once."""
        self._hurried = True
        self._thread.wake()

    def stop(self) -> None:
        """Begin to close; returns at once."""
        self._hub.unsubscribe(self._subscription)
        self._closing.set()
        self._thread.wake()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Send what was published, then disconnect; a receiver that hangs is left behind.

        Args:
            timeout_s: how long to wait for the receiver, in seconds.
        """
        self.stop()
        if not self._closed.wait(timeout_s) and not self._left_behind:
            self._left_behind = True
            logger.warning("the output %s hangs and was left behind", self.output.name)

    def _use(self, shaper: Shaper) -> None:
        settings = shaper.settings
        self.shaper = shaper
        self._delay_s = settings.delay_s
        self._times = FrameTimes(settings.rate_hz, shaper.hop_s, self._clock.monotonic())

    @property
    def due_s(self) -> float:
        """Monotonic time at which there is something to do, in seconds; infinite for never."""
        due_s = self._times.due_s
        if self._waiting:
            due_s = min(due_s, self._waiting[0][0])
        return due_s if self._is_open else min(due_s, self._retry_at)

    @property
    def has_news(self) -> bool:
        """Whether something was published or asked for."""
        return bool(
            self._subscription.waiting
            or self._actions
            or self._hurried
            or self._reshaped is not None
            or self._closing.is_set()
        )

    def turn(self, now_s: float) -> bool:
        """Do what is due; return whether it was the last time. Called by the thread.

        Args:
            now_s: monotonic time in seconds.
        """
        closing = self._closing.is_set()
        items = self._subscription.take() if self._subscription.waiting else []
        if (reshaped := self._reshaped) is not None:
            self._reshaped = None
            reshaped.take_over(self.shaper, now_s)
            self._use(reshaped)
            self._times.due_s = now_s
        if self._hurried:
            self._hurried = False
            self._times.hurry(now_s)
        if not self._is_open and now_s >= self._retry_at:
            self._connect()
        self._work(items, now_s, closing=closing)
        if closing:
            if self._is_open and (frame := self.shaper.last()) is not None:
                self._call(self.output.send, frame)
            self._disconnect()
            self._closed.set()
        return closing

    def _work(self, items: list[Item], now: float, *, closing: bool) -> None:
        """Take in what is due, and send what it gives."""
        fresh = self._take_in(items, now, closing=closing)
        if fresh and self._times.due_with_estimate(now):
            self._send(now)
        while self._actions:
            action = self._actions.popleft()
            if not self.shaper.muted:
                self._call(self._act, action)
        if self._times.due_without_estimate(now):
            self._send(now)

    def _take_in(self, items: list[Item], now: float, *, closing: bool) -> bool:
        """Take in what is due; return whether there was an estimate."""
        waiting, fresh = self._waiting, False
        if not (items or waiting):
            return False
        waiting += [(now + self._delay_s, item) for item in items]
        while waiting and (closing or waiting[0][0] <= now):
            item = waiting.popleft()[1]
            if isinstance(item, Estimate):
                self.shaper.add(item, now)
                fresh = True
            elif isinstance(item, Event | RhythmEvent):
                self.shaper.add_event(item)
                if not self.shaper.muted:
                    self._call(self.output.send_event, item)
            elif isinstance(item, Marker) and not self.shaper.muted:
                self._call(self.output.send_event, item)
            elif isinstance(item, End):
                self.shaper.end()
        return fresh

    def _send(self, now: float) -> None:
        frame: Frame | None = self.shaper.frame(now)
        if frame is not None:
            self._call(self.output.send, frame)

    def _act(self, action: Action) -> None:
        try:
            self.output.act(action)
        except UserError as error:  # of the scene, not of the receiver
            self._dropped += 1
            logger.warning("scene %s: %s", action.scene, error)

    def _connect(self) -> None:
        self._busy_since = self._clock.monotonic()
        try:
            self.output.open()
        except Exception as error:
            self._fail(error)
        else:
            self._is_open = True
            self._retry.back()
        finally:
            self._busy_since = None
        self._tell()

    def _call(self, call: Callable[[T], None], argument: T) -> None:
        """Let the output send something."""
        if not self._is_open:
            self._dropped += 1
            return
        self._busy_since = self._clock.monotonic()
        try:
            call(argument)
        except Exception as error:
            self._dropped += 1
            self._retry.lost(str(error))
            self._fail(error)
        else:
            self._failure = ""
        finally:
            self._busy_since = None
        self._tell()

    def _tell(self) -> None:
        """Log that the output fails, with the first reason, and that it works again."""
        output = self.output
        trouble = self._failure or (output.answer if output.failing else "")
        if trouble and not self._told:
            logger.warning("the output %s fails: %s", output.name, trouble)
        elif self._told and not trouble:
            logger.info("the output %s works again", output.name)
        self._told = trouble

    def _fail(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if not isinstance(error, OSError | UserError) and reason != self._logged:
            self._logged = reason
            logger.exception("the output %s failed", self.output.name)
        self._failure = printable_line(reason)
        self._disconnect()
        self._retry_at = self._clock.monotonic() + self._retry.next_pause_s()

    def _disconnect(self) -> None:
        self._is_open = False
        with contextlib.suppress(Exception):
            self.output.close()
