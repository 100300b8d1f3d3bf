"""Model files that anybody may have written: one sentence, quickly, in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mer_engine import Engine, ModelError, ModelInfo, load_engine
from mer_engine.engine import shipped_model
from mer_engine.model_file import METADATA_KEY


def with_metadata(text: str, path: Path) -> Path:
    """Write the shipped model with other metadata."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the model file")
    model = onnx.load(shipped_model())
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = text
    path.write_bytes(model.SerializeToString())
    return path


def changed(engine: Engine, place: str, value: Any) -> str:
    """Return the metadata with another value at a place such as `frontend.bands`."""
    data = json.loads(engine.info.to_json())
    *parents, name = place.split(".")
    member = data
    for parent in parents:
        member = member[parent]
    member[name] = value
    return json.dumps(data)


NUMBERS = [
    "step_s", "frames_per_step", "map_context", "embedding_size", "lag_order.max",
    "lag_order.default", "lag_order.fast", "interval.coverage", "prior.valence.mean",
    "frontend.bands", "frontend.hop", "frontend.fft_size", "frontend.chroma_fft_size",
    "frontend.sample_rate_hz", "frontend.log_scale",
]  # fmt: skip
LISTS = ["bins", "silent_map", "interval.valence", "scores"]
OBJECTS = ["frontend", "prior", "interval", "lag_order", "self_check", "parity", "training"]
TEXTS = ["name", "version", "created", "frontend_fingerprint", "licence", "notice"]


@pytest.mark.parametrize("value", [None, "1", [1], {}, True, -2, 1e15, 10**400, float("nan")])
@pytest.mark.parametrize("place", NUMBERS)
def test_a_number_that_cannot_be_used(engine: Engine, place: str, value: Any) -> None:
    with pytest.raises(ModelError, match="the model file") as caught:
        ModelInfo.from_json(changed(engine, place, value))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [None, 1, "text", {}, [], [None], [[]], ["a"] * 100_000])
@pytest.mark.parametrize("place", LISTS)
def test_a_list_that_cannot_be_used(engine: Engine, place: str, value: Any) -> None:
    with pytest.raises(ModelError, match="the model file") as caught:
        ModelInfo.from_json(changed(engine, place, value))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [1, "text", [], [1]])
@pytest.mark.parametrize("place", [*OBJECTS, "line", "distribution", "movement"])
def test_an_object_that_cannot_be_used(engine: Engine, place: str, value: Any) -> None:
    with pytest.raises(ModelError, match="the model file"):
        ModelInfo.from_json(changed(engine, place, value))


@pytest.mark.parametrize("value", [None, 1, [], "\x1b[2J", "\u202eevil", "a" * 1_000_000])
@pytest.mark.parametrize("place", TEXTS)
def test_a_text_that_cannot_be_used(engine: Engine, place: str, value: Any) -> None:
    with pytest.raises(ModelError, match=f"metadata cannot be used: {place} is") as caught:
        ModelInfo.from_json(changed(engine, place, value))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("training", {"collections": [1]}),
        ("training", {"auxiliary": {"songs": 3}}),
        ("training", {"collections": [{"songs": []}]}),
        ("training", {"validation": []}),
        ("training", {"validation": {"constant_half_width": {"valence": "wide"}}}),
        ("self_check", {"valence": 0.5}),
        ("bins", [0.5, 0.0, 1.0]),
        ("scores", ["arousal", "valence"]),
    ],
)
def test_a_report_that_cannot_be_used(engine: Engine, place: str, value: Any) -> None:
    with pytest.raises(ModelError, match=f"metadata cannot be used: {place}"):
        ModelInfo.from_json(changed(engine, place, value))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "1", '"text"', "null", '{"format": 2}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="metadata cannot be used"):
        ModelInfo.from_json(text)


def test_equal_keys_and_endless_metadata_are_refused(engine: Engine) -> None:
    text = engine.info.to_json()
    with pytest.raises(ModelError, match="the key 'name' twice"):
        ModelInfo.from_json(text[:-1] + ', "name": "other"}')
    with pytest.raises(ModelError, match="longer than"):
        ModelInfo.from_json(text + " " * 4_000_000)


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("embedding_size", lambda value: value - 1),
        ("frames_per_step", lambda value: 2 * value),
        ("map_context", lambda value: value + 1),
        ("bins", lambda value: value[1:]),
        ("scores", lambda value: [*value, "whole_valence"]),
        ("silent_map", lambda value: value[1:]),
    ],
)
def test_metadata_that_do_not_fit_the_graph(
    engine: Engine, tmp_path: Path, place: str, change: Callable[[Any], Any]
) -> None:
    value = change(json.loads(engine.info.to_json())[place])
    path = with_metadata(changed(engine, place, value), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="its graph does not fit its metadata"):
        load_engine(path)


@pytest.mark.parametrize("parity", [{"version": None}, {"refused": 1}, {"answers": [[1], 2]}])
def test_damaged_outputs_of_the_reference(
    engine: Engine, tmp_path: Path, parity: dict[str, Any]
) -> None:
    stored = {**(engine.info.parity or {}), **parity}
    path = with_metadata(changed(engine, "parity", stored), tmp_path / "model.onnx")
    if "answers" in parity:
        with pytest.raises(ModelError, match="parity gate are damaged"):
            load_engine(path)
    else:
        load_engine(path)  # without these outputs, only other backends cannot be compared


@pytest.mark.parametrize("folders", ["", "../../", "/"])
def test_weights_from_other_files_are_refused(
    tmp_path: Path, folders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx writes the model file")
    model = onnx.load(shipped_model())
    tensor = next(t for t in model.graph.initializer if 400 <= len(t.raw_data) <= 2000)
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    prefix = f"{tmp_path}/" if folders == "/" else folders
    (folder / f"{prefix}secret.bin").write_bytes(tensor.raw_data)
    for key, value in (("location", f"{prefix}secret.bin"), ("length", str(len(tensor.raw_data)))):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    monkeypatch.chdir(folder)
    with pytest.raises(ModelError, match="takes its weights from other files"):
        load_engine("model.onnx")


@pytest.mark.parametrize("kind", ["sparse", "zip", "folder", "fifo", "device"])
def test_other_files_in_the_place_of_a_model(kind: str, tmp_path: Path) -> None:
    """Quickly, in bounded memory, with one sentence."""
    path = tmp_path / "model.onnx"
    sentence = "is not a file"
    if kind == "sparse":
        path.touch()
        os.truncate(path, 10 << 30)
        sentence = "larger than 256 MiB"
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(50 << 20))
        sentence = "damaged or not an ONNX model"
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no FIFOs")
        os.mkfifo(path)
    else:
        if not Path("/dev/zero").exists():
            pytest.skip("this system has no /dev/zero")
        path = Path("/dev/zero")
    program = """
import sys
from realtime_mer.cli import main
try:
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
except ImportError:
    pass
sys.exit(main(["analyze", "demo", "--model", sys.argv[1]]))
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2, run.stderr
    assert sentence in run.stderr
    assert run.stderr.count("\n") == 1
