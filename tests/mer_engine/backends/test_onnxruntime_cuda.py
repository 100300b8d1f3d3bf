"""ONNX Runtime on a simulated card: binding, recording, replaying, and what goes wrong."""

from __future__ import annotations

import gc
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from card_support import SimulatedCudaCard, SimulatedSession, SimulatedStream
from mer_engine import Engine
from mer_engine.backends import cuda, onnxruntime_cuda, parity
from mer_engine.backends.by_batch import ByBatchEngine
from mer_engine.backends.card_engine import CardEngine
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.onnxruntime_cuda import (
    MAX_RECORDED,
    CudaEngine,
    UnrecordedCudaEngine,
    missing,
    open_engine,
)
from mer_engine.backends.own_thread import OwnThreadEngine
from mer_engine.backends.shapes import MAX_BATCH, Shape, input_shapes
from mer_engine.engine import (
    CARD_SIZES,
    Inference,
    backend_warning,
    largest_batch,
    parts_of,
    shipped_model,
)
from mer_engine.errors import BackendError, ModelError
from numpy.typing import NDArray

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


def call_of(engine: Engine, batch: int, new: int, past: int) -> tuple[NDArray[np.float32], ...]:
    """Random arguments of a call with `new` steps."""
    info = engine.info
    rng = np.random.default_rng(batch)
    shape = Shape(batch, new * info.frames_per_step, info.map_context, past)
    return tuple(rng.uniform(0, 3, size).astype(np.float32) for size in input_shapes(info, shape))


def full_call(engine: Engine, batch: int) -> tuple[NDArray[np.float32], ...]:
    """Arguments of an update of full windows."""
    return call_of(engine, batch, 2, engine.info.lag_order_default - 2)


def assert_same(outputs: Inference, expected: Inference) -> None:
    for name, other in expected._asdict().items():
        mine = getattr(outputs, name)
        if other is None:
            assert mine is None
        else:
            np.testing.assert_allclose(mine, other, atol=1e-3, rtol=1e-4, err_msg=name)


@pytest.fixture
def card(fast_model: Path) -> SimulatedCudaCard:
    return SimulatedCudaCard(fast_model)


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has a CUDA provider")
def test_without_a_cuda_provider_the_error_says_what_to_install() -> None:
    assert "install onnxruntime-gpu" in str(missing())
    with pytest.raises(BackendError, match="install onnxruntime-gpu"):
        open_engine(shipped_model(), print)


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has a CUDA provider")
def test_a_provider_that_does_not_start_is_an_error_and_not_the_processor() -> None:
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),  # of ONNX Runtime
        pytest.raises(ModelError, match="cannot start its CUDA provider") as raised,
    ):
        UnrecordedCudaEngine(shipped_model())
    assert isinstance(raised.value.__cause__, BackendError)
    assert "onnxruntime-gpu[cuda,cudnn]" in str(raised.value.__cause__)


def test_the_shipped_model_passes_the_gate_on_a_card() -> None:
    card = SimulatedCudaCard(shipped_model())
    assert parity.check(card.engine).passed
    # The gate sees recorded work too, beyond the replays of the recording itself.
    assert card.session.replays
    assert min(card.session.replays.values()) > onnxruntime_cuda._RUNS_TO_REPLAY


def test_a_shape_is_bound_once_recorded_once_and_replayed(
    fast_engine: Engine, card: SimulatedCudaCard
) -> None:
    call = full_call(fast_engine, 1)
    expected = fast_engine.infer(*call)
    for number in range(3):  # bound; run again; recorded
        assert not card.session.replays
        assert card.session.regular == number
        first = card.engine.infer(*call)
        assert_same(first, expected)
    assert card.session.replays[1] > 0
    regular, replays = card.session.regular, card.session.replays[1]
    other = call[0] * 0.5, *call[1:]
    assert_same(card.engine.infer(*other), fast_engine.infer(*other))
    assert_same(card.engine.infer(*call), expected)
    assert_same(first, expected)  # later calls do not overwrite outputs
    assert card.session.regular == regular
    assert card.session.replays[1] == replays + 2
    assert card.session.bindings == 1


def test_a_version_that_records_step_by_step_ends_with_the_same(
    fast_engine: Engine, card: SimulatedCudaCard
) -> None:
    card.session.one_by_one = True
    call = full_call(fast_engine, 2)
    for _ in range(5):
        assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    regular = card.session.regular
    assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert card.session.regular == regular


