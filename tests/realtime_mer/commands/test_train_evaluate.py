"""`train`, `evaluate` and `export`: reports and errors."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from collections_support import write_fme24, write_four_quadrants
from deam_support import write_deam
from mer_engine import load_engine
from mer_engine.engine import shipped_model
from mer_engine.install_hint import install_hint
from mer_engine.model_file import write_metadata
from own_data_support import write_own_data

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
    assert "\n2015  " in out
    assert "all 58" in out
    assert "the interval of constant width was fitted on" in out
    assert "18 of 18 clips" in err  # the constant width is fitted on the 12 validation clips
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
    assert (
        "2 of 6 songs were left out: 1 without audio, 1 with audio that cannot be read; "
        "1 clip could not be measured"
    ) in err


def test_bad_data_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("evaluate", "train"):
        assert "does not exist" in refusal(capsys, command, "--data", str(tmp_path / "none"))
        assert "does not contain DEAM" in refusal(capsys, command, "--data", str(tmp_path))


def test_evaluate_takes_several_collections(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_own_data(tmp_path, songs=9)
    arguments = ["evaluate", "--data", f"deam={data}", "--data", f"csv={own}"]
    assert main([*arguments, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["songs"] == 6
    assert second["songs"] == 3
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "6 songs of the test split" in out
    assert "3 songs of the test split" in out
    assert main(["evaluate", "--data", f"csv={own}", "--split", "all", "--details"]) == 0
    assert "9 songs of all splits" in capsys.readouterr().out


def test_evaluate_names_the_splits_that_have_songs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"4q={write_four_quadrants(tmp_path, songs=2)}"
    message = refusal(capsys, "evaluate", "--data", source)
    assert f"the test split of {tmp_path} has no song" in message
    assert message.rstrip().endswith("give --split train")


def test_evaluate_shows_all_kinds_of_labels_side_by_side(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quadrants = write_four_quadrants(tmp_path / "4q")
    marks = write_fme24(tmp_path / "fme24")
    own = write_own_data(tmp_path / "a collection with a long name", songs=9)
    sources = (f"deam={data}", f"4q={quadrants}", f"fme24={marks}", f"csv={own}")
    given = [word for source in sources for word in ("--data", source)]
    assert main(["evaluate", *given, "--split", "all"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    *_, by_song, by_quadrant, movement = out.strip().split("\n\n")
    titles = [line[:20].strip() for line in by_song.splitlines()]
    names = ("deam", "4q", "fme24", "csv a collection with a long name")
    assert titles == [
        "means of songs",
        *(f"{dimension}, {name}"[:20] for dimension in ("arousal", "valence") for name in names),
    ]
    assert len(by_quadrant.splitlines()) == 5
    assert [line.split()[1] for line in movement.splitlines()[1:]] == ["fme24"]


def test_bad_sources(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("evaluate", "train"):
        given = [command, "--data", f"deam={data}"]
        assert "no kind of data 'amg'" in refusal(capsys, *given, "--data", "amg=x")
        message = refusal(capsys, *given, "--data", str(data))
        assert f"--data {data} is given twice" in message
        assert "does not contain PMEmo" in refusal(capsys, *given, "--data", f"pmemo={tmp_path}")
        assert "contains neither audio" in refusal(capsys, *given, "--data", f"csv={tmp_path}")


def test_bad_models(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.onnx")
    assert missing in refusal(capsys, "evaluate", "--data", str(data), "--model", missing)
    assert missing in refusal(capsys, "evaluate", missing, "--data", str(data))
    message = refusal(capsys, "evaluate", missing, "--model", missing, "--data", str(data))
    assert "the model is given twice" in message


def test_train_refuses_invalid_options(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--data", str(data), "--out", str(tmp_path / "m.onnx"), "--quick"]
    assert "--steps is 0" in refusal(capsys, *train, "--steps", "0")
    assert "--device warp" in refusal(capsys, *train, "--device", "warp")
    missing = str(tmp_path / "none.onnx")
    for option in ("--init", "--encoder"):
        assert f"there is no file {option} {missing}" in refusal(capsys, *train, option, missing)
    message = refusal(capsys, *train, "--init", "shipped", "--encoder", "x.onnx")
    assert "--encoder x.onnx makes a new head, --init shipped continues one" in message
    message = refusal(capsys, *train, "--licence", "MIT")
    assert "--licence MIT needs data that are all your own" in message
    (tmp_path / "m.onnx").write_text("no model")
    for option in ("--init", "--encoder"):
        message = refusal(capsys, *train, option, str(tmp_path / "m.onnx"))
        assert f"would overwrite the model of {option}" in message
    (tmp_path / "m.onnx").rename(tmp_path / "other.onnx")
    for option in ("--init", "--encoder"):
        assert "other.onnx" in refusal(capsys, *train, option, str(tmp_path / "other.onnx"))
    train[4] = str(tmp_path / "none" / "m.onnx")
    assert "does not exist" in refusal(capsys, *train)


def test_an_encoder_that_cannot_be_read_back_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(shipped_model())
    write_metadata(model, replace(load_engine().info, training={}))
    onnx.save(model, tmp_path / "bare.onnx")
    train = ["train", "--data", str(data), "--out", str(tmp_path / "m.onnx"), "--quick"]
    message = refusal(capsys, *train, "--encoder", str(tmp_path / "bare.onnx"))
    assert "bare.onnx does not say what network it holds" in message


def test_without_torch_the_error_says_how_to_install_it(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "torch" else find(name, *rest),
    )
    for arguments in (["train", "--data", str(data)], ["export", "x", "--out", "y"]):
        assert install_hint("train") in refusal(capsys, *arguments)


def test_export_refuses_a_file_that_is_not_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "m.onnx")]
    checkpoint = tmp_path / "m.onnx.checkpoint"
    assert "there is no checkpoint" in refusal(capsys, "export", str(checkpoint), *out)
    checkpoint.write_text("no checkpoint")
    assert "cannot be read as a checkpoint" in refusal(capsys, "export", str(checkpoint), *out)
    message = refusal(capsys, "export", str(checkpoint), "--out", str(checkpoint))
    assert "would overwrite the checkpoint" in message
    message = refusal(capsys, "export", str(checkpoint), "--out", str(tmp_path / "none" / "m.onnx"))
    assert "does not exist" in message
    assert list(tmp_path.iterdir()) == [checkpoint]
