"""The core: audio in, estimates out. No thread, no socket, no waiting.

Live equals offline: the same samples give the same estimates, however they are cut into blocks.
"""

from __future__ import annotations

import math

import numpy as np
from mer_engine import Engine, FrontEnd, Inference
from numpy.typing import NDArray

from realtime_mer.clock import Clock, SystemClock, iso_utc
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.decoder import Decoder, Held
from realtime_mer.core.feature_map_cache import FeatureMapCache
from realtime_mer.core.frame_buffer import FrameBuffer
from realtime_mer.core.lag_window import TICKS_PER_STEP, LagWindow
from realtime_mer.core.mood import mood_word
from realtime_mer.core.requests import Computation, EngineRequest, FeaturesRequest, run
from realtime_mer.core.resample import StreamResampler
from realtime_mer.core.resample_delay import resample_delay
from realtime_mer.core.types import Estimate, FastValues, Latency, State
from realtime_mer.errors import UserError

TICKS_PER_SECOND = 10
# A pause this long counts as silence; after the longer one the music that follows is a new piece,
# and the window settles again.
SILENCE_TICKS = 10
NEW_PIECE_TICKS = 30
# Lost input up to this length is filled with silence; after more the window settles again.
FILL_LOSS_S = 0.5
MIN_LEVEL_DB = -120.0


