"""What a stream must have computed, apart from who computes it.

A pipeline is a generator that yields a request wherever numbers are to be computed and goes on
with the result. One that runs alone is driven by `run`; many run in step in `batching`, which
computes requests of the same shape at once.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from mer_engine import Engine
from mer_engine.frontend import Excerpt, FrontEndConfig, features_of
from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FeaturesRequest:
    """The frames of an excerpt, as `features_of` computes them: float32 [n, width]."""

    config: FrontEndConfig
    excerpt: Excerpt


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One update of a window: the arguments of `Engine.infer` for a batch of one.

    The answer is an `Inference` for a batch of one.
    """

    frames: NDArray[np.float32]
    cached_maps: NDArray[np.float32]
    past: NDArray[np.float32]


ComputeRequest = FeaturesRequest | EngineRequest
# What is sent back is what the request says: frames or an Inference.
Computation = Generator[ComputeRequest, Any, T]


def compute(engine: Engine, request: ComputeRequest) -> Any:
    """Computes a single request."""
    if isinstance(request, FeaturesRequest):
        return features_of(request.config, (request.excerpt,))[0]
    return engine.infer(request.frames, request.cached_maps, request.past)


def run(engine: Engine, computation: Computation[T]) -> T:
    """Runs one stream's generator to its end and returns what it returns."""
    try:
        request = next(computation)
        while True:
            request = computation.send(compute(engine, request))
    except StopIteration as end:
        result: T = end.value
        return result
