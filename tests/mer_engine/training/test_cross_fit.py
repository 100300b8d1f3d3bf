"""Folds, and second opinions on clips with and without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mer_engine.datasets.problems import DataError
from mer_engine.network import NetworkConfig, RegressionHead
from mer_engine.training import cross_fit as cross_fit_module
from mer_engine.training.cross_fit import cross_fit, fold_of, opinions, parts_of
from mer_engine.training.examples import Labels
from mer_engine.training.fit import FitSettings, predict
from numpy.typing import NDArray

SMALL = NetworkConfig(
    timbral=((5, 38, 3),),
    temporal=((9, 2),),
    residual_filters=2,
    hidden=4,
    heads=2,
    width=8,
    statistics=8,
    bins=21,
)
QUICK = FitSettings(steps=3, batch=8)
Steps = NDArray[np.float16]


def reader() -> RegressionHead:
    torch.manual_seed(0)
    return RegressionHead(SMALL)


def clips(count: int, seed: int = 0) -> tuple[Steps, Labels]:
    """Clips whose first channels tell their valence and arousal; every song has two."""
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.uniform(-0.6, 0.6, (count, 1, 2)), 20, axis=1).astype(np.float32)
    steps = 0.3 * rng.normal(size=(count, 20, SMALL.embedding))
    for part in (0, SMALL.channels):
        steps[:, :, part : part + 6 : 2] += 3 * values[:, :, :1]
        steps[:, :, part + 1 : part + 6 : 2] += 3 * values[:, :, 1:]
    songs = np.array([f"csv/{n // 2}" for n in range(count)])
    static = (values[:, 0] / 2).astype(np.float32)
    return steps.astype(np.float16), Labels(values, static, songs, songs, np.zeros(count, bool))


def test_folds_keep_groups_together() -> None:
    groups = np.array([f"artist {n}" for n in np.random.default_rng(0).integers(0, 23, 200)])
    folds = fold_of(groups, 5, seed=1)
    assert set(folds) == set(range(5))
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    sizes = [len(set(groups[folds == fold])) for fold in range(5)]
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(fold_of(groups, 5, seed=1), folds)
    assert (fold_of(groups, 5, seed=2) != folds).any()
    assert set(fold_of(np.array(["a", "b", "a"]), 5, seed=0)) == {0, 1}


def test_auxiliary_clips_are_in_no_part() -> None:
    _, labels = clips(40)
    labels.auxiliary[10:16] = True
    parts = parts_of(labels, 4, seed=0)
    assert (parts[10:16] == -1).all()
    meant = np.delete(parts, slice(10, 16))
    assert set(meant) == set(range(4))
    np.testing.assert_array_equal(meant, fold_of(np.delete(labels.songs, slice(10, 16)), 4, seed=0))


def test_one_artist_alone_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="nothing can be held out"):
        fold_of(np.array(["artist a"] * 9), 5, seed=0)


def test_opinions_are_near_the_labels() -> None:
    steps, labels = clips(60)
    other, hidden = clips(20, seed=1)
    told = opinions(reader(), steps[None], labels, other)
    own = told.own
    assert own.shape == (60, 4)
    assert told.other.shape == (20, 4)
    assert told.tells.all()
    for said, truth in ((own, labels), (told.other, hidden)):
        wanted = np.column_stack([truth.values[:, -1], truth.static])
        for column in range(4):
            assert np.corrcoef(said[:, column], wanted[:, column])[0, 1] > 0.8
    # Each song is told by the others: its own labels change only what is said of those.
    labels.values[0] += 0.2
    labels.values[1] -= 0.2
    changed = opinions(reader(), steps[None], labels, other).own
    np.testing.assert_allclose(changed[:2], own[:2], atol=1e-5)
    assert np.abs(changed[2:] - own[2:]).max() > 1e-4


def test_what_is_unknown_stays_unknown() -> None:
    steps, labels = clips(40)
    labels.values[:4, 19] = np.nan
    labels.values[4:6, 19, 0] = np.nan
    labels.static[:] = np.nan
    other, _ = clips(5, seed=1)
    told = opinions(reader(), steps[None], labels, other)
    assert np.isnan(told.own[:4, :2]).all()
    assert np.isnan(told.own[4:6, 0]).all()
    assert np.isfinite(told.own[4:, 1]).all()
    assert np.isfinite(told.own[6:, 0]).all()
    assert np.isnan(told.own[:, 2:]).all()
    assert np.isfinite(told.other[:, :2]).all()
    assert np.isnan(told.other[:, 2:]).all()
    assert told.tells.tolist() == [True, True, False, False]
    assert told.memory is not None
    few = opinions(reader(), steps[None, :8], labels.select(np.arange(8)), other)
    assert np.isnan(few.own).all()
    assert np.isnan(few.other).all()
    assert few.memory is None
    none = opinions(reader(), steps[None], labels, other[:0])
    assert none.other.shape == (0, 4)
    np.testing.assert_array_equal(none.own, told.own)


@torch.inference_mode()
def test_the_memory_answers_about_new_songs_as_the_teacher_does() -> None:
    steps, labels = clips(120)
    other, hidden = clips(40, seed=1)
    told = opinions(reader(), steps[None], labels, other)
    assert told.memory is not None
    assert told.memory.count == 120
    window = torch.from_numpy(other.astype(np.float32))
    for last, near in ((20, 0.1), (10, 0.15)):
        said = told.memory(reader().statistics(window[:, :last])).numpy()
        # It keeps the windows of whole clips only, so it is not exactly the teacher.
        assert np.abs(said - told.other).mean() < near * told.other.std()
        assert np.corrcoef(said[:, 0], hidden.values[:, -1, 0])[0, 1] > 0.8


@torch.inference_mode()
def test_the_memory_knows_windows_that_begin_within_a_clip() -> None:
    def begun(steps: Steps) -> Steps:
        """Where the music begins some channels are loud, as an onset out of silence makes them."""
        loud = steps.copy()
        loud[:, :2, 8 : SMALL.channels] = 12
        return loud

    steps, labels = clips(120)
    other, hidden = clips(60, seed=1)
    memory = opinions(reader(), begun(steps)[None], labels, other[:0]).memory
    assert memory is not None
    window = torch.from_numpy(begun(other).astype(np.float32))
    for first, last in ((0, 20), (0, 8), (4, 20), (10, 20), (13, 19)):
        said = memory(reader().statistics(window[:, first:last])).numpy()
        truth = hidden.values[:, last - 1]
        for column in (0, 1):
            left = np.square(said[:, column] - truth[:, column]).mean()
            assert left < 0.35 * truth[:, column].var(), (first, last)


@torch.inference_mode()
def test_the_memory_learns_to_tell_clips_that_are_played_elsewhere() -> None:
    steps, labels = clips(80)
    # Elsewhere the first six channels sound stronger by two, whatever is played.
    elsewhere = steps.copy()
    for part in (0, SMALL.channels):
        elsewhere[:, :, part : part + 6] += 2
    other, hidden = clips(40, seed=1)
    moved = other.copy()
    for part in (0, SMALL.channels):
        moved[:, :, part : part + 6] += 2
    window = reader().statistics(torch.from_numpy(moved.astype(np.float32)))
    misses = []
    for known in (steps[None], np.stack([steps, elsewhere])):
        memory = opinions(reader(), known, labels, other[:0]).memory
        assert memory is not None
        misses.append(np.abs(memory(window)[:, :2].numpy() - hidden.values[:, -1]).mean())
    assert misses[1] < 0.7 * misses[0]


@torch.inference_mode()
def test_auxiliary_clips_are_learnt_at_their_weight_and_not_remembered() -> None:
    """They are of another kind: a channel apart, and their listeners said 0.5 more."""
    steps, labels = clips(120)
    kind = np.zeros(120, bool)
    kind[60:] = True
    steps[kind, :, 8:10] += 6
    labels.values[kind] += 0.5
    other, hidden = clips(40, seed=1)
    other[:, :, 8:10] += 6
    window = reader().statistics(torch.from_numpy(other.astype(np.float32)))

    def miss(known: NDArray[np.int64], auxiliary: NDArray[np.bool_]) -> float:
        some = replace(labels.select(known), auxiliary=auxiliary[known])
        memory = opinions(reader(), steps[None, known], some, other[:0], 1.0, 0.2).memory
        assert memory is not None
        assert memory.count == (~some.auxiliary).sum()
        return float(np.abs(memory(window)[:, :2].numpy() - (hidden.values[:, -1] + 0.5)).mean())

    stranger = miss(np.arange(60), kind)
    beside = miss(np.arange(120), kind)
    equal = miss(np.arange(120), np.zeros(120, bool))
    assert equal < 0.8 * beside < 0.6 * stranger
    # Scales and axes are those of the music that the model is meant for.
    space = opinions(reader(), steps[None], replace(labels, auxiliary=kind), other[:0]).memory
    alone = opinions(reader(), steps[None, :60], labels.select(np.arange(60)), other[:0]).memory
    assert space is not None
    assert alone is not None
    torch.testing.assert_close(space.mean, alone.mean)
    torch.testing.assert_close(space.axes, alone.axes)


def test_a_fitted_reader_has_the_memory_where_it_may() -> None:
    steps, labels = clips(30)
    nothing = np.zeros((1, 0, *steps.shape[1:]), np.float16)
    remembers = cross_fit(reader(), steps[None], labels, nothing, QUICK, seed=0)
    assert remembers.config.regressor_windows == 30
    how = replace(QUICK, memory=False)
    forgets = cross_fit(reader(), steps[None], labels, nothing, how, seed=0)
    assert forgets.regressor is None
    # What is left of the memory is the same reader: nothing else differs.
    for (name, a), b in zip(
        forgets.state_dict().items(), remembers.state_dict().values(), strict=False
    ):
        if name != "regressor_spread":
            assert torch.equal(a, b), name
    assert np.abs(predict(remembers, steps) - predict(forgets, steps)).max() > 0.01


def test_too_many_windows_are_thinned_by_whole_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, labels = clips(60)
    other, _ = clips(10, seed=1)
    monkeypatch.setattr(cross_fit_module, "MOST_ROWS", 40)
    told = opinions(reader(), steps[None], labels, other)
    assert told.memory is not None
    assert told.memory.count == 40  # twenty songs of two clips each
    assert np.isfinite(told.own).all()
    assert np.isfinite(told.other).all()


def test_a_reader_learns_from_opinions_on_clips_without_labels() -> None:
    steps, labels = clips(24)
    other, _ = clips(40, seed=1)
    without = replace(QUICK, unlabelled=0.0)
    taught, alone, never = (
        cross_fit(reader(), steps[None], labels, more[None], how, seed=0)
        for more, how in ((other, QUICK), (other[:0], QUICK), (other, without))
    )
    told, less, least = (predict(fitted, other) for fitted in (taught, alone, never))
    assert told.shape == (40, 20, 4, 21)
    assert np.isfinite(told).all()
    assert np.abs(told - less).max() > 1e-4
    np.testing.assert_array_equal(least, less)
    again = cross_fit(reader(), steps[None], labels, other[None], QUICK, seed=0)
    np.testing.assert_array_equal(predict(again, other), told)


def test_opinions_can_be_left_out() -> None:
    steps, labels = clips(24)
    nothing = np.zeros((1, 0, *steps.shape[1:]), np.float16)
    how = replace(QUICK, opinion=0.0, unlabelled=0.0)
    quiet = cross_fit(reader(), steps[None], labels, nothing, how, seed=0)
    usual = cross_fit(reader(), steps[None], labels, nothing, QUICK, seed=0)
    assert np.abs(predict(quiet, steps) - predict(usual, steps)).max() > 1e-4