def test_windows_that_grow_are_not_recorded(fast_engine: Engine, card: SimulatedCudaCard) -> None:
    for _ in range(5):  # five streams start
        for past in range(0, fast_engine.info.lag_order_default - 2, 2):
            call = call_of(fast_engine, 1, 2, past)
            assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert not card.session.replays


def test_windows_that_stay_short_are_recorded_in_the_end(
    fast_engine: Engine, card: SimulatedCudaCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_cuda, "_CALLS_SHORT", 7)
    call = call_of(fast_engine, 1, 1, 1)
    for _ in range(9):
        assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert card.session.replays


def test_the_number_of_recordings_is_limited(
    fast_engine: Engine, card: SimulatedCudaCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_RECORDED > 20
    monkeypatch.setattr(onnxruntime_cuda, "MAX_RECORDED", 2)
    for batch in (1, 2, 4):
        for _ in range(4):
            call = full_call(fast_engine, batch)
            assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert set(card.session.replays) == {1, 2}


@pytest.mark.parametrize(
    ("batch", "new", "past"), [(3, 1, 19), (5, 2, 0), (18, 20, 0), (260, 1, 19)]
)
def test_batches_are_padded_split_and_joined(
    fast_engine: Engine, card: SimulatedCudaCard, batch: int, new: int, past: int
) -> None:
    call = call_of(fast_engine, batch, new, past)
    expected = fast_engine.infer(*call)
    for _ in range(4):
        assert_same(card.engine.infer(*call), expected)


def test_batches_of_one_padded_size_share_their_recording(
    fast_engine: Engine, card: SimulatedCudaCard
) -> None:
    for batch in (5, 6, 7, 8, 5):
        call = full_call(fast_engine, batch)
        assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert card.session.bindings == 1
    assert set(card.session.replays) == {1}


def test_memory_is_allocated_at_the_start_only(
    fast_engine: Engine, card: SimulatedCudaCard
) -> None:
    assert largest_batch(card.engine) == MAX_BATCH
    allocations = card.stream.allocations
    for batch in (1, MAX_BATCH, 1):
        call = full_call(fast_engine, batch)
        assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    whole = call_of(fast_engine, 16, fast_engine.info.lag_order_max, 0)
    assert_same(card.engine.infer(*whole), fast_engine.infer(*whole))
    assert card.stream.allocations == allocations == 4


def test_a_replay_copies_once_in_each_direction_and_the_engine_waits_once(
    fast_engine: Engine, card: SimulatedCudaCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = full_call(fast_engine, 4)
    for _ in range(3):
        card.engine.infer(*call)
    counted: list[str] = []
    for name in ("upload", "download", "wait"):
        real = getattr(card.stream, name)

        def count(*arguments: Any, name: str = name, real: Any = real) -> None:
            counted.append(name)
            real(*arguments)

        monkeypatch.setattr(card.stream, name, count)
    card.engine.infer(*call)
    # The first wait is that of ONNX Runtime.
    assert counted == ["upload", "wait", "download", "wait"]


def test_two_threads_at_once_get_their_own_outputs(
    fast_engine: Engine, card: SimulatedCudaCard
) -> None:
    calls = [full_call(fast_engine, batch) for batch in (1, 3)]
    expected = [fast_engine.infer(*call) for call in calls]
    failures: list[BaseException] = []
    barrier = threading.Barrier(2)

    engine = OwnThreadEngine(lambda: card.engine)

    def run(number: int) -> None:
        try:
            barrier.wait(timeout=60)
            for _ in range(8):
                assert_same(engine.infer(*calls[number]), expected[number])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert failures == []
    assert set(card.session.replays) == {1, 2}


def test_recorded_work_that_computes_other_numbers_is_not_used(
    fast_engine: Engine, card: SimulatedCudaCard
) -> None:
    card.session.damages_records = True
    call = full_call(fast_engine, 1)
    for _ in range(2):
        card.engine.infer(*call)
    with pytest.raises(BackendError, match="computes other numbers"):
        card.engine.infer(*call)


def test_a_card_that_fails_is_replaced(fast_engine: Engine, card: SimulatedCudaCard) -> None:
    messages: list[str] = []
    guarded = FallbackEngine(card.engine, fast_engine, messages.append)
    call = full_call(fast_engine, 2)
    for _ in range(4):
        guarded.infer(*call)
    assert guarded.backend == "onnxruntime-cuda"
    card.session.error = "CUDA failure 79: GPU has fallen off the bus"
    assert_same(guarded.infer(*call), fast_engine.infer(*call))
    assert guarded.backend == "onnxruntime"
    assert "GPU has fallen off the bus" in messages[0]


def test_an_engine_that_is_not_used_any_more_frees_its_memory(fast_model: Path) -> None:
    card = SimulatedCudaCard(fast_model)
    stream = card.stream
    assert stream.device_blocks
    assert stream.host_blocks
    del card
    gc.collect()
    assert not stream.device_blocks
    assert not stream.host_blocks


def test_recorded_shapes_stay_bound_while_many_others_come(
    fast_engine: Engine, card: SimulatedCudaCard
) -> None:
    call = full_call(fast_engine, 1)
    for _ in range(3):
        card.engine.infer(*call)
    others = [(new, past) for past in range(15) for new in (1, 2)]
    assert len(others) > CardEngine.max_bound_shapes
    for new, past in others:
        card.engine.infer(*call_of(fast_engine, 1, new, past))
    regular = card.session.regular
    card.engine.infer(*call)
    assert card.session.regular == regular


@pytest.mark.parametrize("good", range(9))
def test_a_fault_at_any_run_loses_nothing_in_any_thread(
    fast_engine: Engine, card: SimulatedCudaCard, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """Runs that fail are those before, in and after a recording."""
    messages: list[str] = []
    owned = OwnThreadEngine(lambda: card.engine)
    guarded = FallbackEngine(owned, fast_engine, messages.append)
    engine = ByBatchEngine(fast_engine, guarded, 2, messages.append)
    runs: list[int] = []
    run_bound = card.session.run_with_iobinding

    def run(binding: Any, options: Any) -> None:
        runs.append(1)
        if len(runs) > good:
            raise RuntimeError("CUDA failure 719: unspecified launch failure")
        run_bound(binding, options)

    monkeypatch.setattr(card.session, "run_with_iobinding", run)
    calls = [full_call(fast_engine, batch) for batch in (1, 2, 3)]
    expected = [fast_engine.infer(*call) for call in calls]
    failures: list[BaseException] = []

    def compute(number: int) -> None:
        try:
            for _ in range(4):
                assert_same(engine.infer(*calls[number]), expected[number])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert failures == []
    # Two threads use the card: the other one's call may have waited. No later call runs there.
    assert good + 1 <= len(runs) <= good + 2
    assert guarded.backend == "onnxruntime"
    assert [message for message in messages if "unspecified launch failure" in message] == messages


class FakeRuntime:
    """Stands in for a driver, its card and ONNX Runtime's CUDA provider, while an engine opens.

    Attributes:
        sessions: options of the CUDA provider of each session that was opened.
        opened: the sessions.
        threads: those that opened sessions or ran them.
        refuses_recording: whether sessions with recorded work do not open.
        error: message of the error that runs raise; empty for none.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stream = SimulatedStream()
        self.sessions: list[dict[str, str]] = []
        self.threads: set[threading.Thread] = set()
        self.opened: list[weakref.ref[SimulatedSession]] = []
        self.refuses_recording = False
        self.refuses_records = False
        self.error = ""
        processor = ort.InferenceSession

        def open_session(
            content: bytes, options: Any = None, *, providers: Any, **others: Any
        ) -> Any:
            if providers == ["CPUExecutionProvider"]:
                return processor(content, options, providers=providers)
            assert others == {"enable_fallback": 0}
            (name, chosen), last = providers
            assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
            self.sessions.append(chosen)
            self.threads.add(threading.current_thread())
            if self.refuses_recording and "enable_cuda_graph" in chosen:
                raise RuntimeError("This session cannot use the graph capture feature")
            session = SimulatedSession(content, self.stream, self.threads)
            self.opened.append(weakref.ref(session))
            session.error = self.error
            session.refuses_records = self.refuses_records
            return session

        monkeypatch.setattr(ort, "InferenceSession", open_session)
        monkeypatch.setattr(onnxruntime_cuda, "missing", lambda: None)
        monkeypatch.setattr(cuda, "find_card", lambda: cuda.Card("a simulated card", "sm90"))
        monkeypatch.setattr(cuda, "Cuda", lambda: self.stream)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    return FakeRuntime(monkeypatch)


def test_an_engine_opens_with_the_update_of_a_stream_recorded(
    runtime: FakeRuntime, fast_model: Path, fast_engine: Engine
) -> None:
    messages: list[str] = []
    engine = open_engine(fast_model, messages.append)
    assert isinstance(engine, CudaEngine)
    assert (engine.backend, engine.device, engine.warning) == (
        "onnxruntime-cuda",
        "a simulated card",
        "",
    )
    (options,) = runtime.sessions
    assert options["enable_cuda_graph"] == "1"
    assert options["user_compute_stream"] == str(runtime.stream.stream)
    assert options["use_tf32"] == "0"
    assert messages == []
    call = full_call(fast_engine, 2)
    assert_same(engine.infer(*call), fast_engine.infer(*call))


def test_opening_calls_and_parts_have_one_thread(
    runtime: FakeRuntime, fast_model: Path, fast_engine: Engine
) -> None:
    engine = OwnThreadEngine(partial(open_engine, fast_model, print))
    call = full_call(fast_engine, 1)
    assert_same(engine.infer(*call), fast_engine.infer(*call))
    parts = parts_of(engine)
    assert parts is not None
    assert parts.sizes == CARD_SIZES
    frames, cached_maps, _ = call_of(fast_engine, 1, 2, 0)
    maps = parts.maps(frames[0], cached_maps[0])
    steps = fast_engine.infer(*call).steps
    assert parts.describe(np.concatenate((cached_maps[0], maps))).shape[0] == 2
    assert parts.head(steps)[0].shape[0] == 1
    assert len(runtime.threads) == 1
    assert threading.current_thread() not in runtime.threads


def test_recordings_use_the_parts_of_the_graph_on_the_card(
    runtime: FakeRuntime, fast_model: Path, fast_engine: Engine
) -> None:
    parts = parts_of(open_engine(fast_model, print))
    assert parts is not None
    assert parts.sizes == CARD_SIZES
    frames, cached_maps, _ = call_of(fast_engine, 1, 2, 0)
    maps = parts.maps(frames[0], cached_maps[0])
    np.testing.assert_allclose(
        maps, fast_engine.infer(*call_of(fast_engine, 1, 2, 0)).maps[0], atol=1e-3, rtol=1e-4
    )
    assert all("use_tf32" in options for options in runtime.sessions)


@pytest.mark.parametrize("fault", ["refuses_recording", "refuses_records"])
def test_a_card_that_cannot_record_runs_without_and_says_so(
    runtime: FakeRuntime, fast_model: Path, fast_engine: Engine, fault: str
) -> None:
    setattr(runtime, fault, True)
    messages: list[str] = []
    engine = open_engine(fast_model, messages.append)
    assert isinstance(engine, UnrecordedCudaEngine)
    assert largest_batch(engine) == MAX_BATCH
    assert engine.warning == messages[0]
    assert "cannot be recorded here: " in messages[0]
    gc.collect()
    assert not runtime.stream.device_blocks
    assert not runtime.stream.host_blocks
    call = full_call(fast_engine, 3)
    assert_same(engine.infer(*call), fast_engine.infer(*call))


def test_what_a_card_that_is_gone_holds_is_not_freed(
    runtime: FakeRuntime, fast_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise BackendError("CUDA: an illegal memory access was encountered")

    runtime.error = "CUDA failure 700: an illegal memory access was encountered"
    monkeypatch.setattr(runtime.stream, "wait", gone)
    with pytest.raises(BackendError, match="illegal memory access"):
        open_engine(fast_model, print)
    gc.collect()
    assert runtime.stream.device_blocks
    # ONNX Runtime would end the process where it frees recorded work.
    assert any(session() for session in runtime.opened)


def test_without_bindings_of_cuda_the_warning_says_what_to_install(
    runtime: FakeRuntime, fast_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bindings() -> cuda.Card:
        raise BackendError("cuda-bindings is not installed; run: pip")

    monkeypatch.setattr(cuda, "find_card", no_bindings)
    engine = open_engine(fast_model, print)
    assert "cuda-bindings is not installed; run: pip" in backend_warning(engine)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            "CUDA failure 2: out of memory ; GPU=0",
            r"the memory of the NVIDIA card is full; end other programs that use it",
        ),
        ("CUDA failure 209: no kernel image is available", "no kernel image is available"),
    ],
)
def test_a_card_that_cannot_run_says_why(
    runtime: FakeRuntime, fast_model: Path, error: str, sentence: str
) -> None:
    runtime.error = error
    with pytest.raises(BackendError, match=sentence):
        open_engine(fast_model, print)


def test_a_damaged_file_is_not_the_fault_of_the_card(runtime: FakeRuntime, tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match="damaged") as raised:
        open_engine(path, print)
    assert not isinstance(raised.value, BackendError)
    assert runtime.sessions == []
