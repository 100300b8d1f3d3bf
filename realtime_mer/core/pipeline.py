"""The pipeline of one stream: audio in, estimates out.

Live equals offline: the same samples give the same estimates, however they are cut into blocks.
"""

from __future__ import annotations

import numpy as np
from mer_engine import Engine, FrontEnd
from numpy.typing import NDArray

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.config import MIN_LEVEL_DB, PipelineConfig, Range
from realtime_mer.core.encoder_cache import EncoderCache, WindowEncoder
from realtime_mer.core.estimate_builder import Arrival, EstimateBuilder
from realtime_mer.core.movement import Movement
from realtime_mer.core.requests import Computation, FeaturesRequest, run
from realtime_mer.core.resample import StreamResampler
from realtime_mer.core.resample_delay import resample_delay
from realtime_mer.core.schedule import Schedule
from realtime_mer.core.silence import SilenceDetector
from realtime_mer.core.sound_gate import SoundGate
from realtime_mer.core.tick_buffer import TickBuffer
from realtime_mer.core.ticks import TICKS_PER_SECOND, TICKS_PER_STEP
from realtime_mer.core.types import Estimate, State
from realtime_mer.core.value_range import ValueRange
from realtime_mer.errors import EngineError, UserError

# Lost input up to this length is replaced by silence. After a longer loss the window is empty.
MAX_FILLED_LOSS_S = 0.5
# While every call of the engine fails for longer than this, estimates are `stalled`.
FAILING_S = 5.0


