"""Agreement of mean estimates with numbers, quadrants and proxies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mer_engine.datasets.types import Collection, Song
from numpy.typing import NDArray

from realtime_mer.evaluation.predictions import Predictions
from realtime_mer.evaluation.song_metrics import (
    SongTable,
    quadrant_metrics,
    song_metrics,
    song_table,
)


def table_of(
    values: list[tuple[float, float]],
    labels: list[tuple[float, float]] | None = None,
    signs: list[tuple[int, int]] | None = None,
) -> SongTable:
    numbers = np.array(labels or np.full((len(values), 2), np.nan))
    return SongTable(
        songs=tuple(map(str, range(len(values)))),
        values=np.array(values),
        labels=numbers,
        signs=np.array(signs or np.nan_to_num(np.sign(numbers)), np.int64),
        comparable=True,
    )


def test_numbers() -> None:
    values = [(0.2, 0.1), (0.0, -0.3), (0.4, 0.2)]
    labels = [(0.1, 0.1), (-0.1, -0.1), (0.3, -0.2)]
    found = song_metrics(table_of(values, labels))
    valence = found["valence"]
    assert (valence.songs, valence.auc) == (3, 1.0)
    assert valence.r == pytest.approx(1.0)
    assert valence.bias == pytest.approx(0.1)
    assert valence.rmse == pytest.approx(0.1)
    assert valence.r2 == pytest.approx(1 - 0.01 / np.var([0.1, -0.1, 0.3]))
    assert found["arousal"].auc == 0.5  # above one of two
    quadrants = quadrant_metrics(table_of(values, labels))
    assert quadrants is not None
    assert quadrants.share == pytest.approx(2 / 3)  # no estimate of zero is positive


def test_quadrants() -> None:
    values = [(0.2, 0.1), (-0.2, 0.3), (-0.5, -0.1), (-0.4, -0.2), (0.3, 0.3)]
    signs = [(1, 1), (-1, 1), (-1, -1), (1, -1), (-1, 1)]
    table = table_of(values, signs=signs)
    found = song_metrics(table)
    assert (found["arousal"].songs, found["arousal"].auc) == (5, 1.0)
    assert found["arousal"].r2 is found["arousal"].r is found["arousal"].bias is None
    quadrants = quadrant_metrics(table)
    assert quadrants is not None
    assert quadrants.songs == 5
    assert quadrants.share == pytest.approx(3 / 5)
    assert quadrants.auc_valence_calm == 1.0
    assert quadrants.auc_valence_excited == 0.5


def test_labels_on_a_scale_of_their_own() -> None:
    table = replace(table_of([(0.5, 0.0), (0.9, 0.0)], [(-0.1, 0.0), (0.1, 0.0)]), comparable=False)
    found = song_metrics(table)["valence"]
    assert found.r == pytest.approx(1.0)
    assert found.auc == 1.0
    assert found.r2 is found.rmse is found.ccc is found.bias is None
    quadrants = quadrant_metrics(replace(table, signs=np.array([[-1, 1], [1, 1]])))
    assert quadrants is not None
    assert quadrants.share is None
    assert quadrants.auc_valence_excited == 1.0
    assert quadrants.auc_valence_calm is None


def test_songs_without_labels_give_no_metrics() -> None:
    table = table_of([(0.5, 0.0)])
    assert song_metrics(table) == {}
    assert quadrant_metrics(table) is None


def predictions(values: NDArray[np.float64], labels: NDArray[np.float64]) -> Predictions:
    """Make predictions of three clips, of which the first two belong to a song."""
    return Predictions(("a", "a", "b"), values, values - 0.1, values + 0.1, labels)


def test_clips_of_a_song_are_averaged() -> None:
    values = np.zeros((3, 2, 2))
    values[:, :, 0] = [[0.1, 0.3], [0.5, 0.9], [-0.2, -0.4]]
    labels = np.full_like(values, np.nan)
    labels[:, 0, 0] = [0.2, -0.1, -0.3]
    songs = {"a": Song("a"), "b": Song("b", quadrant=(1, -1))}
    collection = Collection("csv", Path(), (), (), songs, {}, {})
    table = song_table(collection, predictions(values, labels))
    assert table.songs == ("a", "b")
    # Estimates without a label do not count where the song has labels at other steps.
    np.testing.assert_allclose(table.values[:, 0], [0.3, -0.2])
    np.testing.assert_allclose(table.labels[:, 0], [0.05, -0.3])
    assert np.isnan(table.labels[:, 1]).all()
    assert table.signs.tolist() == [[1, 0], [1, -1]]
    own = song_table(replace(collection, scale="own", songs={"a": Song("a"), "b": Song("b")}),
                     predictions(values, labels + 5))  # fmt: skip
    assert own.signs.tolist() == [[1, 0], [-1, 0]]
    assert not own.comparable
    unlabelled = song_table(collection, predictions(values, np.full_like(values, np.nan)))
    np.testing.assert_allclose(unlabelled.values[:, 0], [0.45, -0.3])
