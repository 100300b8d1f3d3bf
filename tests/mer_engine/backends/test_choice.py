import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mer_engine import Engine, ModelError, load_engine
from mer_engine.backends import choice, own_thread, parity, speed
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.by_batch import ByBatchEngine
from mer_engine.backends.choice import Finding, choose
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, environment
from mer_engine.backends.registry import Backend, backends
from mer_engine.backends.speed import Speed
from mer_engine.cache import cache_folder
from mer_engine.engine import (
    Announce,
    Inference,
    backend_of,
    backend_warning,
    no_past,
    output_names,
    shipped_model,
    silent_maps,
)
from mer_engine.errors import BackendError, NotCompiledError
from mer_engine.model_file import write_metadata
from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path / "cache"))


@dataclass
class Other:
    """A second backend: the default engine with an error added, or failing."""

    engine: OnnxRuntimeEngine
    offset: float = 0.0
    fails: bool = False
    fails_from: int = 1000
    backend: str = "other"
    largest_batch: int = 8

    def __post_init__(self) -> None:
        self.info = self.engine.info

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        if self.fails or len(frames) >= self.fails_from:
            raise RuntimeError("the card fell off the bus")
        output = self.engine.infer(frames, cached_maps, past)
        moved = output.probabilities.copy()
        moved[:, :, 0] -= self.offset
        moved[:, :, -1] += self.offset
        return output._replace(probabilities=moved)