class Pipeline:
    """Resampler, silence detection, front-end, encoder, lag window, gate, estimate: one stream.

    `feed`, `skip` and `finish` compute with this pipeline's engine. Their generator forms
    `feed_requests`, `skip_requests` and `finish_requests` yield what must be computed, so that
    `realtime_mer.core.batching` can compute many streams together.

    Args:
        engine: shared by any number of pipelines.
        sample_rate_hz: of the input, 8,000 to 192,000.
        channels: of the input, 1 to 64.
        config: hop, lag order, silence level and range.
        clock: for the creation and compute times of estimates.

    Raises:
        UserError: a format or a lag order is out of range, or the model lacks what the range needs.

    Attributes:
        lag_order: length of the lag window in steps.
        input_samples: sample frames of input so far, lost ones included.
        skipped_updates: estimates that were left out, by `only_latest` or by `slow_down`.
        faulty_updates: estimates that repeat the last values, because the engine failed twice in a
            row, and pieces of audio that count as silence, because their features failed so.
        failure: the newest of these failures; None before the first.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        sample_rate_hz: int,
        channels: int = 1,
        config: PipelineConfig | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.engine = engine
        self.config = config or PipelineConfig()
        self.clock = clock or SystemClock()
        self.sample_rate_hz = sample_rate_hz
        info = engine.info
        self.lag_order = self.config.lag_order or info.lag_order_default
        if self.lag_order > info.lag_order_max:
            raise UserError(
                f"the lag order is {self.lag_order}; the model {info.name} was trained for windows "
                f"of 1 to {info.lag_order_max} steps of {info.step_s} s"
            )
        rate_hz = info.frontend.sample_rate_hz
        self._resampler = StreamResampler(sample_rate_hz, channels, rate_hz)
        self._resampler_delay = resample_delay(sample_rate_hz, rate_hz)
        self._buffer = TickBuffer(rate_hz // TICKS_PER_SECOND)
        self._silence = SilenceDetector(self.config.silence_db, self.config.hop_ticks)
        self._gate = SoundGate()
        self._movement = Movement()
        self._frontend = FrontEnd(info.frontend)
        self._schedule = Schedule(self.config.hop_ticks)
        self._encoder = EncoderCache(info, self.lag_order, self._schedule.spacing_ticks)
        self._windows: WindowEncoder = self._encoder
        value_range = None
        if self.config.range_of(info) is Range.MUSIC:
            value_range = ValueRange(info, adapt=self.config.adapt)
        self._builder = EstimateBuilder(info, self.lag_order, self.clock, value_range)
        self.reset()

    def reset(self) -> None:
        """Start a new stream: time and sequence numbers start from 0."""
        self._resampler.reset()
        self._buffer.reset()
        self._silence.reset()
        self._gate.reset()
        self._movement.restart()
        self._frontend.reset()
        self._encoder.reset()
        self._builder.reset()
        self.input_samples = 0
        self._tick = 0
        self._failing_since: int | None = None  # tick
        self.skipped_updates = self.faulty_updates = 0
        self.failure: EngineError | None = None

    @property
    def t(self) -> float:
        """Stream time in seconds: the end of the last complete tick of 0.1 s."""
        return self._tick / TICKS_PER_SECOND

    @property
    def window_s(self) -> float:
        """Length of the lag window in seconds."""
        return self.lag_order * self.engine.info.step_s

    @property
    def overwritten_frames(self) -> int:
        """Number of feature frames that were overwritten before they were encoded."""
        return self._encoder.overwritten_frames

    @property
    def failing(self) -> bool:
        """Whether the newest call of the engine failed."""
        return self._encoder.failure is not None

    @property
    def hops_per_estimate(self) -> int:
        """Number of hops between two estimates; 1 unless set by `slow_down`."""
        return self._schedule.hops_per_estimate

    def slow_down(self, hops_per_estimate: int) -> None:
        """Make an estimate due only every `hops_per_estimate` hops from now on; 1 is full rate.

        All audio is still encoded, so windows stay complete. The estimates left out are counted in
        `skipped_updates`.
        """
        self._schedule.set_rate(hops_per_estimate)

    @property
    def samples_until_estimate(self) -> int:
        """Sample frames of input that complete the next estimate, at least 1."""
        end = self._schedule.next_estimate(self._tick) * self.sample_rate_hz
        needed = -(-end // TICKS_PER_SECOND) + self._resampler_delay
        return max(1, needed - self.input_samples)

    def feed(self, block: NDArray[np.float32], *, only_latest: bool = False) -> list[Estimate]:
        """Process the next samples and return the estimates that they complete.

        Args:
            block: float32 [n] or [n, channels] at the declared rate, full scale 1.0; any n.
            only_latest: compute only the newest of several due estimates and count the others in
                `skipped_updates`, for a stream that is late.

        Raises:
            BadSamplesError: NaN, infinite or far too large values; the block was not processed.
            UserError: another number of channels.
        """
        return run(self.engine, self.feed_requests(block, only_latest=only_latest))

    def skip(self, samples: int, *, only_latest: bool = False) -> list[Estimate]:
        """Account for lost input and return the estimates that became due.

        A short loss is replaced by silence. After more than 0.5 s the window is empty again.

        Args:
            samples: number of lost sample frames at the input rate.
            only_latest: as for `feed`.
        """
        return run(self.engine, self.skip_requests(samples, only_latest=only_latest))

    def finish(self) -> list[Estimate]:
        """End the stream and return the remaining estimates.

        A stream that is shorter than a hop gives one estimate if it has at least 0.5 s.
        """
        return run(self.engine, self.finish_requests())

    def feed_requests(
        self,
        block: NDArray[np.float32],
        *,
        only_latest: bool = False,
        arrival: Arrival | None = None,
    ) -> Computation[list[Estimate]]:
        """Generator form of `feed`.

        Args:
            block, only_latest: as for `feed`.
            arrival: of the block, for the latency of the estimates.
        """
        mono = self.mono(block)
        return (yield from self.mono_requests(mono, only_latest=only_latest, arrival=arrival))

    def mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Check the next block and return its downmix, float32 [n], for `mono_requests`.

        Raises:
            BadSamplesError, UserError: as for `feed`; the block was not processed.
        """
        self._builder.start_timer()
        return self._resampler.mono(block)

    def mono_requests(
        self,
        mono: NDArray[np.float32],
        *,
        only_latest: bool = False,
        arrival: Arrival | None = None,
    ) -> Computation[list[Estimate]]:
        """Form of `feed_requests` that takes what `mono` returned."""
        self.input_samples += len(mono)
        next_estimate = self._schedule.next_estimate(self._tick) * self.sample_rate_hz
        urgent = self.input_samples * TICKS_PER_SECOND >= next_estimate
        signal = self._resampler.push(mono, urgent=urgent)
        return (yield from self._process(signal, only_latest=only_latest, arrival=arrival))

    def skip_requests(
        self, samples: int, *, only_latest: bool = False, arrival: Arrival | None = None
    ) -> Computation[list[Estimate]]:
        """Generator form of `skip`; `arrival` as for `feed_requests`."""
        rate = self.sample_rate_hz
        self.input_samples += samples
        if samples > rate * MAX_FILLED_LOSS_S:
            # Encode what came before the loss: frames and ticks advance together.
            yield from self._extract_frames()
            # Whole steps, because only they are whole numbers of frames.
            steps = samples * TICKS_PER_SECOND // (rate * TICKS_PER_STEP)
            ticks = steps * TICKS_PER_STEP
            samples -= ticks * rate // TICKS_PER_SECOND
            self._frontend.forget()
            self._encoder.skip(steps)
            self._silence.forget_piece()
            self._tick += ticks
        self._builder.start_timer()
        signal = self._resampler.push(np.zeros(samples, dtype=np.float32))
        return (yield from self._process(signal, only_latest=only_latest, arrival=arrival))

    def finish_requests(self, *, arrival: Arrival | None = None) -> Computation[list[Estimate]]:
        """Generator form of `finish`; `arrival` as for `feed_requests`."""
        self._builder.start_timer()
        signal = self._resampler.push(np.empty(0, dtype=np.float32), last=True)
        estimates = yield from self._process(signal, arrival=arrival)
        if self._builder.from_audio == 0 and self._tick >= TICKS_PER_STEP:
            # Up to the last complete tick; the rest is shorter than 0.1 s.
            yield from self._extract_frames()
            estimates.append((yield from self._estimate(arrival)))
        self._resampler.reset()
        return estimates

    def repeat_last(self, state: State) -> Estimate:
        """Return an estimate with the last values, for moments without audio: the level is -120.

        Also while the engine computes the next estimate, in place of what does not come.
        """
        return self._builder.repeat(state, t=self.t, level_db=MIN_LEVEL_DB)

    def _process(
        self,
        signal: NDArray[np.float32],
        *,
        only_latest: bool = False,
        arrival: Arrival | None = None,
    ) -> Computation[list[Estimate]]:
        """Process resampled samples from one scheduled tick to the next."""
        schedule = self._schedule
        end_tick = self._tick + self._buffer.ticks_after(len(signal))
        first_computed = schedule.last_estimate(end_tick) if only_latest else 0
        estimates: list[Estimate] = []
        start = 0
        while start < len(signal):
            ticks = schedule.next_event(self._tick) - self._tick
            missing = self._buffer.samples_until(ticks)
            part = signal[start : start + missing]
            start += len(part)
            if len(part) < missing:
                self._add_samples(part.copy())  # does not keep `signal` in memory
                break
            self._add_samples(part)
            yield from self._extract_frames()
            if self._silence.between_pieces:
                self._encoder.discard_frames()
            if schedule.is_hop(self._tick) and self._tick < first_computed:
                self.skipped_updates += 1
            elif schedule.is_estimate(self._tick):
                estimates.append((yield from self._estimate(arrival)))
            else:
                self.skipped_updates += schedule.is_hop(self._tick)
                if schedule.interleaved and self._piece_steps():
                    yield from self._encoder.encode_step(self._tick)
        return estimates

    def _add_samples(self, samples: NDArray[np.float32]) -> None:
        """Buffer samples for the front-end and find the pieces in the ticks that they complete."""
        for power in self._buffer.append(samples):
            self._add_tick(power)

    def _add_tick(self, power: float) -> None:
        """Take the audible power of the next tick."""
        self._tick += 1
        if self._silence.add(power, self._tick):
            self._windows.start_piece(self._tick - 1)
            self._builder.start_piece()
            self._gate.reset()
            self._movement.restart()
        if not self._silence.quiet:
            self._movement.add(power)

    def _extract_frames(self) -> Computation[None]:
        """Run the front-end on the complete ticks in the buffer."""
        samples = self._buffer.take()
        if samples is None:
            return
        excerpt = self._frontend.excerpt(samples)
        try:
            frames = yield FeaturesRequest(self._frontend.config, excerpt)
        except EngineError as error:
            self._fail(error)
            frames = self._frontend.silent_frames(excerpt)
        self._frontend.accept(excerpt, frames)
        self._encoder.append(frames)

    def _fail(self, error: EngineError) -> None:
        self.faulty_updates += 1
        self.failure = error

    def _stays_failing(self) -> bool:
        """Return whether the engine has failed for so long that the values are out of date."""
        if not self.failing:
            self._failing_since = None
            return False
        if self._failing_since is None:
            self._failing_since = self._tick
        return self._tick - self._failing_since >= FAILING_S * TICKS_PER_SECOND

    def _piece_steps(self) -> int:
        """Return the complete steps of the current piece, up to the lag order; 0 without one."""
        if self._silence.between_pieces:
            return 0
        return min(self._silence.piece_ticks(self._tick) // TICKS_PER_STEP, self.lag_order)

    def _estimate(self, arrival: Arrival | None) -> Computation[Estimate]:
        """Make the estimate at the current tick."""
        state, whole = State.SETTLING, None
        novelty = None
        steps = self._piece_steps()
        if steps:
            # Encoded in a short silence, and in speech and noise too: the piece may continue.
            inference = yield from self._windows.encode_window(self._tick, steps)
            if self._windows.failure is not None:
                self._fail(self._windows.failure)
            if not self._silence.silent:
                if inference is not None:
                    self._gate.update(inference.sound)
                if self._gate.state is not None:
                    state = self._gate.state
                    self._movement.restart()
                else:
                    state = State.TRACKING if steps == self.lag_order else State.SETTLING
                    if inference is not None:
                        novelty = self._windows.novelty
                        whole = self._builder.update(
                            inference, steps, self._movement.rise_db, t=self.t, state=state
                        )
            if self._stays_failing():
                state = State.STALLED
        if self._silence.silent:
            state = State.SILENCE
        return self._builder.build(
            state,
            t=self.t,
            level_db=self._silence.level_db,
            whole=whole,
            novelty=novelty,
            arrival=arrival,
        )