class Pipeline:
    """Resample, front-end, frames, maps, lag window, engine, estimate: one stream.

    Args:
        engine: shared by any number of pipelines.
        sample_rate_hz: of the blocks, 8,000 to 192,000.
        channels: of the blocks, 1 to 64.
        config: hop, lag order and silence level.
        clock: gives `utc` and the compute time of the estimates.

    Raises:
        UserError: a format or a lag order that cannot be taken.
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
        info = engine.info
        lag_order = self.config.lag_order or info.lag_order_default
        if lag_order > info.lag_order_max:
            raise UserError(
                f"the lag order is {lag_order}; the model {info.name} was trained for windows of "
                f"1 to {info.lag_order_max} steps of {info.step_s} s"
            )
        self.lag_order = lag_order
        # A window no longer than the fast one would be told twice.
        fast = info.fast_lag_order
        self.fast_lag_order = fast if fast < lag_order else None
        self._hop_ticks = self.config.hop_tenths
        # Estimates fall due a period apart. Steps of a later window end a comb apart, so each such
        # tick needs its embedding.
        self.slow_down(1)
        self._silence_power = 10.0 ** (self.config.silence_db / 10.0)
        frontend = info.frontend
        self._samples_per_tick = frontend.sample_rate_hz // TICKS_PER_SECOND
        self._resampler = StreamResampler(sample_rate_hz, channels, frontend.sample_rate_hz)
        self._frontend = FrontEnd(frontend)
        # A window whose updates were left out, what is heard before it, and a hop.
        frames = lag_order * info.frames_per_step + 3 * info.map_context
        self._frames = FrameBuffer(frames + frontend.frames_per_second, frontend.width)
        # Where all windows end on one comb, only what has just come is ever encoded.
        again = 0 if self._comb_ticks == TICKS_PER_STEP else lag_order
        self._maps = FeatureMapCache(info, again)
        self._window = LagWindow(lag_order, info.embedding_size, self._comb_ticks)
        self._readout = Decoder(info)
        self._levels = np.zeros(self._hop_ticks)
        self._resampler_delay = resample_delay(sample_rate_hz, frontend.sample_rate_hz)
        self.skipped_updates = 0
        self.reset()

    def reset(self) -> None:
        """Starts a new stream: time and sequence numbers begin again."""
        self._resampler.reset()
        self._frontend.reset()
        self._frames.reset()
        self._maps.begin(0)
        self._window.clear()
        self._levels[:] = 0.0
        self._fed = 0  # sample frames of input, lost ones included
        self._tick = 0
        # Samples that wait for the front-end, and the last of them, which are no whole tick yet.
        self._rest: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._parts: list[NDArray[np.float32]] = []
        self._heard_from: int | None = None  # tick at which the present piece began
        self._quiet_ticks = 0
        self._seq = 0
        prior = self.engine.info.prior
        dimensions = (prior["valence"], prior["arousal"])
        self._held: Held = tuple((p.mean, p.low, p.high) for p in dimensions)
        self._held_fast = self._held
        self._estimates = 0
        self._mark = 0.0

    @property
    def t(self) -> float:
        """Stream time in seconds: the end of the last tenth of a second that was heard."""
        return self._tick / TICKS_PER_SECOND

    @property
    def overwritten_frames(self) -> int:
        """Feature frames that were overwritten before the engine had seen them."""
        return self._frames.overwritten

    @property
    def window_s(self) -> float:
        """Length of the lag window in seconds."""
        return self.lag_order * self.engine.info.step_s

    @property
    def every(self) -> int:
        """An estimate falls due every so many hops; more than 1 only where `slow_down` said so."""
        return self._every

    def slow_down(self, every: int) -> None:
        """Lets estimates fall due only every so many hops from now on; 1 is the full rate.

        Everything is heard as before, so the window stays whole. What is left out is counted in
        `skipped_updates`.
        """
        self._every = every
        self._period_ticks = every * self._hop_ticks
        self._comb_ticks = math.gcd(self._period_ticks, TICKS_PER_STEP)

    @property
    def wanted(self) -> int:
        """Sample frames of input after which the next estimate falls due, at least 1."""
        rate = self._resampler.input_rate_hz
        at = -(-self._next_estimate() * rate // TICKS_PER_SECOND)
        return max(1, at + self._resampler_delay - self._fed)

    def feed(self, block: NDArray[np.float32], *, only_latest: bool = False) -> list[Estimate]:
        """Takes the next samples and returns the estimates that fall due.

        Args:
            block: float32 [n] or [n, channels] at the declared rate, full scale 1.0; any n.
            only_latest: compute only the newest of several estimates that fall due, and count the
                others in `skipped_updates` (for a stream that has fallen behind).

        Raises:
            BadSamplesError: NaN or infinite values; nothing of the block was taken.
            UserError: another number of channels.
        """
        return run(self.engine, self.feed_requests(block, only_latest=only_latest))

    def finish(self) -> list[Estimate]:
        """Ends the stream: what is still inside comes out.

        A stream too short for its first hop still gives one estimate where half a second was heard.
        """
        return run(self.engine, self.finish_requests())

    def skip(self, samples: int, *, only_latest: bool = False) -> list[Estimate]:
        """Accounts for input that was lost: time goes on.

        A short loss is filled with silence; after more than half a second the window settles again.

        Args:
            samples: lost sample frames at the input rate.
            only_latest: as in `feed`.
        """
        return run(self.engine, self.skip_requests(samples, only_latest=only_latest))

    def feed_requests(
        self, block: NDArray[np.float32], *, only_latest: bool = False
    ) -> Computation[list[Estimate]]:
        """`feed` for who computes its requests elsewhere, with those of other streams."""
        self._mark = self.clock.monotonic()
        mono = self._resampler.mono(block)
        self._fed += len(mono)
        signal = self._resampler.push(mono, urgent=self._awaited())
        return (yield from self._advancing(signal, only_latest=only_latest))

    def finish_requests(self) -> Computation[list[Estimate]]:
        """`finish` for who computes its requests elsewhere."""
        self._mark = self.clock.monotonic()
        rest = self._resampler.push(np.empty(0, dtype=np.float32), last=True)
        estimates = yield from self._advancing(rest)
        if self._estimates == 0 and self._tick >= TICKS_PER_STEP:
            # Up to the last whole tick; what is beyond is less than a tenth of a second.
            yield from self._taking_frames()
            estimates.append((yield from self._estimating()))
        self._resampler.reset()
        return estimates

    def skip_requests(
        self, samples: int, *, only_latest: bool = False
    ) -> Computation[list[Estimate]]:
        """`skip` for who computes its requests elsewhere."""
        rate = self._resampler.input_rate_hz
        self._fed += samples
        if samples > rate * FILL_LOSS_S:
            # Frames and ticks are counted on together, so what was gathered comes first.
            yield from self._taking_frames()
            # Whole steps, because those are whole numbers of frames too.
            steps = samples * TICKS_PER_SECOND // (rate * TICKS_PER_STEP)
            ticks = steps * TICKS_PER_STEP
            samples -= ticks * rate // TICKS_PER_SECOND
            self._frontend.forget()
            self._frames.jump(steps * self.engine.info.frames_per_step)
            self._window.clear()
            self._tick += ticks
            self._heard_from = None
        silence = np.zeros(samples, dtype=np.float32)
        self._mark = self.clock.monotonic()
        signal = self._resampler.push(silence)
        return (yield from self._advancing(signal, only_latest=only_latest))

    def hold(self, state: State) -> Estimate:
        """An estimate that repeats the held values, for moments without any audio."""
        self._mark = self.clock.monotonic()
        return self._make(state)

    def _advancing(
        self, signal: NDArray[np.float32], *, only_latest: bool = False
    ) -> Computation[list[Estimate]]:
        """Runs resampled samples through the rest, from one due moment to the next."""
        due_after = self._due(len(signal)) if only_latest else 0
        estimates: list[Estimate] = []
        start = 0
        while start < len(signal):
            next_tick = self._next_due()
            missing = (next_tick - self._tick) * self._samples_per_tick - len(self._rest)
            part = signal[start : start + missing]
            start += len(part)
            if len(part) < missing:
                # A copy, so that the rest of the signal is not kept alive.
                self._gather(part.copy())
                break
            self._gather(part)
            yield from self._taking_frames()
            if self._piece_over():
                self._frames.release(self._frames.end)
            if self._tick % self._hop_ticks == 0 and self._tick < due_after:
                self.skipped_updates += 1
            elif self._tick % self._period_ticks == 0:
                estimates.append((yield from self._estimating()))
            else:
                self.skipped_updates += self._tick % self._hop_ticks == 0
                if self._comb_ticks < TICKS_PER_STEP:
                    yield from self._encoding_step()
        return estimates

    def _awaited(self) -> bool:
        """Whether the input has passed the moment of the next estimate, which now waits for it."""
        at = self._next_estimate() * self._resampler.input_rate_hz
        return self._fed * TICKS_PER_SECOND >= at

    def _next_estimate(self) -> int:
        """The tick of the next estimate."""
        return (self._tick // self._period_ticks + 1) * self._period_ticks

    def _next_due(self) -> int:
        """The next tick at which there is something to do, at most a hop away."""
        every = self._hop_ticks if self._comb_ticks == TICKS_PER_STEP else self._comb_ticks
        return (self._tick // every + 1) * every

    def _due(self, samples: int) -> int:
        """The tick of the last estimate that falls due within so many resampled samples."""
        ticks = (len(self._rest) + samples) // self._samples_per_tick
        return (self._tick + ticks) // self._period_ticks * self._period_ticks

    def _gather(self, part: NDArray[np.float32]) -> None:
        """Keeps samples for the front-end and levels the ticks that they complete.

        Nothing is due before the end of `part`, so small blocks cost no front-end call each.
        """
        self._parts.append(part)
        signal = np.concatenate((self._rest, part)) if len(self._rest) else part
        size = self._samples_per_tick
        ticks = len(signal) // size
        self._rest = signal[ticks * size :]
        if ticks == 0:
            return
        rows = signal[: ticks * size].reshape(ticks, size)
        for power in (np.einsum("ts,ts->t", rows, rows) / size).tolist():
            self._level_tick(power)

    def _level_tick(self, power: float) -> None:
        """Counts a tenth of a second of this mean square."""
        self._levels[self._tick % self._hop_ticks] = power
        self._tick += 1
        if power < self._silence_power:
            self._quiet_ticks += 1
            return
        if self._heard_from is None or self._quiet_ticks >= NEW_PIECE_TICKS:
            self._heard_from = self._tick - 1
            # What came before is silence to it.
            self._maps.begin(self._frame(self._heard_from))
        self._quiet_ticks = 0

    def _taking_frames(self) -> Computation[None]:
        """Runs the front-end over the whole ticks that were gathered."""
        if not self._parts:
            return
        signal = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        end = len(signal) - len(self._rest)
        if end == 0:
            return
        self._rest = self._rest.copy()
        self._parts = [self._rest] if len(self._rest) else []
        excerpt = self._frontend.excerpt(signal[:end])
        frames = yield FeaturesRequest(self._frontend.config, excerpt)
        self._frontend.accept(excerpt, frames)
        self._frames.append(frames)

    def _steps_heard(self) -> int:
        """Whole steps of the present piece, at most the lag order."""
        if self._heard_from is None:
            return 0
        return min((self._tick - self._heard_from) // TICKS_PER_STEP, self.lag_order)

    def _silent(self) -> bool:
        return self._heard_from is None or self._quiet_ticks >= SILENCE_TICKS

    def _piece_over(self) -> bool:
        return self._heard_from is None or self._quiet_ticks >= NEW_PIECE_TICKS

    def _frame(self, tick: int) -> int:
        """Frames that are complete at a tick, which need not be a whole number of frames."""
        return tick * self.engine.info.frontend.frames_per_second // TICKS_PER_SECOND

    def _encoding(self, steps: int, past: NDArray[np.float32]) -> Computation[Inference]:
        """Lets the engine hear the newest frames, the last of which end the newest steps.

        Args:
            steps: new steps (k).
            past: float32 [P, E].
        """
        end = self._frames.end
        size = self.engine.info.frames_per_step
        if self._maps.end < self._frames.start:  # updates were left out for longer than a window
            self._maps.begin(self._frames.start)
        # Where a piece begins between two steps, what comes before the first goes in by itself.
        early = end - steps * size - self._maps.end
        if early > 0:
            yield from self._infer(self._maps.end + early, -(-early // size), past[:0])
        told = yield from self._infer(end, steps, past)
        self._window.put(self._tick, told.steps[0])
        return told

    def _infer(self, end: int, steps: int, past: NDArray[np.float32]) -> Computation[Inference]:
        """One call of the engine, up to the frame `end`."""
        info = self.engine.info
        # At least one frame: what was encoded at this very moment is encoded again.
        start = min(self._maps.end, end - 1)
        held = info.map_context + steps * info.frames_per_step - (end - start)
        told: Inference = yield EngineRequest(
            self._frames.view(start, end)[None],
            self._maps.before(start, held)[None],
            past[None],
        )
        self._maps.append(told.maps[0, self._maps.end - start :])
        self._frames.release(end - 1)
        return told

    def _encoding_step(self) -> Computation[None]:
        """Keeps the embedding of the step that ends now, for windows to come."""
        if self._steps_heard() and not self._piece_over():
            yield from self._encoding(1, self._window.nothing)

    def _estimating(self) -> Computation[Estimate]:
        steps = self._steps_heard()
        told = None
        # In the first seconds of a silence nothing is told, but the piece may go on after it.
        if steps and not self._piece_over():
            past, new = self._window.past(self._tick, steps)
            told = yield from self._encoding(new, past)
        if self._silent():
            return self._make(State.SILENCE)
        if told is None:
            return self._make(State.SETTLING)
        self._held, whole = self._readout.read(told.probabilities, steps)
        if self.fast_lag_order is not None:
            fast_steps = min(steps, self.fast_lag_order)
            self._held_fast, _ = self._readout.read(told.fast, fast_steps)
        return self._make(
            State.TRACKING if steps == self.lag_order else State.SETTLING,
            whole,
        )

    def _make(self, state: State, whole: tuple[float, float] | None = None) -> Estimate:
        (valence, *_), (arousal, *_) = self._held
        now = self.clock.monotonic()
        compute_ms = (now - self._mark) * 1e3
        self._mark = now
        estimate = Estimate(
            seq=self._seq,
            t=self.t,
            utc=iso_utc(self.clock.utc()),
            **_named(self._held),
            mood=mood_word(valence, arousal),
            state=state,
            level_db=max(_decibel(float(self._levels.mean())), MIN_LEVEL_DB),
            latency=Latency(self.window_s, 0.0, compute_ms, 0.0),
            whole=whole,
            fast=self._fast(),
        )
        self._seq += 1
        self._estimates += state is not State.STALLED
        return estimate

    def _fast(self) -> FastValues | None:
        if self.fast_lag_order is None:
            return None
        window_s = self.fast_lag_order * self.engine.info.step_s
        return FastValues(window_s=window_s, **_named(self._held_fast))


def _named(held: Held) -> dict[str, float]:
    """Values and interval ends by the names that an estimate has for them."""
    (valence, valence_low, valence_high), (arousal, arousal_low, arousal_high) = held
    return {
        "valence": valence,
        "arousal": arousal,
        "valence_low": valence_low,
        "valence_high": valence_high,
        "arousal_low": arousal_low,
        "arousal_high": arousal_high,
    }


def _decibel(power: float) -> float:
    """Mean square relative to full scale, in dB; digital silence is -inf."""
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf
