"""The commands train and evaluate, from a data folder to figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from deam_support import write_deam
from mer_engine import load_engine
from mer_engine.engine import shipped_model
from mer_engine.training.problem import DataError
from mer_engine.training.train import TrainSettings, train
from own_data_support import write_own_data

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
    assert report["model"]["name"] == "trial"
    for kind in ("dynamic", "static"):
        for dimension in ("arousal", "valence"):
            assert set(report[kind][dimension]) == {"r2", "rmse", "ccc", "r"}
    assert 0 <= report["coverage"]["arousal"] <= 1
    assert report["coverage"]["level"] == 0.8


class _Interrupted(Exception):
    pass


def until(sentence: str, said: list[str]) -> Callable[[str], None]:
    """Takes sentences and breaks the run off at one."""

    def say(text: str) -> None:
        said.append(text)
        if sentence in text:
            raise _Interrupted

    return say


def weights(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}


def test_an_interrupted_run_goes_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = TrainSettings(data=(str(data),), out=tmp_path / "whole.onnx", quick=True, epochs=1)
    train(whole, [].append)
    assert not whole.checkpoint.exists()

    settings = replace(whole, out=tmp_path / "m.onnx", keep_checkpoint=True)
    with pytest.raises(_Interrupted):
        train(settings, until("epoch 1", []))
    export = ["export", str(settings.checkpoint), "--out", str(tmp_path / "early.onnx")]
    assert main(export) == 2
    assert "holds no fitted network yet" in capsys.readouterr().err

    said: list[str] = []
    with pytest.raises(_Interrupted):
        train(settings, until("training and validation songs", said))
    assert f"going on from {settings.checkpoint}" in said
    assert main(export) == 0
    assert "wrote" in capsys.readouterr().out
    early = load_engine(tmp_path / "early.onnx").info
    assert early.training["validation"]["fitted_on"] == "train"

    with pytest.raises(DataError, match=r"another training run: fit\.epochs was 1 and is 2"):
        train(replace(settings, epochs=2), said.append)
    said.clear()
    info = train(settings, said.append)
    assert not any("clips of the training songs" in text for text in said)
    expected, got = weights(whole.out), weights(settings.out)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    assert early.interval_scale == info.interval_scale
    assert (
        weights(tmp_path / "early.onnx")["reader.scores"].tolist() != got["reader.scores"].tolist()
    )

    # The finished run's checkpoint holds the model that was written.
    assert main(export) == 0
    again = weights(tmp_path / "early.onnx")
    np.testing.assert_array_equal(again["reader.scores"], got["reader.scores"])
    said.clear()
    train(replace(settings, fresh=True, keep_checkpoint=False), said.append)
    assert not any("going on" in text for text in said)
    assert not settings.checkpoint.exists()


def test_fine_tuning_on_own_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    (own / "6.wav").write_text("no audio")
    with (own / "labels.csv").open("a") as file:
        file.write("6.wav,0.5,0,0\n7.wav,0.5,0,0\n")
    model = tmp_path / "mine.onnx"
    arguments = ["train", "--data", f"csv={own}", "--init", "shipped", "--out", str(model)]
    assert main([*arguments, "--epochs", "1", "--name", "mine"]) == 0
    told = capsys.readouterr().err
    assert "csv: song 7.wav: no such audio file in the folder" in told
    assert "csv: 2 of 8 songs were left out: 1 " in told
    info, shipped = load_engine(model).info, load_engine().info
    assert info.name == "mine"
    assert info.training["init"] == {"name": shipped.name, "sha256": shipped.sha256}
    assert info.training["network"] == shipped.training["network"]
    assert info.training["collections"] == [
        {
            "name": "csv",
            "songs": {"train": 2, "validation": 2},
            "clips": {"train": 4, "validation": 4},
        }
    ]
    assert info.notice == shipped.notice
    ours, theirs = weights(model), weights(shipped_model())
    assert not np.array_equal(ours["reader.scores"], theirs["reader.scores"])
    # It went on from there: one epoch moves a network a little.
    assert np.corrcoef(ours["reader.scores"].ravel(), theirs["reader.scores"].ravel())[0, 1] > 0.9
    assert main(["evaluate", str(model), "--data", f"csv={own}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["songs"] == 2


def test_data_without_a_split_or_a_dimension(tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    settings = TrainSettings(data=(f"csv={own}",), out=tmp_path / "m.onnx", quick=True)
    table = (own / "labels.csv").read_text().splitlines()
    (own / "labels.csv").write_text(
        "\n".join([table[0], *(f"{row.rsplit(',', 1)[0]}," for row in table[1:])])
    )
    with pytest.raises(DataError, match="no song of the train split has labels of arousal"):
        train(settings, [].append)
    songs = (own / "songs.csv").read_text()
    (own / "songs.csv").write_text(songs.replace("validation", "train"))
    (own / "labels.csv").write_text("\n".join(table))
    with pytest.raises(DataError, match=r"no song of the validation split in .*own can be used"):
        train(settings, [].append)


def test_a_model_of_own_data_alone_has_the_owners_licence(tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    model = tmp_path / "m.onnx"
    arguments = ["train", "--data", f"csv={own}", "--out", str(model), "--epochs", "1"]
    assert main([*arguments, "--licence", "MIT"]) == 0
    info = load_engine(model).info
    assert info.licence == "MIT"
    assert info.training["init"] is None
    assert info.training["data"] == "csv: train and validation splits"
