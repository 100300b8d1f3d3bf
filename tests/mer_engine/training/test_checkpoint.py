"""Checkpoints: atomic, and only loaded by a run with the same configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mer_engine.datasets.problems import DataError
from mer_engine.training.checkpoint import Checkpoint

CONFIGURATION = {
    "data": ("deam=a", "csv=b"),
    "out": Path("m.onnx"),
    "fit": {"steps": 12, "rate": 0.1},
}


def test_a_saved_state_is_loaded_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"
    checkpoint = Checkpoint(path, CONFIGURATION)
    assert checkpoint.load() is None
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    state = {
        "epoch": 3,
        "weights": layer.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": torch.get_rng_state(),
        "numpy": np.random.default_rng(5).bit_generator.state,
        "losses": [0.5, (1, None)],
        "figure": np.float64(0.25),
        "version": torch.__version__,
    }
    checkpoint.save({"epoch": 2})
    checkpoint.save(state)
    again = Checkpoint(path, CONFIGURATION).load()
    assert again is not None
    torch.testing.assert_close(again["weights"]["weight"], layer.weight.detach())
    assert again["optimiser"]["state"][0]["step"] == 1
    torch.testing.assert_close(again["generator"], torch.get_rng_state())
    assert again["numpy"] == state["numpy"]
    assert (again["epoch"], again["losses"]) == (3, [0.5, (1, None)])
    assert (again["figure"], again["version"]) == (0.25, str(torch.__version__))
    assert [file.name for file in tmp_path.iterdir()] == ["m.checkpoint"]
    checkpoint.discard()
    checkpoint.discard()
    assert not path.exists()


def test_an_interrupted_save_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "m.checkpoint", CONFIGURATION)
    checkpoint.save({"epoch": 1})

    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space"):
            checkpoint.save({"epoch": 2})
    assert checkpoint.load() == {"epoch": 1}
    checkpoint.save({"epoch": 3})
    assert checkpoint.load() == {"epoch": 3}


def test_another_configuration_is_rejected_with_the_differences(tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"
    Checkpoint(path, CONFIGURATION).save({})
    other = {**CONFIGURATION, "fit": {"steps": 10, "rate": 0.1}, "init": "shipped"}
    with pytest.raises(DataError) as rejected:
        Checkpoint(path, other).load()
    message = str(rejected.value)
    assert (
        "another training run: fit.steps was 12 and is 10; init was None and is shipped" in message
    )
    assert "--fresh" in message
    many = {f"option {n}": n for n in range(9)}
    with pytest.raises(DataError, match="; and 8 more; train"):
        Checkpoint(path, many).load()


def test_damaged_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"
    checkpoint = Checkpoint(path, CONFIGURATION)
    checkpoint.save({"weights": torch.zeros(1000)})
    content = path.read_bytes()
    for broken in (content[:2000], b"", b"no checkpoint"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"m\.checkpoint cannot be read as a checkpoint"):
            checkpoint.load()
    torch.save({"weights": 1}, path)
    with pytest.raises(DataError, match="is not a checkpoint of this version"):
        checkpoint.load()


def test_an_unsupported_type_is_an_error(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "m.checkpoint", CONFIGURATION)
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a ndarray"):
        checkpoint.save({"a": [1, np.zeros(2)]})
    assert not checkpoint.path.exists()
