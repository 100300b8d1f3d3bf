"""One pipeline under live conditions: blocks with their arrival times in, items at the hub out.

It keeps the rules that every live stream follows, whoever runs it (the runner's thread, the workers
of the browser sessions), and has no thread and no waiting of its own: tests turn its clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from realtime_mer.clock import Clock
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation, run
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import BadSamplesError
from realtime_mer.live.hub import End, Hub, Notice
from realtime_mer.live.stats import Counter, Stats, Timing

MIN_STALL_S = 1.0
# A file that comes slowly (a busy disk, a piece being synthesised) is no device that failed.
MIN_FILE_STALL_S = 3.0
STALL_HOPS = 2


class LiveStream:
    """Feeds a pipeline, publishes what comes out and counts what goes wrong.

    One thread at a time may call it.

    Args:
        pipeline: of this stream only.
        hub: gets estimates, notices and the end.
        stats: gets the counts.
        sample_rate_hz: of the blocks.
        clock: the one whose time the blocks carry.
        live: whether the audio is made while we listen, so that its absence is soon worth telling.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        hub: Hub,
        stats: Stats,
        *,
        sample_rate_hz: int,
        clock: Clock,
        live: bool = True,
    ) -> None:
        self.pipeline = pipeline
        self.hub = hub
        self.stats = stats
        self.hop_s = pipeline.config.hop_s
        self.stall_after_s = max(STALL_HOPS * self.hop_s, MIN_STALL_S if live else MIN_FILE_STALL_S)
        self._rate = sample_rate_hz
        self._clock = clock
        self._samples = 0
        self._warned_of_bad_samples = False
        self._counted = {Counter.OVERWRITTEN_FRAMES: 0, Counter.SKIPPED_UPDATES: 0}
        self._stalled = False
        self._slowed: Notice | None = None
        self._due = clock.monotonic() + self.stall_after_s

    @property
    def slowed(self) -> Notice | None:
        """What was published of a lowered rate, as long as it holds; callable from any thread."""
        return self._slowed

    @property
    def due(self) -> float:
        """When `tick` has something to do unless audio comes before (`Clock.monotonic`)."""
        return self._due

    @property
    def stalled(self) -> bool:
        """No audio has come for too long."""
        return self._stalled

    def feed(
        self,
        samples: NDArray[np.float32],
        *,
        arrived_at: float,
        dropped_before: int = 0,
        overflows: int = 0,
        behind: bool = False,
    ) -> None:
        """Takes the next block.

        Args:
            samples: float32 [n] or [n, channels]; NaN and infinite values are taken as silence.
            arrived_at: when its last sample was there to be taken.
            dropped_before: sample frames that were lost just before this block.
            overflows: how often the device said, just before this block, that it lost audio.
            behind: more audio is waiting than one hop, so updates may be left out.
        """
        self.stats.add(Counter.OVERFLOWS, overflows)
        feeding = self.feed_requests(
            samples, arrived_at=arrived_at, dropped_before=dropped_before, behind=behind
        )
        run(self.pipeline.engine, feeding)

    def feed_requests(
        self,
        samples: NDArray[np.float32],
        *,
        arrived_at: float,
        dropped_before: int = 0,
        behind: bool = False,
        ahead: int = 0,
    ) -> Computation[None]:
        """`feed` for who computes its requests elsewhere, with those of other streams.

        Args:
            samples: as in `feed`, and so `arrived_at`, `dropped_before` and `behind`.
            ahead: sample frames that arrived together with these and are fed later.
        """
        taken_at = self._clock.monotonic()
        self._stalled = False
        self.heard(taken_at)
        estimates = (
            (yield from self._skipping(dropped_before, behind=behind)) if dropped_before else []
        )
        self._samples += len(samples)
        estimates += yield from self._feeding_finite(samples, behind=behind)
        self._publish(estimates, arrived_at=arrived_at, taken_at=taken_at, ahead=ahead)
        self._count_losses()

    def heard(self, at: float) -> None:
        """Audio has come (`Clock.monotonic`), though it may be fed later: nothing has stalled."""
        self._due = at + self.stall_after_s

    def lose(self, samples: int) -> None:
        """Accounts for sample frames that never came: time goes on without them."""
        now = self._clock.monotonic()
        estimates = run(self.pipeline.engine, self._skipping(samples, behind=True))
        self._publish(estimates, arrived_at=now, taken_at=now)
        self._count_losses()

    def tick(self) -> None:
        """Where no audio came for too long: says so, at the hop's pace, holding the last values."""
        now = self._clock.monotonic()
        if now < self._due:
            return
        if not self._stalled:
            self._stalled = True
            self.stats.add(Counter.STALLS)
            self.hub.publish(
                Notice(
                    "stalled",
                    f"no audio has arrived for {self.stall_after_s:g} s; the last values are held",
                )
            )
        self._send(self.pipeline.hold(State.STALLED))
        # After a long sleep of the machine one estimate is enough for all that were missed.
        self._due = max(self._due + self.hop_s, now)

    def finish(self, reason: str) -> None:
        """The audio is over: what is still inside comes out, then the end."""
        run(self.pipeline.engine, self.finish_requests(reason))

    def finish_requests(self, reason: str) -> Computation[None]:
        """`finish` for who computes its requests elsewhere."""
        now = self._clock.monotonic()
        estimates = yield from self.pipeline.finish_requests()
        self._publish(estimates, arrived_at=now, taken_at=now)
        self._count_losses()
        self.hub.publish(End(reason))

    def slow_down(self, every: int) -> None:
        """Lets estimates come only every so many hops from now on, and says so; 1 ends that.

        The audio is heard as before, so no window has a hole.
        """
        if every == self.pipeline.every:
            return
        self.pipeline.slow_down(every)
        if every == 1:
            self._slowed = None
            self.hub.publish(Notice("full_rate", f"estimates come every {self.hop_s:g} s again"))
            return
        self.stats.add(Counter.SLOWED)
        self._slowed = Notice(
            "slower",
            f"the server is busy: estimates come every {every * self.hop_s:g} s instead of "
            f"every {self.hop_s:g} s until it is less so",
        )
        self.hub.publish(self._slowed)

    def _skipping(self, samples: int, *, behind: bool) -> Computation[list[Estimate]]:
        self.stats.add(Counter.DROPPED_SAMPLES, samples)
        self._samples += samples
        return (yield from self.pipeline.skip_requests(samples, only_latest=behind))

    def _feeding_finite(
        self, samples: NDArray[np.float32], *, behind: bool
    ) -> Computation[list[Estimate]]:
        try:
            return (yield from self.pipeline.feed_requests(samples, only_latest=behind))
        except BadSamplesError as error:
            self.stats.add(Counter.BAD_SAMPLES, error.count)
            if not self._warned_of_bad_samples:
                self._warned_of_bad_samples = True
                self.hub.publish(Notice("bad_samples", f"{error}; such values count as silence"))
        silenced = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        return (yield from self.pipeline.feed_requests(silenced, only_latest=behind))

    def _publish(
        self,
        estimates: Iterable[Estimate],
        *,
        arrived_at: float,
        taken_at: float,
        ahead: int = 0,
    ) -> None:
        """Completes the latencies of estimates that one block gave, and sends them."""
        heard_s = (self._samples + ahead) / self._rate
        queue_s = max(0.0, taken_at - arrived_at)
        for estimate in estimates:
            buffer_s = max(0.0, heard_s - estimate.t)
            compute_s = estimate.latency.compute_ms / 1e3
            latency = replace(estimate.latency, buffer_ms=buffer_s * 1e3, queue_ms=queue_s * 1e3)
            self.stats.observe(Timing.BUFFER, buffer_s)
            self.stats.observe(Timing.QUEUE, queue_s)
            self.stats.observe(Timing.COMPUTE, compute_s)
            if queue_s + compute_s > self.hop_s:
                self.stats.add(Counter.LATE_WINDOWS)
            self._send(replace(estimate, latency=latency))
            # Those that follow from the same block had to wait for this one.
            queue_s += compute_s

    def _send(self, estimate: Estimate) -> None:
        self.stats.add(Counter.ESTIMATES)
        self.hub.publish(estimate)

    def _count_losses(self) -> None:
        self._count(Counter.OVERWRITTEN_FRAMES, self.pipeline.overwritten_frames)
        self._count(Counter.SKIPPED_UPDATES, self.pipeline.skipped_updates)

    def _count(self, counter: Counter, total: int) -> None:
        self.stats.add(counter, total - self._counted[counter])
        self._counted[counter] = total
