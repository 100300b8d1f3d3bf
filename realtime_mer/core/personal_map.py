"""A person's map: where one listener would tap on the plane, from the model's raw values.

A person taps where music feels to them, in some pieces of music. On each axis, the tap is

    shift + scale * raw value + what is particular to this piece + what is particular to this tap

with normal priors that pull shift to 0 and scale to 1. Taps of one piece share its part, so they
are no independent evidence: they count as their mean, and many of them less than taps in two
pieces. What the map is worth is measured on pieces that it was not fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mer_engine.model_file import DIMENSIONS
from numpy.typing import NDArray

from realtime_mer.core.decoder import clip
from realtime_mer.core.types import VALUES, Estimate, ScaledValues

Array = NDArray[np.float64]

MIN_PIECES = 5
"""Fewer pieces do not show whether a map is worth using."""
SURE = 1.5
"""A gain counts if it is at least so many of its standard errors above 0."""


@dataclass(frozen=True, slots=True)
class AxisPrior:
    """How listeners differ on one axis, as standard deviations in units of the plane.

    Attributes:
        shift, scale: of listeners, around 0 and 1.
        piece: of what is particular to a listener and a piece, the model's error included.
        tap: of taps within a piece.
        widen: the factor by which the model's interval holds its share of a listener's taps.
    """

    shift: float
    scale: float
    piece: float
    tap: float
    widen: float


# Measured with benchmarks/studies/personal.py on the listeners of fme24; docs/calibration.md.
PRIORS = (
    AxisPrior(shift=0.098, scale=0.665, piece=0.318, tap=0.274, widen=1.528),
    AxisPrior(shift=0.237, scale=0.318, piece=0.274, tap=0.274, widen=1.273),
)
"""Of valence and of arousal."""
WIDEN_PIECES = 20
"""The prior of the interval's width counts as much as so many pieces."""


