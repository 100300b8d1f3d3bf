"""The core: audio in, estimates out. No thread, no socket, no waiting.

Live equals offline: the same samples give the same estimates, however they are cut into blocks.
"""

from __future__ import annotations

import math

import numpy as np
from mer_engine import Engine, FrontEnd, Inference
from mer_engine.model_file import Values
from numpy.typing import NDArray

from realtime_mer.clock import Clock, SystemClock, iso_utc
from realtime_mer.config import MAX_HOP_S, PipelineConfig
from realtime_mer.errors import UserError
from realtime_mer.maps import HeldMaps
from realtime_mer.mood import mood_word
from realtime_mer.resample import StreamResampler
from realtime_mer.ring import FrameRing
from realtime_mer.types import Estimate, FastValues, Latency, State
from realtime_mer.window import TICKS_PER_STEP, LagWindow

TICKS_PER_SECOND = 10
# A pause this long counts as silence; after the longer one the music that follows is a new piece,
# and the window settles again.
SILENCE_TICKS = 10
NEW_PIECE_TICKS = 30
# Lost input up to this length is filled with silence; after more the window settles again.
FILL_LOSS_S = 0.5
MIN_LEVEL_DB = -120.0

# Value and interval ends of valence and of arousal.
Held = tuple[tuple[float, float, float], ...]


