"""Batched computation for many streams: requests of the same shape share one call.

One call of the network for eight windows costs less than eight calls for one. The results of a
stream do not depend on the other streams: batched and alone agree to 1e-5.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from mer_engine import Engine
from mer_engine.engine import finite_inference, largest_batch
from mer_engine.frontend import Excerpt, FrontEndConfig, features_of

from realtime_mer.core.requests import (
    Computation,
    ComputeRequest,
    EngineRequest,
    FeaturesRequest,
    compute,
)
from realtime_mer.errors import EngineError

T = TypeVar("T")

# A call takes a tenth of a megabyte per new frame. Windows with many new frames gain nothing from a
# large batch, and need not have one after a burst of audio. A card's calls may have as many as its
# largest batch has at a hop of a second.
MAX_CALL_FRAMES = 1024
FRAMES_PER_HOP = 64


@dataclass(slots=True, eq=False)
class _Member:
    """One stream's generator, and its pending request or its result."""

    computation: Computation[Any]
    request: ComputeRequest | None = None
    result: Any = None

    def advance(self, value: Any) -> None:
        """Send a result (None at the start) and store the next request or the final result."""
        try:
            self.request = self.computation.send(value)
        except StopIteration as end:
            self.request, self.result = None, end.value
        except Exception as error:
            self.request, self.result = None, error

    def fail(self, error: Exception) -> None:
        """Raise the error of a failed request inside the generator."""
        try:
            self.request = self.computation.throw(error)
        except StopIteration as end:
            self.request, self.result = None, end.value
        except Exception as raised:
            self.request, self.result = None, raised


def run_batch(
    engine: Engine, generators: Iterable[Computation[T]], max_batch: int | None = None
) -> list[T | Exception]:
    """Run generators of `Pipeline` or `LiveStream` to their ends with common calls.

    If a generator raises, its result is the exception. The others continue.

    Args:
        engine: the engine of all streams.
        generators: one per stream.
        max_batch: maximum number of windows per call; None for `largest_batch` of the engine.

    Returns:
        The returned value or the raised exception of each generator, in order.
    """
    members = [_Member(computation) for computation in generators]
    for member in members:
        member.advance(None)
    while pending := [member for member in members if member.request is not None]:
        _compute(engine, pending, max_batch or largest_batch(engine))
    return [member.result for member in members]


def _compute(engine: Engine, members: Sequence[_Member], max_batch: int) -> None:
    """Compute the features if any are requested; otherwise call the engine.

    Features come first, so that more streams share each call of the engine.
    """
    features = [member for member in members if isinstance(member.request, FeaturesRequest)]
    if features:
        _compute_features(engine, features)
    else:
        _compute_inferences(engine, members, max_batch)


def _compute_features(engine: Engine, members: Sequence[_Member]) -> None:
    """Call the front-end once for all excerpts of a configuration, whatever their lengths."""
    groups: dict[FrontEndConfig, tuple[list[_Member], list[Excerpt]]] = {}
    for member in members:
        request = member.request
        assert isinstance(request, FeaturesRequest)
        group = groups.setdefault(request.config, ([], []))
        group[0].append(member)
        group[1].append(request.excerpt)
    for config, (group_members, excerpts) in groups.items():
        try:
            results = features_of(config, excerpts)
        except Exception:
            # Compute each alone, so that only the faulty one fails.
            for member in group_members:
                _compute_alone(engine, member)
            continue
        for member, frames in zip(group_members, results, strict=True):
            member.advance(frames)


def _compute_inferences(engine: Engine, members: Sequence[_Member], max_batch: int) -> None:
    """Call the engine for all requests, grouped by shape, at most `max_batch` at a time."""
    groups: dict[Hashable, list[_Member]] = {}
    for member in members:
        groups.setdefault(_shape(member), []).append(member)
    for group in groups.values():
        request = group[0].request
        assert isinstance(request, EngineRequest)
        call_frames = max(MAX_CALL_FRAMES, FRAMES_PER_HOP * max_batch)
        size = max(1, min(max_batch, call_frames // request.frames.shape[1]))
        for start in range(0, len(group), size):
            _infer(engine, group[start : start + size])


def _shape(member: _Member) -> Hashable:
    request = member.request
    assert isinstance(request, EngineRequest)
    return request.frames.shape, request.cached_maps.shape, request.past.shape


def _infer(engine: Engine, members: Sequence[_Member]) -> None:
    """Call the engine once for requests of the same shape."""
    if len(members) == 1:
        _compute_alone(engine, members[0])
        return
    requests = [member.request for member in members if isinstance(member.request, EngineRequest)]
    try:
        inference = finite_inference(
            engine,
            np.concatenate([request.frames for request in requests]),
            np.concatenate([request.cached_maps for request in requests]),
            np.concatenate([request.past for request in requests]),
        )
    except Exception:
        # Compute each alone, so that only the faulty one fails.
        for member in members:
            _compute_alone(engine, member)
        return
    for index, member in enumerate(members):
        member.advance(inference.window(index))


def _compute_alone(engine: Engine, member: _Member) -> None:
    assert member.request is not None
    try:
        result = compute(engine, member.request)
    except EngineError as error:
        member.fail(error)
        return
    member.advance(result)
