"""Runs one source live: a thread reads, paces, feeds the pipeline and reopens a lost input.

    source -> [thread: pace, catch up] -> LiveStream (pipeline) -> hub -> subscribers

Example without a server:

    with LiveRunner(source, engine) as runner:
        slot = runner.hub.subscribe_latest()
        while items := slot.wait():
            ...
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import numpy as np
from mer_engine import Engine

from realtime_mer.audio.pacing import Pacer
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    Source,
    SourceLost,
)
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation, run
from realtime_mer.errors import EngineError, UserError
from realtime_mer.live.clock_watch import ClockWatch
from realtime_mer.live.engine_watch import EngineWatch
from realtime_mer.live.hub import STOPPED, End, Hub, Notice
from realtime_mer.live.load_shedding import LoadShedding, rates
from realtime_mer.live.reception import Reception
from realtime_mer.live.retry import Retry
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.live.stream import PULSE_BLOCK_S, AudioSink, LiveStream

logger = logging.getLogger(__name__)

# A late stream catches up on at most this much audio at once, so that it can be stopped quickly.
MAX_CATCH_UP_S = 10.0
# So much audio is processed at once while no estimate is near.
MAX_HELD_S = 0.25
MAX_SPEED = 1000.0
_STOP_POLL_S = 0.1
_LAST_REOPENING_S = 1.0  # how long `stop` leaves a source to break off its `reopen`

Wait = Callable[[float], bool]
"""Waits the given number of seconds; returns True at once if the runner is stopped."""


def check_speed(speed: float) -> None:
    """Check a playback speed, as a multiple of real time.

    Raises:
        UserError: it is out of range.
    """
    if not 0.0 < speed <= MAX_SPEED:
        raise UserError(f"the speed is {speed}; it must be above 0 and at most {MAX_SPEED:g}")


class LiveRunner:
    """One source, one pipeline, one thread, one hub.

    Args:
        source: an open source; the runner closes it.
        engine: may be shared with other streams.
        config: settings of the pipeline.
        clock: a live source stamps its blocks with `time.monotonic`, so a clock other than the
            system's is only for sources without a device.
        stats: receives the counts; None for a new one.
        speed: playback speed of a paced source, as a multiple of real time.
        log_errors: whether to log internal errors; False if the caller raises `error`.
        wait: replaces waiting in tests, together with the clock.

    Raises:
        UserError: the format, a setting or the speed is out of range.

    Attributes:
        error: what ended the stream, None after the end of the audio or `stop`. Set before the end
            is published.
        level: index of the current rate in `load_shedding.rates`; 0 is the full rate.
        audio_sink: takes the audio that is analysed; set it before `start`. None for nobody.
        relieve: lowers the rates of less important streams when this one is slow, as
            `LoadShedding.adjust` takes it; None if there are none.
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
        log_errors: bool = True,
        wait: Wait | None = None,
    ) -> None:
        check_speed(speed)
        self.info: Input = source.info
        self.clock = clock or SystemClock()
        self.stats = stats or Stats()
        hop_s = (config or PipelineConfig()).hop_s
        self.watch = EngineWatch.of(engine, hop_s=hop_s, stats=self.stats)
        self.pipeline = Pipeline(
            self.watch,
            sample_rate_hz=self.info.sample_rate_hz,
            channels=self.info.channels,
            config=config,
            clock=self.clock,
        )
        self.hub = Hub(hop_s=hop_s)
        self.level = self.last_change = 0
        self.audio_sink: AudioSink | None = None
        self.relieve: Callable[[float], bool] | None = None
        self._rates = rates(hop_s)
        self._shedding = LoadShedding(hop_s, self.clock.monotonic())
        self._adjust_at = 0.0
        self._source = source
        self._speed = speed
        self._log_errors = log_errors
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self.error: Exception | None = None
        self._away = False  # from the loss of the input to its first block afterwards
        self._retry = Retry(self.clock)
        self._missed_s = 0.0  # since the input is away
        self._waited_s = 0.0  # for the newest block
        # Blocks that wait to be processed with those that follow.
        self._held: list[Block] = []
        self._held_frames = 0
        self._held_at = 0.0  # when the newest of them arrived
        self._held_until = math.inf

    def start(self) -> None:
        """Start the thread."""
        if self._thread is not None:
            raise RuntimeError("a runner can be started only once; create another one")
        self._stream = LiveStream(
            self.pipeline, self.hub, self.stats, live=self.info.live, audio_sink=self.audio_sink
        )
        self._pacer = self._new_pacer()
        self._clock_watch = ClockWatch(self.clock)
        self._reception = Reception(
            self.clock.monotonic(), passes=self.info.passes, is_device=not self.info.paced
        )
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the thread and close the source. Callable more than once and from any thread.

        A thread that hangs in the engine is left behind; `error` is then an `EngineError`.
        """
        self._stop.set()
        self._source.close()
        if self._thread is None or self._thread is threading.current_thread():
            return
        stuck = self.watch.join([self._thread], timeout_s)
        if stuck and not self._done.is_set():
            self.error = EngineError(stuck)
            self.hub.publish(Notice("engine_stalled", stuck))
            self.hub.publish(End(stuck))
            self._done.set()

    @property
    def stalled(self) -> bool:
        """Whether no audio arrives at present."""
        return self._thread is not None and not self._done.is_set() and self._stream.stalled

    @property
    def standing(self) -> list[Notice]:
        """The notices that still hold, see `LiveStream.standing`. Callable from any thread."""
        return [] if self._thread is None else self._stream.standing

    @property
    def ended(self) -> bool:
        """Whether the audio has ended or the runner was stopped: no more estimates will come."""
        return self._done.is_set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the audio; return False on a timeout."""
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
            with self.watch.running():
                self._listen()
        except Exception as error:
            self.error = error
            # Subscribers must not wait forever because of an internal error.
            if self._log_errors:
                logger.exception("the listening thread failed")
            self.hub.publish(End("internal error, see the server's log"))
        finally:
            self._source.close()
            self._done.set()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
            except EndOfStream:
                # A file is over when its last sample is due.
                if self._held and self._pacer is not None:
                    self._wait(self._pacer.delay_s(0) / self._speed)
                self._finish(STOPPED if self._stop.is_set() else f"{self.info.name} is over")
                return
            except SourceLost as lost:
                if not self._recover(lost):
                    return
            except OSError as error:  # for example, a network drive that is gone
                reason = f"{self.info.name} cannot be read ({error.strerror or error})"
                self._give_up(SourceLost(reason, recoverable=False))
                return
        self._finish(STOPPED)

    def _compute(self, computation: Computation[None]) -> None:
        with self.watch.turn([self._stream]):
            run(self.watch, computation)

    def _finish(self, reason: str) -> None:
        self._process_held()
        self._count_missed()
        self._compute(self._stream.finish_requests(reason))

    def _step(self) -> None:
        """Read and process one block, or report a stall if none arrives."""
        began = self.clock.monotonic()
        block = self._source.read(max(0.0, min(self._stream.due, self._held_until) - began))
        self._waited_s += self.clock.monotonic() - began
        self._watch_clocks()
        if block is None:
            self._process_held()
            self._tick()
            return
        if self._away:
            self._return(block)
        if block.dropped_before or self.clock.monotonic() >= self._held_until:
            self._process_held()
        waits = not self._can_wait(block)
        if self._pacer is not None:
            delay = self._pacer.delay_s(len(block.samples)) / self._speed
            # What need not be processed yet may be there too early.
            early = not waits and not self.info.live
            if delay > 0.0 and not early and self._wait(delay):
                return
        if waits:
            self._process(block)
        else:
            self._hold(block)

    def _can_wait(self, block: Block) -> bool:
        """Return whether a block may be processed with those that follow it.

        One block of a few milliseconds costs a multiple of its share of a longer one. Onsets and
        beats cannot wait, and pulses only until there is a message of them.
        """
        if self.hub.wants_rhythm or self._stream.stalled:
            return False
        held_s = PULSE_BLOCK_S if self.hub.wants_pulses else MAX_HELD_S
        limit = min(self.pipeline.samples_until_estimate, held_s * self.info.sample_rate_hz)
        return self._held_frames + len(block.samples) < limit

    def _hold(self, block: Block) -> None:
        now = self.clock.monotonic()
        if not self._held:
            self._held_until = now + 2 * MAX_HELD_S / self._speed
        self._held.append(block)
        self._held_frames += len(block.samples)
        self._held_at = self._arrival_time(block)
        self._stream.audio_arrived(now)

    def _process_held(self) -> None:
        """Process the blocks that wait: what follows has no part in them."""
        if self._held:
            self._analyze(self._take_held(), self._held_at)
            # A stall counts from their arrival.
            self._stream.audio_arrived(self._held_at)

    def _take_held(self) -> list[Block]:
        held = self._held
        self._held, self._held_frames, self._held_until = [], 0, math.inf
        return held

    def _tick(self) -> None:
        self._watch_clocks()
        self._count_missed()
        self._stream.tick()

    def _watch_clocks(self) -> None:
        """Tell steps of the clocks; what a live input sent during sleep is lost."""
        gap = self._clock_watch.look()
        for notice in gap.notices:
            self.hub.publish(notice)
        if not gap.slept_s or not self.info.passes:
            return
        if self._away:
            self._miss(gap.slept_s)
        else:
            self._skip(gap.slept_s)

    def _count_missed(self, until: float | None = None) -> None:
        """While the input is away, count the audio up to `until`, or up to now, as lost."""
        if self._away and not self.info.recorded:
            now = self.clock.monotonic() if until is None else until
            missed_s = max(0.0, now - self._reception.heard_until)
            self._reception.heard_until += missed_s
            self._miss(missed_s)

    def _miss(self, seconds: float) -> None:
        """Count audio as lost; the pipeline skips it when the input is back."""
        self._missed_s += seconds
        self._stream.count_lost(round(seconds * self.info.sample_rate_hz))

    def _skip(self, seconds: float) -> None:
        """Count audio as lost and move on over it."""
        self._process_held()
        samples = round(seconds * self.info.sample_rate_hz)
        self._stream.count_lost(samples)
        self._compute(self._stream.skip_requests(samples))

    def _arrival_time(self, block: Block) -> float:
        """Return when the last sample of a block was available."""
        now = self.clock.monotonic()
        if self._pacer is not None:
            arrived_at = now - self._pacer.late_s / self._speed
            return arrived_at if block.captured_at is None else max(arrived_at, block.captured_at)
        return now if block.captured_at is None else block.captured_at

    def _process(self, block: Block) -> None:
        arrived_at = self._arrival_time(block)
        began = self.clock.monotonic()
        self._adjust_rate(began)
        wait_s = max(0.0, began - arrived_at)
        late = wait_s > self._rates[self.level] * self._stream.hop_s
        blocks = [*self._take_held(), block]
        ended: Exception | None = None
        if late:
            # Process all waiting audio with a single update, so that the delay cannot grow.
            ended = self._read_backlog(blocks)
            arrived_at = self._arrival_time(blocks[-1])
        self._analyze(blocks, arrived_at, only_latest=late)
        self._shedding.observe(wait_s, self.clock.monotonic() - began)
        if ended is not None:
            raise ended

    def _analyze(
        self, blocks: Sequence[Block], arrived_at: float, *, only_latest: bool = False
    ) -> None:
        """Feed blocks to the stream as one; `arrived_at` and `only_latest` as for it."""
        samples = [block.samples for block in blocks]
        self._hear(sum(len(b.samples) + b.dropped_before for b in blocks), arrived_at)
        self._compute(
            self._stream.feed_requests(
                samples[0] if len(samples) == 1 else np.concatenate(samples),
                arrived_at=arrived_at,
                dropped_before=sum(b.dropped_before for b in blocks),
                overflows=sum(b.overflows for b in blocks),
                only_latest=only_latest,
            )
        )

    def _adjust_rate(self, now: float) -> None:
        """Lower the rate, or raise it again, by the standing wait of the blocks before this one.

        A single late block, for example after the process was stopped, is no standing wait: the
        blocks that follow it at once are not late.
        """
        if now < self._adjust_at:
            return
        before = self.level
        self._shedding.adjust([self], 1, now, self.relieve)
        if self.level != before:
            # What has piled up at the old rate says nothing about the new one.
            self._adjust_at = now + 2.0 * self._rates[self.level] * self._stream.hop_s
            self._stream.slow_down(self._rates[self.level])

    def _hear(self, samples: int, arrived_at: float) -> None:
        """Note what arrived, and skip what turns out to be lost before it."""
        lost_s = self._reception.hear(
            samples / self.info.sample_rate_hz, arrived_at, waited_s=self._waited_s
        )
        self._waited_s = 0.0
        if lost_s:
            self._skip(lost_s)
        if (rate := self._reception.slow_rate()) is not None:
            self.hub.publish(
                Notice(
                    "slow_input",
                    f"{self.info.name} sends only {rate:.2f} s of audio per second, so the "
                    "estimates come late; check the connection to it",
                )
            )

    def _read_backlog(self, blocks: list[Block]) -> Exception | None:
        """Append all waiting blocks to `blocks`; return the exception that ended the source."""
        limit = int(MAX_CATCH_UP_S * self.info.sample_rate_hz)
        frames = sum(len(block.samples) for block in blocks)
        while frames < limit and not self._stop.is_set():
            if self._pacer is not None and self._pacer.late_s <= 0.0:
                return None
            try:
                block = self._source.read(0.0)
            except (EndOfStream, SourceLost, OSError) as error:
                return error
            if block is None:
                return None
            blocks.append(block)
            frames += len(block.samples)
            if self._pacer is not None:
                self._pacer.delay_s(len(block.samples))
        return None

    def _recover(self, lost: SourceLost) -> bool:
        """Reopen a lost input; return False if it cannot be reopened or the runner is stopped.

        The input stays away until its first block: a device that opens may deliver nothing.
        """
        self._process_held()
        if not lost.recoverable:
            self._give_up(lost)
            return False
        if not self._away:
            self._away = True
            self._missed_s = 0.0
            self._miss(self._reception.lose())
            self._retry.lost(str(lost))
            self._stream.lose_input(f"{lost}; waiting for it to come back")
        while True:
            retry_at = self.clock.monotonic() + self._retry.next_pause_s(lost.retry_after_s)
            while (now := self.clock.monotonic()) < retry_at:
                if self._wait(max(0.0, min(retry_at, self._stream.due) - now)):
                    self._finish(STOPPED)
                    return False
                self._tick()
            try:
                is_open = self._reopen()
            except SourceLost as again:
                if not again.recoverable:
                    self._give_up(again)
                    return False
                lost = again
                if self._retry.is_news(str(again)):
                    self._stream.stay_lost(f"{again}; still waiting for it to come back")
                continue
            if not is_open:
                self._finish(STOPPED)
                return False
            self._pacer = self._new_pacer()
            return self._same_format()

    def _reopen(self) -> bool:
        """Reopen the source; return False if the runner is stopped.

        A server may take long to answer, so this has a thread of its own. The stall is reported
        meanwhile.
        """
        failures: list[Exception] = []
        done = threading.Event()

        def reopen() -> None:
            try:
                self._source.reopen()
            except Exception as error:
                failures.append(error)
            finally:
                done.set()

        threading.Thread(target=reopen, name="input opener", daemon=True).start()
        while not done.wait(min(_STOP_POLL_S, max(0.0, self._stream.due - self.clock.monotonic()))):
            if self._stop.is_set():
                done.wait(_LAST_REOPENING_S)
                return False
            self._tick()
        if failures:
            raise failures[0]
        return True

    def _return(self, block: Block) -> None:
        """Go on with the first block after a loss: time goes on and the window is empty again."""
        arrived_at = self.clock.monotonic() if block.captured_at is None else block.captured_at
        self._count_missed(arrived_at - len(block.samples) / self.info.sample_rate_hz)
        self._away = False
        self._retry.back()
        self._reception.heard_until = arrived_at
        self.stats.add(Counter.REOPENS)
        what = "it goes on where it broke off"
        if not self.info.recorded:
            what = f"{self._missed_s:.1f} s of audio are missing"
            samples = round(self._missed_s * self.info.sample_rate_hz)
            self._compute(self._stream.skip_requests(samples))
        self._stream.regain_input(f"{self.info.name} is back; {what}")

    def _same_format(self) -> bool:
        """Return whether the input has its old format; otherwise end the session."""
        new = self._source.info
        same = (new.sample_rate_hz, new.channels) == (self.info.sample_rate_hz, self.info.channels)
        if not same:
            reason = (
                f"{self.info.name} came back with {new.sample_rate_hz} Hz and {new.channels} "
                f"channel(s) instead of {self.info.sample_rate_hz} Hz and {self.info.channels}; "
                "start again to use it"
            )
            self._give_up(SourceLost(reason, recoverable=False))
        return same

    def _give_up(self, lost: SourceLost) -> None:
        """End the session because the input is lost for good."""
        self._process_held()
        self.error = lost
        self.hub.publish(Notice("input_lost", str(lost)))
        self._finish(str(lost))


class _FastClock:
    """A clock that runs `speed` times as fast, for the pacer."""

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._speed = speed

    def monotonic(self) -> float:
        return self._clock.monotonic() * self._speed

    def utc(self) -> datetime:
        return self._clock.utc()

    def boottime(self) -> float:
        return self._clock.boottime() * self._speed
