import numpy as np
import pytest
from numpy.typing import NDArray

from realtime_mer.evaluation.metrics import (
    by_group,
    by_seconds,
    constant_half_widths,
    figures,
    genre_groups,
    per_song,
    with_constant_width,
)
from realtime_mer.evaluation.predictions import Predictions


def heard(
    labels: NDArray[np.float64],
    values: NDArray[np.float64],
    half: float = 0.1,
    songs: tuple[str, ...] | None = None,
) -> Predictions:
    """Clips [n, steps] whose two dimensions are the same."""
    both = [np.repeat(array[..., None], 2, axis=2) for array in (labels, values)]
    names = songs or tuple(f"s{n}" for n in range(len(labels)))
    return Predictions(names, both[1], both[1] - half, both[1] + half, both[0])


def test_pooled_figures_by_hand() -> None:
    labels = np.array([[0.0, 0.2], [0.4, np.nan]])
    values = np.array([[0.1, 0.2], [0.6, 0.0]])
    arousal = figures(heard(labels, values, half=0.15))["arousal"]
    # Errors 0.1, 0, 0.2 around labels 0, 0.2, 0.4; the moment without a label does not count.
    assert arousal.songs == 2
    assert arousal.rmse == pytest.approx((0.05 / 3) ** 0.5)
    assert arousal.r2 == pytest.approx(1 - 0.05 / 0.08)
    assert arousal.coverage == pytest.approx(2 / 3)
    assert arousal.width == pytest.approx(0.3)


def test_songs_without_labels_or_spread_give_no_r2() -> None:
    same = np.full((2, 3), 0.3)
    assert figures(heard(same, same))["valence"].r2 is None
    assert figures(heard(same * np.nan, same)) == {}


def test_agreement_song_by_song_by_hand() -> None:
    labels = np.array([[0.0, 0.1, 0.2], [0.5, 0.5, 0.5], [0.0, 0.1, 0.2]])
    values = np.array([[0.0, 0.1, 0.2], [0.2, 0.3, 0.4], [0.2, 0.1, 0.0]])
    songs = per_song(heard(labels, values))["valence"]
    assert (songs.songs, songs.varying) == (3, 2)
    assert songs.r == pytest.approx((1 - 1) / 2, abs=1e-12)
    assert songs.ccc == pytest.approx(0.0, abs=1e-12)
    # Errors within: none; 0.3, 0.2, 0.1; 0.2, 0, 0.2.
    expected = (0 + (0.14 / 3) ** 0.5 + (0.08 / 3) ** 0.5) / 3
    assert songs.rmse == pytest.approx(expected)
    assert songs.between is not None
    # Means 0.1, 0.5, 0.1 against 0.1, 0.3, 0.1.
    assert songs.between.rmse == pytest.approx((0.04 / 3) ** 0.5)
    assert songs.between.r == pytest.approx(1.0)


def test_clips_of_one_song_count_as_one() -> None:
    labels = np.array([[0.0, 0.1], [0.2, 0.3], [0.5, 0.6]])
    songs = per_song(heard(labels, labels, songs=("a", "a", "b")))["arousal"]
    assert (songs.songs, songs.varying) == (2, 2)


def test_groups_and_seconds_take_only_their_own() -> None:
    rng = np.random.default_rng(0)
    labels, values = rng.uniform(-1, 1, (4, 20)), rng.uniform(-1, 1, (4, 20))
    values[:2] = labels[:2]
    groups = by_group(heard(labels, values), ["x", "x", "y", "y"])
    assert groups["x"]["arousal"].r2 == pytest.approx(1.0)
    assert groups["y"]["arousal"].r2 != pytest.approx(1.0)
    labels[:, 3] = [0.1, 0.2, 0.3, 0.4]
    values[:, 3] = [0.2, 0.3, 0.4, 0.5]
    moments = by_seconds(heard(labels, values), (0.5, 2.0))
    assert moments[2.0]["valence"].rmse == pytest.approx(0.1)
    assert moments[0.5]["valence"].rmse != pytest.approx(0.1)


def test_genres_with_few_songs_are_taken_together() -> None:
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


def test_a_constant_interval_holds_the_share_it_was_fitted_for() -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(0, 0.1, (400, 11))
    estimates = heard(labels, np.zeros_like(labels))
    half = constant_half_widths(estimates, 0.8)
    assert half["arousal"] == pytest.approx(0.128, abs=0.005)  # 1.28 standard deviations
    held = figures(with_constant_width(estimates, half))["arousal"]
    assert held.coverage == pytest.approx(0.8, abs=0.001)
    assert held.width == pytest.approx(2 * half["arousal"])


def test_a_constant_interval_ends_with_the_scale() -> None:
    wide = with_constant_width(heard(np.zeros((1, 1)), np.full((1, 1), 0.9)), {"valence": 0.5})
    assert wide.high[0, 0, 0] == 1.0
    assert wide.low[0, 0, 0] == pytest.approx(0.4)
    assert np.isnan(wide.low[0, 0, 1])
