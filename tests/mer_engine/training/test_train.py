"""Training runs, from a data folder to a model file and its figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from deam_support import SPLITS, write_deam
from mer_engine import load_engine
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.engine import shipped_model
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.network_import import load_network
from mer_engine.training import encoded_dataset
from mer_engine.training import train as train_module
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.settings import TrainSettings
from mer_engine.training.teacher import NOTICE, TaggerWeights
from mer_engine.training.train import restore_dataset, train
from mer_engine.training.transfer import init_encoder
from own_data_support import write_audio, write_own_data
from tagger_support import make_tagger, write_wheel
from vgmidi_support import write_vgmidi

from realtime_mer.cli import main

FOLDS = 2


def small_network(teacher: TaggerWeights | None) -> NetworkConfig:
    """Return the configuration of a network that has room for the live filters of the teacher."""
    return NetworkConfig(
        tags=0 if teacher is None else len(teacher.tags[1]),
        timbral=((7, 38, 6), (7, 67, 4)),
        temporal=((128, 2), (64, 3), (32, 6)),
        residual_filters=4 if teacher is None else 64,
        band_stride=8,
        hidden=8,
        heads=2,
        width=16,
        statistics=24,
        bins=21,
    )


@pytest.fixture(autouse=True, scope="module")
def small_runs() -> Iterator[None]:
    """Train small networks with few folds, to save time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "CALIBRATION_FOLDS", FOLDS)
        for module in (train_module, encoded_dataset):
            patch.setattr(module, "network_config", small_network)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data")).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("teacher") / "tagger.whl", make_tagger())


@pytest.fixture(scope="module")
def finished(
    data: Path, wheel: Path, small_runs: None, tmp_path_factory: pytest.TempPathFactory
) -> TrainSettings:
    """Return the settings of a run that finished without interruption."""
    out = tmp_path_factory.mktemp("finished") / "finished.onnx"
    settings = TrainSettings(data=(str(data),), out=out, teacher=wheel, quick=True, steps=2)
    train(settings, quiet)
    assert not settings.checkpoint.exists()
    return settings


