"""Requests for computation, separate from whatever computes them.

A pipeline is a generator: it yields a request wherever it needs features or an inference, and
continues with the result. A computation that fails twice raises `EngineError` inside the
generator, which may go on without the result. `run` computes the requests of a single generator.
`batching` computes the requests of many generators in common calls.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from mer_engine import Engine
from mer_engine.engine import finite_inference
from mer_engine.frontend import Excerpt, FrontEndConfig, features_of
from numpy.typing import NDArray

from realtime_mer.errors import EngineError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FeaturesRequest:
    """Request for the feature frames of an excerpt.

    The result is float32 [frames, width], as from `features_of`.
    """

    config: FrontEndConfig
    excerpt: Excerpt


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Request for one call of `Engine.infer` with a batch of one.

    The result is an `Inference` with a batch of one.

    Attributes:
        frames: float32 [1, n, width], the newest frames.
        cached_maps: float32 [1, m, M], feature maps of the frames before.
        past: float32 [1, P, E], embeddings of the steps before.
    """

    frames: NDArray[np.float32]
    cached_maps: NDArray[np.float32]
    past: NDArray[np.float32]


ComputeRequest = FeaturesRequest | EngineRequest
# The type of the value sent depends on the request: frames or an Inference.
Computation = Generator[ComputeRequest, Any, T]


def compute(engine: Engine, request: ComputeRequest) -> Any:
    """Compute a single request and return its result. A call that fails is repeated once.

    Raises:
        EngineError: the second call failed too.
    """
    try:
        return _compute(engine, request)
    except Exception:  # of any type: libraries and drivers share no base class
        try:
            return _compute(engine, request)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0][:160]
            cause = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
            raise EngineError(f"the backend {engine.backend} failed ({cause})") from error


def _compute(engine: Engine, request: ComputeRequest) -> Any:
    if isinstance(request, FeaturesRequest):
        return features_of(request.config, (request.excerpt,))[0]
    return finite_inference(engine, request.frames, request.cached_maps, request.past)


def run(engine: Engine, computation: Computation[T]) -> T:
    """Run one generator to its end, computing its requests, and return its result."""
    try:
        request = next(computation)
        while True:
            try:
                result = compute(engine, request)
            except EngineError as error:
                request = computation.throw(error)
            else:
                request = computation.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
