"""Agreement of estimates with labels: pooled, song by song, by group, by seconds heard."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from mer_engine.datasets.types import DIMENSIONS, STEP_S
from mer_engine.metrics import Fit, fit
from numpy.typing import NDArray

from realtime_mer.evaluation.predictions import Predictions

# Below this spread (standard deviation) a song's label is taken as constant: a tenth of what DEAM's
# labels move within ten seconds, and there r would be a correlation with rounding.
VARYING_SD = 0.002
_NAMED_GENRE_SONGS = 20
_HYPHENATED_GENRES = ("hip-hop", "avant-garde", "trip-hop", "lo-fi")


@dataclass(frozen=True, slots=True)
class Figures:
    """One dimension of one group of clips.

    Attributes:
        songs: how many.
        r2, rmse, ccc, r: pooled over all moments; r2, ccc and r are None where the labels have no
            spread.
        coverage: share of moments whose label lies within the interval.
        width: mean width of the interval.
    """

    songs: int
    r2: float | None
    rmse: float
    ccc: float | None
    r: float | None
    coverage: float
    width: float

    def to_dict(self) -> dict[str, float | int | None]:
        """The figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PerSong:
    """One dimension, song by song.

    Attributes:
        songs: how many have labels.
        varying: how many of them have a label that varies (`VARYING_SD`).
        ccc, r: mean over the varying songs of the agreement within the song; None without any.
        rmse: mean over all songs of the root mean square error within the song.
        between: agreement of the songs' mean estimates with their mean labels; None where fewer
            than two songs differ.
    """

    songs: int
    varying: int
    ccc: float | None
    r: float | None
    rmse: float
    between: Fit | None

    def to_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


def figures(heard: Predictions) -> dict[str, Figures]:
    """Pooled figures by dimension; a dimension without one labelled moment is left out."""
    result = {}
    for column, name in enumerate(DIMENSIONS):
        known = _known(heard, column)
        labels, values, low, high = (a[..., column][known] for a in _arrays(heard))
        if not len(labels):
            continue
        clips = np.flatnonzero(known.any(axis=1))
        agreement = _fit_or_none(labels, values)
        result[name] = Figures(
            songs=len({heard.songs[clip] for clip in clips}),
            r2=None if agreement is None else agreement.r2,
            rmse=float(np.sqrt(np.mean((labels - values) ** 2))),
            ccc=None if agreement is None else agreement.ccc,
            r=None if agreement is None else agreement.r,
            coverage=float(np.mean((labels >= low) & (labels <= high))),
            width=float(np.mean(high - low)),
        )
    return result


def per_song(heard: Predictions) -> dict[str, PerSong]:
    """Agreement within songs and between them, by dimension.

    All clips of a song count as one stretch of it.
    """
    result = {}
    for column, name in enumerate(DIMENSIONS):
        known = _known(heard, column)
        within, errors, means = [], [], []
        for song in dict.fromkeys(heard.songs):
            mine = known & np.array([s == song for s in heard.songs])[:, None]
            labels, values = heard.labels[..., column][mine], heard.values[..., column][mine]
            if not len(labels):
                continue
            errors.append(float(np.sqrt(np.mean((labels - values) ** 2))))
            means.append((labels.mean(), values.mean()))
            if labels.std() >= VARYING_SD:
                within.append(fit(labels, values))
        if not errors:
            continue
        between = np.array(means)
        result[name] = PerSong(
            songs=len(errors),
            varying=len(within),
            ccc=float(np.mean([f.ccc for f in within])) if within else None,
            r=float(np.mean([f.r for f in within])) if within else None,
            rmse=float(np.mean(errors)),
            between=_fit_or_none(between[:, 0], between[:, 1]),
        )
    return result


def by_group(heard: Predictions, groups: Sequence[str]) -> dict[str, dict[str, Figures]]:
    """Pooled figures of each group; `groups` names that of each clip, in the order of naming."""
    of_clip = np.array(groups)
    return {name: figures(heard.of_songs(of_clip == name)) for name in dict.fromkeys(groups)}


def by_seconds(heard: Predictions, seconds: Sequence[float]) -> dict[float, dict[str, Figures]]:
    """Figures of the single moments at which so many seconds had been heard.

    Args:
        heard: with all its steps, not `scored()`.
    """
    result = {}
    for second in seconds:
        step = round(second / STEP_S)
        result[second] = figures(heard.moments(slice(step - 1, step)))
    return result


def genre_groups(songs: Sequence[str], genres: dict[str, str | None]) -> list[str]:
    """The genre of each clip's song; those with fewer than 20 songs together are "other".

    Metadata name several genres at once ("Pop-Electronic-Rock"): the first counts. Songs without
    a genre are "other".
    """
    first = {song: _first_genre(genres.get(song)) for song in songs}
    count = Counter(first.values())
    return [
        first[song] if first[song] and count[first[song]] >= _NAMED_GENRE_SONGS else "other"
        for song in songs
    ]


def constant_half_widths(heard: Predictions, share: float) -> dict[str, float]:
    """Half the width of the one interval, the same at every moment, that holds a share of labels.

    Args:
        share: 0 to 1.
    """
    result = {}
    for column, name in enumerate(DIMENSIONS):
        known = _known(heard, column)
        if known.any():
            miss = np.abs(heard.labels - heard.values)[..., column][known]
            result[name] = float(np.quantile(miss, share))
    return result


def with_constant_width(heard: Predictions, half_widths: dict[str, float]) -> Predictions:
    """The same estimates with intervals of constant width, cut off at the ends of the scale."""
    half = np.array([half_widths.get(name, np.nan) for name in DIMENSIONS])
    return replace(
        heard,
        low=np.clip(heard.values - half, -1.0, 1.0),
        high=np.clip(heard.values + half, -1.0, 1.0),
    )


def _first_genre(text: str | None) -> str:
    genre = (text or "").strip().casefold()
    for name in _HYPHENATED_GENRES:
        if genre.startswith(name):
            return name
    return re.split(r"[-/,;|]", genre)[0].strip()


def _known(heard: Predictions, column: int) -> NDArray[np.bool_]:
    return np.isfinite(heard.labels[..., column]) & np.isfinite(heard.values[..., column])


def _arrays(heard: Predictions) -> tuple[NDArray[np.float64], ...]:
    return heard.labels, heard.values, heard.low, heard.high


def _fit_or_none(labels: NDArray[np.float64], values: NDArray[np.float64]) -> Fit | None:
    return fit(labels, values) if len(labels) > 1 and labels.var() > 0 else None
