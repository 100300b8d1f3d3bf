"""The map of a person: shrinkage, pieces, worth, and the interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from support import ESTIMATE

from realtime_mer.core.personal_map import MIN_PIECES, PRIORS, Tap, fit_personal_map

COVERAGE = 0.8
HALF = 0.4


def tap(piece: int, place: tuple[float, float], raw: tuple[float, float]) -> Tap:
    (valence, arousal) = raw
    values = (valence, arousal, valence - HALF, valence + HALF, arousal - HALF, arousal + HALF)
    return Tap("2026-01-02T03:04:05.000Z", piece, *place, values)


def listener(pieces: int, *, shift: float, scale: float, noise: float, seed: int = 0) -> list[Tap]:
    """Return a tap of a listener in each of some pieces."""
    random = np.random.default_rng(seed)
    raw = random.uniform(-0.5, 0.5, (pieces, 2))
    places = np.clip(shift + scale * raw + noise * random.standard_normal((pieces, 2)), -1, 1)
    return [
        tap(number, (places[number, 0], places[number, 1]), (raw[number, 0], raw[number, 1]))
        for number in range(pieces)
    ]


def distance(taps: list[Tap], places: NDArray[np.float64]) -> float:
    tapped = np.array([(each.valence, each.arousal) for each in taps])
    return float(np.linalg.norm(tapped - places, axis=1).mean())


def test_no_taps_change_nothing_but_the_interval() -> None:
    fitted = fit_personal_map([], coverage=COVERAGE)
    mapped = fitted.apply(ESTIMATE)
    assert (mapped.valence, mapped.arousal) == (ESTIMATE.valence, ESTIMATE.arousal)
    widened = PRIORS[0].widen * (ESTIMATE.valence_high - ESTIMATE.valence)
    assert mapped.valence_high == pytest.approx(ESTIMATE.valence + widened)
    assert not fitted.worth_using
    assert fitted.to_dict()["worth"] is None


def test_the_map_is_the_posterior_mean_of_the_model_it_names() -> None:
    taps = listener(4, shift=0.3, scale=1.2, noise=0.1)
    taps.append(replace(taps[-1], valence=0.9, arousal=-0.4))
    fitted = fit_personal_map(taps, coverage=COVERAGE)
    for axis, (found, prior) in enumerate(zip(fitted.axes, PRIORS, strict=True)):
        x = np.array([each.values[axis] for each in taps])
        y = np.array([(each.valence, each.arousal)[axis] for each in taps])
        piece = np.array([each.piece for each in taps])
        # The same as conditional expectation in the joint normal distribution of all taps.
        spread = prior.shift**2 + prior.scale**2 * np.outer(x, x)
        total = (
            spread + prior.piece**2 * (piece[:, None] == piece) + prior.tap**2 * np.eye(len(taps))
        )
        weights = np.linalg.solve(total, y - x)
        assert found.shift == pytest.approx(prior.shift**2 * weights.sum())
        assert found.scale == pytest.approx(1.0 + prior.scale**2 * x @ weights)


def test_few_taps_move_the_map_less_than_many() -> None:
    shifts = [
        fit_personal_map(listener(pieces, shift=0.3, scale=1.0, noise=0.05), coverage=COVERAGE)
        .axes[1]
        .shift
        for pieces in (1, 5, 200)
    ]
    assert 0.0 < shifts[0] < shifts[1] < shifts[2]
    assert shifts[2] == pytest.approx(0.3, abs=0.03)


def test_many_taps_in_one_piece_count_less_than_two_pieces() -> None:
    one, twice = ([tap(0, (0.8, 0.8), (0.0, 0.0))] * count for count in (1, 50))
    apart = [tap(piece, (0.8, 0.8), (0.0, 0.0)) for piece in range(50)]
    shifts = [
        fit_personal_map(taps, coverage=COVERAGE).axes[0].shift for taps in (one, twice, apart)
    ]
    assert shifts[0] < shifts[1] < 2.0 * shifts[0]
    assert shifts[2] > 5.0 * shifts[0]


def test_worth_is_measured_on_other_pieces() -> None:
    taps = listener(30, shift=0.35, scale=1.0, noise=0.15)
    fitted = fit_personal_map(taps, coverage=COVERAGE)
    assert fitted.worth is not None
    expected = []
    for one in taps:
        others = fit_personal_map([each for each in taps if each is not one], coverage=COVERAGE)
        expected.append([
            float(np.clip(axis.shift + axis.scale * raw, -1, 1))
            for axis, raw in zip(others.axes, one.values[:2], strict=True)
        ])  # fmt: skip
    assert fitted.worth.distance_map == pytest.approx(distance(taps, np.array(expected)))
    raw = np.array([each.values[:2] for each in taps])
    assert fitted.worth.distance_model == pytest.approx(distance(taps, raw))
    assert fitted.worth_using
    assert "worth using" in fitted.advice


def test_a_listener_like_the_model_gains_nothing() -> None:
    used = [
        fit_personal_map(
            listener(12, shift=0.0, scale=1.0, noise=0.35, seed=seed), coverage=COVERAGE
        ).worth_using
        for seed in range(40)
    ]
    assert sum(used) <= 8


def test_too_few_pieces_are_never_worth_using() -> None:
    taps = listener(MIN_PIECES - 1, shift=0.5, scale=1.0, noise=0.01)
    fitted = fit_personal_map(taps + taps, coverage=COVERAGE)
    assert fitted.worth is not None
    assert fitted.worth.gain > 0
    assert not fitted.worth_using
    assert "1 more piece of music" in fitted.advice


def test_the_interval_holds_its_share_of_new_taps() -> None:
    shares = []
    for seed in range(20):
        taps = listener(140, shift=0.1, scale=1.0, noise=0.4, seed=seed)
        fitted = fit_personal_map(taps[:40], coverage=COVERAGE)
        for axis, found in enumerate(fitted.axes):
            for each in taps[40:]:
                raw = each.values[axis]
                _, low, high = found.apply(raw, raw - HALF, raw + HALF)
                shares.append(low <= (each.valence, each.arousal)[axis] <= high)
    assert np.mean(shares) == pytest.approx(COVERAGE, abs=0.05)


def test_a_tap_survives_its_json_form() -> None:
    before = tap(3, (0.25, -0.5), (0.125, 0.5))
    assert Tap.from_dict(before.to_dict()) == before


@pytest.mark.parametrize("valence", [1.01, -2.0, float("nan")])
def test_a_tap_lies_on_the_plane(valence: float) -> None:
    with pytest.raises(ValueError, match="from -1 to 1"):
        tap(0, (valence, 0.0), (0.0, 0.0))
