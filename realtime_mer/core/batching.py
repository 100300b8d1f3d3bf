"""Many streams in step: requests of the same shape are computed in one call.

A network's call costs less for eight windows than eight calls for one. What each stream gives does
not depend on its company: alone equals among others to 1e-5.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from mer_engine import Engine
from mer_engine.engine import Inference
from mer_engine.frontend import Excerpt, FrontEndConfig, features_of

from realtime_mer.core.requests import (
    Computation,
    ComputeRequest,
    EngineRequest,
    FeaturesRequest,
    compute,
)

T = TypeVar("T")

# More at once cost no less a window, and each waits for all of them.
MAX_BATCH = 8


@dataclass(slots=True, eq=False)
class _Member:
    """One stream's generator and what it waits for."""

    computation: Computation[Any]
    request: ComputeRequest | None = None
    result: Any = None

    def go_on(self, value: Any) -> None:
        """Sends an answer (None for the start) and takes the next request, or the result."""
        try:
            self.request = self.computation.send(value)
        except StopIteration as end:
            self.request, self.result = None, end.value
        except Exception as error:
            self.request, self.result = None, error

    def fail(self, error: Exception) -> None:
        """Lets the stream know that its request cannot be answered."""
        try:
            self.request = self.computation.throw(error)
        except StopIteration as end:
            self.request, self.result = None, end.value
        except Exception as raised:
            self.request, self.result = None, raised


def run_each(
    engine: Engine, generators: Iterable[Computation[T]], *, together: int = MAX_BATCH
) -> Iterator[tuple[int, T | Exception]]:
    """Runs any number of generators, so many at a time; the next begins where one has ended.

    Args:
        engine: the one that the streams were made for.
        generators: taken one by one as there is room.
        together: how many run at once, and windows in one call of the engine at most.

    Yields:
        The place in `generators` and what was returned or raised, in the order in which they end.
    """
    coming = enumerate(generators)
    running: list[tuple[int, _Member]] = []
    while True:
        for index, computation in islice(coming, together - len(running)):
            member = _Member(computation)
            member.go_on(None)
            running.append((index, member))
        if not running:
            return
        ended = [(index, member.result) for index, member in running if member.request is None]
        if ended:
            running = [(index, member) for index, member in running if member.request is not None]
            yield from ended
        else:
            _answer(engine, [member for _, member in running], together)


def run_batch(
    engine: Engine, generators: Iterable[Computation[T]], max_batch: int = MAX_BATCH
) -> list[T | Exception]:
    """Runs generators of `Pipeline` or `LiveStream` to their ends, computing together.

    A generator that raises ends with its exception as its result; the others go on.

    Args:
        engine: the one that the streams were made for.
        generators: one for each stream.
        max_batch: windows in one call of the engine at most.

    Returns:
        What each returned or raised, in order.
    """
    members = [_Member(computation) for computation in generators]
    for member in members:
        member.go_on(None)
    while waiting := [member for member in members if member.request is not None]:
        _answer(engine, waiting, max_batch)
    return [member.result for member in members]


def _answer(engine: Engine, members: Sequence[_Member], max_batch: int) -> None:
    """Answers those who wait: frames first, so that the engine is called as rarely as can be."""
    features = [member for member in members if isinstance(member.request, FeaturesRequest)]
    if features:
        _answer_features(engine, features)
    else:
        _answer_engine(engine, members, max_batch)


def _answer_features(engine: Engine, members: Sequence[_Member]) -> None:
    """One call for all excerpts of a configuration, whatever their lengths."""
    groups: dict[FrontEndConfig, tuple[list[_Member], list[Excerpt]]] = {}
    for member in members:
        request = member.request
        assert isinstance(request, FeaturesRequest)
        group = groups.setdefault(request.config, ([], []))
        group[0].append(member)
        group[1].append(request.excerpt)
    for config, (group_members, excerpts) in groups.items():
        try:
            told = features_of(config, excerpts)
        except Exception:
            # Whose fault it is shows when each is asked alone.
            for member in group_members:
                _answer_alone(engine, member)
            continue
        for member, frames in zip(group_members, told, strict=True):
            member.go_on(frames)


def _answer_engine(engine: Engine, members: Sequence[_Member], max_batch: int) -> None:
    groups: dict[Hashable, list[_Member]] = {}
    for member in members:
        groups.setdefault(_shape(member), []).append(member)
    for group in groups.values():
        for start in range(0, len(group), max_batch):
            _infer(engine, group[start : start + max_batch])


def _shape(member: _Member) -> Hashable:
    request = member.request
    assert isinstance(request, EngineRequest)
    return request.frames.shape, request.cached_maps.shape, request.past.shape


def _infer(engine: Engine, members: Sequence[_Member]) -> None:
    """One call for requests of the same shape."""
    if len(members) == 1:
        _answer_alone(engine, members[0])
        return
    requests = [member.request for member in members if isinstance(member.request, EngineRequest)]
    try:
        told = engine.infer(
            np.concatenate([request.frames for request in requests]),
            np.concatenate([request.cached_maps for request in requests]),
            np.concatenate([request.past for request in requests]),
        )
    except Exception:
        # Whose fault it is shows when each is asked alone.
        for member in members:
            _answer_alone(engine, member)
        return
    for index, member in enumerate(members):
        member.go_on(_row(told, index))


def _answer_alone(engine: Engine, member: _Member) -> None:
    assert member.request is not None
    try:
        told = compute(engine, member.request)
    except Exception as error:
        member.fail(error)
        return
    member.go_on(told)


def _row(told: Inference, index: int) -> Inference:
    """What one call told of one of its windows."""
    return Inference(*(values[index : index + 1] for values in told))
