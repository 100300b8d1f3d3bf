"""The report of `evaluate`: the pipeline on labelled clips, each clip a stream of its own."""

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
from mer_engine.datasets.types import ALL, DIMENSIONS, SPLITS, Clip, Collection
from mer_engine.metrics import Fit, fit
from mer_engine.model_file import ModelInfo
from numpy.typing import NDArray

from realtime_mer.bench.machine import describe_machine
from realtime_mer.evaluation.metrics import (
    PerSongMetrics,
    PooledMetrics,
    constant_half_widths,
    genre_groups,
    metrics_by_duration,
    metrics_by_group,
    per_song_metrics,
    pooled_metrics,
    with_constant_width,
)
from realtime_mer.evaluation.movement import MovementMetrics, movement_metrics
from realtime_mer.evaluation.predictions import Predictions, clips_of, estimate_clip, predict
from realtime_mer.evaluation.song_metrics import (
    QuadrantMetrics,
    SongMetrics,
    SongTable,
    quadrant_metrics,
    song_metrics,
    song_table,
)

DURATIONS_S = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
LONG_SONGS_REMARK = (
    "songs 2001-2058 are only those of this split; measuring all 58 needs a model that was trained "
    "without them"
)

Groups = dict[str, dict[str, PooledMetrics]]


@dataclass(frozen=True)
class Widths:
    """Widths of the intervals of one dimension, compared with intervals of constant width.

    Attributes:
        mean: mean width of the model's intervals.
        matched: width of the constant interval that contains the same share of the measured labels.
        fitted: mean width of the constant interval that contains the target share on held-out
            songs, after clipping to [-1, 1]; None without such songs.
        fitted_coverage: share of the measured labels within that interval.
        fitted_on: the held-out songs, as text.
    """

    mean: float
    matched: float
    fitted: float | None
    fitted_coverage: float | None
    fitted_on: str


