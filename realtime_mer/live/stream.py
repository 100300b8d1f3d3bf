"""One pipeline under live conditions: blocks with arrival times in, items at the hub out.

It applies the rules of every live stream, for the runner's thread and for the workers of the
session pool. It has no thread and does not wait, so tests can set its clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.beat_tracker import BeatTracker
from realtime_mer.core.change_detector import ChangeDetector
from realtime_mer.core.estimate_builder import Arrival
from realtime_mer.core.onset_detector import Frame, OnsetDetector
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.pulse import PulseMeter
from realtime_mer.core.requests import Computation
from realtime_mer.core.resample import without_bad_samples
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import BadSamplesError
from realtime_mer.live.hub import End, Hub, Notice
from realtime_mer.live.stats import Counter, Stats, Timing

MIN_STALL_S = 1.0
# A file may be slow for a while (a busy disk, a piece that is being synthesised).
MIN_FILE_STALL_S = 3.0
STALL_HOPS = 2
# Stream time without a failure after which a failed engine is said to work again.
BACK_AFTER_S = 2.0
# Audio of which pulses are made at once: a message of them. Smaller parts cost several times more.
PULSE_BLOCK_S = 0.06


class AudioSink(Protocol):
    """Takes the audio that a stream analyses. It must not wait and not change the samples."""

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take the next block, float32 [n] or [n, channels]."""
        ...

    def skip(self, samples: int) -> None:
        """Take a loss of sample frames."""
        ...


