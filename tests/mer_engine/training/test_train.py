"""The commands train and evaluate, from a data folder to figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
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
from mer_engine.network import EmotionNetwork
from mer_engine.network_import import load_network
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.teacher import NOTICE
from mer_engine.training.train import TrainSettings, fit_settings, restore, train
from mer_engine.training.transfer import start_encoder
from own_data_support import write_audio, write_own_data
from tagger_support import make_tagger, write_wheel
from vgmidi_support import write_vgmidi

from realtime_mer.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data")).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("teacher") / "tagger.whl", make_tagger())


@pytest.fixture(scope="module")
def finished(data: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    """Of a run that was not interrupted."""
    out = tmp_path_factory.mktemp("finished") / "whole.onnx"
    settings = TrainSettings(data=(str(data),), out=out, teacher=wheel, quick=True, steps=2)
    train(settings, quiet)
    assert not settings.checkpoint.exists()
    return settings


def test_train_then_evaluate(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "trial.onnx"
    assert main(["train", "--data", str(data), "--out", str(model), "--quick"]) == 0
    told = capsys.readouterr().err
    assert "training an encoder on 12 clips of the training songs" in told
    assert "fitting without part 1 of 1 of the songs" in told
    assert "songs that the reader did not know: R2 arousal" in told
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


def test_a_teacher_and_music_without_labels(
    data: Path, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "music" / "a" / "long.flac", 40.0)
    write_audio(tmp_path / "more" / "b.wav", 21.0, seed=1)
    (tmp_path / "more" / "broken.ogg").write_text("no audio")
    model = tmp_path / "m.onnx"
    arguments = ["train", "--data", str(data), "--teacher", str(wheel), "--out", str(model)]
    folders = ["--unlabelled", str(tmp_path / "music"), "--unlabelled", str(tmp_path / "more")]
    assert main([*arguments, *folders, "--steps", "3", "--quick"]) == 0
    told = capsys.readouterr().err
    assert "left out:" in told
    assert "broken.ogg cannot be read as audio" in told
    assert "fitting without part 10 of 10 of the songs" in told
    network, info = load_network(model)
    # Three clips of the long file, one of the other, and a further clip of a training song.
    assert info.training["unlabelled_clips"] == 5
    assert info.training["clips"] == 24
    assert info.training["teacher"] == "MSD_musicnn"
    assert info.training["fit"]["steps"] == 3
    assert info.training["validation"]["held_out"].endswith("by artist")
    assert info.notice == NOTICE
    # The encoder knows no label: it is the tagger's, settled on the songs.
    start = EmotionNetwork(network.config)
    start_encoder(start, make_tagger())
    group, taken = network.encoder.front[0], start.encoder.front[0]
    torch.testing.assert_close(group.convolve.weight[:5], taken.convolve.weight[:5])
    torch.testing.assert_close(network.encoder.residual[1].weight, start.encoder.residual[1].weight)
    assert network.encoder.pool_std.std() > 0
    assert all(0 < scale < 100 for scale in info.interval_scale["valence"])


def test_auxiliary_music_is_learnt_and_not_measured(
    data: Path, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    games = [f"A_B_{game}_Title" for game in range(8)]
    folder = write_vgmidi(tmp_path / "scores", games, seconds=42.0)
    beside = load_collection(f"vgmidi={folder}")
    count = sum(len(beside.clips_of(split)) for split in ("train", "validation"))
    assert 0 < count < len(beside.clips)  # the others are of the test split
    arguments = ["train", "--data", str(data), "--auxiliary", f"vgmidi={folder}"]
    arguments += ["--teacher", str(wheel), "--steps", "2", "--quick", "--keep-checkpoint"]
    model = tmp_path / "m.onnx"
    assert main([*arguments, "--out", str(model)]) == 0
    told = capsys.readouterr().err
    assert f"fitting 24 clips of the training and validation songs and {count} auxiliary" in told
    heard = restore(read_checkpoint(tmp_path / "m.onnx.checkpoint")["state"])
    assert heard is not None
    auxiliary = heard.labels.auxiliary
    assert auxiliary.sum() == count
    assert not auxiliary[:24].any()
    assert not heard.validation[auxiliary].any()
    # Clips between the labelled ones are music without labels, unless they are of the test split.
    learnt = set(beside.splits["train"]) | set(beside.splits["validation"])
    assert heard.other.shape[1] == sum(clip.song in learnt for clip in beside.extra) + 1
    info = load_engine(model).info
    assert info.training["auxiliary"][0]["name"] == "vgmidi"
    assert sum(info.training["auxiliary"][0]["clips"].values()) == count
    # What music usually is like, and how wide intervals are, DEAM alone tells.
    plain = [a for a in arguments if not a.startswith("vgmidi=") and a != "--auxiliary"]
    assert main([*plain, "--out", str(tmp_path / "plain.onnx")]) == 0
    other = load_engine(tmp_path / "plain.onnx").info
    assert info.prior == other.prior
    before, after = weights(tmp_path / "plain.onnx"), weights(model)
    assert {name: array.shape for name, array in before.items()} == {
        name: array.shape for name, array in after.items()
    }
    assert any((before[name] != array).any() for name, array in after.items())


def quiet(_: str) -> None:
    """Takes sentences about the progress."""


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


def assert_same_weights(got: Path, expected: Path) -> None:
    ours, theirs = weights(got), weights(expected)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_an_interrupted_run_goes_on(
    finished: TrainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(finished, out=tmp_path / "m.onnx", keep_checkpoint=True)
    with pytest.raises(_Interrupted):
        train(settings, until("without part 1 of 10", []))
    export = ["export", str(settings.checkpoint), "--out", str(tmp_path / "early.onnx")]
    assert main(export) == 2
    assert "holds no fitted network yet" in capsys.readouterr().err

    said: list[str] = []
    with pytest.raises(_Interrupted):
        train(settings, until("without part 3 of 10", said))
    assert f"going on from {settings.checkpoint}" in said
    assert main(export) == 0
    out, err = capsys.readouterr()
    assert "wrote" in out
    assert "not calibrated" in err
    early = load_engine(tmp_path / "early.onnx").info
    assert "validation" not in early.training
    assert "unfinished" in early.training["intervals"]

    with pytest.raises(DataError, match=r"another training run: fit\.steps was 2 and is 3"):
        train(replace(settings, steps=3), said.append)
    with pytest.raises(DataError, match=r"teacher was MSD_musicnn and is None"):
        train(replace(settings, teacher=None), said.append)
    said.clear()
    info = train(settings, said.append)
    assert [text for text in said if "without part" in text] == [
        f"fitting without part {part} of 10 of the songs, to be measured on it"
        for part in range(3, 11)
    ]
    assert_same_weights(settings.out, finished.out)
    expected = load_engine(finished.out).info
    assert info.interval_scale == expected.interval_scale
    assert info.training["validation"] == expected.training["validation"]

    # The finished run's checkpoint holds the model that was written.
    assert main(export) == 0
    assert "not calibrated" not in capsys.readouterr().err
    assert_same_weights(tmp_path / "early.onnx", settings.out)
    assert load_engine(tmp_path / "early.onnx").info.interval_scale == info.interval_scale
    said.clear()
    train(replace(settings, fresh=True, keep_checkpoint=False), said.append)
    assert not any("going on" in text for text in said)
    assert not settings.checkpoint.exists()


def test_test_songs_play_no_part(data: Path, finished: TrainSettings, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "other")
    for song in SPLITS["test"]:
        write_audio(tmp_path / "other" / "deam" / "audio" / f"{song}.flac", 10.0, seed=song)
    other = replace(finished, data=(str(tmp_path / "other"),), out=tmp_path / "m.onnx")
    train(other, quiet)
    assert_same_weights(other.out, finished.out)


def test_songs_that_cannot_be_read_are_told(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    audio = folder / "deam" / "audio"
    (audio / "2.flac").write_bytes((audio / "2.flac").read_bytes()[:9000])
    write_audio(audio / "3.flac", 1.0)
    said: list[str] = []
    settings = TrainSettings(data=(str(folder),), out=tmp_path / "m.onnx", quick=True, steps=1)
    info = train(settings, said.append)
    assert any("2.flac cannot be read as audio" in text for text in said)
    assert info.training["clips"] == 22
    for song in SPLITS["train"]:
        write_audio(audio / f"{song}.flac", 1.0)
    with pytest.raises(DataError, match="none of the training songs' clips can be read"):
        train(replace(settings, fresh=True), said.append)


def test_fine_tuning_on_own_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    (own / "6.wav").write_text("no audio")
    with (own / "labels.csv").open("a") as file:
        file.write("6.wav,0.5,0,0\n7.wav,0.5,0,0\n")
    model = tmp_path / "mine.onnx"
    arguments = ["train", "--data", f"csv={own}", "--init", "shipped", "--out", str(model)]
    assert main([*arguments, "--steps", "3", "--name", "mine"]) == 0
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
    assert not np.array_equal(ours["head.scores"], theirs["head.scores"])
    # It went on from there: three steps move a reader a little, and the encoder not at all.
    assert np.corrcoef(ours["head.scores"].ravel(), theirs["head.scores"].ravel())[0, 1] > 0.9
    for name in ("encoder.front.0.convolve.weight", "encoder.pool_std", "head.statistic_std"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert main(["evaluate", str(model), "--data", f"csv={own}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["songs"] == 2


def test_how_to_fit_follows_the_settings() -> None:
    settings = TrainSettings(data=("x",), out=Path("m.onnx"))
    usual = fit_settings(settings)
    assert usual.opinion
    assert usual.unlabelled
    gently = fit_settings(replace(settings, init=Path("a.onnx")))
    assert gently.rate < usual.rate
    assert gently.opinion == gently.unlabelled == 0
    quick = fit_settings(replace(settings, quick=True))
    assert (quick.steps, quick.versions) == (20, 1)
    assert fit_settings(replace(settings, quick=True, steps=7)).steps == 7


def test_data_without_a_split_or_a_dimension(tmp_path: Path) -> None:
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


def test_one_artist_alone_is_refused(wheel: Path, tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=3)
    songs = (own / "songs.csv").read_text()
    for number in range(3):
        songs = songs.replace(f"Artist {number}", "Someone")
    (own / "songs.csv").write_text(songs)
    settings = TrainSettings(
        data=(f"csv={own}",), out=tmp_path / "m.onnx", teacher=wheel, quick=True
    )
    with pytest.raises(DataError, match="all songs are of one artist"):
        train(settings, quiet)


def test_a_model_of_own_data_alone_has_the_owners_licence(tmp_path: Path) -> None:
    own = write_own_data(tmp_path / "own", songs=6)
    model = tmp_path / "m.onnx"
    arguments = ["train", "--data", f"csv={own}", "--out", str(model), "--quick", "--steps", "1"]
    assert main([*arguments, "--licence", "MIT"]) == 0
    info = load_engine(model).info
    assert info.licence == "MIT"
    assert info.training["init"] is None
    assert info.training["data"] == "csv: train and validation splits"
