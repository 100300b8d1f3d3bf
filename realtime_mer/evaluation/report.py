"""Accuracy by song: labelled clips through the real pipeline, each as a live stream of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from mer_engine import Engine
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import ALL, DIMENSIONS, Clip, Collection
from mer_engine.metrics import Fit, coverage, fit
from mer_engine.model_file import ModelInfo

from realtime_mer.bench.machine import describe_machine
from realtime_mer.evaluation.campaigns import LAST_OF_2013, LAST_OF_2014, LAST_OF_2015
from realtime_mer.evaluation.metrics import (
    Figures,
    PerSong,
    by_group,
    by_seconds,
    constant_half_widths,
    figures,
    genre_groups,
    per_song,
    with_constant_width,
)
from realtime_mer.evaluation.predictions import Predictions, clips_of, listen, predict

HEARD_S = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
# The last songs of each.
_CAMPAIGNS = (
    ("2013 (songs to 1000)", LAST_OF_2013),
    ("2014 (songs to 2000)", LAST_OF_2014),
    ("2015 (songs 2001-2058)", LAST_OF_2015),
)
LONG_SONGS_NOTE = (
    "songs 2001-2058 are those of this split only; all 58 can be measured only with a model that "
    "was fitted without them"
)

Groups = dict[str, dict[str, Figures]]


@dataclass(frozen=True)
class Widths:
    """How wide the intervals of one dimension are, beside intervals of constant width.

    Attributes:
        mean: mean width of the model's intervals.
        matched: width of the constant interval that holds the same share of these very labels.
        fitted: mean width of the constant interval that held the wanted share on validation songs,
            cut off at the ends of the scale; None where there are none.
        fitted_coverage: share of these labels that it holds.
        fitted_on: which songs, and what is to be known of them.
    """

    mean: float
    matched: float
    fitted: float | None
    fitted_coverage: float | None
    fitted_on: str


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        dynamic: agreement with the labels over time, by dimension.
        static: agreement with the whole songs' labels, by dimension; empty where the model does
            not tell them or the data have no such labels.
        coverage: share of labels within their intervals, by dimension.
        level: share that the intervals are meant to hold.
        widths: of the intervals, by dimension.
        songwise: agreement within and between songs, by dimension.
        genres, campaigns: figures of groups of songs; campaigns are empty for other data than DEAM.
        heard: figures after so many seconds.
        trained_on: whether the model says that it was trained on these songs.
        songs: songs that were measured.
        left_out: songs that were not, a sentence each.
    """

    dynamic: dict[str, Fit]
    static: dict[str, Fit]
    coverage: dict[str, float]
    level: float
    widths: dict[str, Widths]
    songwise: dict[str, PerSong]
    genres: Groups
    campaigns: Groups
    heard: dict[float, dict[str, Figures]]
    trained_on: bool
    songs: int
    split: str
    estimates: int
    model: dict[str, str]
    data: str
    seconds: float
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """One JSON object with everything."""
        return {
            "dynamic": {name: fit.to_dict() for name, fit in self.dynamic.items()},
            "static": {name: fit.to_dict() for name, fit in self.static.items()},
            "coverage": {**self.coverage, "level": self.level},
            "interval_width": {name: asdict(widths) for name, widths in self.widths.items()},
            "per_song": {name: songs.to_dict() for name, songs in self.songwise.items()},
            "genres": _rows("genre", self.genres),
            "campaigns": _rows("campaign", self.campaigns),
            "long_songs": LONG_SONGS_NOTE if self.campaigns else None,
            "heard": _rows("seconds", self.heard),
            "model_was_trained_on_these_songs": self.trained_on,
            "songs": self.songs,
            "split": self.split,
            "estimates": self.estimates,
            "left_out": list(self.left_out),
            "model": self.model,
            "data": self.data,
            "machine": describe_machine(),
            "seconds": round(self.seconds, 1),
        }