Install = Callable[..., list[Other]]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts another backend beside the default."""

    def add(
        *,
        missing: str | None = None,
        error: Exception | None = None,
        card: bool = False,
        **options: Any,
    ) -> list[Other]:
        opened: list[Other] = []

        def load(path: Path, announce: Announce) -> Engine:
            if error is not None:
                raise error
            opened.append(Other(OnnxRuntimeEngine(path), **options))
            return opened[-1]

        entry = Backend("other", lambda: missing, load, card=card)
        monkeypatch.setattr(choice, "backends", lambda: (backends()[0], entry))
        monkeypatch.setattr(choice, "NAMES", ("auto", "onnxruntime", "other"))
        monkeypatch.setattr(
            choice, "backend", lambda name: {"onnxruntime": backends()[0], "other": entry}[name]
        )
        return opened

    return add


def take_times(monkeypatch: pytest.MonkeyPatch, **times_ms: float | dict[int, float]) -> None:
    """Give backends the times of a window, or of calls by their windows."""

    def measured(engine: Engine) -> Speed:
        time_ms = times_ms[engine.backend]
        return Speed(time_ms if isinstance(time_ms, dict) else {1: time_ms})

    monkeypatch.setattr(speed, "measure", measured)


def test_the_fastest_backend_runs_and_says_why(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install()
    take_times(monkeypatch, onnxruntime=2.0, other=0.5)
    messages: list[str] = []
    engine = load_engine(backend="auto", announce=messages.append)
    assert engine.backend == "other"
    assert isinstance(engine, FallbackEngine)
    other, processor = "0.5 ms an update, 32.0 ms for 64", "2.0 ms an update, 128.0 ms for 64"
    assert messages == [f"backend: other, {other}; onnxruntime takes {processor}"]
    take_times(monkeypatch, onnxruntime=0.4, other=0.5)
    # The second start measures nothing.
    assert load_engine(backend="auto").backend == "other"
    (cache_folder() / "speed.json").unlink()
    assert load_engine(backend="auto", announce=messages.append).backend == "onnxruntime"
    processor = "0.4 ms an update, 25.6 ms for 64"
    assert messages[1] == f"backend: onnxruntime, {processor}; other takes {other}"


def test_a_backend_that_fails_while_it_is_measured_may_not_run(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    """A card can have memory for the calls of the gate, and none for large ones."""
    install(largest_batch=64, fails_from=8, card=True)
    messages: list[str] = []
    engine = load_engine(backend="auto", announce=messages.append)
    assert isinstance(engine, OnnxRuntimeEngine)
    assert "other may not run: the card fell off the bus" in messages[0]
    assert "the card fell off the bus" in backend_warning(engine)


def test_two_backends_do_not_share_a_card() -> None:
    findings = [
        Finding(name, speed=Speed(call_ms), engine=load_engine())
        for name, call_ms in (
            ("onnxruntime", {1: 4.0, 8: 20.0}),
            ("onnxruntime-cuda", {1: 1.2, 64: 3.0}),
            ("tensorrt", {1: 1.0, 64: 9.0}),
        )
    ]
    chosen = choose(findings)
    assert chosen is not None
    assert (chosen.small.name, chosen.large.name) == ("onnxruntime-cuda", "onnxruntime-cuda")


def test_small_and_large_calls_run_on_the_backend_that_is_faster_for_them(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    opened = install(largest_batch=256)
    take_times(monkeypatch, onnxruntime={1: 2.0, 8: 11.0}, other={1: 4.0, 8: 5.0, 64: 6.0})
    messages: list[str] = []
    engine = load_engine(backend="auto", announce=messages.append)
    assert isinstance(engine, ByBatchEngine)
    assert messages == [
        "backend: onnxruntime, 2.0 ms an update, 88.0 ms for 64; from 3 windows at a time other, "
        "4.0 ms an update, 6.0 ms for 64"
    ]
    # Linear between what was measured: 3.3 and 4.1 ms for two windows, 4.6 and 4.3 ms for three.
    assert engine.from_size == 3
    assert [backend_of(engine, windows) for windows in (1, 2, 3, 200)] == [
        "onnxruntime", "onnxruntime", "other", "other",
    ]  # fmt: skip
    # The processor that takes over is the one that runs the small calls: it is loaded and checked.
    opened[0].fails = True

    def never(path: Path, name: str) -> None:
        raise AssertionError("loaded at the fault")

    monkeypatch.setattr(choice, "try_backend", never)
    inputs = BenchmarkInput.of(engine.info, 12)
    assert len(engine.infer(*inputs).probabilities) == 12
    assert engine.backend == backend_of(engine, 200) == "onnxruntime"
    assert "other failed while it was running" in messages[1]
    assert len(messages) == 2


def test_a_card_that_hangs_while_it_serves_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    opened = install(card=True)
    messages: list[str] = []
    engine = load_engine(backend="other", announce=messages.append)
    inputs = BenchmarkInput.of(engine.info)
    expected = engine.infer(*inputs)
    assert engine.backend == "other"
    monkeypatch.setattr(own_thread, "LIMIT_S", 0.1)
    monkeypatch.setattr(own_thread, "LIMIT_FACTOR", 0.0)
    released = threading.Event()
    monkeypatch.setattr(opened[0], "infer", lambda *_: released.wait())
    result = engine.infer(*inputs)
    np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=1e-4)
    assert engine.backend == "onnxruntime"
    assert "other failed while it was running (a call has not returned for 0.1 s)" in messages[0]
    released.set()


def test_a_named_backend_runs_without_a_replacement_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install()
    refused = choice.Finding("onnxruntime", "it differs from the reference")
    monkeypatch.setattr(choice, "_try_default", lambda *_: refused)
    messages: list[str] = []
    engine = load_engine(backend="other", announce=messages.append)
    assert isinstance(engine, Other)
    assert messages == ["nothing can replace other if it fails: onnxruntime may not run here"]


def test_an_absent_backend_gives_no_warning(install: Install) -> None:
    install(missing="there is no card")
    messages: list[str] = []
    engine = load_engine(backend="auto", announce=messages.append)
    assert messages == ["backend: onnxruntime; nothing faster can run here"]
    assert backend_warning(engine) == ""
    install(error=NotCompiledError("run compile"))
    assert backend_warning(load_engine(backend="auto", announce=messages.append)) == ""
    assert messages[1] == "backend: onnxruntime; run compile"


def test_a_backend_with_wrong_outputs_may_not_run(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install(offset=0.001)
    take_times(monkeypatch, onnxruntime=2.0, other=0.5)
    messages: list[str] = []
    engine = load_engine(backend="auto", announce=messages.append)
    assert engine.backend == "onnxruntime"
    # The digits depend on the calibration of the shipped model.
    wrong = r"it differs from the reference by valence \d\.\de-03"
    assert re.search(f"other may not run: {wrong}", messages[0])
    assert "allowed are 1e-04 (1e-03 for sound) in fp32" in backend_warning(engine)
    with pytest.raises(BackendError, match=f"other cannot run here: {wrong}"):
        load_engine(backend="other")


def test_a_backend_that_fails_to_load_gives_a_warning(install: Install) -> None:
    install(error=RuntimeError("CUDA: out of memory\nand more"))
    engine = load_engine(backend="auto")
    assert engine.backend == "onnxruntime"
    assert backend_warning(engine) == "other may not run: CUDA: out of memory"


def test_a_backend_that_fails_later_is_replaced_by_the_default(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    opened = install()
    take_times(monkeypatch, onnxruntime=2.0, other=0.5)
    messages: list[str] = []
    engine = load_engine(backend="other", announce=messages.append)
    assert messages == []
    opened[0].fails = True
    info = engine.info
    engine.infer(info.check_frames(2), silent_maps(info), no_past(info))
    assert engine.backend == "onnxruntime"
    assert messages == [backend_warning(engine)]
    assert "the card fell off the bus" in messages[0]


def test_a_named_backend_must_be_available(install: Install) -> None:
    install(missing="there is no card")
    with pytest.raises(BackendError, match="other cannot run here: there is no card"):
        load_engine(backend="other")
    with pytest.raises(ValueError, match="must be one of: auto, onnxruntime, other"):
        load_engine(backend="gpu")


def test_the_result_of_the_gate_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine()
    results = json.loads((cache_folder() / "gate.json").read_text())
    (key,) = results
    assert engine.info.sha256[:16] in key
    assert environment() in key
    assert results[key]["passed"] is True

    def never(engine: Engine) -> None:
        raise AssertionError("the gate ran again")

    monkeypatch.setattr(parity, "check", never)
    load_engine()
    # Another processor or library may compute other digits.
    monkeypatch.setattr("mer_engine.backends.onnxruntime.environment", lambda: "other")
    with pytest.raises(BackendError, match="the gate ran again"):
        load_engine()


def test_a_refusal_is_cached_too(engine: Engine, tmp_path: Path) -> None:
    predictions = parity.reference_predictions(engine.info)
    predictions.values[7, 0, 1, 0] += 0.01
    path = _with_reference(engine, tmp_path, parity.reference_metadata(predictions))
    for _ in range(2):
        with pytest.raises(BackendError, match=r"arousal 1\.0e-02"):
            load_engine(path)
    with pytest.raises(BackendError, match="no backend may run on this machine: onnxruntime"):
        load_engine(path, backend="auto")


def test_a_model_without_reference_outputs_runs_with_the_default_only(
    engine: Engine, tmp_path: Path, install: Install
) -> None:
    path = _with_reference(engine, tmp_path, None)
    opened = install()
    messages: list[str] = []
    assert load_engine(path, backend="auto", announce=messages.append).backend == "onnxruntime"
    assert opened == []
    assert "lacks the reference's outputs" in messages[0]
    with pytest.raises(BackendError, match="lacks the reference's outputs"):
        load_engine(path, backend="other")


def test_torch_itself_passes() -> None:
    engine = load_engine(backend="torch")
    assert engine.backend == "torch"
    info = engine.info
    window = info.check_frames(2), silent_maps(info), no_past(info)
    outputs, expected = engine.infer(*window), load_engine().infer(*window)
    assert "sound" in output_names(info)
    for name in output_names(info):
        np.testing.assert_allclose(getattr(outputs, name), getattr(expected, name), atol=1e-3)


def test_a_missing_file_is_an_error_of_its_own() -> None:
    for name in ("auto", "torch"):
        with pytest.raises(ModelError, match=r"nowhere\.onnx cannot be read"):
            load_engine("nowhere.onnx", backend=name)


def _with_reference(engine: Engine, folder: Path, reference: dict[str, Any] | None) -> Path:
    model = onnx.load(shipped_model())
    write_metadata(model, replace(engine.info, parity=reference))
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path
