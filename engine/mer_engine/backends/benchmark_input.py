"""The input of the update that a running stream needs each second, for timing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import silent_maps
from mer_engine.model_file import ModelInfo

HOP_S = 1.0


class BenchmarkInput(NamedTuple):
    """Arguments of `Engine.infer` for a hop of one second on a full window.

    Attributes:
        frames: float32 [B, n, width].
        cached_maps: float32 [B, R + k * S - n, M].
        past: float32 [B, P, E].
    """

    frames: NDArray[np.float32]
    cached_maps: NDArray[np.float32]
    past: NDArray[np.float32]

    @classmethod
    def of(cls, info: ModelInfo, batch: int = 1) -> BenchmarkInput:
        """Return the input of a batch.

        The values are random. They do not affect the time of the whole graph; an engine that runs
        in parts classifies more of them than of music, and takes about as long as the whole.
        """
        steps = round(HOP_S / info.step_s)
        rng = np.random.default_rng(0)
        shape = (batch, steps * info.frames_per_step, info.frontend.width)
        past = (batch, info.lag_order_default - steps, info.embedding_size)
        return cls(
            rng.uniform(0, 3, shape).astype(np.float32),
            silent_maps(info, batch),
            rng.standard_normal(past).astype(np.float32),
        )

    def by_name(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays by the names of the model file's inputs."""
        return {"frames": self.frames, "held": self.cached_maps, "past": self.past}
