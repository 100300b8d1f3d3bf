"""The linear probe of the tagger: causal embeddings, ridge regression, and its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from deam_support import tone, write_deam
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.training.examples import Labels
from mer_engine.training.teacher import Teacher
from tagger_probe import RIDGES, Probe, mean_embeddings, measure_probe
from tagger_support import make_tagger


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    torch.set_num_threads(1)  # the tests share the machine
    return Teacher(make_tagger())


def test_mean_embeddings_are_causal(teacher: Teacher) -> None:
    music = tone(2, 10.0).astype(np.float64)
    embeddings = mean_embeddings(teacher, music)
    assert embeddings.shape == (20, 200)
    assert np.isnan(embeddings[:5]).all()  # none before three seconds
    np.testing.assert_array_equal(embeddings[5], embeddings[6])  # once a second
    for step in (6, 9, 14):
        changed = music.copy()
        changed[step * 8_000 :] = np.random.default_rng(0).normal(size=len(music) - step * 8_000)
        np.testing.assert_allclose(
            mean_embeddings(teacher, changed)[:step], embeddings[:step], atol=1e-5
        )
        if step < 14:
            assert np.abs(mean_embeddings(teacher, changed)[-1] - embeddings[-1]).max() > 0.01
    # The mean gives all embeddings the same weight.
    first, second = embeddings[5], 2 * embeddings[7] - embeddings[5]
    np.testing.assert_allclose((first + second) / 2, embeddings[7], atol=1e-6)
    assert np.isnan(mean_embeddings(teacher, music[:32_000])).all()
    assert np.abs(mean_embeddings(teacher, music / 2) - embeddings)[5:].max() > 0.01


def test_a_probe_recovers_a_linear_relation() -> None:
    rng = np.random.default_rng(0)
    inputs = np.repeat(rng.normal(size=(300, 1, 200)), 20, axis=1)
    values = np.stack([0.3 * inputs[..., 0] + 0.1, 0.2 * inputs[..., 1]], axis=2).astype(np.float32)
    values[:5, 12:] = np.nan
    songs = np.array([f"csv/{n}" for n in range(300)])
    static = np.full((300, 2), np.nan, np.float32)
    labels = Labels(values, static, songs, songs, np.zeros(300, bool))
    probe = Probe(inputs[:240], labels.select(np.arange(240)), seed=0)
    assert probe.ridge in RIDGES
    predicted = probe(inputs[240:])
    for column in (0, 1):
        assert np.corrcoef(predicted[:, -1, column], values[240:, -1, column])[0, 1] > 0.8


def test_rows_of_levels_and_campaigns(teacher: Teacher, tmp_path: Path) -> None:
    write_deam(tmp_path)
    collection = load_collection(tmp_path)
    seen: list[tuple[int, int]] = []
    result = measure_probe(
        teacher, collection, "test", songs=4, progress=lambda *at: seen.append(at)
    )
    assert result["songs"] == 4
    assert seen[-1] == (32, 32)  # eight songs at two levels, four at four
    rmse = {row["name"]: row["arousal"]["rmse"] for row in result["rows"]}
    assert [name.split(",")[0] for name in rmse] == [
        "own level", "own level", "own level", "normalised level",
        "campaign known", "campaign known", "songs of 2013", "songs of 2013",
        "songs of 2014 and 2015", "songs of 2014 and 2015",
    ]  # fmt: skip
    assert len(set(rmse.values())) == len(rmse)
    without = replace(collection, splits={**collection.splits, "test": ()})
    with pytest.raises(DataError, match="no songs to fit on, or none of the split test"):
        measure_probe(teacher, without, "test")
