"""Encoding of audio that is known ahead: many steps and many windows in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np
from mer_engine import Inference, ModelInfo
from mer_engine.engine import EngineParts, silent_maps
from mer_engine.sparse_sounds import SOUND_STEPS, estimate_logits, undecided
from numpy.typing import NDArray

from realtime_mer.core.novelty import Novelty
from realtime_mer.core.requests import Computation
from realtime_mer.core.ticks import TICKS_PER_SECOND, TICKS_PER_STEP
from realtime_mer.errors import EngineError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Span:
    """The part of a piece of music within some seconds of audio.

    Attributes:
        start: tick at which the piece starts.
        end: its last tick in these seconds.
        new: whether the piece starts in these seconds.
        windows: tick and length in steps of each window to infer, in order.
    """

    start: int
    end: int
    new: bool
    windows: list[tuple[int, int]] = field(default_factory=list)


class AheadEncoder:
    """Encodes some seconds of audio at once; takes the place of `EncoderCache`.

    `encode` infers the windows; `encode_window` then returns them.

    Args:
        parts: the network in parts.
        lag_order: maximum number of steps of a window.
        spacing_ticks: ticks between the ends of the steps of all windows, 1 or a step.

    Attributes:
        failure: why the newest call of the engine failed; None if it worked.
        novelty: of the newest window, see `Novelty`; None if it is too short.
    """

    def __init__(self, parts: EngineParts, lag_order: int, spacing_ticks: int) -> None:
        self._parts = parts
        self._info: ModelInfo = parts.info
        self._lag_order = lag_order
        self._spacing = spacing_ticks
        self._novelty_of = Novelty(self._info).of
        self._sounds = len(self._info.sounds)
        self.failure: EngineError | None = None
        self.novelty: float | None = None
        self._end = 0  # last tick that was encoded
        self._start_maps(0)
        self._inferences: dict[int, tuple[Inference, float | None]] = {}

    def start_piece(self, tick: int) -> None:
        """Do nothing: `encode` knows the pieces."""

    def encode_window(self, tick: int, steps: int) -> Computation[Inference | None]:
        """Return the window that ends at `tick`; None where `encode` was not asked for it."""
        inference, self.novelty = self._inferences.pop(tick, (None, None))
        return inference
        yield  # a generator, like that of `EncoderCache`

    def encode(self, frames: NDArray[np.float32], first: int, spans: Sequence[Span]) -> None:
        """Encode the pieces in some seconds of audio and infer their windows.

        Args:
            frames: float32 [n, width], the next frames of the stream.
            first: number of the first of them.
            spans: the pieces in them, in order.

        Raises:
            EngineError: a call failed twice.
        """
        for span in spans:
            if span.new:
                self._start_maps(self._frame(span.start))
                self._end = span.start
            self._filter(frames[self._maps_end - first : self._frame(span.end) - first])
            ticks = self._missing(span)
            for phase in sorted({tick % TICKS_PER_STEP for tick in ticks}):
                self._describe([tick for tick in ticks if tick % TICKS_PER_STEP == phase])
            if self._sounds:
                for tick, steps in span.windows:
                    self._decide(tick, steps)
            self._infer(span.windows)
            self._end = span.end
            self._forget()

    def _missing(self, span: Span) -> list[int]:
        """Return the ticks at which steps end that windows need, now or later, in order."""
        first = max(self._end + 1, span.start + TICKS_PER_STEP)
        ticks = {tick for tick in range(first, span.end + 1) if tick % self._spacing == 0}
        # The only window of a short file may end at any tick.
        for tick, steps in span.windows:
            ticks.update(tick - TICKS_PER_STEP * k for k in range(steps))
        return sorted(tick for tick in ticks if tick >= first)

    def _frame(self, tick: int) -> int:
        """Return the number of frames up to a tick; a tick is not always a whole number."""
        return tick * self._info.frontend.frames_per_second // TICKS_PER_SECOND

    def _start_maps(self, frame: int) -> None:
        """Start a piece: its context is silence."""
        self._maps = silent_maps(self._info)[0]
        self._maps_end = frame
        self._steps: dict[int, NDArray[np.float32]] = {}  # embeddings by the step's last tick
        self._classified: set[int] = set()  # ticks of the steps whose logits are not interpolated

    def _filter(self, frames: NDArray[np.float32]) -> None:
        """Append the maps of the next frames."""
        context = self._info.map_context
        maps = [self._maps]
        stretch = self._parts.sizes.frames
        for start in range(0, len(frames), stretch):
            held = maps[-1][-context:]
            if len(held) < context:
                held = np.concatenate(maps)[-context:]
            maps.append(self._call(self._parts.maps, frames[start : start + stretch], held))
        self._maps = np.concatenate(maps)
        self._maps_end += len(frames)

    def _maps_of(self, first_tick: int, last_tick: int) -> NDArray[np.float32]:
        """Return the maps of the steps that end at these ticks, and of the frames before."""
        size, context = self._info.frames_per_step, self._info.map_context
        base = self._maps_end - len(self._maps)
        start = self._frame(first_tick) - size - context
        maps: NDArray[np.float32] = self._maps[start - base : self._frame(last_tick) - base]
        return maps

    def _describe(self, ticks: list[int]) -> None:
        """Compute the embeddings of consecutive steps."""
        rows = self._call(self._parts.describe, self._maps_of(ticks[0], ticks[-1]))
        if self._sounds:
            rows = np.hstack((rows, np.zeros((len(rows), self._sounds), dtype=np.float32)))
        self._steps.update(zip(ticks, rows, strict=True))
        if self._sounds:
            self._estimate_sounds(ticks)

    def _estimate_sounds(self, ticks: list[int]) -> None:
        """Set the logits of consecutive steps, of clear music by interpolation."""
        before = ticks[0] - TICKS_PER_STEP
        known = [self._logits(before)] if before in self._steps else []

        def classify(wanted: NDArray[np.bool_]) -> NDArray[np.float32]:
            chosen = [tick for tick, one in zip(ticks, wanted[0], strict=True) if one]
            self._classify(chosen)
            return np.stack([self._logits(tick) for tick in chosen])

        earlier = np.asarray(known, dtype=np.float32).reshape(1, -1, self._sounds)
        logits, _ = estimate_logits(earlier, len(ticks), classify)
        for tick, row in zip(ticks, logits[0], strict=True):
            self._logits(tick)[:] = row

    def _decide(self, tick: int, steps: int) -> None:
        """Classify all steps of a window that is not decided."""
        newest = [tick - TICKS_PER_STEP * k for k in range(min(steps, SOUND_STEPS))]
        if undecided(np.stack([self._logits(step) for step in newest])[None]).any():
            self._classify(step for step in newest if step not in self._classified)

    def _logits(self, tick: int) -> NDArray[np.float32]:
        return self._steps[tick][-self._sounds :]

    def _classify(self, ticks: Iterable[int]) -> None:
        """Compute the logits of steps."""
        ticks = list(ticks)
        size = self._parts.sizes.steps
        for start in range(0, len(ticks), size):
            batch = ticks[start : start + size]
            maps = np.stack([self._maps_of(tick, tick) for tick in batch])
            for tick, logits in zip(batch, self._call(self._parts.sound_logits, maps), strict=True):
                self._logits(tick)[:] = logits
        self._classified.update(ticks)

    def _infer(self, windows: Sequence[tuple[int, int]]) -> None:
        """Infer windows, those of the same length in common calls."""
        size = self._parts.sizes.windows
        by_length: dict[int, list[int]] = {}
        for tick, steps in windows:
            by_length.setdefault(steps, []).append(tick)
        for steps, ticks in by_length.items():
            for start in range(0, len(ticks), size):
                batch = ticks[start : start + size]
                stacked = np.stack(
                    [
                        [self._steps[tick - TICKS_PER_STEP * k] for k in range(steps - 1, -1, -1)]
                        for tick in batch
                    ]
                )
                probabilities, fast, sound = self._call(self._parts.head, stacked)
                for index, tick in enumerate(batch):
                    one = slice(index, index + 1)
                    inference = Inference(
                        probabilities[one],
                        stacked[one, -1:],
                        fast[one],
                        self._maps[None, :0],
                        None if sound is None else sound[one],
                    )
                    self._inferences[tick] = inference, self._novelty_of(stacked[index])

    def _forget(self) -> None:
        """Keep what the next seconds need: steps of the next windows, and maps to classify them."""
        size = self._info.frames_per_step
        self._maps = self._maps[-(self._info.map_context + (SOUND_STEPS + 1) * size) :].copy()
        oldest = self._end - self._lag_order * TICKS_PER_STEP
        # Copied, so that no row keeps the array of all in memory.
        self._steps = {tick: row.copy() for tick, row in self._steps.items() if tick > oldest}
        self._classified = {tick for tick in self._classified if tick > oldest}

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the engine; a call that fails is repeated once."""
        try:
            return function(*args, **kwargs)
        except Exception:  # of any type: libraries and drivers share no base class
            try:
                return function(*args, **kwargs)
            except Exception as error:
                reason = (str(error).splitlines() or [""])[0][:160]
                cause = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
                raise EngineError(f"the engine failed ({cause})") from error