@dataclass(frozen=True)
class Report:
    """Accuracy of a model on a split of a collection.

    Labels over time have all figures. Labels that are one number for each song have no `dynamic`,
    `static` and `per_song`. Quadrants, and labels on a scale of their own, have only `by_song`,
    `quadrants`, `mean_width` and, if they move, `movement`.

    Attributes:
        dynamic: agreement with the labels over time, by dimension.
        static: agreement with the labels of whole songs, by dimension; empty where the model does
            not predict them or the data has none.
        coverage: share of labels within their intervals, by dimension.
        level: target share of the intervals.
        widths: interval widths, by dimension.
        per_song: agreement within and between songs, by dimension.
        by_song: agreement of the mean estimates of songs with their labels, by dimension.
        quadrants: agreement of the signs of the mean estimates; None without signs.
        song_table: the songs, which `by_song` and `quadrants` were computed from.
        mean_width: mean width of the intervals, by dimension.
        movement: agreement with the movement of the label within songs, by dimension.
        genres, campaigns: metrics of groups of songs; campaigns are empty where there was only one.
        by_duration: metrics after some seconds of audio.
        trained_on: whether the model was trained on these songs, by its own report.
        songs: number of measured songs.
        name: kind of the collection; for "csv" with the name of its folder.
        labelled, scale: as in `Collection`.
        split: name of the split.
        estimates: number of scored estimates.
        model: name, version and SHA-256 of the model.
        data: the data, as text.
        seconds: duration of the measurement.
        left_out: a sentence for each song or clip that was not measured.
    """

    dynamic: dict[str, Fit]
    static: dict[str, Fit]
    coverage: dict[str, float]
    level: float
    widths: dict[str, Widths]
    per_song: dict[str, PerSongMetrics]
    by_song: dict[str, SongMetrics]
    quadrants: QuadrantMetrics | None
    song_table: SongTable
    mean_width: dict[str, float]
    movement: dict[str, MovementMetrics]
    genres: Groups
    campaigns: Groups
    by_duration: dict[float, dict[str, PooledMetrics]]
    trained_on: bool
    songs: int
    name: str
    labelled: str
    scale: str
    split: str
    estimates: int
    model: dict[str, str]
    data: str
    seconds: float
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "dynamic": {name: fit.to_dict() for name, fit in self.dynamic.items()},
            "static": {name: fit.to_dict() for name, fit in self.static.items()},
            "coverage": {**self.coverage, "level": self.level},
            "interval_width": {name: asdict(widths) for name, widths in self.widths.items()},
            "per_song": {name: songs.to_dict() for name, songs in self.per_song.items()},
            "by_song": {name: songs.to_dict() for name, songs in self.by_song.items()},
            "quadrants": None if self.quadrants is None else self.quadrants.to_dict(),
            "mean_width": self.mean_width,
            "movement": {name: m.to_dict() for name, m in self.movement.items()},
            "genres": _rows("genre", self.genres),
            "campaigns": _rows("campaign", self.campaigns),
            "long_songs": LONG_SONGS_REMARK if "2015" in self.campaigns else None,
            "by_duration": _rows("seconds", self.by_duration),
            "model_was_trained_on_these_songs": self.trained_on,
            "songs": self.songs,
            "name": self.name,
            "labelled": self.labelled,
            "scale": self.scale,
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
    """Measure a model on a split of a labelled collection.

    Args:
        engine: the model.
        collection: the songs and their labels.
        split: "train", "validation", "test" or "all".
        compare_widths: whether to predict the validation songs too, where they are needed to fit
            an interval of constant width.
        progress: called with the number of clips done and the total.

    Raises:
        DataError: no song of the split can be measured.
    """
    begun = time.perf_counter()
    info = engine.info
    clips = clips_of(collection, split)
    if not clips:
        others = [name for name in SPLITS if name != split and clips_of(collection, name)]
        raise DataError(
            f"the {split} split of {collection.root} has no song with audio and labels"
            + (f"; give --split {' or '.join(others)}" if others else "")
        )
    over_time = collection.labelled == "curve"
    numbers = collection.labelled != "quadrant" and collection.scale == "shared"
    calibration = _calibration_clips(info, collection, split) if compare_widths and numbers else []
    total = len(clips) + len(calibration)

    def run(chosen: list[Clip], done_before: int) -> Predictions:
        return predict(
            collection,
            chosen,
            partial(estimate_clip, engine),
            workers=min(2, os.cpu_count() or 1),
            progress=lambda done, _: progress(done_before + done, total) if progress else None,
        )

    predictions = run(clips, 0)
    held_out = run(calibration, len(clips)) if calibration else None
    scored = predictions.scored()
    pooled = {}
    if over_time:
        pooled = {name: _pooled(scored, column) for column, name in enumerate(DIMENSIONS)}
    of_songs = song_table(collection, scored)
    genres = {song: collection.songs[song].genre for song in predictions.songs}
    return Report(
        dynamic=pooled,
        static=_static(predictions, collection) if over_time else {},
        coverage={n: m.coverage for n, m in pooled_metrics(scored).items()} if numbers else {},
        level=info.coverage,
        widths=_widths(info, collection, split, scored, held_out) if numbers else {},
        per_song=per_song_metrics(scored) if over_time else {},
        by_song=song_metrics(of_songs),
        quadrants=quadrant_metrics(of_songs),
        song_table=of_songs,
        mean_width=_mean_widths(scored),
        movement=movement_metrics(collection, predictions),
        genres=_by_genre(scored, genres) if numbers and any(genres.values()) else {},
        campaigns=_campaigns(scored, collection),
        by_duration=metrics_by_duration(predictions, DURATIONS_S) if numbers else {},
        trained_on=trained_on(info, collection, split),
        songs=len(set(predictions.songs)),
        name="csv " + collection.root.resolve().name
        if collection.name == "csv"
        else collection.name,
        labelled=collection.labelled,
        scale=collection.scale,
        split=split,
        estimates=int(_measured(scored, collection).sum()),
        model={"name": info.name, "version": info.version, "sha256": info.sha256},
        data=f"{collection.name}, {split} split, {len(predictions.songs)} clips of up to "
        "ten seconds",
        seconds=time.perf_counter() - begun,
        left_out=tuple(map(str, collection.problems_of(split))) + predictions.left_out,
    )


def trained_on(info: ModelInfo, collection: Collection, split: str) -> bool:
    """Return whether the model was trained on songs of this split, by its own training report.

    All collections of users have the name "csv"; for them the number of songs must match, too.
    """
    splits = ("train", "validation") if split == ALL else (split,)
    training = info.training
    if collection.name == "deam" and (training.get("init") or "collections" not in training):
        # Older reports, and models initialised from the shipped one, which was trained on these.
        return any(name in ("train", "validation") for name in splits) and bool(training)
    for entry in (*training.get("collections", ()), *training.get("auxiliary", ())):
        for name in splits:
            count = entry.get("songs", {}).get(name, 0)
            songs = len({clip.song for clip in collection.clips_of(name)})
            if entry.get("name") == collection.name and count:
                return collection.name != "csv" or count == songs
    return False


