"""Pooled metrics, metrics by song, group and duration, and constant intervals."""

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime_mer.evaluation.metrics import (
    constant_half_widths,
    genre_groups,
    metrics_by_duration,
    metrics_by_group,
    per_song_metrics,
    pooled_metrics,
    with_constant_width,
)
from realtime_mer.evaluation.predictions import Predictions


def make_predictions(
    labels: NDArray[np.float64],
    values: NDArray[np.float64],
    half: float = 0.1,
    songs: tuple[str, ...] | None = None,
) -> Predictions:
    """Make predictions of clips [n, steps] with two equal dimensions."""
    truth, value = (np.repeat(array[..., None], 2, axis=2) for array in (labels, values))
    names = songs or tuple(f"s{n}" for n in range(len(labels)))
    return Predictions(names, value, value - half, value + half, truth)


def test_pooled_metrics_computed_by_hand() -> None:
    labels = np.array([[0.0, 0.2], [0.4, np.nan]])
    values = np.array([[0.1, 0.2], [0.6, 0.0]])
    arousal = pooled_metrics(make_predictions(labels, values, half=0.15))["arousal"]
    # Errors 0.1, 0, 0.2 at labels 0, 0.2, 0.4; the step without a label does not count.
    assert arousal.songs == 2
    assert arousal.rmse == pytest.approx((0.05 / 3) ** 0.5)
    assert arousal.r2 == pytest.approx(1 - 0.05 / 0.08)
    assert arousal.coverage == pytest.approx(2 / 3)
    assert arousal.width == pytest.approx(0.3)


def test_constant_or_missing_labels_give_no_r2() -> None:
    same = np.full((2, 3), 0.3)
    assert pooled_metrics(make_predictions(same, same))["valence"].r2 is None
    assert pooled_metrics(make_predictions(same * np.nan, same)) == {}


def test_per_song_metrics_computed_by_hand() -> None:
    labels = np.array([[0.0, 0.1, 0.2], [0.5, 0.5, 0.5], [0.0, 0.1, 0.2]])
    values = np.array([[0.0, 0.1, 0.2], [0.2, 0.3, 0.4], [0.2, 0.1, 0.0]])
    songs = per_song_metrics(make_predictions(labels, values))["valence"]
    assert (songs.songs, songs.varying) == (3, 2)
    assert songs.r == pytest.approx((1 - 1) / 2, abs=1e-12)
    assert songs.ccc == pytest.approx(0.0, abs=1e-12)
    # Errors by song: none; 0.3, 0.2, 0.1; 0.2, 0, 0.2.
    expected = (0 + (0.14 / 3) ** 0.5 + (0.08 / 3) ** 0.5) / 3
    assert songs.rmse == pytest.approx(expected)
    assert songs.between is not None
    # Means of labels: 0.1, 0.5, 0.1; of estimates: 0.1, 0.3, 0.1.
    assert songs.between.rmse == pytest.approx((0.04 / 3) ** 0.5)
    assert songs.between.r == pytest.approx(1.0)


def test_clips_of_a_song_are_pooled() -> None:
    labels = np.array([[0.0, 0.1], [0.2, 0.3], [0.5, 0.6]])
    songs = per_song_metrics(make_predictions(labels, labels, songs=("a", "a", "b")))["arousal"]
    assert (songs.songs, songs.varying) == (2, 2)


def test_groups_and_durations_are_separate() -> None:
    rng = np.random.default_rng(0)
    labels, values = rng.uniform(-1, 1, (4, 20)), rng.uniform(-1, 1, (4, 20))
    values[:2] = labels[:2]
    groups = metrics_by_group(make_predictions(labels, values), ["x", "x", "y", "y"])
    assert groups["x"]["arousal"].r2 == pytest.approx(1.0)
    assert groups["y"]["arousal"].r2 != pytest.approx(1.0)
    labels[:, 3] = [0.1, 0.2, 0.3, 0.4]
    values[:, 3] = [0.2, 0.3, 0.4, 0.5]
    after = metrics_by_duration(make_predictions(labels, values), (0.5, 2.0))
    assert after[2.0]["valence"].rmse == pytest.approx(0.1)
    assert after[0.5]["valence"].rmse != pytest.approx(0.1)


def test_genres_with_few_songs_become_other() -> None:
    genres = {f"j{n}": "Jazz-Rock" for n in range(12)}
    genres |= {f"k{n}": "\tjazz" for n in range(8)}
    genres |= {f"h{n}": "Hip-Hop-Electronic" for n in range(20)}
    songs = [*genres, "p", "unknown"]
    groups = dict(
        zip(songs, genre_groups(songs, {**genres, "p": "Pop", "unknown": None}), strict=True)
    )
    assert groups["j0"] == groups["k7"] == "jazz"
    assert groups["h3"] == "hip-hop"
    assert groups["p"] == groups["unknown"] == "other"


def test_a_constant_interval_contains_the_fitted_share() -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(0, 0.1, (400, 11))
    estimates = make_predictions(labels, np.zeros_like(labels))
    half = constant_half_widths(estimates, 0.8)
    assert half["arousal"] == pytest.approx(0.128, abs=0.005)  # 1.28 standard deviations
    fitted = pooled_metrics(with_constant_width(estimates, half))["arousal"]
    assert fitted.coverage == pytest.approx(0.8, abs=0.001)
    assert fitted.width == pytest.approx(2 * half["arousal"])


def test_a_constant_interval_is_clipped_to_the_scale() -> None:
    wide = with_constant_width(
        make_predictions(np.zeros((1, 1)), np.full((1, 1), 0.9)), {"valence": 0.5}
    )
    assert wide.high[0, 0, 0] == 1.0
    assert wide.low[0, 0, 0] == pytest.approx(0.4)
    assert np.isnan(wide.low[0, 0, 1])
