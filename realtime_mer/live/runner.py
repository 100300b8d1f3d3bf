"""Runs one source live: a thread that reads, paces, feeds the pipeline and recovers.

    source -> [thread: pace, gather what is late] -> LiveStream (pipeline) -> hub -> subscribers

Without a server this is all that a terminal needs:

    with LiveRunner(source, engine) as runner:
        slot = runner.hub.subscribe_latest()
        while items := slot.wait():
            ...
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

import numpy as np
from mer_engine import Engine

from realtime_mer.audio.pacing import Pacer
from realtime_mer.audio.source import Block, EndOfStream, InputInfo, Source, SourceLost
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Hub, Notice
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.live.stream import LiveStream

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 10.0
# A stream that is late takes at most so much audio in one go, so that stopping stays quick.
MAX_GATHER_S = 10.0
MAX_SPEED = 1000.0

Wait = Callable[[float], bool]
"""Waits so many seconds; True as soon as the runner shall stop."""


class LiveRunner:
    """One source, one pipeline, one thread, one hub.

    Args:
        source: open; the runner closes it when it stops.
        engine: may be shared.
        config: of the pipeline.
        clock: tells the time; a live source stamps its blocks with `time.monotonic`, so another
            clock than the system's is for sources without a device.
        stats: gets the counts; a new one where None.
        speed: how many times faster than real time a source that must be paced is played.
        wait: waits; replaced by tests together with the clock.

    Raises:
        UserError: a format, a setting or a speed that cannot be taken.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        *,
        config: PipelineConfig | None = None,
        clock: Clock | None = None,
        stats: Stats | None = None,
        speed: float = 1.0,
        wait: Wait | None = None,
    ) -> None:
        if not 0.0 < speed <= MAX_SPEED:
            raise UserError(f"the speed is {speed}; it must be above 0 and at most {MAX_SPEED:g}")
        self.info: InputInfo = source.info
        self.clock = clock or SystemClock()
        self.stats = stats or Stats()
        self.pipeline = Pipeline(
            engine,
            sample_rate_hz=self.info.sample_rate_hz,
            channels=self.info.channels,
            config=config,
            clock=self.clock,
        )
        self.hub = Hub(hop_s=self.pipeline.config.hop_s)
        self._source = source
        self._speed = speed
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        # The error that ended the stream; None after a regular end. Valid once the `End` is out.
        self.error: Exception | None = None

    def start(self) -> None:
        """Begins to listen."""
        if self._thread is not None:
            raise RuntimeError("a runner starts once; make another one")
        self._stream = LiveStream(
            self.pipeline,
            self.hub,
            self.stats,
            sample_rate_hz=self.info.sample_rate_hz,
            clock=self.clock,
            live=self.info.live,
        )
        self._pacer = self._new_pacer()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends listening and closes the source; safe to call twice and from any thread."""
        self._stop.set()
        self._source.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    @property
    def stalled(self) -> bool:
        """No audio arrives at present."""
        return self._thread is not None and not self._done.is_set() and self._stream.stalled

    @property
    def ended(self) -> bool:
        """The audio is over or the runner was stopped: no more estimates will come."""
        return self._done.is_set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Waits for the end of the audio; False where the time ran out."""
        return self._done.wait(timeout_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _new_pacer(self) -> Pacer | None:
        if not self.info.paced:
            return None
        clock = _FastClock(self.clock, self._speed)
        return Pacer(self.info.sample_rate_hz, clock, exact=not self.info.live)

    def _run(self) -> None:
        try:
            self._listen()
        except Exception as error:
            self.error = error
            # Viewers must not wait for ever for estimates that a bug of ours prevents.
            logger.exception("listening failed")
            self.hub.publish(End("internal error, see the server's log"))
        finally:
            self._source.close()
            self._done.set()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
            except EndOfStream:
                reason = "stopped" if self._stop.is_set() else f"{self.info.name} is over"
                self._stream.finish(reason)
                return
            except SourceLost as lost:
                if not self._recover(lost):
                    return
        self._stream.finish("stopped")

    def _step(self) -> None:
        """One block, or what is due because none came."""
        block = self._source.read(max(0.0, self._stream.due - self.clock.monotonic()))
        if block is None:
            self._stream.tick()
            return
        if self._pacer is None:
            self._take(block)
            return
        delay = self._pacer.delay_s(len(block.samples)) / self._speed
        if delay > 0.0 and self._wait(delay):
            return
        self._take(block)

    def _arrival(self, block: Block) -> float:
        """When the block's last sample was there to be taken."""
        now = self.clock.monotonic()
        if self._pacer is not None:
            arrived_at = now - self._pacer.late_s / self._speed
            return arrived_at if block.captured_at is None else max(arrived_at, block.captured_at)
        return now if block.captured_at is None else block.captured_at

    def _take(self, block: Block) -> None:
        arrived_at = self._arrival(block)
        behind = self.clock.monotonic() - arrived_at > self._stream.hop_s
        blocks = [block]
        ended: Exception | None = None
        if behind:
            # Everything that waits is taken at once, and one update stands for all of it: the
            # delay cannot grow.
            ended = self._gather(blocks)
            arrived_at = self._arrival(blocks[-1])
        self._stream.feed(
            block.samples if len(blocks) == 1 else np.concatenate([b.samples for b in blocks]),
            arrived_at=arrived_at,
            dropped_before=sum(b.dropped_before for b in blocks),
            overflows=sum(b.overflows for b in blocks),
            behind=behind,
        )
        if ended is not None:
            raise ended

    def _gather(self, blocks: list[Block]) -> Exception | None:
        """Adds what is due by now to `blocks`; returns what ended it, if anything did."""
        limit = int(MAX_GATHER_S * self.info.sample_rate_hz)
        frames = len(blocks[0].samples)
        while frames < limit and not self._stop.is_set():
            if self._pacer is not None and self._pacer.late_s <= 0.0:
                return None
            try:
                block = self._source.read(0.0)
            except (EndOfStream, SourceLost) as error:
                return error
            if block is None:
                return None
            blocks.append(block)
            frames += len(block.samples)
            if self._pacer is not None:
                self._pacer.delay_s(len(block.samples))
        return None

    def _recover(self, lost: SourceLost) -> bool:
        """Tries to get the same input back; False where it is gone for good or we are to stop."""
        if not lost.recoverable:
            self.error = lost
            self.hub.publish(Notice("input_lost", str(lost)))
            self._stream.finish(str(lost))
            return False
        lost_at = self.clock.monotonic()
        self.hub.publish(Notice("input_lost", f"{lost}; waiting for it to come back"))
        pause = FIRST_RETRY_S
        retry_at = lost_at + pause
        while True:
            until = min(retry_at, self._stream.due)
            if self._wait(max(0.0, until - self.clock.monotonic())):
                self._stream.finish("stopped")
                return False
            self._stream.tick()
            if self.clock.monotonic() < retry_at:
                continue
            try:
                self._source.reopen()
                break
            except SourceLost as again:
                if not again.recoverable:
                    self.error = again
                    self.hub.publish(Notice("input_lost", str(again)))
                    self._stream.finish(str(again))
                    return False
            pause = min(2.0 * pause, LAST_RETRY_S)
            retry_at = self.clock.monotonic() + pause
        if not self._same_format():
            return False
        self.stats.add(Counter.REOPENS)
        self._pacer = self._new_pacer()
        # What was played meanwhile is lost: time goes on and the window settles again.
        away_s = self.clock.monotonic() - lost_at
        self._stream.lose(int(away_s * self.info.sample_rate_hz))
        self.hub.publish(Notice("input_back", f"{self.info.name} is back after {away_s:.1f} s"))
        return True

    def _same_format(self) -> bool:
        """Whether the input came back as it was; otherwise the session ends with a sentence."""
        now = self._source.info
        same = (now.sample_rate_hz, now.channels) == (self.info.sample_rate_hz, self.info.channels)
        if not same:
            reason = (
                f"{self.info.name} came back with {now.sample_rate_hz} Hz and {now.channels} "
                f"channel(s) instead of {self.info.sample_rate_hz} Hz and {self.info.channels}; "
                "start again to listen to it"
            )
            self.error = SourceLost(reason, recoverable=False)
            self.hub.publish(Notice("input_lost", reason))
            self._stream.finish(reason)
        return same


class _FastClock:
    """A clock that runs `speed` times as fast, for the pacer only."""

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._speed = speed

    def monotonic(self) -> float:
        return self._clock.monotonic() * self._speed

    def utc(self) -> datetime:
        return self._clock.utc()