class Pipeline:
    """Resample, front-end, ring of frames, lag window, engine, estimate: one stream.

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
        # Steps of a later window end this many ticks apart, so each such tick needs its embedding.
        self._comb_ticks = math.gcd(self._hop_ticks, TICKS_PER_STEP)
        frontend = info.frontend
        self._samples_per_tick = frontend.sample_rate_hz // TICKS_PER_SECOND
        self._resampler = StreamResampler(sample_rate_hz, channels, frontend.sample_rate_hz)
        self._frontend = FrontEnd(frontend)
        # A window whose updates were left out, what is heard before it, and a hop.
        frames = lag_order * info.frames_per_step + 3 * info.map_context
        self._ring = FrameRing(frames + frontend.frames_per_second, frontend.width)
        # Where all windows end on one comb, only what has just come is ever encoded.
        again_s = MAX_HOP_S if self._comb_ticks == TICKS_PER_STEP else lag_order * info.step_s
        self._maps = HeldMaps(info, round(again_s / info.step_s))
        self._window = LagWindow(lag_order, info.embedding_size)
        self._tick_signal = np.zeros(self._samples_per_tick, dtype=np.float32)
        self._levels = np.zeros(self._hop_ticks)
        self.skipped_updates = 0
        self.reset()

    def reset(self) -> None:
        """Starts a new stream: time and sequence numbers begin again."""
        self._resampler.reset()
        self._frontend.reset()
        self._ring.reset()
        self._maps.begin(0)
        self._window.clear()
        self._levels[:] = 0.0
        self._fed = 0  # sample frames of input, lost ones included
        self._tick = 0
        self._tick_samples = 0
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
        return self._ring.overwritten

    @property
    def window_s(self) -> float:
        """Length of the lag window in seconds."""
        return self.lag_order * self.engine.info.step_s

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
        self._mark = self.clock.monotonic()
        mono = self._resampler.mono(block)
        self._fed += len(mono)
        return self._advance(
            self._resampler.push(mono, urgent=self._awaited()), only_latest=only_latest
        )

    def finish(self) -> list[Estimate]:
        """Ends the stream: what is still inside comes out.

        A stream too short for its first hop still gives one estimate where half a second was heard.
        """
        self._mark = self.clock.monotonic()
        rest = self._resampler.push(np.empty(0, dtype=np.float32), last=True)
        estimates = self._advance(rest)
        if self._estimates == 0 and self._tick >= TICKS_PER_STEP:
            estimates.append(self._estimate())
        self._resampler.reset()
        return estimates

    def skip(self, samples: int, *, only_latest: bool = False) -> list[Estimate]:
        """Accounts for input that was lost: time goes on.

        A short loss is filled with silence; after more than half a second the window settles again.

        Args:
            samples: lost sample frames at the input rate.
        """
        rate = self._resampler.input_rate_hz
        self._fed += samples
        if samples > rate * FILL_LOSS_S:
            # Whole steps, because those are whole numbers of frames too.
            steps = samples * TICKS_PER_SECOND // (rate * TICKS_PER_STEP)
            ticks = steps * TICKS_PER_STEP
            samples -= ticks * rate // TICKS_PER_SECOND
            self._frontend.forget()
            self._ring.jump(steps * self.engine.info.frames_per_step)
            self._window.clear()
            self._tick += ticks
            self._heard_from = None
        silence = np.zeros(samples, dtype=np.float32)
        self._mark = self.clock.monotonic()
        return self._advance(self._resampler.push(silence), only_latest=only_latest)

    def hold(self, state: State) -> Estimate:
        """An estimate that repeats the held values, for moments without any audio."""
        self._mark = self.clock.monotonic()
        return self._make(state)

    def _advance(self, signal: NDArray[np.float32], *, only_latest: bool = False) -> list[Estimate]:
        """Runs resampled samples through the rest, a tick at a time."""
        due_after = self._due(len(signal)) if only_latest else 0
        estimates: list[Estimate] = []
        start = 0
        while start < len(signal):
            end = min(start + self._samples_per_tick - self._tick_samples, len(signal))
            filled = self._tick_samples + end - start
            self._tick_signal[self._tick_samples : filled] = signal[start:end]
            start, self._tick_samples = end, filled
            if filled < self._samples_per_tick:
                break
            self._finish_tick()
            if self._tick % self._hop_ticks == 0:
                if self._tick < due_after:
                    self.skipped_updates += 1
                    continue
                estimates.append(self._estimate())
                self._ring.release(self._ring.written)
            elif self._comb_ticks < TICKS_PER_STEP and self._tick % self._comb_ticks == 0:
                self._encode_step()
        return estimates

    def _awaited(self) -> bool:
        """Whether the input has passed the moment of the next estimate, which now waits for it."""
        next_tick = (self._tick // self._hop_ticks + 1) * self._hop_ticks
        return self._fed * TICKS_PER_SECOND >= next_tick * self._resampler.input_rate_hz

    def _due(self, samples: int) -> int:
        """The tick of the last estimate that falls due within so many resampled samples."""
        ticks = (self._tick_samples + samples) // self._samples_per_tick
        return (self._tick + ticks) // self._hop_ticks * self._hop_ticks

    def _finish_tick(self) -> None:
        self._tick_samples = 0
        first_frame = self._ring.written
        # Nothing is due within a tick, so small blocks do not cost a front-end call each.
        self._ring.append(self._frontend.push(self._tick_signal))
        power = float(np.dot(self._tick_signal, self._tick_signal)) / self._samples_per_tick
        self._levels[self._tick % self._hop_ticks] = power
        self._tick += 1
        if _decibel(power) < self.config.silence_db:
            self._quiet_ticks += 1
            return
        if self._heard_from is None or self._quiet_ticks >= NEW_PIECE_TICKS:
            self._heard_from = self._tick - 1
            self._maps.begin(first_frame)
        self._quiet_ticks = 0

    def _steps_heard(self) -> int:
        """Whole steps of the present piece, at most the lag order."""
        if self._heard_from is None:
            return 0
        return min((self._tick - self._heard_from) // TICKS_PER_STEP, self.lag_order)

    def _silent(self) -> bool:
        return self._heard_from is None or self._quiet_ticks >= SILENCE_TICKS

    def _piece_over(self) -> bool:
        return self._heard_from is None or self._quiet_ticks >= NEW_PIECE_TICKS

    def _infer(self, steps: int, past: NDArray[np.float32]) -> Inference:
        """Runs the engine over the newest frames, the last of which end the newest steps.

        Args:
            steps: new steps (k).
            past: float32 [P, E].
        """
        # The newest frame that is complete: a step is a whole number of frames, a tick need not be.
        end = self._ring.written
        size = self.engine.info.frames_per_step
        oldest = max(0, end - self._ring.capacity)
        if self._maps.end < oldest:  # updates were left out for longer than a window
            self._maps.begin(oldest)
        # Where a piece begins between two steps, what comes before the first goes in by itself.
        early = end - steps * size - self._maps.end
        if early > 0:
            self._hear(self._maps.end + early, -(-early // size), past[:0])
        told = self._hear(end, steps, past)
        self._window.put(self._tick, told.steps[0])
        return told

    def _hear(self, end: int, steps: int, past: NDArray[np.float32]) -> Inference:
        """One call of the engine, up to the frame `end`."""
        info = self.engine.info
        # At least one frame: what was encoded at this very moment is encoded again.
        start = min(self._maps.end, end - 1)
        held = info.map_context + steps * info.frames_per_step - (end - start)
        told = self.engine.infer(
            self._ring.view(start, end)[None], self._maps.before(start, held)[None], past[None]
        )
        self._maps.append(told.maps[0, self._maps.end - start :])
        return told

    def _encode_step(self) -> None:
        """Keeps the embedding of the step that ends now, for windows to come."""
        if self._steps_heard() and not self._piece_over():
            self._infer(1, self._window.nothing)

    def _estimate(self) -> Estimate:
        steps = self._steps_heard()
        told = None
        # In the first seconds of a silence nothing is told, but the piece may go on after it.
        if steps and not self._piece_over():
            past, new = self._window.past(self._tick, steps)
            told = self._infer(new, past)
        if self._silent():
            return self._make(State.SILENCE)
        if told is None:
            return self._make(State.SETTLING)
        info = self.engine.info
        self._held = _held(info.values(told.probabilities, steps))
        if self.fast_lag_order is not None:
            self._held_fast = _held(info.values(told.fast, min(steps, self.fast_lag_order)))
        whole = info.whole(told.probabilities, steps)
        return self._make(
            State.TRACKING if steps == self.lag_order else State.SETTLING,
            None if whole is None else (float(whole[0, 0]), float(whole[0, 1])),
        )

    def _make(self, state: State, whole: tuple[float, float] | None = None) -> Estimate:
        (valence, valence_low, valence_high), (arousal, arousal_low, arousal_high) = self._held
        now = self.clock.monotonic()
        compute_ms = (now - self._mark) * 1e3
        self._mark = now
        estimate = Estimate(
            seq=self._seq,
            t=self.t,
            utc=iso_utc(self.clock.utc()),
            valence=valence,
            arousal=arousal,
            valence_low=valence_low,
            valence_high=valence_high,
            arousal_low=arousal_low,
            arousal_high=arousal_high,
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
        (valence, valence_low, valence_high), (arousal, arousal_low, arousal_high) = self._held_fast
        return FastValues(
            window_s=self.fast_lag_order * self.engine.info.step_s,
            valence=valence,
            arousal=arousal,
            valence_low=valence_low,
            valence_high=valence_high,
            arousal_low=arousal_low,
            arousal_high=arousal_high,
        )


def _held(values: Values) -> Held:
    """The values of a batch of one."""
    return tuple(
        (float(values.mean[0, d]), float(values.low[0, d]), float(values.high[0, d]))
        for d in range(2)
    )


def _decibel(power: float) -> float:
    """Mean square relative to full scale, in dB; digital silence is -inf."""
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf
