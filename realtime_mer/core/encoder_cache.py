"""Incremental encoding: each update encodes the new frames and reuses everything before them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from mer_engine import Inference, ModelInfo
from numpy.typing import NDArray

from realtime_mer.core.feature_map_cache import FeatureMapCache
from realtime_mer.core.frame_buffer import FrameBuffer
from realtime_mer.core.lag_window import LagWindow
from realtime_mer.core.novelty import Novelty
from realtime_mer.core.requests import Computation, EngineRequest
from realtime_mer.core.ticks import TICKS_PER_SECOND, TICKS_PER_STEP
from realtime_mer.errors import EngineError


class WindowEncoder(Protocol):
    """What makes the windows of estimates, as they come or ahead."""

    failure: EngineError | None
    novelty: float | None

    def start_piece(self, tick: int) -> None:
        """Start a piece at `tick`; its context is silence."""
        ...

    def encode_window(self, tick: int, steps: int) -> Computation[Inference | None]:
        """Infer the window of `steps` steps that ends at `tick`; None if the engine failed."""
        ...


class EncoderCache:
    """New frames, feature maps and step embeddings of one stream.

    Args:
        info: description of the model.
        lag_order: maximum number of steps of a window.
        spacing_ticks: ticks between the ends of the steps of all windows, 1 or a step.

    Attributes:
        failure: why the newest call of the engine failed; None if it worked.
        novelty: of the newest window, see `Novelty`; None if it is too short or the engine failed.
    """

    def __init__(self, info: ModelInfo, lag_order: int, spacing_ticks: int) -> None:
        self._info = info
        frontend = info.frontend
        # A window whose updates were skipped, the context of its first frame, and a hop.
        capacity = lag_order * info.frames_per_step + 3 * info.map_context
        self._frames = FrameBuffer(capacity + frontend.frames_per_second, frontend.width)
        # Without interleaved windows no frame is encoded twice.
        repeated_steps = 0 if spacing_ticks == TICKS_PER_STEP else lag_order
        self._maps = FeatureMapCache(info, repeated_steps)
        self._window = LagWindow(lag_order, info.embedding_size, spacing_ticks)
        self._novelty = Novelty(info)
        self.novelty: float | None = None
        self.failure: EngineError | None = None

    def reset(self) -> None:
        """Start a new stream."""
        self.failure = None
        self.novelty = None
        self._frames.reset()
        self._maps.restart(0)
        self._window.clear()

    @property
    def overwritten_frames(self) -> int:
        """Number of frames that were overwritten before they were encoded."""
        return self._frames.overwritten

    def append(self, frames: NDArray[np.float32]) -> None:
        """Append new frames, float32 [n, width]."""
        self._frames.append(frames)

    def discard_frames(self) -> None:
        """Discard the frames that are not encoded yet."""
        self._frames.release(self._frames.end)

    def start_piece(self, tick: int) -> None:
        """Start a piece at `tick`; its context is silence."""
        # A tick is not always a whole number of frames.
        self._maps.restart(tick * self._info.frontend.frames_per_second // TICKS_PER_SECOND)

    def skip(self, steps: int) -> None:
        """Advance by `steps` lost steps and discard all embeddings."""
        self._frames.skip(steps * self._info.frames_per_step)
        self._window.clear()

    def encode_window(self, tick: int, steps: int) -> Computation[Inference | None]:
        """Infer the window of `steps` steps that ends at `tick`, the end of the newest frame.

        None if the engine failed. Nothing of it is kept: the next window encodes the same frames
        again.
        """
        past, new_steps = self._window.past(tick, steps)
        inference = yield from self._encode(tick, new_steps, past)
        self.novelty = None
        if inference is not None:
            self.novelty = self._novelty.of(np.concatenate((past, inference.steps[0])))
        return inference

    def encode_step(self, tick: int) -> Computation[None]:
        """Store the embedding of the step that ends at `tick`, for later windows."""
        yield from self._encode(tick, 1, self._window.empty)

    def _encode(
        self, tick: int, steps: int, past: NDArray[np.float32]
    ) -> Computation[Inference | None]:
        """Encode the newest `steps` steps and store their embeddings.

        Args:
            past: float32 [P, E], the embeddings of the steps before.
        """
        end = self._frames.end
        size = self._info.frames_per_step
        if self._maps.end < self._frames.start:  # updates were skipped for more than a window
            self._maps.restart(self._frames.start)
        # Where a piece starts within a step, encode the frames before its first whole step alone.
        early = end - steps * size - self._maps.end
        if early > 0:
            first = yield from self._infer(self._maps.end + early, -(-early // size), past[:0])
            if first is None:
                return None
        inference = yield from self._infer(end, steps, past)
        if inference is not None:
            self._window.put(tick, inference.steps[0])
        return inference

    def _infer(
        self, end: int, steps: int, past: NDArray[np.float32]
    ) -> Computation[Inference | None]:
        """Call the engine for the frames up to `end` and cache their maps; None: see above."""
        # At least one frame: where all have maps already, the newest is encoded again.
        start = min(self._maps.end, end - 1)
        context = self._info.map_context + steps * self._info.frames_per_step - (end - start)
        try:
            inference: Inference = yield EngineRequest(
                self._frames.view(start, end)[None],
                self._maps.before(start, context)[None],
                past[None],
            )
        except EngineError as error:
            self.failure = error
            return None
        self.failure = None
        self._maps.append(inference.maps[0, self._maps.end - start :])
        self._frames.release(end - 1)
        return inference
