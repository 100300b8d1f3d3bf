"""Models and the ridge regression on several collections."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import across_collections
import numpy as np
import pytest
import tables
from collections_support import write_four_quadrants
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.types import Clip, Collection, Song
from numpy.typing import NDArray

from realtime_mer.evaluation.song_metrics import SongTable, song_metrics


def made_up(songs: int, groups: int) -> tuple[Collection, SongTable]:
    """Return songs by a number of artists, whose valence is their number."""
    names = tuple(f"{number:03}" for number in range(songs))
    collection = Collection(
        "csv",
        Path(),
        tuple(Clip(name, Path(name), 0.0) for name in names),
        (),
        {name: Song(name, artist=f"A{number % groups}") for number, name in enumerate(names)},
        {},
        {},
    )
    labels = np.full((songs, 2), np.nan)
    labels[:, 0] = np.linspace(-1, 1, songs)
    signs = np.zeros((songs, 2), np.int64)
    signs[:, 1] = np.where(np.arange(songs) % 3 == 0, 1, -1)
    return collection, SongTable(names, np.zeros((songs, 2)), labels, signs, comparable=True)


def test_the_baseline_learns_numbers_and_signs(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    collection, table = made_up(60, groups=20)

    def embedding(engine: Engine, clip: Clip) -> NDArray[np.float64]:
        number = int(clip.song)
        return np.array([number, number % 3 == 0, number % 7], np.float64)

    monkeypatch.setattr(across_collections, "mean_embedding", embedding)
    found = across_collections.ridge_baseline(engine, collection, collection.clips, table)
    assert found is not None
    metrics = song_metrics(found)
    assert metrics["valence"].r2 is not None
    assert metrics["valence"].r2 > 0.99
    assert metrics["arousal"].auc == 1.0


def test_a_song_is_not_predicted_from_its_group(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    """An embedding that only names the artist says nothing about other artists."""
    collection, table = made_up(60, groups=10)
    labels = table.labels.copy()
    labels[:, 0] = [(int(name) % 10 * 7 % 10) / 5 - 1 for name in table.songs]

    def embedding(engine: Engine, clip: Clip) -> NDArray[np.float64]:
        return np.asarray(np.eye(10)[int(clip.song) % 10], np.float64)

    monkeypatch.setattr(across_collections, "mean_embedding", embedding)
    table = dataclasses.replace(table, labels=labels)
    found = across_collections.ridge_baseline(engine, collection, collection.clips, table)
    assert found is not None
    valence = song_metrics(found)["valence"]
    assert valence.r2 is not None
    assert valence.r2 < 0.05


def test_few_groups_have_no_baseline(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    collection, table = made_up(12, groups=4)
    monkeypatch.setattr(across_collections, "mean_embedding", lambda engine, clip: np.ones(3))
    assert across_collections.ridge_baseline(engine, collection, collection.clips, table) is None


def test_models_are_measured_on_the_same_songs(tmp_path: Path, fast_engine: Engine) -> None:
    collection = load_collection(f"4q={write_four_quadrants(tmp_path, songs=10, seconds=6.0)}")
    result = across_collections.measure_collection(
        [fast_engine, fast_engine], collection.with_all(), 5
    )
    assert (result["split"], result["songs"], result["labelled"]) == ("all", 5, "quadrant")
    name = f"{fast_engine.info.name} ({fast_engine.info.sha256[:8]})"
    methods = [row["method"] for row in result["rows"]]
    assert methods == [name, f"ridge on the embedding of {name}"] * 2
    assert result["rows"][0] == result["rows"][2]
    assert result["rows"][1]["quadrants"]["songs"] == 5
    assert result["rows"][0]["by_song"]["arousal"]["auc"] is not None


class Trained:
    """An engine that was trained on some collections."""

    backend = "onnxruntime"

    def __init__(self, engine: Engine, *names: str) -> None:
        entries = [{"name": name, "songs": {"train": 1}} for name in names]
        self.info = dataclasses.replace(engine.info, training={"collections": entries})
        self.infer = engine.infer


def test_the_test_split_is_measured_where_a_model_was_trained(engine: Engine) -> None:
    collection, _ = made_up(6, groups=6)
    splits: dict[str, tuple[str, ...]] = {
        "train": ("000",),
        "validation": ("001",),
        "test": ("002",),
    }
    songs = dataclasses.replace(collection, name="4q", splits=splits).with_all()
    split = across_collections._split
    assert split([Trained(engine, "deam")], songs) == "all"
    assert split([Trained(engine, "deam"), Trained(engine, "4q")], songs) == "test"
    kept_away = dataclasses.replace(songs, splits={**songs.splits, "test": ()})
    assert split([Trained(engine, "4q")], kept_away) == "all"


def test_a_model_that_knows_all_songs_has_the_figures_of_its_report(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own estimates of songs that it was trained on would be no accuracy."""
    areas = {"arousal": 0.9, "valence": 0.8, "valence_calm": 0.7, "valence_excited": 0.6}
    known = {"songs": 10, "quadrants": 0.67, "auc": areas}
    training = {
        "collections": [{"name": "4q", "songs": {"train": 10, "validation": 0}}],
        "validation": {"known": {"4q": known}, "unknown": {"4q": {**known, "quadrants": 0.5}}},
    }
    info = dataclasses.replace(engine.info, training=training)
    monkeypatch.setattr(engine, "info", info)
    collection = load_collection(f"4q={write_four_quadrants(tmp_path, songs=10, seconds=6.0)}")
    result = across_collections.measure_collection([engine], collection.with_all())
    assert result["split"] == "all"
    by_method = {row["method"]: row for row in result["rows"]}
    assert list(by_method) == [
        info.name, f"{info.name}, unknown", f"ridge on the embedding of {info.name}",
    ]  # fmt: skip
    assert by_method[info.name]["quadrants"]["share"] == 0.67
    assert by_method[f"{info.name}, unknown"]["quadrants"]["share"] == 0.5
    assert by_method[info.name]["by_song"]["valence"]["auc"] == 0.8
    assert by_method[info.name]["by_song"]["valence"]["r2"] is None
    text = tables.collections({"collections": [result]})
    assert f"* {info.name}, unknown on 4q (all): from the training report" in text