def test_train_then_evaluate(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "trial.onnx"
    assert main(["train", "--data", str(data), "--out", str(model), "--quick", "--steps", "5"]) == 0
    log = capsys.readouterr().err
    assert "training an encoder on 12 clips of the training songs" in log
    assert "fitting without fold 1 of 1" in log
    assert "held-out songs: R2 arousal" in log
    info = load_engine(model).info
    assert info.training["validation"]["held_out"] == "validation split"
    assert (info.training["teacher"], info.training["init"]) == (None, None)
    assert info.notice == ""
    arguments = ["evaluate", "--data", str(data), "--model", str(model), "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["songs"] == 6
    assert report["split"] == "test"
    assert report["estimates"] == 6 * 11
    assert report["model"]["name"] == "trial"
    assert report["model_was_trained_on_these_songs"] is False
    for kind in ("dynamic", "static"):
        for dimension in ("arousal", "valence"):
            assert set(report[kind][dimension]) == {"r2", "rmse", "ccc", "r"}
    assert 0 <= report["coverage"]["arousal"] <= 1
    assert report["coverage"]["level"] == 0.8


def test_a_run_with_a_teacher_and_unlabelled_music(
    data: Path, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "music" / "a" / "long.flac", 40.0)
    write_audio(tmp_path / "more" / "b.wav", 21.0, seed=1)
    (tmp_path / "more" / "broken.ogg").write_text("no audio")
    model = tmp_path / "m.onnx"
    arguments = ["train", "--data", str(data), "--teacher", str(wheel), "--out", str(model)]
    folders = ["--unlabelled", str(tmp_path / "music"), "--unlabelled", str(tmp_path / "more")]
    assert main([*arguments, *folders, "--steps", "3", "--quick"]) == 0
    log = capsys.readouterr().err
    assert "left out:" in log
    assert "broken.ogg cannot be read as audio" in log
    assert f"fitting without fold {FOLDS} of {FOLDS}" in log
    network, info = load_network(model)
    # Three clips of the long file, one of the other, and one extra clip of a training song.
    assert info.training["unlabelled_clips"] == 5
    assert info.training["clips"] == 24
    assert info.training["teacher"] == "MSD_musicnn"
    assert info.training["fit"]["steps"] == 3
    assert info.training["validation"]["held_out"].endswith("by artist")
    assert info.notice == NOTICE
    # The encoder is that of the tagger, normalised on the songs.
    start = EmotionNetwork(network.config)
    init_encoder(start, make_tagger())
    group, expected = network.encoder.front[0], start.encoder.front[0]
    torch.testing.assert_close(group.convolve.weight[:5], expected.convolve.weight[:5])
    torch.testing.assert_close(network.encoder.residual[1].weight, start.encoder.residual[1].weight)
    assert network.encoder.pool_std.std() > 0
    assert all(0 < scale < 100 for scale in info.interval_scale["valence"])


def test_auxiliary_music_is_trained_on_and_not_measured(
    finished: TrainSettings, tmp_path: Path
) -> None:
    games = [f"A_B_{game}_Title" for game in range(8)]
    folder = write_vgmidi(tmp_path / "scores", games, seconds=22.0)
    scores = load_collection(f"vgmidi={folder}")
    count = sum(len(scores.clips_of(split)) for split in ("train", "validation"))
    assert 0 < count < len(scores.clips)  # the others are of the test split
    settings = replace(
        finished, out=tmp_path / "m.onnx", auxiliary=(f"vgmidi={folder}",), keep_checkpoint=True
    )
    messages: list[str] = []
    info = train(settings, messages.append)
    expected = f"fitting 24 clips of the training and validation songs and {count} auxiliary clips"
    assert expected in messages
    dataset = restore_dataset(read_checkpoint(settings.checkpoint)["state"])
    assert dataset is not None
    auxiliary = dataset.labels.auxiliary
    assert auxiliary.sum() == count
    assert not auxiliary[:24].any()
    assert not dataset.validation[auxiliary].any()
    # Clips between the labelled ones are unlabelled music, except in the test split.
    trained = set(scores.splits["train"]) | set(scores.splits["validation"])
    assert dataset.unlabelled.shape[1] == sum(clip.song in trained for clip in scores.extra) + 1
    assert info.training["auxiliary"][0]["name"] == "vgmidi"
    assert sum(info.training["auxiliary"][0]["clips"].values()) == count
    # The prior and the support windows come from the primary music alone.
    assert info.prior == load_engine(finished.out).info.prior
    before, after = weights(finished.out), weights(settings.out)
    assert {name: array.shape for name, array in before.items()} == {
        name: array.shape for name, array in after.items()
    }
    assert any((before[name] != array).any() for name, array in after.items())


def quiet(_: str) -> None:
    """Ignore a progress message."""


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
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_an_interrupted_run_resumes(
    finished: TrainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(finished, out=tmp_path / "m.onnx", keep_checkpoint=True)
    with pytest.raises(_Interrupted):
        train(settings, interrupt_at("without fold 1 of", []))
    export = ["export", str(settings.checkpoint), "--out", str(tmp_path / "early.onnx")]
    assert main(export) == 2
    assert "contains no fitted network yet" in capsys.readouterr().err

    messages: list[str] = []
    with pytest.raises(_Interrupted):
        train(settings, interrupt_at("without fold 2 of", messages))
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
    with pytest.raises(DataError, match=r"teacher was MSD_musicnn and is None"):
        train(replace(settings, teacher=None), messages.append)
    messages.clear()
    info = train(settings, messages.append)
    assert [text for text in messages if "without fold" in text] == [
        f"fitting without fold {fold} of {FOLDS}, to measure on its songs"
        for fold in range(2, FOLDS + 1)
    ]
    assert_same_weights(settings.out, finished.out)
    expected = load_engine(finished.out).info
    assert info.interval_scale == expected.interval_scale
    assert info.training["validation"] == expected.training["validation"]

    # The checkpoint of the finished run contains the model that was written.
    assert main(export) == 0
    assert "not calibrated" not in capsys.readouterr().err
    assert_same_weights(tmp_path / "early.onnx", settings.out)
    assert load_engine(tmp_path / "early.onnx").info.interval_scale == info.interval_scale
    messages.clear()
    with pytest.raises(_Interrupted):
        train(replace(settings, fresh=True), interrupt_at("without fold 1 of", messages))
    assert not any("resuming" in text for text in messages)


def test_test_songs_have_no_effect(data: Path, finished: TrainSettings, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "other")
    for song in SPLITS["test"]:
        write_audio(tmp_path / "other" / "deam" / "audio" / f"{song}.flac", 10.0, seed=song)
    other = replace(finished, data=(str(tmp_path / "other"),), out=tmp_path / "m.onnx")
    train(other, quiet)
    assert_same_weights(other.out, finished.out)


def test_unreadable_songs_are_reported(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    audio = folder / "deam" / "audio"
    (audio / "2.flac").write_bytes((audio / "2.flac").read_bytes()[:9000])
    write_audio(audio / "3.flac", 1.0)
    messages: list[str] = []
    settings = TrainSettings(data=(str(folder),), out=tmp_path / "m.onnx", quick=True, steps=1)
    info = train(settings, messages.append)
    assert any("2.flac cannot be read as audio" in text for text in messages)
    assert info.training["clips"] == 22
    for song in SPLITS["train"]:
        write_audio(audio / f"{song}.flac", 1.0)
    with pytest.raises(DataError, match="none of the training songs' clips can be read"):
        train(replace(settings, fresh=True), messages.append)


def test_fine_tuning_on_own_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_own_data(tmp_path / "own", songs=6, seconds=10.0)
    (own / "6.wav").write_text("no audio")
    with (own / "labels.csv").open("a") as file:
        file.write("6.wav,0.5,0,0\n7.wav,0.5,0,0\n")
    model = tmp_path / "mine.onnx"
    arguments = ["train", "--data", f"csv={own}", "--init", "shipped", "--out", str(model)]
    assert main([*arguments, "--quick", "--steps", "3", "--name", "mine"]) == 0
    log = capsys.readouterr().err
    assert "csv: song 7.wav: no such audio file in the folder" in log
    assert "csv: 2 of 8 songs were left out: 1 " in log
    info, shipped = load_engine(model).info, load_engine().info
    assert info.name == "mine"
    assert info.training["init"] == {"name": shipped.name, "sha256": shipped.sha256}
    assert load_network(model)[0].config == load_network(shipped_model())[0].config
    assert info.training["collections"] == [
        {
            "name": "csv",
            "songs": {"train": 2, "validation": 2},
            "clips": {"train": 2, "validation": 2},
        }
    ]
    assert info.notice == shipped.notice
    ours, theirs = (load_network(path)[0].state_dict() for path in (model, shipped_model()))
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
    assert default.teacher_weight
    assert default.unlabelled_weight
    fine_tuning = replace(settings, init=Path("a.onnx")).fit_settings()
    assert fine_tuning.learning_rate < default.learning_rate
    assert fine_tuning.teacher_weight == fine_tuning.unlabelled_weight == 0
    quick = replace(settings, quick=True).fit_settings()
    assert (quick.steps, quick.versions) == (20, 1)
    assert replace(settings, quick=True, steps=7).fit_settings().steps == 7


def test_data_without_a_split_or_a_dimension_are_rejected(tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    settings = TrainSettings(data=(f"csv={own}",), out=tmp_path / "m.onnx", quick=True)
    table = (own / "labels.csv").read_text().splitlines()
    (own / "labels.csv").write_text(
        "\n".join([table[0], *(f"{row.rsplit(',', 1)[0]}," for row in table[1:])])
    )
    with pytest.raises(DataError, match="no song of the train split has labels of arousal"):
        train(settings, quiet)
    songs = (own / "songs.csv").read_text()
    (own / "songs.csv").write_text(songs.replace("validation", "train"))
    (own / "labels.csv").write_text("\n".join(table))
    with pytest.raises(DataError, match=r"no song of the validation split in .*own can be used"):
        train(settings, quiet)


def test_songs_by_one_artist_are_rejected(wheel: Path, tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=3)
    songs = (own / "songs.csv").read_text()
    for number in range(3):
        songs = songs.replace(f"Artist {number}", "Someone")
    (own / "songs.csv").write_text(songs)
    settings = TrainSettings(
        data=(f"csv={own}",), out=tmp_path / "m.onnx", teacher=wheel, quick=True
    )
    with pytest.raises(DataError, match="all songs are by one artist"):
        train(settings, quiet)


def test_a_model_of_own_data_can_have_another_licence(tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    model = tmp_path / "m.onnx"
    arguments = ["train", "--data", f"csv={own}", "--out", str(model), "--quick", "--steps", "1"]
    assert main([*arguments, "--licence", "MIT"]) == 0
    info = load_engine(model).info
    assert info.licence == "MIT"
    assert info.training["init"] is None
    assert info.training["data"] == "csv: train and validation splits"
