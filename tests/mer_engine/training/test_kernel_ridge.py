"""The second opinion: it learns, and what it says of a song rests on the others alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_engine.training import kernel_ridge
from mer_engine.training.kernel_ridge import (
    RIDGE,
    WIDTH,
    KernelTeacher,
    LikenessSpace,
    teach,
)
from mer_engine.window_statistics import StatisticSizes
from numpy.typing import NDArray

Array = NDArray[np.float64]
SIZES = StatisticSizes(channels=5, mode=2, tonic_chroma=0, spectrum=1, tags=0, inverse_crest=0)
SHARES = {"channels": 0.6, "mode": 0.1, "tonic_chroma": 0.2, "spectrum": 0.1}


def clips(songs: int = 30, each: int = 2, seed: int = 0) -> tuple[Array, Array, list[str]]:
    """Statistics [n, 8], targets [n, 2] that follow them smoothly, and songs."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(songs, 8)) * np.arange(1, 9)
    x = np.repeat(centre, each, axis=0) + 0.1 * rng.normal(size=(songs * each, 8))
    y = np.column_stack([np.tanh(x[:, 0]), 0.3 * x[:, 7] / 8 - 0.2])
    return x, y, [f"song {n}" for n in np.repeat(np.arange(songs), each)]


def learn(x: Array, y: Array, songs: list[str]) -> tuple[LikenessSpace, KernelTeacher, Array]:
    space = LikenessSpace(x, SIZES)
    places = space.place(x)
    return space, KernelTeacher(space, places, y, songs, SHARES), places


def refit(x: Array, y: Array, songs: list[str], without: str) -> Array:
    """Answers for a song by plain kernel ridge regression on the rows of all others.

    Scale, widths, centre and ridge are those of all rows: they hardly depend on one song.
    """
    scaled = np.clip((x - x.mean(0)) / (x.std(0) + 1e-6), -6, 6)
    kernel = np.zeros((len(x), len(x)))
    for part, share in ((scaled[:, :5], 0.75), (scaled[:, 5:7], 0.125), (scaled[:, 7:], 0.125)):
        apart = ((part[:, None] - part[None]) ** 2).sum(2)
        kernel += share * np.exp(-apart / (WIDTH * np.median(apart[::5, ::5])))
    own = np.array(songs) == without
    ridge = RIDGE * len(x) / len(set(songs)) * np.eye((~own).sum())
    weights = np.linalg.solve(kernel[np.ix_(~own, ~own)] + ridge, y[~own] - y.mean(0))
    return np.asarray(kernel[np.ix_(own, ~own)] @ weights + y.mean(0))


def test_answers_without_the_own_song_are_those_of_a_refit() -> None:
    x, y, songs = clips(each=3)
    _, teacher, places = learn(x, y, songs)
    answers = teacher.without_own_song()
    for song in ("song 0", "song 13"):
        rows = np.flatnonzero(np.array(songs) == song)
        expected = refit(x, y, songs, song)
        np.testing.assert_allclose(answers[rows], expected, atol=1e-6)
        assert np.abs(teacher(places[rows]) - expected).max() > 0.01  # with the song: another


def test_a_row_of_weight_two_is_as_good_as_two_rows() -> None:
    x, y, songs = clips(each=1)
    twice = [*range(30), 4, 17]
    weights = np.ones(30)
    weights[[4, 17]] = 2
    space = LikenessSpace(x, SIZES)
    places = space.place(x)
    names = [songs[n] for n in twice]
    repeated = KernelTeacher(space, places[twice], y[twice], names, SHARES)
    weighted = KernelTeacher(space, places, y, songs, SHARES, weights)
    other = space.place(clips(songs=20, seed=1)[0])
    np.testing.assert_allclose(weighted(other), repeated(other), atol=1e-6)
    own, both = weighted.without_own_song(), repeated.without_own_song()
    np.testing.assert_allclose(own, both[:30], atol=1e-6)
    plain = KernelTeacher(space, places, y, songs, SHARES)
    assert np.abs(weighted(other) - plain(other)).max() > 1e-3


def test_the_own_labels_of_a_song_play_no_part() -> None:
    x, y, songs = clips()
    before = learn(x, y, songs)[1].without_own_song()
    y[10] += 1  # both are of one song, so the mean of all labels stays
    y[11] -= 1
    after = learn(x, y, songs)[1].without_own_song()
    np.testing.assert_allclose(after[10:12], before[10:12], atol=1e-6)
    assert np.abs(after - before).max() > 1e-3


