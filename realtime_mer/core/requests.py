"""What a stream must have computed, apart from who computes it.

A pipeline is a generator that yields an ask wherever numbers are to be crunched and goes on with
the answer. One that runs alone is driven by `drive`; many run in step in `batching`, which computes
asks of the same shape at once.
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
class FeaturesAsk:
    """The frames of an excerpt, as `features_of` computes them: float32 [n, width]."""

    config: FrontEndConfig
    excerpt: Excerpt


@dataclass(frozen=True, slots=True)
class EngineAsk:
    """One update of a window: the arguments of `Engine.infer` for a batch of one.

    The answer is an `Inference` for a batch of one.
    """

    frames: NDArray[np.float32]
    held: NDArray[np.float32]
    past: NDArray[np.float32]


Ask = FeaturesAsk | EngineAsk
# What is sent back is what the ask says: frames or an Inference.
Asking = Generator[Ask, Any, T]


def answer(engine: Engine, ask: Ask) -> Any:
    """Computes a single ask."""
    if isinstance(ask, FeaturesAsk):
        return features_of(ask.config, (ask.excerpt,))[0]
    return engine.infer(ask.frames, ask.held, ask.past)


def drive(engine: Engine, asking: Asking[T]) -> T:
    """Runs one stream's generator to its end and returns what it returns."""
    try:
        ask = next(asking)
        while True:
            ask = asking.send(answer(engine, ask))
    except StopIteration as end:
        result: T = end.value
        return result
