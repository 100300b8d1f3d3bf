"""The engine's input of an update of real music: what it contains decides what is classified."""

from __future__ import annotations

import numpy as np
from mer_engine import Engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.engine import Inference
from mer_engine.model_file import ModelInfo
from numpy.typing import NDArray

from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline

HOP_S = 1.0


class _KeepsInput:
    """Passes calls on to an engine and keeps the arguments of the newest."""

    def __init__(self, engine: Engine) -> None:
        self.info: ModelInfo = engine.info
        self.backend = engine.backend
        self.newest: BenchmarkInput | None = None
        self._engine = engine

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        self.newest = BenchmarkInput(frames.copy(), cached_maps.copy(), past.copy())
        return self._engine.infer(frames, cached_maps, past)


def live_input(engine: Engine, lag_order: int | None = None) -> BenchmarkInput:
    """Return the input of an update of the demo: a new second after a full window, batch of one.

    Args:
        engine: computes the updates before.
        lag_order: length of the window in steps; None: the model's default.
    """
    lag_order = lag_order or engine.info.lag_order_default
    keeps = _KeepsInput(engine)
    rate_hz = engine.info.frontend.sample_rate_hz
    pipeline = Pipeline(
        keeps, sample_rate_hz=rate_hz, config=PipelineConfig(hop_s=HOP_S, lag_order=lag_order)
    )
    pipeline.feed(demo_audio(lag_order * engine.info.step_s + 2 * HOP_S, rate_hz))
    assert keeps.newest is not None
    return keeps.newest
