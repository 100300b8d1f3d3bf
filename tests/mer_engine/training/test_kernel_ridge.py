"""The kernel teacher, its predictions without the own song, and the sparse regressor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_engine.training import kernel_ridge
from mer_engine.training.kernel_ridge import (
    KERNEL_WIDTH,
    RIDGE,
    KernelSpace,
    KernelTeacher,
    fit_regressor,
)
from mer_engine.window_statistics import StatisticSizes
from numpy.typing import NDArray

Array = NDArray[np.float64]
SIZES = StatisticSizes(channels=5, mode=2, tonic_chroma=0, spectrum=1, tags=0, inverse_crest=0)
WEIGHTS = {"channels": 0.6, "mode": 0.1, "tonic_chroma": 0.2, "spectrum": 0.1}


def clips(songs: int = 30, each: int = 2, seed: int = 0) -> tuple[Array, Array, list[str]]:
    """Return statistics [n, 8], targets [n, 2] that depend on them smoothly, and songs."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(songs, 8)) * np.arange(1, 9)
    x = np.repeat(centre, each, axis=0) + 0.1 * rng.normal(size=(songs * each, 8))
    y = np.column_stack([np.tanh(x[:, 0]), 0.3 * x[:, 7] / 8 - 0.2])
    return x, y, [f"song {n}" for n in np.repeat(np.arange(songs), each)]


def fit_teacher(x: Array, y: Array, songs: list[str]) -> tuple[KernelSpace, KernelTeacher, Array]:
    space = KernelSpace(x, SIZES)
    points = space.project(x)
    return space, KernelTeacher(space, points, y, songs, WEIGHTS), points


def refit(x: Array, y: Array, songs: list[str], without: str) -> Array:
    """Predict a song by plain kernel ridge regression on the rows of all other songs.

    Scale, widths, centre and ridge come from all rows, because they hardly depend on one song.
    """
    scaled = np.clip((x - x.mean(0)) / (x.std(0) + 1e-6), -6, 6)
    kernel = np.zeros((len(x), len(x)))
    for part, share in ((scaled[:, :5], 0.75), (scaled[:, 5:7], 0.125), (scaled[:, 7:], 0.125)):
        squares = ((part[:, None] - part[None]) ** 2).sum(2)
        kernel += share * np.exp(-squares / (KERNEL_WIDTH * np.median(squares[::5, ::5])))
    own = np.array(songs) == without
    ridge = RIDGE * len(x) / len(set(songs)) * np.eye((~own).sum())
    weights = np.linalg.solve(kernel[np.ix_(~own, ~own)] + ridge, y[~own] - y.mean(0))
    return np.asarray(kernel[np.ix_(own, ~own)] @ weights + y.mean(0))


def test_predictions_without_the_own_song_equal_a_refit() -> None:
    x, y, songs = clips(each=3)
    _, teacher, points = fit_teacher(x, y, songs)
    predictions = teacher.without_own_song()
    for song in ("song 0", "song 13"):
        rows = np.flatnonzero(np.array(songs) == song)
        expected = refit(x, y, songs, song)
        np.testing.assert_allclose(predictions[rows], expected, atol=1e-6)
        assert np.abs(teacher(points[rows]) - expected).max() > 0.01  # differs with the song


def test_a_row_of_weight_two_equals_two_rows() -> None:
    x, y, songs = clips(each=1)
    twice = [*range(30), 4, 17]
    weights = np.ones(30)
    weights[[4, 17]] = 2
    space = KernelSpace(x, SIZES)
    points = space.project(x)
    names = [songs[n] for n in twice]
    repeated = KernelTeacher(space, points[twice], y[twice], names, WEIGHTS)
    weighted = KernelTeacher(space, points, y, songs, WEIGHTS, weights)
    other = space.project(clips(songs=20, seed=1)[0])
    np.testing.assert_allclose(weighted(other), repeated(other), atol=1e-6)
    own, both = weighted.without_own_song(), repeated.without_own_song()
    np.testing.assert_allclose(own, both[:30], atol=1e-6)
    plain = KernelTeacher(space, points, y, songs, WEIGHTS)
    assert np.abs(weighted(other) - plain(other)).max() > 1e-3


def test_the_labels_of_the_own_song_have_no_effect() -> None:
    x, y, songs = clips()
    before = fit_teacher(x, y, songs)[1].without_own_song()
    y[10] += 1  # both rows are of one song, so the mean of all labels does not change
    y[11] -= 1
    after = fit_teacher(x, y, songs)[1].without_own_song()
    np.testing.assert_allclose(after[10:12], before[10:12], atol=1e-6)
    assert np.abs(after - before).max() > 1e-3