class LiveStream:
    """Feeds a pipeline, publishes its estimates and counts losses.

    Only one thread at a time may call it. Methods that compute are generators, as those of
    `Pipeline`: `realtime_mer.core.requests.run` runs one, `realtime_mer.core.batching` many.

    Args:
        pipeline: used by this stream only; its clock is the clock of the arrival times.
        hub: receives estimates, each followed by its change events, notices and the end.
        stats: receives the counts.
        live: whether the audio is captured live; its absence then counts as a stall sooner.
        audio_sink: takes all audio that is fed or skipped; None for nobody.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        hub: Hub,
        stats: Stats,
        *,
        live: bool = True,
        audio_sink: AudioSink | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.hub = hub
        self.stats = stats
        self.hop_s = pipeline.config.hop_s
        self._audio_sink = audio_sink
        self.stall_after_s = max(STALL_HOPS * self.hop_s, MIN_STALL_S if live else MIN_FILE_STALL_S)
        self._changes = ChangeDetector()
        self._clock = pipeline.clock
        self._told: set[str] = set()
        self._counted = dict.fromkeys(
            (Counter.OVERWRITTEN_FRAMES, Counter.SKIPPED_UPDATES, Counter.FAULTY_UPDATES), 0
        )
        self._stalled = False
        self._absence: Notice | None = None  # of the input or of its audio
        self._slowed: Notice | None = None
        self._engine_trouble: Notice | None = None
        self._failed_at: float | None = None  # stream time of the newest failure of an outage
        self._failed_updates = 0  # of the outage
        self._hung_s = 0.0  # for how long a call of the engine has not returned
        self._hung_due = 0.0
        self._due = self._clock.monotonic() + self.stall_after_s
        # What listens beside the pipeline, while anyone wants what it finds.
        self._onsets: OnsetDetector | None = None
        self._beats: BeatTracker | None = None
        self._pulses: PulseMeter | None = None
        self._unheard: list[NDArray[np.float32]] = []  # audio that waits for more
        self._speech = False

    @property
    def standing(self) -> list[Notice]:
        """The notices that still hold: of absent audio, of a lower rate, of the engine.

        Callable from any thread.
        """
        notices = (self._absence, self._slowed, self._engine_trouble)
        return [notice for notice in notices if notice is not None]

    @property
    def due(self) -> float:
        """When `tick` must be called unless audio arrives before (`Clock.monotonic`)."""
        return self._due

    @property
    def stalled(self) -> bool:
        """Whether no audio has arrived for `stall_after_s`."""
        return self._stalled

    def feed_requests(
        self,
        samples: NDArray[np.float32],
        *,
        arrived_at: float,
        dropped_before: int = 0,
        overflows: int = 0,
        only_latest: bool = False,
        samples_behind: int = 0,
    ) -> Computation[None]:
        """Process the next block.

        Args:
            samples: float32 [n] or [n, channels]; values that are not finite or far too large
                count as silence.
            arrived_at: when the last sample was available (`Clock.monotonic`).
            dropped_before: sample frames that were lost immediately before this block.
            overflows: losses that the device reported immediately before this block.
            only_latest: as for `Pipeline.feed`, for a stream that is late.
            samples_behind: sample frames that arrived with this block and are fed later.
        """
        self.stats.add(Counter.OVERFLOWS, overflows)
        taken_at = self._clock.monotonic()
        self._stalled = False
        self._absence = None
        self.audio_arrived(taken_at)
        arrival = self._arrival(
            dropped_before + len(samples) + samples_behind, max(0.0, taken_at - arrived_at)
        )
        estimates: list[Estimate] = []
        if dropped_before:
            self.count_lost(dropped_before)
            self._pass_over(dropped_before)
            estimates += yield from self.pipeline.skip_requests(
                dropped_before, only_latest=only_latest, arrival=arrival
            )
        if self._audio_sink is not None:
            self._audio_sink.feed(samples)
        estimates += yield from self._feed(samples, arrival, only_latest=only_latest)
        self._publish(estimates)

    def count_lost(self, samples: int) -> None:
        """Count sample frames that were lost before they were analysed."""
        self.stats.add_lost(samples, self.pipeline.sample_rate_hz)

    def skip_requests(self, samples: int) -> Computation[None]:
        """Move on over sample frames that were lost; `count_lost` has counted them."""
        skip_requests = self.pipeline.skip_requests
        arrival = self._arrival(samples)
        self._pass_over(samples)
        self._publish((yield from skip_requests(samples, only_latest=True, arrival=arrival)))

    def finish_requests(self, reason: str) -> Computation[None]:
        """End the audio: publish the remaining estimates, then the end."""
        self._publish((yield from self.pipeline.finish_requests(arrival=self._arrival())))
        self.hub.publish(End(reason))

    def audio_arrived(self, at: float) -> None:
        """Note that audio arrived (`Clock.monotonic`) and delay the next stall."""
        self._due = at + self.stall_after_s

    def lose_input(self, message: str) -> None:
        """Report that the input is gone; the next `tick` repeats the last values at once."""
        self.stay_lost(message)
        self._stalled = True
        self._due = self._clock.monotonic()

    def stay_lost(self, message: str) -> None:
        """Report why the input is still gone."""
        self._absence = Notice("input_lost", message)
        self.hub.publish(self._absence)

    def regain_input(self, message: str) -> None:
        """Report that the input is back."""
        # In this order nobody who comes meanwhile is told only that it is gone.
        self._absence = None
        self.hub.publish(Notice("input_back", message))

    def tick(self) -> None:
        """Report a stall if no audio has arrived for too long, and repeat the last values.

        During a stall an estimate is published once per hop.
        """
        now = self._clock.monotonic()
        if now < self._due:
            return
        if not self._stalled:
            self._stalled = True
            self.stats.add(Counter.STALLS)
            self._absence = Notice(
                "stalled",
                f"no audio has arrived for {self.stall_after_s:g} s; the last values are repeated",
            )
            self.hub.publish(self._absence)
        self._send(self.pipeline.repeat_last(State.STALLED))
        # After the machine has slept, one estimate replaces all that were missed.
        self._due = max(self._due + self.hop_s, now)

    def wait_for_engine(self, waited_s: float) -> None:
        """Report that a call of the engine does not return, and repeat the last values.

        Called from the thread of `EngineWatch`, while the thread of this stream is in that call or
        none works on the stream.
        """
        now = self._clock.monotonic()
        if not self._hung_s:
            self._hung_due = now
            self._engine_trouble = Notice(
                "engine_stalled",
                f"the backend {self.pipeline.engine.backend} has not returned from a call for "
                f"{waited_s:.0f} s; the last values are repeated",
            )
            self.hub.publish(self._engine_trouble)
        self._hung_s = waited_s
        if now >= self._hung_due:
            self._send(self.pipeline.repeat_last(State.STALLED))
            self._hung_due = max(self._hung_due + self.hop_s, now)

    def slow_down(self, hops_per_estimate: int) -> None:
        """Change the rate of estimates and publish a notice; 1 is the full rate.

        All audio is still encoded, so windows stay complete.
        """
        if hops_per_estimate == self.pipeline.hops_per_estimate:
            return
        self.pipeline.slow_down(hops_per_estimate)
        if hops_per_estimate == 1:
            self._slowed = None
            self.hub.publish(Notice("full_rate", f"estimates come every {self.hop_s:g} s again"))
            return
        self.stats.add(Counter.SLOWED)
        self._slowed = Notice(
            "slower",
            f"the server is busy: for now, estimates come every "
            f"{hops_per_estimate * self.hop_s:g} s instead of every {self.hop_s:g} s",
        )
        self.hub.publish(self._slowed)

    def _arrival(self, samples: int = 0, queue_s: float = 0.0) -> Arrival:
        """Return the arrival of the next `samples` sample frames."""
        end = self.pipeline.input_samples + samples
        return Arrival(end / self.pipeline.sample_rate_hz, queue_s)

    def _feed(
        self, samples: NDArray[np.float32], arrival: Arrival, *, only_latest: bool
    ) -> Computation[list[Estimate]]:
        pipeline = self.pipeline
        try:
            mono = pipeline.mono(samples)
        except BadSamplesError as error:
            self.stats.add(Counter.BAD_SAMPLES, error.count)
            self._tell_once("bad_samples", f"{error}; such values count as silence")
            mono = pipeline.mono(without_bad_samples(samples))
        self._listen(mono)
        return (yield from pipeline.mono_requests(mono, only_latest=only_latest, arrival=arrival))

    def _listen(self, mono: NDArray[np.float32]) -> None:
        """Publish the rhythm and the pulses of a block, before the estimates, if anyone wants them.

        Both come from the same frames, which cost the most.
        """
        hub, pipeline = self.hub, self.pipeline
        if not (hub.wants_rhythm or hub.wants_pulses):
            self._onsets = self._beats = self._pulses = None
            self._unheard.clear()
            return
        if self._onsets is None:
            self._onsets = OnsetDetector(pipeline.sample_rate_hz, start=pipeline.input_samples)
        if not hub.wants_rhythm:
            self._beats = None
        elif self._beats is None:
            self._beats = BeatTracker()
        if not hub.wants_pulses:
            self._pulses = None
        elif self._pulses is None:
            self._pulses = PulseMeter(
                self._onsets.flux.edges_hz, silence_db=pipeline.config.silence_db
            )
        self._unheard.append(mono)
        waiting = sum(map(len, self._unheard))
        # A beat cannot wait.
        if hub.wants_rhythm or waiting >= round(PULSE_BLOCK_S * pipeline.sample_rate_hz):
            self._hear()

    def _hear(self) -> None:
        if self._onsets is not None and self._unheard:
            heard = np.concatenate(self._unheard)
            self._unheard.clear()
            self._follow(self._onsets.feed(heard))

    def _follow(self, frames: Sequence[Frame]) -> None:
        if self._beats is not None:
            rhythm = self._beats.follow(frames)
            if not self._speech:
                for event in rhythm:
                    self.hub.publish(event)
        if self._pulses is not None and (pulses := self._pulses.follow(frames)):
            self.hub.publish_pulses(pulses)

    def _pass_over(self, samples: int) -> None:
        """Tell what listens beside the pipeline of lost sample frames."""
        if self._audio_sink is not None:
            self._audio_sink.skip(samples)
        if self._onsets is not None:
            self._hear()
            self._follow(self._onsets.skip(samples))

    def _tell_once(self, code: str, message: str) -> None:
        if code not in self._told:
            self._told.add(code)
            self.hub.publish(Notice(code, message))

    def _publish(self, estimates: Iterable[Estimate]) -> None:
        """Publish the estimates of one block and count their latencies and losses."""
        self._tell_of_engine()
        for estimate in estimates:
            latency = estimate.latency
            self.stats.observe(Timing.BUFFER, latency.buffer_ms / 1e3)
            self.stats.observe(Timing.QUEUE, latency.queue_ms / 1e3)
            self.stats.observe(Timing.COMPUTE, latency.compute_ms / 1e3)
            if (latency.queue_ms + latency.compute_ms) / 1e3 > self.hop_s:
                self.stats.add(Counter.LATE_WINDOWS)
            self._send(estimate)
        self._count(Counter.OVERWRITTEN_FRAMES, self.pipeline.overwritten_frames)
        self._count(Counter.SKIPPED_UPDATES, self.pipeline.skipped_updates)
        self._count(Counter.FAULTY_UPDATES, self.pipeline.faulty_updates)

    def _tell_of_engine(self) -> None:
        """Say once per outage that the engine failed, and once that it works again."""
        failed = self.pipeline.faulty_updates - self._counted[Counter.FAULTY_UPDATES]
        hung_s, self._hung_s = self._hung_s, 0.0
        if failed:
            if self._failed_at is None:
                self._failed_updates = 0
                self._engine_trouble = Notice(
                    "engine_failed",
                    f"{self.pipeline.failure}; the last values are repeated while it fails",
                )
                self.hub.publish(self._engine_trouble)
            self._failed_at = self.pipeline.t
            self._failed_updates += failed
        elif self._failed_at is None:
            if hung_s:
                self._tell_engine_back(f", after a call of {hung_s:.0f} s")
        elif not self.pipeline.failing and self.pipeline.t - self._failed_at >= BACK_AFTER_S:
            self._failed_at = None
            updates = "update" if self._failed_updates == 1 else "updates"
            self._tell_engine_back(f"; {self._failed_updates} {updates} failed")

    def _tell_engine_back(self, details: str) -> None:
        self._engine_trouble = None
        self.hub.publish(Notice("engine_back", f"the engine works again{details}"))

    def _send(self, estimate: Estimate) -> None:
        self.stats.count_estimate(estimate.state)
        self._speech = estimate.state is State.SPEECH
        self.hub.publish(estimate)
        for event in self._changes.add(estimate):
            self.hub.publish(event)

    def _count(self, counter: Counter, total: int) -> None:
        """Add the difference to the last total."""
        self.stats.add(counter, total - self._counted[counter])
        self._counted[counter] = total
