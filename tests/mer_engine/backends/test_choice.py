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
from mer_engine.backends import choice
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, where
from mer_engine.backends.registry import Announce, Backend, backends
from mer_engine.cache import cache_folder
from mer_engine.engine import Inference, backend_warning, no_past, shipped_model, silent_maps
from mer_engine.errors import BackendError, NotCompiledError
from mer_engine.model_file import write_metadata
from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path / "cache"))


@dataclass
class Other:
    """A backend beside the default: as fast as that, and as wrong as it is made."""

    engine: OnnxRuntimeEngine
    wrong_by: float = 0.0
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
        told = self.engine.infer(frames, cached_maps, past)
        moved = told.probabilities.copy()
        moved[:, :, 0] -= self.wrong_by
        moved[:, :, -1] += self.wrong_by
        return told._replace(probabilities=moved)


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


def test_the_fastest_serves_and_says_why(monkeypatch: pytest.MonkeyPatch, install: Install) -> None:
    install()
    take_times(monkeypatch, onnxruntime=2.0, other=0.5)
    told: list[str] = []
    engine = load_engine(backend="auto", announce=told.append)
    assert engine.backend == "other"
    assert isinstance(engine, FallbackEngine)
    assert told == ["backend: other, 0.5 ms an update; onnxruntime takes 2.0 ms"]
    take_times(monkeypatch, onnxruntime=0.4, other=0.5)
    assert load_engine(backend="auto", announce=told.append).backend == "onnxruntime"
    assert told[1] == "backend: onnxruntime, 0.4 ms an update; other takes 0.5 ms"


def test_what_is_not_there_is_not_worth_a_word(install: Install) -> None:
    install(missing="there is no card")
    told: list[str] = []
    engine = load_engine(backend="auto", announce=told.append)
    assert told == ["backend: onnxruntime; nothing faster can run here"]
    assert backend_warning(engine) == ""
    install(error=NotCompiledError("run compile"))
    assert backend_warning(load_engine(backend="auto", announce=told.append)) == ""
    assert told[1] == "backend: onnxruntime; run compile"


def test_a_backend_that_is_wrong_may_not_serve(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install(wrong_by=0.001)
    take_times(monkeypatch, onnxruntime=2.0, other=0.5)
    told: list[str] = []
    engine = load_engine(backend="auto", announce=told.append)
    assert engine.backend == "onnxruntime"
    # How far a wrong answer of the graph moves the value hangs on the shipped model's line.
    wrong = r"it differs from the reference by valence \d\.\de-03"
    assert re.search(f"other may not serve: {wrong}", told[0])
    assert "allowed are 1e-04 in fp32" in backend_warning(engine)
    with pytest.raises(BackendError, match=f"other cannot serve here: {wrong}"):
        load_engine(backend="other")


def test_a_backend_that_breaks_at_the_start_is_told_to_clients(install: Install) -> None:
    install(error=RuntimeError("CUDA: out of memory\nand more"))
    engine = load_engine(backend="auto")
    assert engine.backend == "onnxruntime"
    assert backend_warning(engine) == "other may not serve: CUDA: out of memory"


def test_a_backend_that_breaks_later_has_the_default_behind_it(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    opened = install()
    take_times(monkeypatch, onnxruntime=2.0, other=0.5)
    told: list[str] = []
    engine = load_engine(backend="other", announce=told.append)
    assert told == []
    opened[0].fails = True
    info = engine.info
    engine.infer(info.check_frames(2), silent_maps(info), no_past(info))
    assert engine.backend == "onnxruntime"
    assert told == [backend_warning(engine)]
    assert "the card fell off the bus" in told[0]


def test_a_backend_that_is_named_must_be_there(install: Install) -> None:
    install(missing="there is no card")
    with pytest.raises(BackendError, match="other cannot serve here: there is no card"):
        load_engine(backend="other")
    with pytest.raises(ValueError, match="must be one of: auto, onnxruntime, other"):
        load_engine(backend="gpu")


def test_the_gate_is_passed_once_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine()
    notes = json.loads((cache_folder() / "gate.json").read_text())
    (key,) = notes
    assert engine.info.sha256[:16] in key
    assert where() in key
    assert notes[key]["passed"] is True

    def never(engine: Engine) -> None:
        raise AssertionError("the gate was passed already")

    monkeypatch.setattr(choice.parity, "check", never)
    load_engine()
    # Another processor or library computes other digits.
    monkeypatch.setattr("mer_engine.backends.onnxruntime.where", lambda: "elsewhere")
    with pytest.raises(AssertionError):
        load_engine()


def test_a_refusal_is_remembered_too(engine: Engine, tmp_path: Path) -> None:
    told = choice.parity.stored_answers(engine.info).copy()
    told[7, 0, 1, 0] += 0.01
    path = _with_answers(engine, tmp_path, choice.parity.store(told))
    for _ in range(2):
        with pytest.raises(BackendError, match=r"arousal 1\.0e-02"):
            load_engine(path)
    with pytest.raises(BackendError, match="no backend may serve on this machine: onnxruntime"):
        load_engine(path, backend="auto")


def test_a_model_without_answers_goes_with_the_default_alone(
    engine: Engine, tmp_path: Path, install: Install
) -> None:
    path = _with_answers(engine, tmp_path, None)
    opened = install()
    told: list[str] = []
    assert load_engine(path, backend="auto", announce=told.append).backend == "onnxruntime"
    assert opened == []
    assert "does not hold the reference's answers" in told[0]
    with pytest.raises(BackendError, match="does not hold the reference's answers"):
        load_engine(path, backend="other")


def test_the_reference_itself_passes() -> None:
    engine = load_engine(backend="torch")
    assert engine.backend == "torch"
    info = engine.info
    window = info.check_frames(2), silent_maps(info), no_past(info)
    for ours, theirs in zip(engine.infer(*window), load_engine().infer(*window), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_file_that_is_missing_is_told_as_such() -> None:
    for name in ("auto", "torch"):
        with pytest.raises(ModelError, match=r"nowhere\.onnx cannot be read"):
            load_engine("nowhere.onnx", backend=name)


def test_an_update_is_measured(engine: Engine) -> None:
    assert 0.05 < choice.time_update(engine) < 1000


def _with_answers(engine: Engine, folder: Path, answers: dict[str, Any] | None) -> Path:
    model = onnx.load(shipped_model())
    write_metadata(model, replace(engine.info, parity=answers))
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path