def test_the_teacher_learns_a_smooth_function() -> None:
    x, y, songs = clips(songs=250, each=1)
    other, truth, _ = clips(songs=40, each=1, seed=1)
    space, teacher, _ = fit_teacher(x, y, songs)
    predictions = teacher(space.project(other))
    assert predictions.shape == (40, 2)
    assert predictions.dtype == np.float32
    for column in (0, 1):
        assert np.corrcoef(predictions[:, column], truth[:, column])[0, 1] > 0.8


def test_the_weight_of_a_kind_does_not_depend_on_its_size() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 61))
    y = np.cos(2 * x[:, -1:])
    songs = [str(n) for n in range(200)]
    space = KernelSpace(x, StatisticSizes(60, 0, 0, 1, 0, 0))
    points = space.project(x)
    with_it = KernelTeacher(space, points, y, songs, {"channels": 0.7, "spectrum": 0.3})
    without = KernelTeacher(space, points, y, songs, {"channels": 1.0})
    assert np.corrcoef(with_it.without_own_song()[:, 0], y[:, 0])[0, 1] > 0.6
    assert np.corrcoef(without.without_own_song()[:, 0], y[:, 0])[0, 1] < 0.3


def test_channels_are_projected_to_the_principal_axes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(80, 3))
    x = np.concatenate([hidden @ rng.normal(size=(3, 20)), rng.normal(size=(80, 2))], axis=1)
    monkeypatch.setattr(kernel_ridge, "RANK", 3)
    space = KernelSpace(x, StatisticSizes(20, 2, 0, 0, 0, 0))
    points = space.project(x)
    assert points.shape == (80, 5)
    # Three axes contain all the variance, so the distances do not change.
    scaled = (x - x.mean(0)) / x.std(0)
    expected = ((scaled[:10, None, :20] - scaled[None, :10, :20]) ** 2).sum(2)
    distances = ((points[:10, None, :3] - points[None, :10, :3]) ** 2).sum(2)
    np.testing.assert_allclose(distances, expected, rtol=1e-3, atol=1e-3)


def test_a_regressor_with_all_windows_equals_the_teacher() -> None:
    x, y, songs = clips()
    other, _, _ = clips(songs=12, seed=1)
    space, teacher, points = fit_teacher(x, y, songs)
    regressor = space.regressor(points, 4)
    fit_regressor(regressor, (1, 3), space, points, points, y, np.ones(len(y)), songs, WEIGHTS)
    predictions = regressor(torch.from_numpy(other).float()).numpy()
    np.testing.assert_allclose(predictions[:, [1, 3]], teacher(space.project(other)), atol=2e-3)
    assert not predictions[:, [0, 2]].any()


def test_a_regressor_with_some_windows_approximates_the_teacher() -> None:
    x, y, songs = clips(songs=100, each=2)
    other, _, _ = clips(songs=40, each=1, seed=1)
    space, teacher, points = fit_teacher(x, y, songs)
    regressor = space.regressor(points[::2], 2)
    fit_regressor(regressor, (0, 1), space, points[::2], points, y, np.ones(len(y)), songs, WEIGHTS)
    predictions = regressor(torch.from_numpy(other).float()).numpy()
    expected = teacher(space.project(other))
    assert np.abs(predictions - expected).mean() < 0.1 * expected.std()
    assert np.abs(predictions - expected).max() > 1e-4


def test_windows_of_small_weight_have_a_small_effect() -> None:
    x, y, songs = clips()
    space, _, points = fit_teacher(x, y, songs)
    both = np.concatenate([points, points]), np.concatenate([y, -y])
    predictions = []
    for weight in (0.0, 0.1, 1.0):
        regressor = space.regressor(points, 2)
        weights = np.repeat([1.0, weight], len(y))
        fit_regressor(regressor, (0, 1), space, points, *both, weights, songs * 2, WEIGHTS)
        predictions.append(regressor(torch.from_numpy(x).float()).numpy())
    alone = space.regressor(points, 2)
    fit_regressor(alone, (0, 1), space, points, points, y, np.ones(len(y)), songs, WEIGHTS)
    np.testing.assert_allclose(
        predictions[0], alone(torch.from_numpy(x).float()).numpy(), atol=1e-4
    )
    # Every window occurs again with the opposite label. With equal weight they cancel.
    np.testing.assert_allclose(predictions[2], 0, atol=1e-4)
    assert 0.7 < np.abs(predictions[1]).mean() / np.abs(predictions[0]).mean() < 0.95


def test_equal_clips_are_handled() -> None:
    x, y = np.ones((20, 8)), np.ones((20, 1))
    songs = ["a"] * 10 + ["b"] * 10
    space, teacher, points = fit_teacher(x, y, songs)
    np.testing.assert_allclose(teacher.without_own_song(), 1, atol=1e-6)
    regressor = space.regressor(points, 1)
    fit_regressor(regressor, (0,), space, points, points, y, np.ones(len(y)), songs, WEIGHTS)
    np.testing.assert_allclose(regressor(torch.ones(2, 8)).numpy(), 1, atol=1e-6)
