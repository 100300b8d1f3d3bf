"""`train` and `evaluate`: what they refuse, and the figures worked out another way."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from deam_support import write_deam

from realtime_mer.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data")).parent


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_evaluate_prints_a_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(data), "--split", "validation"]) == 0
    out, err = capsys.readouterr()
    assert "12 songs of the validation split" in out
    assert "arousal, over time" in out
    assert "12 of 12 clips" in err
    assert max(map(len, out.splitlines())) <= 80


def test_evaluate_prints_details(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(data), "--details"]) == 0
    out, err = capsys.readouterr()
    assert "2015 (songs 2001-2058)" in out
    assert "all 58" in out
    assert "intervals of constant width were fitted on" in out
    assert "18 of 18 clips" in err  # the validation songs too
    assert max(map(len, out.splitlines())) <= 80


def test_evaluate_names_each_song_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_deam(tmp_path)
    (root / "audio" / "2001.flac").unlink()
    (root / "audio" / "2002.flac").write_text("not audio")
    soundfile.write(root / "audio" / "2003.flac", np.full(48_000, 0.1), 16_000)
    assert main(["evaluate", "--data", str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["songs"] == 3
    assert "song 2001: no audio file" in err
    assert "song 2002:" in err
    assert "cannot be read as audio" in err
    assert "song 2003: the clip ends before 5.0 s" in err
    assert "3 songs were left out" in err


def test_bad_data_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("evaluate", "train"):
        assert "does not exist" in refusal(capsys, command, "--data", str(tmp_path / "none"))
        assert "holds no DEAM" in refusal(capsys, command, "--data", str(tmp_path))


def test_bad_models(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.onnx")
    assert missing in refusal(capsys, "evaluate", "--data", str(data), "--model", missing)


def test_train_refuses_what_cannot_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--data", str(data), "--out", str(tmp_path / "m.onnx"), "--quick"]
    assert "--epochs is 0" in refusal(capsys, *train, "--epochs", "0")
    assert "--device warp" in refusal(capsys, *train, "--device", "warp")
    told = refusal(capsys, *train, "--teacher", str(tmp_path))
    assert "holds no checkpoint musicnn/MSD_musicnn" in told
    assert "pip download musicnn" in told
    train[4] = str(tmp_path / "none" / "m.onnx")
    assert "does not exist" in refusal(capsys, *train)


def test_train_without_torch_says_what_to_install(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "torch" else find(name, *rest),
    )
    told = refusal(capsys, "train", "--data", str(data))
    assert "pip install 'realtime-mer[train]'" in told
