from __future__ import annotations

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest
from live_support import TIMEOUT_S, wait_for
from mer_engine import Engine
from mer_engine.backends import own_thread
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.own_thread import OwnThreadEngine
from mer_engine.engine import EngineParts, Inference, backend_of, largest_batch, parts_of
from mer_engine.errors import BackendError
from numpy.typing import NDArray
from support import FaultInjector


class Parts:
    """The head of a network on a card, the only part that these tests call."""

    def __init__(self, parts: EngineParts, card: Card) -> None:
        self.info = parts.info
        self._parts, self._card = parts, card

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts, name)

    def head(self, windows: NDArray[np.float32]) -> Any:
        self._card.threads.append(threading.current_thread())
        self._card.before()
        return self._parts.head(windows)


class Card(FaultInjector):
    """An engine on a card, which notes the threads of its calls."""

    largest_batch = 64
    device = "a card"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.threads: list[threading.Thread] = []

    def open(self) -> Card:
        self.threads.append(threading.current_thread())
        return self

    def parts(self) -> Any:
        self.threads.append(threading.current_thread())
        parts = parts_of(self._engine)
        return None if parts is None else Parts(parts, self)

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.threads.append(threading.current_thread())
        return super().infer(frames, cached_maps, past)


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_thread, "LIMIT_S", 0.1)
    monkeypatch.setattr(own_thread, "LIMIT_FACTOR", 0.0)
    monkeypatch.setattr(own_thread, "FIRST_LIMIT_S", 0.3)


def test_all_calls_run_on_one_thread_and_it_ends_with_the_engine(engine: Engine) -> None:
    card = Card(engine)
    wrapped = OwnThreadEngine(card.open)
    inputs = BenchmarkInput.of(engine.info)
    expected = engine.infer(*inputs)
    results: list[Inference] = []

    def call(wrapped: OwnThreadEngine) -> None:
        results.append(wrapped.infer(*inputs))

    callers = [threading.Thread(target=call, args=(wrapped,)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(TIMEOUT_S)
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result.probabilities, expected.probabilities)
    parts = parts_of(wrapped)
    assert parts is not None
    assert parts.head(expected.steps)[0].shape[0] == 1
    del parts
    (thread,) = set(card.threads)
    assert thread not in (*callers, threading.current_thread())
    assert thread.daemon  # a call that hangs does not keep the program from ending
    assert (wrapped.backend, wrapped.device, largest_batch(wrapped)) == (card.backend, "a card", 64)
    assert backend_of(wrapped, 3) == card.backend
    del wrapped
    gc.collect()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


def test_an_error_of_a_call_is_that_of_its_caller_and_the_next_call_works(engine: Engine) -> None:
    card = Card(engine)
    wrapped = OwnThreadEngine(lambda: card)
    card.failing = {0}
    with pytest.raises(RuntimeError, match="the injected fault"):
        wrapped.infer(*BenchmarkInput.of(engine.info))
    assert wrapped.infer(*BenchmarkInput.of(engine.info)).probabilities.shape[0] == 1


@pytest.mark.usefixtures("short_limits")
def test_a_call_that_hangs_is_left_behind_with_its_thread(engine: Engine) -> None:
    card = Card(engine)
    wrapped = OwnThreadEngine(lambda: card)
    inputs = BenchmarkInput.of(engine.info)
    wrapped.infer(*inputs)
    wrapped.impatient = True
    card.hang()
    with pytest.raises(BackendError, match=r"a call has not returned for 0\.1 s"):
        wrapped.infer(*inputs)
    # No later call waits for it, not even for its own 0.3 s, and each tells the same: which caller
    # is the first to say what has failed is chance.
    with pytest.raises(BackendError, match=r"a call has not returned for 0\.1 s"):
        wrapped.infer(*BenchmarkInput.of(engine.info, 2))
    assert card.hangs.wait(TIMEOUT_S)  # a busy machine may begin it late
    assert card.calls == 2
    card.release()


@pytest.mark.usefixtures("short_limits")
def test_parts_that_hang_are_left_behind_too(engine: Engine) -> None:
    card = Card(engine)
    wrapped = OwnThreadEngine(lambda: card)
    inputs = BenchmarkInput.of(engine.info)
    parts = parts_of(wrapped)
    assert parts is not None
    wrapped.impatient = True
    released = threading.Event()
    card.before = lambda: assert_released(released)
    with pytest.raises(BackendError, match=r"a call has not returned for 0\.3 s"):
        parts.head(engine.infer(*inputs).steps)
    with pytest.raises(BackendError, match="a call has not returned for"):
        wrapped.infer(*inputs)
    released.set()


def assert_released(released: threading.Event) -> None:
    assert released.wait(TIMEOUT_S)


def test_an_engine_that_does_not_open_ends_its_thread() -> None:
    threads: list[threading.Thread] = []

    def refuse() -> Engine:
        threads.append(threading.current_thread())
        raise BackendError("the card is full")

    with pytest.raises(BackendError, match="the card is full"):
        OwnThreadEngine(refuse)
    gc.collect()
    threads[0].join(TIMEOUT_S)
    assert not threads[0].is_alive()


@pytest.mark.usefixtures("short_limits")
def test_the_first_call_of_a_shape_may_take_longer(engine: Engine) -> None:
    card = Card(engine)
    wrapped = OwnThreadEngine(lambda: card)
    wrapped.impatient = True
    card.hang()
    with pytest.raises(BackendError, match=r"a call has not returned for 0\.3 s"):
        wrapped.infer(*BenchmarkInput.of(engine.info, 2))
    card.release()


def test_a_call_may_take_many_times_the_one_before(engine: Engine) -> None:
    """On a busy machine all calls take long, which is no fault of the card."""
    card = Card(engine)
    wrapped = OwnThreadEngine(lambda: card)
    inputs = BenchmarkInput.of(engine.info)
    wrapped.infer(*inputs)
    (shape,) = wrapped._took_s
    for took_s, limit_s in (
        (0.001, own_thread.LIMIT_S),
        (0.1, 2.0),
        (50.0, own_thread.FIRST_LIMIT_S),
    ):
        wrapped._took_s[shape] = took_s
        assert wrapped._limit_s(shape) == pytest.approx(limit_s)


@pytest.mark.usefixtures("short_limits")
def test_at_the_start_calls_take_what_they_take(engine: Engine) -> None:
    card = Card(engine)
    wrapped = OwnThreadEngine(lambda: card)
    card.hang()
    results: list[Inference] = []
    caller = threading.Thread(
        target=lambda: results.append(wrapped.infer(*BenchmarkInput.of(engine.info)))
    )
    caller.start()
    assert card.hangs.wait(TIMEOUT_S)
    until = time.monotonic() + 2 * own_thread.FIRST_LIMIT_S
    wait_for(lambda: time.monotonic() > until, "longer than any limit")
    assert caller.is_alive()
    card.release()
    caller.join(TIMEOUT_S)
    assert len(results) == 1
