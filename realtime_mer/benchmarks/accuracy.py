"""Accuracy by song: labelled clips through the real pipeline, each as a live stream of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from mer_engine import Engine
from mer_engine.training.dataset import (
    CLIP_START_S,
    DIMENSIONS,
    STEP_S,
    Clip,
    DataError,
    load_deam,
)
from mer_engine.training.metrics import Fit, coverage, fit
from numpy.typing import NDArray

from realtime_mer.benchmarks.machine import describe_machine
from realtime_mer.config import PipelineConfig
from realtime_mer.errors import UserError
from realtime_mer.pipeline import Pipeline
from realtime_mer.types import Estimate

# The steps of half a second that are scored: five to ten seconds heard.
SCORED_STEPS = tuple(range(10, 21))
_BLOCK_S = 0.5


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        dynamic: agreement with the labels over time, by dimension.
        static: agreement with the whole songs' labels, by dimension; empty where the model has no
            mapping to them or the data no such labels.
        coverage: share of labels within their intervals, by dimension.
        level: share that the intervals are meant to hold.
        songs: songs that were measured.
        left_out: songs that were not, a sentence each.
    """

    dynamic: dict[str, Fit]
    static: dict[str, Fit]
    coverage: dict[str, float]
    level: float
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
            "dynamic": {name: figures.to_dict() for name, figures in self.dynamic.items()},
            "static": {name: figures.to_dict() for name, figures in self.static.items()},
            "coverage": {**self.coverage, "level": self.level},
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
    folder: Path,
    split: str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measures a model on a split of DEAM.

    Args:
        engine: the model.
        folder: DEAM, or the folder that holds it.
        split: "train", "validation" or "test".
        progress: called with the number of songs done and of all.

    Raises:
        DataError: the data set is incomplete, or no song of the split can be measured.
    """
    begun = time.perf_counter()
    deam = load_deam(folder)
    songs = deam.splits[split]
    left_out = [text for text in deam.left_out if int(text.split()[1].rstrip(":")) in set(songs)]
    values, lows, highs, labels, last, static = [], [], [], [], [], []
    for number, song in enumerate(songs, start=1):
        clip = deam.clips.get(song)
        if clip is not None:
            try:
                estimates = listen(engine, clip)
                scored = _scored(estimates, song)
            except (DataError, UserError) as error:
                left_out.append(f"song {song}: {error}")
            else:
                values.append(_columns(scored, ""))
                lows.append(_columns(scored, "_low"))
                highs.append(_columns(scored, "_high"))
                labels.append(deam.labels(song, CLIP_START_S, SCORED_STEPS[-1])[_rows()])
                if song in deam.static:
                    last.append(values[-1][-1])
                    static.append(deam.static[song])
        if progress is not None:
            progress(number, len(songs))
    if not values:
        raise DataError(f"no song of the {split} split in {deam.root} could be measured")
    guess, low, high, truth = (np.stack(rows) for rows in (values, lows, highs, labels))
    known = np.isfinite(truth)
    dynamic, covered = {}, {}
    for column, name in enumerate(DIMENSIONS):
        at = known[..., column]
        pick = [array[..., column][at] for array in (truth, guess, low, high)]
        dynamic[name] = fit(pick[0], pick[1])
        covered[name] = coverage(pick[0], pick[2], pick[3])
    info = engine.info
    return Report(
        dynamic=dynamic,
        static=_static(info.static_map, np.array(last), np.array(static)),
        coverage=covered,
        level=info.coverage,
        songs=len(values),
        split=split,
        estimates=int(known.all(axis=2).sum()),
        model={"name": info.name, "version": info.version, "sha256": info.sha256},
        data=f"DEAM, {split} split, seconds {CLIP_START_S:g} to {CLIP_START_S + 10:g} of each song",
        seconds=time.perf_counter() - begun,
        left_out=tuple(left_out),
    )


def listen(engine: Engine, clip: Clip) -> list[Estimate]:
    """All estimates, two a second, of a clip that is fed as a live stream of its own.

    Raises:
        DataError: the file cannot be decoded.
    """
    try:
        samples, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise DataError(f"{clip.path} cannot be read as audio ({error})") from error
    pipeline = Pipeline(
        engine,
        sample_rate_hz=rate,
        channels=samples.shape[1],
        config=PipelineConfig(hop_s=STEP_S),
    )
    block = int(rate * _BLOCK_S)
    estimates = []
    for start in range(0, len(samples), block):
        estimates += pipeline.feed(samples[start : start + block])
    return estimates + pipeline.finish()


def _scored(estimates: list[Estimate], song: int) -> list[Estimate]:
    at = {round(estimate.t / STEP_S): estimate for estimate in estimates}
    missing = [step for step in SCORED_STEPS if step not in at]
    if missing:
        raise DataError(f"the clip ends before {missing[0] * STEP_S:.1f} s")
    return [at[step] for step in SCORED_STEPS]


def _rows() -> list[int]:
    return [step - 1 for step in SCORED_STEPS]


def _columns(estimates: list[Estimate], suffix: str) -> NDArray[np.float64]:
    return np.array([[getattr(e, name + suffix) for name in DIMENSIONS] for e in estimates])


def _static(
    mapping: dict[str, list[float]] | None,
    values: NDArray[np.float64],
    labels: NDArray[np.float64],
) -> dict[str, Fit]:
    if mapping is None or len(values) < 2:
        return {}
    return {
        name: fit(
            labels[:, column],
            mapping[name][0] + values @ np.array(mapping[name][1:]),
        )
        for column, name in enumerate(DIMENSIONS)
    }