def _calibration_clips(info: ModelInfo, collection: Collection, split: str) -> list[Clip]:
    """Return the clips to fit a constant interval on; none where the model reports its width."""
    if split == "validation" or _reported_half_widths(info):
        return []
    return clips_of(collection, "validation")


def _pooled(scored: Predictions, column: int) -> Fit:
    known = np.isfinite(scored.labels[..., column]) & np.isfinite(scored.values[..., column])
    labels, values = scored.labels[..., column][known], scored.values[..., column][known]
    if len(labels) < 2 or labels.var() == 0:
        raise DataError(
            f"the measured songs have {len(labels)} equal {DIMENSIONS[column]} labels; agreement "
            "needs songs with different labels"
        )
    return fit(labels, values)


def _measured(scored: Predictions, collection: Collection) -> NDArray[np.bool_]:
    """Return a mask [n, steps] of the estimates that have a label."""
    labels = 0.0 if collection.labelled == "quadrant" else scored.labels
    return np.asarray(np.isfinite(labels + scored.values).all(axis=2))


def _mean_widths(scored: Predictions) -> dict[str, float]:
    """Return the mean width of the intervals by dimension."""
    widths = np.nanmean(scored.high - scored.low, axis=(0, 1))
    return {name: float(width) for name, width in zip(DIMENSIONS, widths, strict=True)}


def _static(predictions: Predictions, collection: Collection) -> dict[str, Fit]:
    """Compare the last whole-song estimates with whole-song labels, on a scale of 1 to 9."""
    values, labels = [], []
    for row, song in enumerate(predictions.songs):
        static = collection.songs[song].static
        if static is None or predictions.whole_song is None:
            continue
        estimates = predictions.whole_song[row]
        estimates = estimates[np.isfinite(estimates).all(axis=1)]
        if len(estimates):
            values.append(5 + 4 * estimates[-1])
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
        # Older model files do not name the songs: it was the validation split.
        songs = info.training["validation"].get("held_out", "the validation split")
        fitted_on = f"{songs}, with predictions of networks that were trained without them"
    elif held_out is not None:
        half = constant_half_widths(held_out.scored(), info.coverage)
        fitted_on = "the validation split"
        if trained_on(info, collection, "validation"):
            fitted_on += ", on which this model was trained: the width is too small"
    elif split == "validation":
        fitted_on = "no songs: the measured split is the validation split"
    elif not clips_of(collection, "validation"):
        fitted_on = "no songs: the collection has no validation songs"
    else:
        fitted_on = "no songs: the comparison was not requested"
    own = pooled_metrics(scored)
    constant = pooled_metrics(with_constant_width(scored, half)) if half else {}
    return {
        name: Widths(
            mean=metrics.width,
            matched=2 * constant_half_widths(scored, metrics.coverage)[name],
            fitted=constant[name].width if name in constant else None,
            fitted_coverage=constant[name].coverage if name in constant else None,
            fitted_on=fitted_on,
        )
        for name, metrics in own.items()
    }


def _reported_half_widths(info: ModelInfo) -> dict[str, float]:
    """Return constant half-widths from the training report of the model; empty without any."""
    reported = info.training.get("validation", {}).get("constant_half_width", {})
    return {name: float(reported[name]) for name in DIMENSIONS if name in reported}


def _by_genre(scored: Predictions, genres: dict[str, str | None]) -> Groups:
    """Return metrics by genre, sorted by name, "other" last."""
    groups = metrics_by_group(scored, genre_groups(scored.songs, genres))
    return {name: groups[name] for name in sorted(groups, key=lambda n: (n == "other", n))}


def _campaigns(scored: Predictions, collection: Collection) -> Groups:
    """Return metrics by campaign, sorted by name; empty if there was only one."""
    groups = [collection.songs[song].campaign for song in scored.songs]
    metrics = metrics_by_group(scored, groups)
    return {name: metrics[name] for name in sorted(metrics) if name}


def _rows(key: str, groups: dict[Any, dict[str, PooledMetrics]]) -> list[dict[str, Any]]:
    return [
        {key: name, **{dimension: m.to_dict() for dimension, m in dimensions.items()}}
        for name, dimensions in groups.items()
    ]
