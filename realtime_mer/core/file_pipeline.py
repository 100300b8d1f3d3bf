"""The pipeline of a whole file: the estimates of `Pipeline`, computed many hops at a time."""

from __future__ import annotations

import copy

import numpy as np
from mer_engine import Engine
from mer_engine.engine import EngineParts, parts_of
from numpy.typing import NDArray

from realtime_mer.core.ahead_encoder import AheadEncoder, Span
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.estimate_builder import Arrival
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation
from realtime_mer.core.ticks import TICKS_PER_STEP
from realtime_mer.core.types import Estimate
from realtime_mer.errors import EngineError

# Seconds of audio that are computed together: long enough that single calls cost little, and short
# enough that memory stays small.
CHUNK_S = 32.0


def file_pipeline(
    engine: Engine, *, sample_rate_hz: int, channels: int = 1, config: PipelineConfig | None = None
) -> Pipeline:
    """Return the fastest pipeline for a whole file; arguments and errors as for `Pipeline`.

    Its estimates are those of a live stream within 1e-5. They come some seconds of audio at a time.
    """
    parts = parts_of(engine)
    if parts is None:  # a backend that has only the whole network
        return Pipeline(engine, sample_rate_hz=sample_rate_hz, channels=channels, config=config)
    return FilePipeline(
        engine, parts, sample_rate_hz=sample_rate_hz, channels=channels, config=config
    )


class FilePipeline(Pipeline):
    """Pipeline that waits for some seconds of audio and computes them together.

    What the estimates say of silence and pieces does not depend on the network. So the pieces are
    found first, then encoded, and then the estimates are made in order. Files lose nothing and are
    never late: there is no `skip`, and `only_latest` and `arrival` have no effect.

    Args:
        engine: of the stream.
        parts: its network in parts.
        sample_rate_hz, channels, config: as for `Pipeline`.
    """

    def __init__(
        self,
        engine: Engine,
        parts: EngineParts,
        *,
        sample_rate_hz: int,
        channels: int = 1,
        config: PipelineConfig | None = None,
    ) -> None:
        self._parts = parts
        self._chunk = round(CHUNK_S * engine.info.frontend.sample_rate_hz)
        super().__init__(engine, sample_rate_hz=sample_rate_hz, channels=channels, config=config)

    def reset(self) -> None:
        """Start a new stream: time and sequence numbers start from 0."""
        super().reset()
        self._ahead = AheadEncoder(self._parts, self.lag_order, self._schedule.spacing_ticks)
        self._windows = self._ahead
        self._signal: list[NDArray[np.float32]] = []
        self._waiting = 0  # samples in `_signal`
        self._frames = 0  # of the stream so far

    def mono_requests(
        self,
        mono: NDArray[np.float32],
        *,
        only_latest: bool = False,
        arrival: Arrival | None = None,
    ) -> Computation[list[Estimate]]:
        """See `Pipeline.mono_requests`; most calls return no estimates."""
        self.input_samples += len(mono)
        self._wait(self._resampler.push(mono))
        if self._waiting < self._chunk:
            return []
        return (yield from self._advance())

    def skip_requests(
        self, samples: int, *, only_latest: bool = False, arrival: Arrival | None = None
    ) -> Computation[list[Estimate]]:
        """Refuse: a file loses nothing."""
        raise TypeError("a pipeline of a file takes all samples; a stream with losses has Pipeline")

    def finish_requests(self, *, arrival: Arrival | None = None) -> Computation[list[Estimate]]:
        """See `Pipeline.finish_requests`."""
        self._wait(self._resampler.push(np.empty(0, dtype=np.float32), last=True))
        estimates = yield from self._advance(last=True)
        self._resampler.reset()
        return estimates

    def _wait(self, signal: NDArray[np.float32]) -> None:
        self._signal.append(signal)
        self._waiting += len(signal)

    def _advance(self, *, last: bool = False) -> Computation[list[Estimate]]:
        """Compute all samples that wait."""
        started_s = self.clock.monotonic()
        signal = np.concatenate(self._signal)
        self._signal, self._waiting = [], 0
        powers = self._buffer.append(signal)
        due, spans = self._plan(powers, last=last)
        samples = self._buffer.take()
        if samples is not None:
            frames = self._frontend.push(samples)
            try:
                self._ahead.encode(frames, self._frames, spans)
            except EngineError as error:
                self._fail(error)
                return []
            self._frames += len(frames)
        # Every estimate took its share.
        share_s = (self.clock.monotonic() - started_s) / max(1, len(due))
        estimates: list[Estimate] = []
        for power in powers:
            self._add_tick(power)
            if self._tick in due:
                self._builder.start_timer(earlier_s=share_s)
                estimates.append((yield from self._estimate(None)))
        return estimates

    def _plan(self, powers: list[float], *, last: bool) -> tuple[set[int], list[Span]]:
        """Return the ticks at which estimates are due, and the pieces, without changing anything.

        Args:
            powers: of the ticks that are computed next.
            last: whether the stream ends with them.
        """
        silence = copy.deepcopy(self._silence)
        tick, end = self._tick, self._tick + len(powers)
        due = {t for t in range(tick + 1, end + 1) if self._schedule.is_estimate(t)}
        if last and not due and self._builder.from_audio == 0 and end >= TICKS_PER_STEP:
            due = {end}  # a stream that is shorter than its hop
        spans: list[Span] = []
        if not silence.between_pieces:
            spans.append(Span(tick - silence.piece_ticks(tick), tick, new=False))
        for power in powers:
            tick += 1
            if silence.add(power, tick):
                spans.append(Span(tick - 1, tick, new=True))
            if silence.between_pieces:
                continue
            spans[-1].end = tick
            steps = min(silence.piece_ticks(tick) // TICKS_PER_STEP, self.lag_order)
            if tick in due and steps and not silence.silent:
                spans[-1].windows.append((tick, steps))
        return due, spans
