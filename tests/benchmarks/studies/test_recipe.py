"""The studies of the training recipe, on the checkpoint of a small training run."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from deam_support import SPLITS, write_deam
from mer_engine.training import train as train_module
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.encoded_dataset import EncodedDataset
from mer_engine.training.settings import TrainSettings
from mer_engine.training.train import restore_dataset, train
from tagger_support import make_tagger, write_wheel
from vgmidi_support import write_vgmidi

GAMES = 6
STEPS = 2
FOLDS = 2


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Run torch and numpy on one thread: the tests share the machine, and waiting threads spin."""
    threadpoolctl = pytest.importorskip("threadpoolctl")  # a dependency of scikit-learn
    torch.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def few_folds(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use few folds and seeds."""
    monkeypatch.setattr(recipe, "FOLDS", FOLDS)
    monkeypatch.setattr(recipe, "ABLATION_FOLDS", 1)
    monkeypatch.setattr(recipe, "SEEDS", (0, 1))


@pytest.fixture(scope="module")
def run(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the data and the checkpoint of a training run."""
    folder = tmp_path_factory.mktemp("run")
    data = write_deam(folder)
    games = [f"A_B_{game}_Title" for game in range(GAMES)]
    settings = TrainSettings(
        data=(str(data),),
        auxiliary=(f"vgmidi={write_vgmidi(folder / 'scores', games, seconds=11.0)}",),
        out=folder / "m.onnx",
        teacher=write_wheel(folder / "musicnn.whl", make_tagger()),
        quick=True,
        steps=1,
        keep_checkpoint=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "CALIBRATION_FOLDS", 2)  # the model file is not used
        train(settings, lambda _: None)
    return data, settings.checkpoint


@pytest.fixture(scope="module")
def recipe(scripts: Path) -> ModuleType:
    """Return the script as a module."""
    return importlib.import_module("recipe")


@pytest.fixture
def dataset(run: tuple[Path, Path]) -> EncodedDataset:
    dataset = restore_dataset(read_checkpoint(run[1])["state"])
    assert dataset is not None
    return dataset


def measure(recipe: ModuleType, study: str, run: tuple[Path, Path], out: Path) -> dict[str, Any]:
    data, checkpoint = run
    arguments = [study, "--checkpoint", str(checkpoint), "--data", str(data)]
    assert recipe.main([*arguments, "--steps", str(STEPS), "--out", str(out)]) == 0
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def r2_by_name(result: dict[str, Any]) -> dict[str, tuple[float, float]]:
    rows = {row["name"]: (row["r2_arousal"], row["r2_valence"]) for row in result["rows"]}
    assert len(rows) == len(result["rows"])
    assert all(math.isfinite(value) for values in rows.values() for value in values)
    return rows


def test_cross_validation_covers_every_fold_and_seed(
    recipe: ModuleType, run: tuple[Path, Path], dataset: EncodedDataset, tmp_path: Path
) -> None:
    result = measure(recipe, "cross-validation", run, tmp_path / "cv.json")
    folds = {(row["seed"], row["fold"]) for row in result["folds"]}
    assert folds == {(seed, fold) for seed in (0, 1) for fold in range(1, FOLDS + 1)}
    assert len(result["folds"]) == len(folds)
    assert all(math.isfinite(row["arousal"]["rmse"]) for row in result["folds"])
    assert result["data"] == "deam, train and validation splits; auxiliary: vgmidi"
    auxiliary = int(dataset.labels.auxiliary.sum())
    assert auxiliary > 0
    assert (result["clips"], result["auxiliary_clips"]) == (
        len(dataset.labels) - auxiliary, auxiliary,
    )  # fmt: skip
    assert result["steps"] == STEPS


def test_each_ablation_changes_the_result(
    recipe: ModuleType, run: tuple[Path, Path], dataset: EncodedDataset, tmp_path: Path
) -> None:
    rows = r2_by_name(measure(recipe, "ablation", run, tmp_path / "ablation.json"))
    complete = rows.pop("as shipped")
    # This run has no augmented clips, so that leaving them out changes nothing.
    assert len(dataset.steps) == 1
    assert rows.pop("no augmentation") == complete
    assert all(ablated != complete for ablated in rows.values())


def test_ablated_columns_are_zero_everywhere(recipe: ModuleType, dataset: EncodedDataset) -> None:
    ablated = recipe._without_columns(dataset, slice(3, 7))
    assert not ablated.steps[..., 3:7].any()
    assert not ablated.unlabelled[..., 3:7].any()
    np.testing.assert_array_equal(ablated.steps[..., 7:], dataset.steps[..., 7:])
    assert dataset.steps[..., 3:7].any()  # the data set itself is unchanged


def test_features_are_measured_alone_and_together(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    rows = r2_by_name(measure(recipe, "features", run, tmp_path / "features.json"))
    assert {"all", "channels", "no channels", "no level normalisation"} <= set(rows)
    # Without augmented clips in the run, there are no rows about them.
    assert not any("augmented" in name for name in rows)
    assert len(set(rows.values())) == len(rows)


def test_augmented_clips_have_rows_for_training_and_testing(
    recipe: ModuleType, dataset: EncodedDataset
) -> None:
    primary = dataset.select(recipe._primary(dataset.labels))
    louder = (1.5 * primary.steps.astype(np.float32)).astype(np.float16)
    both = EncodedDataset(
        primary.network, np.concatenate([primary.steps, louder]), primary.labels,
        primary.validation, primary.unlabelled, primary.label_free_encoder,
    )  # fmt: skip
    rows = r2_by_name({"rows": recipe._augmentation_rows(both, 0.1)})
    assert list(rows) == [
        "augmented clips with weight 0.1", "augmented clips with weight 1",
        "tested on augmented clips, weight 0", "tested on augmented clips, weight 0.1",
        "tested on augmented clips, weight 1",
    ]  # fmt: skip
    assert len(set(rows.values())) == len(rows)


def test_long_songs_are_measured(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "long-songs", run, tmp_path / "long.json")
    assert result["songs"] == len(SPLITS["test"])  # all of them are songs of 2015
    assert result["arousal"]["rmse"] > 0


def test_transfer_leaves_campaigns_and_game_scores_out(
    recipe: ModuleType, run: tuple[Path, Path], dataset: EncodedDataset, tmp_path: Path
) -> None:
    result = measure(recipe, "transfer", run, tmp_path / "transfer.json")
    *campaigns, without, with_others = result["rows"]
    assert [row["songs"] for row in campaigns] == [len(SPLITS["train"]), len(SPLITS["validation"])]
    labels = dataset.labels
    scores = len(set(labels.songs[labels.auxiliary].tolist()))
    assert without["songs"] == with_others["songs"] == scores
    # Training on other game scores changes the predictions.
    assert without["arousal"]["rmse"] != with_others["arousal"]["rmse"]


def test_raters_compares_shared_and_separate_regressors(
    recipe: ModuleType, run: tuple[Path, Path], tmp_path: Path
) -> None:
    result = measure(recipe, "raters", run, tmp_path / "raters.json")
    rows = r2_by_name(result)
    assert len(set(rows.values())) == len(rows)
    what = {row["name"]: row["what"] for row in result["rows"]}
    for title, songs in (("songs of 2013", "train"), ("songs of 2014 and 2015", "validation")):
        count = f"{len(SPLITS[songs])} songs"
        assert what[f"{title}: shared"] == what[f"{title}: campaign known"] == count
        assert what[f"{title}: other campaigns only"] == f"{count}, none in training"
    tested = f"{len(SPLITS['test'])} songs, none in training"
    assert what["test songs: shared"] == what["test songs: campaign known"] == tested


def test_a_missing_checkpoint_is_refused(
    recipe: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "gone.checkpoint"
    assert recipe.main(["ablation", "--checkpoint", str(missing)]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


def test_a_study_without_its_data_is_refused(
    recipe: ModuleType, run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert recipe.main(["transfer", "--checkpoint", str(run[1])]) == 2
    assert "transfer needs --data" in capsys.readouterr().err
