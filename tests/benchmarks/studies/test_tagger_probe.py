"""The plain probe of the tagger: it learns what it can, hears no future, and its level counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deam_support import tone, write_deam
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.training.examples import Labels
from mer_engine.training.teacher import Teacher
from tagger_probe import RIDGES, Probe, describe, measure_probe
from tagger_support import make_tagger


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(make_tagger())


def test_what_is_described_hangs_on_the_past_alone(teacher: Teacher) -> None:
    music = tone(2, 10.0).astype(np.float64)
    whole = describe(teacher, music)
    assert whole.shape == (20, 200)
    assert np.isnan(whole[:5]).all()  # nothing before three seconds
    np.testing.assert_array_equal(whole[5], whole[6])  # once a second
    for step in (6, 9, 14):
        changed = music.copy()
        changed[step * 8_000 :] = np.random.default_rng(0).normal(size=len(music) - step * 8_000)
        np.testing.assert_allclose(describe(teacher, changed)[:step], whole[:step], atol=1e-5)
        if step < 14:
            assert np.abs(describe(teacher, changed)[-1] - whole[-1]).max() > 0.01
    # The last of the embeddings counts as much as those before.
    first, second = whole[5], 2 * whole[7] - whole[5]
    np.testing.assert_allclose((first + second) / 2, whole[7], atol=1e-6)
    assert np.isnan(describe(teacher, music[:32_000])).all()
    assert np.abs(describe(teacher, music / 2) - whole)[5:].max() > 0.01


def test_a_probe_finds_what_is_linear() -> None:
    rng = np.random.default_rng(0)
    heard = np.repeat(rng.normal(size=(500, 1, 200)), 20, axis=1)
    values = np.stack([0.3 * heard[..., 0] + 0.1, 0.2 * heard[..., 1]], axis=2).astype(np.float32)
    values[:5, 12:] = np.nan
    songs = np.array([f"csv/{n}" for n in range(500)])
    static = np.full((500, 2), np.nan, np.float32)
    labels = Labels(values, static, songs, songs, np.zeros(500, bool))
    probe = Probe(heard[:400], labels.select(np.arange(400)), seed=0)
    assert probe.ridge in RIDGES
    told = probe(heard[400:])
    for column in (0, 1):
        assert np.corrcoef(told[:, -1, column], values[400:, -1, column])[0, 1] > 0.8


def test_rows_of_levels_and_campaigns(teacher: Teacher, tmp_path: Path) -> None:
    write_deam(tmp_path)
    collection = load_collection(tmp_path)
    seen: list[tuple[int, int]] = []
    result = measure_probe(
        teacher, collection, "test", songs=6, progress=lambda *at: seen.append(at)
    )
    assert result["songs"] == 6
    assert seen[-1] == (48, 48)  # twelve songs at two levels, six at four
    figures = {row["name"]: row["arousal"]["rmse"] for row in result["rows"]}
    assert [name.split(",")[0] for name in figures] == [
        "own level", "own level", "own level", "one level", "campaign known", "campaign known",
        "songs of 2013", "songs of 2013", "songs of 2014 and 2015", "songs of 2014 and 2015",
    ]  # fmt: skip
    assert len(set(figures.values())) == 10
    without = replace(collection, splits={**collection.splits, "test": ()})
    with pytest.raises(DataError, match="no songs to fit on, or none of the split test"):
        measure_probe(teacher, without, "test")
