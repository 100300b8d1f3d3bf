import threading

import numpy as np
import pytest
from mer_engine import Engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.engine import Inference, largest_batch, no_past, silent_maps
from numpy.typing import NDArray
from support import FaultyEngine


class Card:
    """An engine that fails once `broken` is set."""

    backend = "tensorrt"
    precision = "fp16"
    largest_batch = 8

    def __init__(self, engine: Engine) -> None:
        self.info = engine.info
        self.engine = engine
        self.calls = 0
        self.broken = False

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.calls += 1
        if self.broken:
            raise RuntimeError("an illegal memory access was encountered\nmore")
        return self.engine.infer(frames, cached_maps, past)


class CallSizes:
    """Notes the windows of each call."""

    backend = "onnxruntime"

    def __init__(self, engine: Engine) -> None:
        self.info = engine.info
        self.engine = engine
        self.sizes: list[int] = []

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.sizes.append(len(frames))
        return self.engine.infer(frames, cached_maps, past)


def window(engine: Engine) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    info = engine.info
    return info.check_frames(2), silent_maps(info), no_past(info)


def test_the_failed_call_and_later_ones_run_on_the_replacement(engine: Engine) -> None:
    card, messages = Card(engine), list[str]()
    guarded = FallbackEngine(card, engine, messages.append)
    expected = engine.infer(*window(engine))
    np.testing.assert_array_equal(guarded.infer(*window(engine)).probabilities, expected[0])
    assert (guarded.backend, guarded.precision, guarded.warning) == ("tensorrt", "fp16", "")
    card.broken = True
    for _ in range(3):
        np.testing.assert_array_equal(guarded.infer(*window(engine)).probabilities, expected[0])
    assert card.calls == 2
    assert (guarded.backend, guarded.precision) == ("onnxruntime", "fp32")
    assert messages == [guarded.warning]
    assert (
        "tensorrt failed while it was running (an illegal memory access was encountered)"
        in messages[0]
    )
    assert "onnxruntime replaces it" in messages[0]


def test_numbers_that_are_not_finite_are_a_failure_too(engine: Engine) -> None:
    messages = list[str]()
    card = Card(engine)
    card.engine = FaultyEngine(engine, "maps", range(1000))
    guarded = FallbackEngine(card, engine, messages.append)
    expected = engine.infer(*window(engine))
    np.testing.assert_array_equal(guarded.infer(*window(engine)).maps, expected.maps)
    assert guarded.backend == "onnxruntime"
    assert "failed while it was running (it returned numbers that are not finite)" in messages[0]


def test_a_call_with_wrong_arguments_does_not_switch_the_engine(engine: Engine) -> None:
    messages = list[str]()
    guarded = FallbackEngine(Card(engine), engine, messages.append)
    frames, cached_maps, past = window(engine)
    with pytest.raises(Exception, match=r"invalid dimensions|mismatched dimensions"):
        guarded.infer(frames[:, :, :5], cached_maps, past)
    assert guarded.backend == "tensorrt"
    assert messages == []


def test_several_threads_switch_once(engine: Engine) -> None:
    card, messages = Card(engine), list[str]()
    card.broken = True
    together = threading.Barrier(4)
    guarded = FallbackEngine(card, engine, messages.append)

    def call() -> None:
        together.wait()
        guarded.infer(*window(engine))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(messages) == 1
    assert guarded.engine is engine


def test_a_large_call_is_repeated_in_calls_of_the_replacements_size(engine: Engine) -> None:
    replacement = CallSizes(engine)
    card = Card(engine)
    card.largest_batch = 64
    guarded = FallbackEngine(card, replacement, lambda _: None)
    inputs = BenchmarkInput.of(engine.info, 19)
    expected = guarded.infer(*inputs)
    assert largest_batch(guarded) == 64
    card.broken = True
    for got, wanted in zip(guarded.infer(*inputs), expected, strict=True):
        assert got is not None
        assert wanted is not None
        np.testing.assert_allclose(got, wanted, atol=1e-4)
    assert replacement.sizes == [8, 8, 3]
    assert largest_batch(guarded) == 8
    # A call that a scheduler made before it knew.
    guarded.infer(*inputs)
    assert replacement.sizes[3:] == [8, 8, 3]
