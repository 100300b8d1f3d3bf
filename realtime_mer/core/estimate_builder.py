"""Estimates from the network's output, with the values, times and numbers of one stream."""

from __future__ import annotations

from dataclasses import dataclass

from mer_engine import Inference, ModelInfo

from realtime_mer.clock import Clock, iso_utc
from realtime_mer.core.decoder import Decoder, Intervals
from realtime_mer.core.mood import Mood
from realtime_mer.core.types import Estimate, FastValues, Latency, ScaledValues, State
from realtime_mer.core.value_range import ValueRange, clipped


@dataclass(slots=True)
class Arrival:
    """The arrival of a block of audio, for the latency of the estimates that it completes.

    Attributes:
        end_s: stream time of the end of the audio that arrived together.
        queue_s: seconds from the arrival to the start of processing; for later estimates of the
            same block, including the computation of the earlier ones.
    """

    end_s: float
    queue_s: float


class EstimateBuilder:
    """Builds the estimates of one stream and keeps their last values.

    Args:
        info: description of the model.
        lag_order: length of the lag window in steps.
        clock: for `utc` and the compute time.
        value_range: of moods and scaled values; None for the model's own values.

    Attributes:
        from_audio: number of estimates so far, stalled ones excluded.
    """

    def __init__(
        self,
        info: ModelInfo,
        lag_order: int,
        clock: Clock,
        value_range: ValueRange | None = None,
    ) -> None:
        self._clock = clock
        self._range = value_range
        self._mood = Mood()
        self._decoder = Decoder(info)
        self._window_s = lag_order * info.step_s
        self._step_s = info.step_s
        # A window that is not longer than the short one would give the same values twice.
        self._fast_lag_order = info.fast_lag_order if info.fast_lag_order < lag_order else None
        dimensions = (info.prior["valence"], info.prior["arousal"])
        self._prior: Intervals = tuple((p.mean, p.low, p.high) for p in dimensions)
        self.reset()

    def reset(self) -> None:
        """Start a new stream: sequence numbers from 0, values from the model's prior."""
        self._seq = 0
        self.from_audio = 0
        self._last_values = self._last_fast = self._prior
        self._t = 0.0
        self._mood.reset()
        if self._range is not None:
            self._range.reset()
        self._place()
        self._started_at = 0.0

    def start_piece(self) -> None:
        """Start a new piece: its first mood does not depend on those before."""
        self._mood.start_piece()

    def start_timer(self, *, earlier_s: float = 0.0) -> None:
        """Start measuring the compute time of the next estimate.

        Args:
            earlier_s: compute time that it took before.
        """
        self._started_at = self._clock.monotonic() - earlier_s

    def update(
        self, inference: Inference, steps: int, rise_db: float, *, t: float, state: State
    ) -> tuple[float, float] | None:
        """Replace the last values, and the mood, by those of a window of `steps` steps.

        A window that is not longer than the short one follows the music itself, without `rise_db`.

        Args:
            inference, steps: output of the engine for a window, and its length in steps.
            rise_db: see `Movement`.
            t, state: of the estimate that is built next.

        Returns:
            Valence and arousal of the whole piece; None if the model has no such output.
        """
        if self._fast_lag_order is None:
            rise_db = 0.0
        self._last_values, whole = self._decoder.decode(inference.probabilities, steps, rise_db)
        if self._fast_lag_order is not None:
            fast_steps = min(steps, self._fast_lag_order)
            self._last_fast, _ = self._decoder.decode(inference.fast, fast_steps)
        if self._range is not None and state is State.TRACKING:
            self._range.update(self._last_values, t - self._t)
        self._place()
        self._mood.update(t, self._main, None if self._fast_lag_order is None else self._fast)
        return whole

    def build(
        self,
        state: State,
        *,
        t: float,
        level_db: float,
        whole: tuple[float, float] | None = None,
        novelty: float | None = None,
        arrival: Arrival | None = None,
    ) -> Estimate:
        """Build the next estimate from the last values.

        Args:
            state: what the values are based on.
            t: stream time in seconds.
            level_db: RMS level of the last hop.
            whole: as returned by `update`.
            novelty: see `Novelty`.
            arrival: of the block that completes the estimate; without it `buffer_ms` and
                `queue_ms` are 0.
        """
        now = self._clock.monotonic()
        compute_s = now - self._started_at
        self._started_at = now
        buffer_s = queue_s = 0.0
        if arrival is not None:
            buffer_s, queue_s = max(0.0, arrival.end_s - t), arrival.queue_s
            arrival.queue_s += compute_s
        self._t = t
        estimate = Estimate(
            seq=self._seq,
            t=t,
            utc=iso_utc(self._clock.utc()),
            **_named(self._last_values),
            mood=self._mood.word,
            state=state,
            level_db=level_db,
            latency=Latency(self._window_s, buffer_s * 1e3, compute_s * 1e3, queue_s * 1e3),
            whole=whole,
            fast=self._fast_values(),
            scaled=self._scaled(self._main),
            novelty=novelty,
        )
        self._seq += 1
        self.from_audio += state is not State.STALLED
        return estimate

    def repeat(self, state: State, *, t: float, level_db: float) -> Estimate:
        """Build an estimate from the last values, aside from the one that is being computed."""
        started_at, last_t = self._started_at, self._t
        self.start_timer()
        estimate = self.build(state, t=t, level_db=level_db)
        self._started_at, self._t = started_at, last_t
        return estimate

    def _place(self) -> None:
        """Find the place of the last values in the range; without a range they are their own."""
        self._main, self._fast = self._last_values, self._last_fast
        if self._range is not None:
            self._main, self._fast = self._range.place(self._main), self._range.place(self._fast)

    def _fast_values(self) -> FastValues | None:
        if self._fast_lag_order is None:
            return None
        window_s = self._fast_lag_order * self._step_s
        scaled = self._scaled(self._fast)
        return FastValues(window_s=window_s, **_named(self._last_fast), scaled=scaled)

    def _scaled(self, placed: Intervals) -> ScaledValues | None:
        return None if self._range is None else ScaledValues(**_named(clipped(placed)))


def _named(intervals: Intervals) -> dict[str, float]:
    """Return values and interval bounds by the field names of an estimate."""
    (valence, valence_low, valence_high), (arousal, arousal_low, arousal_high) = intervals
    return {
        "valence": valence,
        "arousal": arousal,
        "valence_low": valence_low,
        "valence_high": valence_high,
        "arousal_low": arousal_low,
        "arousal_high": arousal_high,
    }