def measure_accuracy(
    engine: Engine,
    collection: Collection,
    split: str,
    *,
    compare_widths: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measures a model on a split of a labelled collection.

    Args:
        engine: the model.
        collection: the songs and their labels.
        split: "train", "validation" or "test".
        compare_widths: whether to listen to the validation songs too, where that is needed to fit
            an interval of constant width.
        progress: called with the number of clips done and of all.

    Raises:
        DataError: no song of the split can be measured.
    """
    begun = time.perf_counter()
    info = engine.info
    clips = clips_of(collection, split)
    if not clips:
        raise DataError(f"the {split} split of {collection.root} has no song with audio and labels")
    calibration = _calibration_clips(info, collection, split) if compare_widths else []
    total = len(clips) + len(calibration)

    def tell(before: int) -> Callable[[int, int], None]:
        return lambda done, _: progress(before + done, total) if progress is not None else None

    workers = min(2, os.cpu_count() or 1)
    heard = predict(collection, clips, partial(listen, engine), workers=workers, progress=tell(0))
    held_out = (
        predict(
            collection,
            calibration,
            partial(listen, engine),
            workers=workers,
            progress=tell(len(clips)),
        )
        if calibration
        else None
    )
    scored = heard.scored()
    pooled = {name: _pooled(scored, column) for column, name in enumerate(DIMENSIONS)}
    genres = {song: collection.songs[song].genre for song in heard.songs}
    return Report(
        dynamic={name: both[0] for name, both in pooled.items()},
        static=_static(heard, collection),
        coverage={name: both[1] for name, both in pooled.items()},
        level=info.coverage,
        widths=_widths(info, collection, split, scored, held_out),
        songwise=per_song(scored),
        genres=_by_genre(scored, genres) if any(genres.values()) else {},
        campaigns=_campaigns(scored) if collection.name == "deam" else {},
        heard=by_seconds(heard, HEARD_S),
        trained_on=trained_on(info, collection, split),
        songs=len(set(heard.songs)),
        split=split,
        estimates=int(np.isfinite(scored.labels + scored.values).all(axis=2).sum()),
        model={"name": info.name, "version": info.version, "sha256": info.sha256},
        data=f"{collection.name}, {split} split, {len(heard.songs)} clips of up to ten seconds",
        seconds=time.perf_counter() - begun,
        left_out=tuple(map(str, collection.problems_of(split))) + heard.left_out,
    )


def trained_on(info: ModelInfo, collection: Collection, split: str) -> bool:
    """Whether the model's own report says that songs of this split took part in its training.

    A user's own collections all have the name "csv"; there the number of songs must agree as well.
    """
    splits = ("train", "validation") if split == ALL else (split,)
    training = info.training
    if collection.name == "deam" and (training.get("init") or "collections" not in training):
        # Older reports, and models that began with the shipped one, which knows these splits.
        return any(name in ("train", "validation") for name in splits) and bool(training)
    for entry in training.get("collections", ()):
        for name in splits:
            count = entry.get("songs", {}).get(name, 0)
            songs = len({clip.song for clip in collection.clips_of(name)})
            if entry.get("name") == collection.name and count:
                return collection.name != "csv" or count == songs
    return False


def _calibration_clips(info: ModelInfo, collection: Collection, split: str) -> list[Clip]:
    """What to fit an interval of constant width on, where the model does not tell its width."""
    if split == "validation" or _reported_half_widths(info):
        return []
    return clips_of(collection, "validation")


def _pooled(scored: Predictions, column: int) -> tuple[Fit, float]:
    known = np.isfinite(scored.labels[..., column]) & np.isfinite(scored.values[..., column])
    labels, values, low, high = (
        array[..., column][known]
        for array in (scored.labels, scored.values, scored.low, scored.high)
    )
    if len(labels) < 2 or labels.var() == 0:
        raise DataError(
            f"the measured songs have {len(labels)} {DIMENSIONS[column]} labels without any "
            "spread; agreement needs songs with different labels"
        )
    return fit(labels, values), coverage(labels, low, high)


def _static(heard: Predictions, collection: Collection) -> dict[str, Fit]:
    """Compares what was told last of the pieces as a whole with whole songs' labels (1 to 9)."""
    values, labels = [], []
    for row, song in enumerate(heard.songs):
        static = collection.songs[song].static
        if static is None or heard.whole is None:
            continue
        told = heard.whole[row][np.isfinite(heard.whole[row]).all(axis=1)]
        if len(told):
            values.append(5 + 4 * told[-1])
            labels.append(5 + 4 * np.array(static))
    if len(values) < 2 or not np.var(labels, axis=0).all():
        return {}
    truth, guess = np.array(labels), np.array(values)
    return {name: fit(truth[:, column], guess[:, column]) for column, name in enumerate(DIMENSIONS)}


def _widths(
    info: ModelInfo,
    collection: Collection,
    split: str,
    scored: Predictions,
    held_out: Predictions | None,
) -> dict[str, Widths]:
    half = _reported_half_widths(info)
    if half:
        # Files of older trainings do not say which songs: the validation split's.
        songs = info.training["validation"].get("held_out", "validation split")
        fitted_on = f"{songs}, by the same network before it was fitted on those songs too"
    elif held_out is not None:
        half = constant_half_widths(held_out.scored(), info.coverage)
        fitted_on = "the validation split"
        if trained_on(info, collection, "validation"):
            fitted_on += ", on which this model was trained: narrower than it should be"
    elif split == "validation":
        fitted_on = "no songs: the measured split is the validation split itself"
    elif not clips_of(collection, "validation"):
        fitted_on = "no songs: this collection has no validation split at hand"
    else:
        fitted_on = "no songs: it was not asked for"
    own = figures(scored)
    constant = figures(with_constant_width(scored, half)) if half else {}
    result = {}
    for name, mine in own.items():
        other = constant.get(name)
        result[name] = Widths(
            mean=mine.width,
            matched=2 * constant_half_widths(scored, mine.coverage)[name],
            fitted=None if other is None else other.width,
            fitted_coverage=None if other is None else other.coverage,
            fitted_on=fitted_on,
        )
    return result


def _reported_half_widths(info: ModelInfo) -> dict[str, float]:
    """Constant half-widths from the model's own training report, where it has them."""
    reported = info.training.get("validation", {}).get("constant_half_width", {})
    return {name: float(reported[name]) for name in DIMENSIONS if name in reported}


def _by_genre(scored: Predictions, genres: dict[str, str | None]) -> Groups:
    """By name, "other" last."""
    groups = by_group(scored, genre_groups(scored.songs, genres))
    return {name: groups[name] for name in sorted(groups, key=lambda n: (n == "other", n))}


def _campaigns(scored: Predictions) -> Groups:
    groups = [
        next(name for name, last in _CAMPAIGNS if int(song) <= last or last == _CAMPAIGNS[-1][1])
        for song in scored.songs
    ]
    found = by_group(scored, groups)
    return {name: found[name] for name, _ in _CAMPAIGNS if name in found}


def _rows(title: str, groups: dict[Any, dict[str, Figures]]) -> list[dict[str, Any]]:
    return [
        {title: name, **{dimension: f.to_dict() for dimension, f in dimensions.items()}}
        for name, dimensions in groups.items()
    ]
