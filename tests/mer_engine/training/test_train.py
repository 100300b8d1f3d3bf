"""Training runs, from data folders to a model file and its figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from collections_support import write_four_quadrants
from deam_support import SPLITS, write_deam
from mer_engine import load_engine
from mer_engine.datasets.problems import DataError
from mer_engine.model_file import DIMENSIONS
from mer_engine.network import RegressionHead
from mer_engine.network_import import load_network
from mer_engine.training import fit as fit_module
from mer_engine.training import train as train_module
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.examples import Labels
from mer_engine.training.export import LICENCE
from mer_engine.training.settings import TrainSettings
from mer_engine.training.train import held_out_masks, read_collections, train
from numpy.typing import NDArray
from own_data_support import write_audio, write_own_data
from training_support import labelled, write_start

from realtime_mer.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data")).parent


@pytest.fixture(scope="module")
def quadrants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four_quadrants(tmp_path_factory.mktemp("4q"), songs=12)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start") / "start.onnx", notice="By someone.\n")


@pytest.fixture(scope="module")
def finished(data: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    """Return the settings of a run that finished without interruption."""
    out = tmp_path_factory.mktemp("finished") / "finished.onnx"
    settings = TrainSettings(data=(str(data),), out=out, encoder=start, quick=True, steps=2)
    train(settings, quiet)
    assert not settings.checkpoint.exists()
    return settings


def quiet(_: str) -> None:
    """Ignore a progress message."""


def test_train_on_two_kinds_of_labels_then_evaluate(
    data: Path, quadrants: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "trial.onnx"
    sources = ["--data", str(data), "--data", f"4q={quadrants}"]
    arguments = ["train", *sources, "--encoder", str(start), "--out", str(model)]
    assert main([*arguments, "--quick", "--keep-checkpoint"]) == 0
    log = capsys.readouterr().err
    for name in ("part 1", "part 5", "deam", "4q"):
        assert f"fitting without {name}, to measure on it" in log
    assert "4q, unknown: 12 songs, quadrants" in log
    network, info = load_network(model)
    report = info.training
    assert [entry["name"] for entry in report["collections"]] == ["deam", "4q"]
    assert report["encoder"]["name"] == "start"
    assert report["init"] is False
    assert report["fit"]["steps"] == 20
    for kind in ("known", "unknown"):
        figures = report["validation"][kind]
        assert set(figures) == {"deam", "4q"}
        assert set(figures["deam"]) == {"songs", *DIMENSIONS}
        assert set(figures["4q"]) == {"songs", "quadrants", "auc"}
        assert figures["deam"]["songs"] == 24
    assert (info.scores, info.licence) == (DIMENSIONS, LICENCE)
    assert info.notice == "By someone.\n"
    assert set(info.distribution) == set(info.movement) == set(DIMENSIONS)
    assert all(0 < scale < 100 for scale in info.interval_scale["valence"])
    # The encoder is that of the start model, the head is new and tells both collections apart.
    begun, _ = load_network(start)
    for name, value in begun.encoder.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(network.encoder.state_dict()[name], value)
    assert not torch.equal(network.head.scores, begun.head.scores)
    assert network.config.regressor_collections == 2
    assert network.head.config.bins == 41
    # The kept checkpoint has the encoded clips.
    state = read_checkpoint(model.with_name("trial.onnx.checkpoint"))["state"]["dataset"]
    labels = Labels.from_state(state["labels"])
    assert state["steps"].shape == (1, 36, 20, network.config.described)
    assert (labels.signs != 0).all(1).sum() == 12
    assert np.isfinite(labels.values).all((1, 2)).sum() == 24

    arguments = ["evaluate", "--data", str(data), "--model", str(model), "--json"]
    assert main(arguments) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["songs"] == 6
    assert measured["model"]["name"] == "trial"
    assert measured["model_was_trained_on_these_songs"] is False
    assert main(["evaluate", "--data", f"4q={quadrants}", "--model", str(model)]) == 2
    assert "give --split train" in capsys.readouterr().err


class _Interrupted(Exception):
    pass


def interrupt_at(text: str, messages: list[str]) -> Callable[[str], None]:
    """Return a log function that collects messages and interrupts the run at one."""

    def log(message: str) -> None:
        messages.append(message)
        if text in message:
            raise _Interrupted

    return log


def weights(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}


def assert_same_weights(got: Path, expected: Path) -> None:
    actual, wanted = weights(got), weights(expected)
    assert actual.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def test_an_interrupted_run_resumes(
    finished: TrainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(finished, out=tmp_path / "m.onnx", keep_checkpoint=True)
    with pytest.raises(_Interrupted):
        train(settings, interrupt_at("without part 1", []))
    assert np.float32(1e-40) * np.float32(1.0) > 0.0  # denormal numbers count again
    export = ["export", str(settings.checkpoint), "--out", str(tmp_path / "early.onnx")]
    assert main(export) == 2
    assert "contains no fitted network yet" in capsys.readouterr().err

    messages: list[str] = []
    with pytest.raises(_Interrupted):
        train(settings, interrupt_at("without part 3", messages))
    assert f"resuming from {settings.checkpoint}" in messages
    assert main(export) == 0
    out, err = capsys.readouterr()
    assert "wrote" in out
    assert "not calibrated" in err
    early = load_engine(tmp_path / "early.onnx").info
    assert "validation" not in early.training
    assert "unfinished" in early.training["intervals"]

    with pytest.raises(DataError, match=r"another training run: fit\.steps was 2 and is 3"):
        train(replace(settings, steps=3), messages.append)
    with pytest.raises(DataError, match=r"another training run: encoder\.name was start and is"):
        train(replace(settings, encoder=None), messages.append)
    messages.clear()
    info = train(settings, messages.append)
    assert [text for text in messages if "without part" in text] == [
        f"fitting without part {part}, to measure on it" for part in range(3, 6)
    ]
    assert_same_weights(settings.out, finished.out)
    expected = load_engine(finished.out).info
    assert info.interval_scale == expected.interval_scale
    assert info.distribution == expected.distribution
    assert info.training["validation"] == expected.training["validation"]

    # The checkpoint of the finished run contains the model that was written.
    assert main(export) == 0
    assert "not calibrated" not in capsys.readouterr().err
    assert_same_weights(tmp_path / "early.onnx", settings.out)
    assert load_engine(tmp_path / "early.onnx").info.interval_scale == info.interval_scale
    messages.clear()
    with pytest.raises(_Interrupted):
        train(replace(settings, fresh=True), interrupt_at("without part 1", messages))
    assert not any("resuming" in text for text in messages)


def test_test_songs_have_no_effect(data: Path, finished: TrainSettings, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "other")
    for song in SPLITS["test"]:
        write_audio(tmp_path / "other" / "deam" / "audio" / f"{song}.flac", 10.0, seed=song)
    other = replace(finished, data=(str(tmp_path / "other"),), out=tmp_path / "m.onnx")
    train(other, quiet)
    assert_same_weights(other.out, finished.out)


def test_a_single_collection_is_not_held_out(finished: TrainSettings) -> None:
    assert set(load_engine(finished.out).info.training["validation"]) == {"known"}


def test_parts_and_collections_are_held_out() -> None:
    one, other = labelled(7)[1], labelled(3, collection="b")[1]
    masks = held_out_masks(one + other)
    assert list(masks) == ["part 1", "part 2", "part 3", "part 4", "part 5", "a", "b"]
    # All clips are in one part and in one collection.
    assert (np.sum([masks[f"part {n}"] for n in range(1, 6)], axis=0) == 1).all()
    assert np.flatnonzero(masks["part 2"]).tolist() == [1, 6, 8]
    assert np.flatnonzero(masks["b"]).tolist() == [7, 8, 9]
    # Empty parts and a single collection are left out.
    assert list(held_out_masks(other)) == ["part 1", "part 2", "part 3"]


def test_songs_by_the_held_out_artists_are_not_fitted(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_own_data(tmp_path / "own", songs=9)
    folder = write_four_quadrants(tmp_path / "4q", songs=6)  # by Artist 0 to 2
    fitted: list[set[str]] = []

    def fit(
        head: RegressionHead, steps: NDArray[np.float16], labels: Labels, *rest: Any, **more: Any
    ) -> RegressionHead:
        fitted.append(set(labels.groups.tolist()))
        return fit_module.fit(head, steps, labels, *rest, **more)

    monkeypatch.setattr(train_module, "fit", fit)
    settings = TrainSettings(
        data=(f"csv={own}", f"4q={folder}"), out=tmp_path / "m.onnx", encoder=start,
        quick=True, steps=1,
    )  # fmt: skip
    train(settings, quiet)
    *_, without_quadrants, without_own, everything = fitted
    both = {"artist artist 0", "artist artist 1"}
    assert both <= everything
    assert not both & without_quadrants
    assert without_own == {"artist artist 2"}  # own songs by this artist are test songs


def test_unreadable_and_short_songs(data: Path, start: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    audio = folder / "deam" / "audio"
    (audio / "2.flac").write_bytes((audio / "2.flac").read_bytes()[:9000])
    write_audio(audio / "3.flac", 1.0)
    write_audio(audio / "4.flac", 6.0)
    messages: list[str] = []
    settings = TrainSettings(
        data=(str(folder),), out=tmp_path / "m.onnx", encoder=start, quick=True, steps=1,
        keep_checkpoint=True,
    )  # fmt: skip
    train(settings, messages.append)
    assert any("2.flac cannot be read as audio" in text for text in messages)
    assert "fitting all 22 clips" in messages
    # Labels after the end of the audio are dropped.
    state = read_checkpoint(settings.checkpoint)["state"]["dataset"]
    labels = Labels.from_state(state["labels"])
    values = labels.values[labels.songs.tolist().index("deam/4")]
    assert np.isfinite(values).all(1).tolist() == [True] * 12 + [False] * 8
    for song in (*SPLITS["train"], *SPLITS["validation"]):
        write_audio(audio / f"{song}.flac", 1.0)
    with pytest.raises(DataError, match="none of the songs' clips can be read"):
        train(replace(settings, fresh=True), messages.append)


def test_fine_tuning_on_own_data(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_own_data(tmp_path / "own", songs=6, seconds=10.0)
    (own / "6.wav").write_text("no audio")
    with (own / "labels.csv").open("a") as file:
        file.write("6.wav,0.5,0,0\n7.wav,0.5,0,0\n")
    model = tmp_path / "mine.onnx"
    arguments = ["train", "--data", f"csv={own}", "--init", str(start), "--out", str(model)]
    assert main([*arguments, "--quick", "--steps", "3", "--name", "mine"]) == 0
    log = capsys.readouterr().err
    assert "csv: song 7.wav: no such audio file in the folder" in log
    assert "csv: 2 of 8 songs were left out: 1 " in log
    info, begun = load_engine(model).info, load_engine(start).info
    assert info.name == "mine"
    assert info.training["init"] is True
    assert info.training["encoder"] == {"name": begun.name, "sha256": begun.sha256}
    assert load_network(model)[0].config == load_network(start)[0].config
    assert info.training["collections"] == [
        {
            "name": "csv",
            "songs": {"train": 2, "validation": 2},
            "clips": {"train": 2, "validation": 2},
        }
    ]
    assert info.notice == begun.notice
    ours, theirs = (load_network(path)[0].state_dict() for path in (model, start))
    assert not torch.equal(ours["head.scores"], theirs["head.scores"])
    # Three steps change the head a little, and the encoder not at all.
    scores = torch.stack([state["head.scores"].flatten() for state in (ours, theirs)])
    assert torch.corrcoef(scores)[0, 1] > 0.9
    for name in ("encoder.front.0.convolve.weight", "encoder.pool_std", "head.statistic_std"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
    assert main(["evaluate", str(model), "--data", f"csv={own}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["songs"] == 2


def test_fit_settings_depend_on_the_run() -> None:
    settings = TrainSettings(data=("x",), out=Path("m.onnx"))
    default = settings.fit_settings()
    fine_tuning = replace(settings, init=Path("a.onnx")).fit_settings()
    assert fine_tuning.learning_rate < default.learning_rate
    assert fine_tuning.support == 0  # the regressor of the model stays
    quick = replace(settings, quick=True).fit_settings()
    assert (quick.steps, quick.versions) == (20, 1)
    assert replace(settings, quick=True, steps=7).fit_settings().steps == 7


def test_data_that_cannot_be_trained_on_are_rejected(start: Path, tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=3)
    settings = TrainSettings(
        data=(f"csv={own}",), out=tmp_path / "m.onnx", encoder=start, quick=True
    )
    songs = (own / "songs.csv").read_text()
    for number in range(3):
        songs = songs.replace(f"Artist {number}", "Someone")
    (own / "songs.csv").write_text(songs)
    with pytest.raises(DataError, match="all songs are by one artist"):
        train(settings, quiet)
    (own / "songs.csv").write_text(songs.replace("validation", "test").replace("train", "test"))
    with pytest.raises(DataError, match=r"no song of the splits train and validation in .*own can"):
        train(settings, quiet)
    with pytest.raises(DataError, match=r"is given twice \(csv, csv\)"):
        read_collections((f"csv={own}", f"csv={own}"), quiet)


def test_a_model_of_own_data_can_have_another_licence(start: Path, tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    model = tmp_path / "m.onnx"
    arguments = ["train", "--data", f"csv={own}", "--out", str(model), "--quick", "--steps", "1"]
    assert main([*arguments, "--encoder", str(start), "--licence", "MIT"]) == 0
    info = load_engine(model).info
    assert info.licence == "MIT"
    assert info.training["data"] == "csv: train and validation splits"
