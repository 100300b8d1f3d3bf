import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mer_engine import Engine, ModelError, load_engine
from mer_engine.backends import choice, parity
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, environment
from mer_engine.backends.registry import Backend, backends
from mer_engine.cache import cache_folder
from mer_engine.engine import (
    Announce,
    Inference,
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
    backend: str = "other"

    def __post_init__(self) -> None:
        self.info = self.engine.info

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        if self.fails:
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
        *, missing: str | None = None, error: Exception | None = None, **options: Any
    ) -> list[Other]:
        opened: list[Other] = []

        def load(path: Path, announce: Announce) -> Engine:
            if error is not None:
                raise error
            opened.append(Other(OnnxRuntimeEngine(path), **options))
            return opened[-1]

        entry = Backend("other", lambda: missing, load)
        monkeypatch.setattr(choice, "backends", lambda: (backends()[0], entry))
        monkeypatch.setattr(choice, "NAMES", ("auto", "onnxruntime", "other"))
        monkeypatch.setattr(
            choice, "backend", lambda name: {"onnxruntime": backends()[0], "other": entry}[name]
        )
        return opened

    return add


def take_times(monkeypatch: pytest.MonkeyPatch, **times_ms: float) -> None:
    monkeypatch.setattr(choice, "time_update", lambda engine: times_ms[engine.backend])


def test_the_fastest_backend_runs_and_says_why(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install()
    take_times(monkeypatch, onnxruntime=2.0, other=0.5)
    messages: list[str] = []
    engine = load_engine(backend="auto", announce=messages.append)
    assert engine.backend == "other"
    assert isinstance(engine, FallbackEngine)
    assert messages == ["backend: other, 0.5 ms an update; onnxruntime takes 2.0 ms"]
    take_times(monkeypatch, onnxruntime=0.4, other=0.5)
    assert load_engine(backend="auto", announce=messages.append).backend == "onnxruntime"
    assert messages[1] == "backend: onnxruntime, 0.4 ms an update; other takes 0.5 ms"


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


def test_the_time_of_an_update_is_the_shortest_after_the_warm_up(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    durations_s = iter([0.001, 0.001, 0.001, 0.009, 0.005, 0.002, *[0.007] * 12])
    now_s = 0.0

    class Slow(Other):
        def infer(
            self,
            frames: NDArray[np.float32],
            cached_maps: NDArray[np.float32],
            past: NDArray[np.float32],
        ) -> Inference:
            nonlocal now_s
            now_s += next(durations_s)
            return super().infer(frames, cached_maps, past)

    monkeypatch.setattr("time.perf_counter", lambda: now_s)
    assert choice.time_update(Slow(OnnxRuntimeEngine(shipped_model()))) == pytest.approx(2.0)
    assert next(durations_s, None) is None


def _with_reference(engine: Engine, folder: Path, reference: dict[str, Any] | None) -> Path:
    model = onnx.load(shipped_model())
    write_metadata(model, replace(engine.info, parity=reference))
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path
