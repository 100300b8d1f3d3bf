"""The recipe's own studies, on what a small training run heard."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from deam_support import write_deam
from mer_engine.training import train as train_module
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.settings import TrainSettings
from mer_engine.training.train import restore_dataset, train
from tagger_support import make_tagger, write_wheel
from vgmidi_support import write_vgmidi


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data and the checkpoint of a training run."""
    folder = tmp_path_factory.mktemp("run")
    data = write_deam(folder)
    games = [f"A_B_{game}_Title" for game in range(8)]
    settings = TrainSettings(
        data=(str(data),),
        auxiliary=(f"vgmidi={write_vgmidi(folder / 'scores', games, seconds=11.0)}",),
        out=folder / "m.onnx",
        teacher=write_wheel(folder / "musicnn.whl", make_tagger()),
        quick=True,
        steps=2,
        keep_checkpoint=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "CALIBRATION_FOLDS", 2)  # its figures are not looked at here
        train(settings, lambda _: None)
    return data, settings.checkpoint


@pytest.fixture(scope="module")
def recipe(scripts: Path) -> ModuleType:
    """The script."""
    return importlib.import_module("recipe")


def measure(recipe: ModuleType, study: str, run: tuple[Path, Path], out: Path) -> dict:
    data, checkpoint = run
    arguments = [study, "--checkpoint", str(checkpoint), "--data", str(data), "--steps", "2"]
    assert recipe.main([*arguments, "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_cross_validation_tells_every_part_and_seed(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "cross-validation", run, tmp_path / "cv.json")
    seen = {(row["seed"], row["fold"]) for row in result["folds"]}
    assert seen == {(seed, part) for seed in recipe.SEEDS for part in range(1, 6)}
    assert all(np.isfinite(row["arousal"]["rmse"]) for row in result["folds"])
    assert result["data"] == "deam, train and validation splits; beside: vgmidi"
    assert result["clips"] == 24
    assert result["auxiliary_clips"] > 0
    assert result["steps"] == 2


def test_each_variant_leaves_out_what_it_says(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "ablation", run, tmp_path / "ablation.json")
    figures = {row["name"]: (row["r2_arousal"], row["r2_valence"]) for row in result["rows"]}
    assert len(figures) == len(result["rows"]) == 15
    whole = figures.pop("as shipped")
    # This run has each clip as it is and nothing else.
    assert figures.pop("no variations") == whole
    assert all(other != whole for other in figures.values())


def test_each_kind_of_statistic_is_asked_alone_and_together(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "features", run, tmp_path / "features.json")
    rows = {row["name"]: (row["r2_arousal"], row["r2_valence"]) for row in result["rows"]}
    assert len(rows) == len(result["rows"]) == 10
    assert len(set(rows.values())) == 10
    assert all(np.isfinite(values).all() for values in rows.values())


def test_the_long_songs_are_told_by_a_stranger(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "long-songs", run, tmp_path / "long.json")
    assert result["songs"] == 6
    assert result["arousal"]["rmse"] > 0


def test_campaigns_are_left_out_as_a_whole(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "transfer", run, tmp_path / "transfer.json")
    *campaigns, stranger, others = result["rows"]
    assert [row["songs"] for row in campaigns] == [12, 12]
    # Game scores stand beside: told by who knows nothing of them, and by who knows other games.
    assert 2 <= stranger["songs"] == others["songs"] < 8
    assert stranger["arousal"]["rmse"] != others["arousal"]["rmse"]


def test_each_campaign_is_told_by_its_own_raters_and_by_all(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "raters", run, tmp_path / "raters.json")
    rows = {row["name"]: (row["r2_arousal"], row["r2_valence"]) for row in result["rows"]}
    assert len(rows) == len(result["rows"]) == 13
    assert len(set(rows.values())) == 13
    assert all(np.isfinite(values).all() for values in rows.values())
    counts = [row["what"] for row in result["rows"] if row["what"].endswith(" songs")]
    assert counts == 4 * ["12 songs"]
    # The test songs, of which no memory knows any, by memories of all the others.
    told = [row["what"] for row in result["rows"] if row["name"].startswith("test songs: ")]
    assert told == 2 * ["6 songs, none of which is remembered"]


def test_a_file_that_is_no_checkpoint_is_refused(
    recipe: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "gone.checkpoint"
    assert recipe.main(["ablation", "--checkpoint", str(missing)]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


def test_a_study_that_needs_the_data_says_so(
    recipe: ModuleType, run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore_dataset(read_checkpoint(run[1])["state"]) is not None
    assert recipe.main(["transfer", "--checkpoint", str(run[1])]) == 2
    assert "transfer needs --data" in capsys.readouterr().err
