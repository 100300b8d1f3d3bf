"""The commands train and evaluate, from a data folder to figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deam_support import write_deam

from realtime_mer.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data")).parent


def test_train_then_evaluate(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "trial.onnx"
    assert main(["train", "--data", str(data), "--out", str(model), "--quick"]) == 0
    assert "validation: R2 arousal" in capsys.readouterr().err
    arguments = ["evaluate", "--data", str(data), "--model", str(model), "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["songs"] == 6
    assert report["split"] == "test"
    assert report["estimates"] == 6 * 11
    assert report["model"]["name"] == "mer-1"
    for kind in ("dynamic", "static"):
        for dimension in ("arousal", "valence"):
            assert set(report[kind][dimension]) == {"r2", "rmse", "ccc", "r"}
    assert 0 <= report["coverage"]["arousal"] <= 1
    assert report["coverage"]["level"] == 0.8