@dataclass(frozen=True, slots=True)
class Tap:
    """A tap, and the estimate that it belongs to.

    Attributes:
        utc: when it was made, ISO 8601.
        piece: number of the piece of music, from 0; taps of one piece are not independent.
        valence, arousal: where the person tapped, in [-1, 1].
        values: the raw values and bounds of the estimate, in the order of `VALUES`.
    """

    utc: str
    piece: int
    valence: float
    arousal: float
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = (self.valence, self.arousal, *self.values)
        if len(self.values) != len(VALUES) or not all(-1.0 <= each <= 1.0 for each in numbers):
            raise ValueError(f"a tap has eight values from -1 to 1, not {numbers}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "utc": self.utc,
            "piece": self.piece,
            "valence": round(self.valence, 4),
            "arousal": round(self.arousal, 4),
            "estimate": dict(zip(VALUES, self.values, strict=True)),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tap:
        """Return the tap of the JSON form; the inverse of `to_dict`.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        values = tuple(float(data["estimate"][name]) for name in VALUES)
        piece = int(data["piece"])
        return cls(str(data["utc"]), piece, float(data["valence"]), float(data["arousal"]), values)


@dataclass(frozen=True, slots=True)
class AxisMap:
    """The map of one axis: `shift + scale * value`, with an interval `widen` times as wide."""

    shift: float
    scale: float
    widen: float

    def apply(self, value: float, low: float, high: float) -> tuple[float, float, float]:
        """Return value and bounds as the person would tap, in [-1, 1]."""
        mapped = clip(self.shift + self.scale * value)
        below, above = self.widen * (value - low), self.widen * (high - value)
        return mapped, clip(mapped - below), clip(mapped + above)


@dataclass(frozen=True, slots=True)
class Worth:
    """What a map is worth, measured on pieces that it was not fitted on.

    Attributes:
        distance_model, distance_map: mean distance on the plane from a tap to the raw values and
            to the mapped ones; the mean over pieces.
        gain_error: standard error of their difference, over pieces.
        covered_model, covered_map: share of taps, of both axes, within the interval of the model
            and of the map.
    """

    distance_model: float
    distance_map: float
    gain_error: float
    covered_model: float
    covered_map: float

    @property
    def gain(self) -> float:
        """By how much the map is nearer to the taps; below 0 if it is farther."""
        return self.distance_model - self.distance_map


@dataclass(frozen=True, slots=True)
class PersonalMap:
    """The map of one person. It never replaces raw values; it is a layer beside them.

    Attributes:
        axes: of valence and of arousal.
        taps, pieces: how many it was made of.
        worth: what it is worth; None with fewer than two pieces.
    """

    axes: tuple[AxisMap, AxisMap]
    taps: int
    pieces: int
    worth: Worth | None

    def apply(self, estimate: Estimate) -> ScaledValues:
        """Return where the person would tap, and the interval that holds such taps."""
        valence, v_low, v_high = self.axes[0].apply(
            estimate.valence, estimate.valence_low, estimate.valence_high
        )
        arousal, a_low, a_high = self.axes[1].apply(
            estimate.arousal, estimate.arousal_low, estimate.arousal_high
        )
        return ScaledValues(valence, arousal, v_low, v_high, a_low, a_high)

    @property
    def worth_using(self) -> bool:
        """Whether the map is nearer to this person's taps than the model, as far as they show."""
        return (
            self.worth is not None
            and self.pieces >= MIN_PIECES
            and self.worth.gain > SURE * self.worth.gain_error
        )

    @property
    def advice(self) -> str:
        """Whether to use the map, and what is missing, in a sentence."""
        if self.worth is None or self.pieces < MIN_PIECES:
            missing = MIN_PIECES - self.pieces
            return (
                f"taps in {missing} more {'piece' if missing == 1 else 'pieces'} of music are "
                "needed before it shows whether the map is worth using"
            )
        worth = self.worth
        figures = (
            f"in pieces that it was not fitted on, taps are {worth.distance_map:.2f} from the map "
            f"and {worth.distance_model:.2f} from the model"
        )
        if self.worth_using:
            return f"the map is worth using: {figures}"
        return f"the map is not worth using yet: {figures}, which is not surely better"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as in messages."""
        worth = self.worth
        measured = worth and {
            "distance_model": round(worth.distance_model, 4),
            "distance_map": round(worth.distance_map, 4),
            "gain": round(worth.gain, 4),
            "gain_error": round(worth.gain_error, 4),
            "covered_model": round(worth.covered_model, 3),
            "covered_map": round(worth.covered_map, 3),
        }
        return {
            "taps": self.taps,
            "pieces": self.pieces,
            "map": {
                name: {
                    "shift": round(axis.shift, 4),
                    "scale": round(axis.scale, 4),
                    "widen": round(axis.widen, 4),
                }
                for name, axis in zip(DIMENSIONS, self.axes, strict=True)
            },
            "worth": measured,
            "worth_using": self.worth_using,
            "advice": self.advice,
        }


def fit_personal_map(
    taps: Sequence[Tap], *, coverage: float, priors: Sequence[AxisPrior] = PRIORS
) -> PersonalMap:
    """Fit the map of a person.

    Args:
        taps: of one person, in any order; without any, the map changes nothing but the interval.
        coverage: share of ratings that the model's interval is to hold, such as 0.8.
        priors: how listeners differ, of valence and of arousal.
    """
    if not taps:
        axes = [AxisMap(0.0, 1.0, prior.widen) for prior in priors]
        return PersonalMap((axes[0], axes[1]), 0, 0, None)
    tapped = np.array([(tap.valence, tap.arousal) for tap in taps])
    values = np.array([tap.values for tap in taps])
    raw, low, high = values[:, :2], values[:, 2::2], values[:, 3::2]
    _, piece = np.unique([tap.piece for tap in taps], return_inverse=True)
    whole, without = zip(
        *(_fit_axis(raw[:, k], tapped[:, k], piece, priors[k]) for k in range(2)), strict=True
    )
    # Where each tap was expected, by the map of the other pieces.
    apart = np.stack([without[k][piece, 0] + without[k][piece, 1] * raw[:, k] for k in range(2)], 1)
    apart = np.clip(apart, -1.0, 1.0)
    half = np.where(tapped > apart, high - raw, raw - low)
    scores = np.abs(tapped - apart) / np.maximum(half, 1e-6)
    axes = []
    for k, (shift, scale) in enumerate(whole):
        widen = _widen(scores[:, k], piece, coverage, priors[k].widen)
        axes.append(AxisMap(float(shift), float(scale), widen))
    worth = None
    if piece.max() > 0:
        before = _piece_means(np.linalg.norm(tapped - raw, axis=1), piece)
        after = _piece_means(np.linalg.norm(tapped - apart, axis=1), piece)
        held = np.empty_like(scores, dtype=bool)
        for one in range(len(before)):
            own = piece == one
            for k in range(2):
                _, others = np.unique(piece[~own], return_inverse=True)
                factor = _widen(scores[~own, k], others, coverage, priors[k].widen)
                held[own, k] = scores[own, k] <= factor
        inside = (low <= tapped) & (tapped <= high)
        worth = Worth(
            float(before.mean()),
            float(after.mean()),
            float((before - after).std(ddof=1) / math.sqrt(len(before))),
            float(inside.mean()),
            float(held.mean()),
        )
    return PersonalMap((axes[0], axes[1]), len(taps), int(piece.max()) + 1, worth)


def _fit_axis(
    raw: Array, tapped: Array, piece: NDArray[np.intp], prior: AxisPrior
) -> tuple[Array, Array]:
    """Fit shift and scale of one axis by their posterior mean.

    Args:
        raw, tapped: [n].
        piece: [n], 0 to G - 1.

    Returns:
        [2] shift and scale, and [G, 2], those without each piece.
    """
    count = np.bincount(piece)
    weight = 1.0 / (prior.piece**2 + prior.tap**2 / count)
    inputs = np.stack((np.ones(len(count)), _piece_means(raw, piece)), 1)
    square = weight[:, None, None] * inputs[:, :, None] * inputs[:, None, :]
    product = (weight * _piece_means(tapped, piece))[:, None] * inputs
    pull = np.array((prior.shift**-2, prior.scale**-2))
    total, target = np.diag(pull) + square.sum(0), pull * (0.0, 1.0) + product.sum(0)
    fitted = np.linalg.solve(total, target)
    without = np.linalg.solve(total - square, (target - product)[:, :, None])[:, :, 0]
    return fitted, without


def _widen(scores: Array, piece: NDArray[np.intp], coverage: float, prior: float) -> float:
    """Return by how much the interval must be wider to hold its share of the taps.

    The quantile of split conformal prediction, with its correction for a small number; each piece
    has the same weight. Its logarithm is shrunk to that of the prior.

    Args:
        scores: [n], distance of each tap from its map, in half widths of the interval.
        piece: [n], 0 to G - 1.
    """
    count = np.bincount(piece)
    pieces = len(count)
    order = np.argsort(scores)
    share = np.cumsum(1.0 / count[piece[order]]) / (pieces + 1)
    index = min(int(np.searchsorted(share, coverage - 1e-9)), len(scores) - 1)
    found = max(float(scores[order[index]]), 1e-3)
    trust = pieces / (pieces + WIDEN_PIECES)
    return math.exp(trust * math.log(found) + (1.0 - trust) * math.log(prior))


def _piece_means(numbers: Array, piece: NDArray[np.intp]) -> Array:
    """Return the mean of each piece: [G]."""
    return np.bincount(piece, numbers) / np.bincount(piece)
