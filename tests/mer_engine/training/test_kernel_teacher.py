"""The second opinion: it learns, and what it says of a song rests on the others alone."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.training import kernel_teacher
from mer_engine.training.kernel_teacher import MODE_SHARE, RIDGE, WIDTH, KernelTeacher
from numpy.typing import NDArray

Array = NDArray[np.float64]
MODE = 3


def clips(songs: int = 30, each: int = 2, seed: int = 0) -> tuple[Array, Array, list[str]]:
    """Statistics [n, 8], targets [n, 2] that follow them smoothly, and songs."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(songs, 8)) * np.arange(1, 9)
    x = np.repeat(centre, each, axis=0) + 0.1 * rng.normal(size=(songs * each, 8))
    y = np.column_stack([np.tanh(x[:, 0]), 0.3 * x[:, 7] / 8 - 0.2])
    return x, y, [f"song {n}" for n in np.repeat(np.arange(songs), each)]


def refit(x: Array, y: Array, songs: list[str], without: str, mode: int) -> Array:
    """Answers for a song by plain kernel ridge regression on the rows of all others.

    Scale, widths, centre and ridge are those of all rows: they hardly depend on one song.
    """
    scaled = np.clip((x - x.mean(0)) / (x.std(0) + 1e-6), -6, 6)
    blocks = [(scaled[:, : len(x[0]) - mode], 1 - MODE_SHARE), (scaled[:, -mode:], MODE_SHARE)]
    kernel = np.zeros((len(x), len(x)))
    for part, share in blocks if mode else [(scaled, 1.0)]:
        apart = ((part[:, None] - part[None]) ** 2).mean(2)
        kernel += share * np.exp(-apart / (WIDTH * np.median(apart[::5, ::5])))
    own = np.array(songs) == without
    ridge = RIDGE * len(x) / len(set(songs)) * np.eye((~own).sum())
    weights = np.linalg.solve(kernel[np.ix_(~own, ~own)] + ridge, y[~own] - y.mean(0))
    return np.asarray(kernel[np.ix_(own, ~own)] @ weights + y.mean(0))


@pytest.mark.parametrize("mode", [0, MODE])
def test_answers_without_the_own_song_are_those_of_a_refit(mode: int) -> None:
    x, y, songs = clips(each=3)
    teacher = KernelTeacher(x, mode, y, songs)
    answers = teacher.without_own_song()
    for song in ("song 0", "song 13"):
        rows = np.flatnonzero(np.array(songs) == song)
        expected = refit(x, y, songs, song, mode)
        np.testing.assert_allclose(answers[rows], expected, atol=1e-6)
        assert np.abs(teacher(x[rows]) - expected).max() > 0.01  # with the song it is another


def test_the_own_labels_of_a_song_play_no_part() -> None:
    x, y, songs = clips()
    before = KernelTeacher(x, MODE, y, songs).without_own_song()
    y[10] += 1  # both are of one song, so the mean of all labels stays
    y[11] -= 1
    after = KernelTeacher(x, MODE, y, songs).without_own_song()
    np.testing.assert_allclose(after[10:12], before[10:12], atol=1e-6)
    assert np.abs(after - before).max() > 1e-3


def test_it_learns_a_smooth_function() -> None:
    x, y, songs = clips(songs=250, each=1)
    other, truth, _ = clips(songs=40, each=1, seed=1)
    told = KernelTeacher(x, 0, y, songs)(other)
    assert told.shape == (40, 2)
    assert told.dtype == np.float32
    for column in (0, 1):
        assert np.corrcoef(told[:, column], truth[:, column])[0, 1] > 0.8


def test_the_mode_counts_although_it_is_few_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 60))
    y = np.cos(2 * x[:, -1:])
    songs = [str(n) for n in range(200)]
    with_mode = KernelTeacher(x, 1, y, songs).without_own_song()
    without = KernelTeacher(x, 0, y, songs).without_own_song()
    assert np.corrcoef(with_mode[:, 0], y[:, 0])[0, 1] > 0.6
    assert np.corrcoef(without[:, 0], y[:, 0])[0, 1] < 0.3


def test_too_many_rows_are_thinned_by_whole_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_teacher, "MOST_ROWS", 60)
    x, y, songs = clips(songs=50, each=4)
    teacher = KernelTeacher(x, MODE, y, songs)
    answers = teacher.without_own_song()
    assert answers.shape == (200, 2)
    # Fifteen songs spread over all are known, the others are told by them.
    known = {songs[row] for row in np.linspace(0, 49, 15).astype(int) * 4}
    rows = np.array([song in known for song in songs])
    few = KernelTeacher(x[rows], MODE, y[rows], [song for song in songs if song in known])
    np.testing.assert_allclose(answers[rows], few.without_own_song(), atol=1e-6)
    np.testing.assert_allclose(answers[~rows], few(x[~rows]), atol=1e-6)


def test_equal_clips_do_no_harm() -> None:
    told = KernelTeacher(np.ones((20, 5)), 2, np.ones((20, 1)), ["a"] * 10 + ["b"] * 10)
    np.testing.assert_allclose(told.without_own_song(), 1, atol=1e-6)