def test_it_learns_a_smooth_function() -> None:
    x, y, songs = clips(songs=250, each=1)
    other, truth, _ = clips(songs=40, each=1, seed=1)
    space, teacher, _ = learn(x, y, songs)
    told = teacher(space.place(other))
    assert told.shape == (40, 2)
    assert told.dtype == np.float32
    for column in (0, 1):
        assert np.corrcoef(told[:, column], truth[:, column])[0, 1] > 0.8


def test_a_kind_counts_by_its_share_although_it_is_few_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 61))
    y = np.cos(2 * x[:, -1:])
    songs = [str(n) for n in range(200)]
    space = LikenessSpace(x, StatisticSizes(60, 0, 0, 1, 0, 0))
    places = space.place(x)
    with_it = KernelTeacher(space, places, y, songs, {"channels": 0.7, "spectrum": 0.3})
    without = KernelTeacher(space, places, y, songs, {"channels": 1.0})
    assert np.corrcoef(with_it.without_own_song()[:, 0], y[:, 0])[0, 1] > 0.6
    assert np.corrcoef(without.without_own_song()[:, 0], y[:, 0])[0, 1] < 0.3


def test_channels_are_projected_to_the_axes_that_vary_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(80, 3))
    x = np.concatenate([hidden @ rng.normal(size=(3, 20)), rng.normal(size=(80, 2))], axis=1)
    monkeypatch.setattr(kernel_ridge, "RANK", 3)
    space = LikenessSpace(x, StatisticSizes(20, 2, 0, 0, 0, 0))
    places = space.place(x)
    assert places.shape == (80, 5)
    # Three axes tell all that there is, so the distances are those of all twenty numbers.
    scaled = (x - x.mean(0)) / x.std(0)
    apart = ((scaled[:10, None, :20] - scaled[None, :10, :20]) ** 2).sum(2)
    placed = ((places[:10, None, :3] - places[None, :10, :3]) ** 2).sum(2)
    np.testing.assert_allclose(placed, apart, rtol=1e-3, atol=1e-3)


def test_a_memory_of_all_windows_answers_as_the_teacher_does() -> None:
    x, y, songs = clips()
    other, _, _ = clips(songs=12, seed=1)
    space, teacher, places = learn(x, y, songs)
    memory = space.memory(places, 4)
    teach(memory, (1, 3), space, places, places, y, np.ones(len(y)), songs, SHARES)
    told = memory(torch.from_numpy(other).float()).numpy()
    np.testing.assert_allclose(told[:, [1, 3]], teacher(space.place(other)), atol=2e-3)
    assert not told[:, [0, 2]].any()


def test_a_memory_of_some_windows_answers_nearly_so() -> None:
    x, y, songs = clips(songs=100, each=2)
    other, _, _ = clips(songs=40, each=1, seed=1)
    space, teacher, places = learn(x, y, songs)
    memory = space.memory(places[::2], 2)
    teach(memory, (0, 1), space, places[::2], places, y, np.ones(len(y)), songs, SHARES)
    told = memory(torch.from_numpy(other).float()).numpy()
    expected = teacher(space.place(other))
    assert np.abs(told - expected).mean() < 0.1 * expected.std()
    assert np.abs(told - expected).max() > 1e-4


def test_windows_that_count_little_change_little() -> None:
    x, y, songs = clips()
    space, _, places = learn(x, y, songs)
    both = np.concatenate([places, places]), np.concatenate([y, -y])
    told = []
    for weight in (0.0, 0.1, 1.0):
        memory = space.memory(places, 2)
        weights = np.repeat([1.0, weight], len(y))
        teach(memory, (0, 1), space, places, *both, weights, songs * 2, SHARES)
        told.append(memory(torch.from_numpy(x).float()).numpy())
    alone = space.memory(places, 2)
    teach(alone, (0, 1), space, places, places, y, np.ones(len(y)), songs, SHARES)
    np.testing.assert_allclose(told[0], alone(torch.from_numpy(x).float()).numpy(), atol=1e-4)
    # Every window is there again with the opposite label: at equal weight nothing is left.
    np.testing.assert_allclose(told[2], 0, atol=1e-4)
    assert 0.7 < np.abs(told[1]).mean() / np.abs(told[0]).mean() < 0.95


def test_equal_clips_do_no_harm() -> None:
    x, y = np.ones((20, 8)), np.ones((20, 1))
    songs = ["a"] * 10 + ["b"] * 10
    space, teacher, places = learn(x, y, songs)
    np.testing.assert_allclose(teacher.without_own_song(), 1, atol=1e-6)
    memory = space.memory(places, 1)
    teach(memory, (0,), space, places, places, y, np.ones(len(y)), songs, SHARES)
    np.testing.assert_allclose(memory(torch.ones(2, 8)).numpy(), 1, atol=1e-6)
