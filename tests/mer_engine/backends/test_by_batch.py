import numpy as np
import pytest
from mer_engine import Engine
from mer_engine.backends import by_batch
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.by_batch import ByBatchEngine
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.engine import Inference, backend_of, backend_warning, largest_batch
from numpy.typing import NDArray


class Sizes:
    """An engine that notes the windows of its calls, and fails once `broken` is set."""

    def __init__(self, engine: Engine, backend: str, largest: int) -> None:
        self.info, self.backend, self.largest_batch = engine.info, backend, largest
        self.engine = engine
        self.warning = ""
        self.sizes: list[int] = []
        self.broken = False

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        if self.broken:
            raise RuntimeError("CUDA failure 2: out of memory")
        self.sizes.append(len(frames))
        return self.engine.infer(frames, cached_maps, past)


class Pair:
    """Processor and card, behind one engine; small networks, since many windows are computed."""

    def __init__(self, engine: Engine, from_size: int = 6) -> None:
        self.messages: list[str] = []
        self.processor = Sizes(engine, "onnxruntime", 8)
        self.card = Sizes(engine, "onnxruntime-cuda", 256)
        self.guarded = FallbackEngine(self.card, self.processor, self.messages.append)
        self.engine = ByBatchEngine(self.processor, self.guarded, from_size, self.messages.append)

    def call(self, windows: int, times: int = 1) -> Inference:
        inputs = BenchmarkInput.of(self.engine.info, windows)
        for _ in range(times):
            result = self.engine.infer(*inputs)
        return result


@pytest.fixture
def pair(fast_engine: Engine) -> Pair:
    return Pair(fast_engine)


def test_each_call_runs_where_its_size_is_faster(pair: Pair, fast_engine: Engine) -> None:
    for windows in (1, 5, 6, 40, 2):
        result = pair.call(windows)
        expected = fast_engine.infer(*BenchmarkInput.of(fast_engine.info, windows))
        np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=1e-5)
    assert (pair.processor.sizes, pair.card.sizes) == ([1, 5, 2], [6, 40])
    assert [backend_of(pair.engine, windows) for windows in (1, 5, 6)] == [
        "onnxruntime", "onnxruntime", "onnxruntime-cuda",
    ]  # fmt: skip
    assert largest_batch(pair.engine) == 256


def test_a_processor_that_runs_larger_calls_too_gets_them_in_its_own_sizes(
    fast_engine: Engine,
) -> None:
    pair = Pair(fast_engine, from_size=30)
    assert pair.call(20).probabilities.shape[0] == 20
    assert (pair.processor.sizes, pair.card.sizes) == ([8, 8, 4], [])


def test_the_load_is_said_to_move_once_and_back_a_minute_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 5.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    assert pair.engine.backend == "onnxruntime"
    pair.call(40)  # a single large call is no load
    assert pair.engine.backend == "onnxruntime"
    pair.call(40, times=8)
    assert pair.engine.backend == "onnxruntime-cuda"
    # Some single windows in between, and even many within the minute, move nothing.
    pair.call(1, times=20)
    assert pair.engine.backend == "onnxruntime-cuda"
    now_s += by_batch.TELL_S - 1.0
    pair.call(1, times=300)
    assert pair.engine.backend == "onnxruntime-cuda"
    assert len(pair.messages) == 1
    now_s += 1.0
    pair.call(1)
    assert pair.engine.backend == "onnxruntime"
    assert pair.messages == [
        "most windows come 6 or more at a time: onnxruntime-cuda computes them now",
        "most windows come fewer than 6 at a time again: onnxruntime computes them now",
    ]


def test_a_card_that_fails_leaves_all_to_the_processor_in_its_own_sizes(pair: Pair) -> None:
    pair.call(40, times=8)
    pair.messages.clear()
    pair.card.broken = True
    assert pair.call(20).probabilities.shape[0] == 20
    assert pair.processor.sizes == [8, 8, 4]
    assert pair.call(9).probabilities.shape[0] == 9
    assert pair.processor.sizes[3:] == [8, 1]
    pair.call(1, times=300)
    assert pair.messages == [backend_warning(pair.engine)]
    assert "onnxruntime-cuda failed while it was running (CUDA failure 2" in pair.messages[0]
    assert pair.engine.backend == backend_of(pair.engine, 40) == "onnxruntime"
    assert largest_batch(pair.engine) == 8


def test_a_warning_from_the_start_is_said_once_and_stays(pair: Pair) -> None:
    pair.processor.warning = pair.guarded.warning = "tensorrt may not run: too old"
    assert backend_warning(pair.engine) == "tensorrt may not run: too old"
    pair.card.broken = True
    pair.call(20)
    failed, before = backend_warning(pair.engine).split("; onnxruntime replaces it")
    assert "onnxruntime-cuda failed while it was running" in failed
    assert before.endswith("; tensorrt may not run: too old")
