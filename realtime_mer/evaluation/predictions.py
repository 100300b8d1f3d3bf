"""Predictions of the live pipeline on labelled clips, each clip a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from mer_engine import Engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import (
    CLIP_STEPS,
    DIMENSIONS,
    FIRST_SCORED_STEP,
    STEP_S,
    Clip,
    Collection,
)
from mer_engine.engine import Inference
from numpy.typing import NDArray

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.file_pipeline import file_pipeline
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError

_BLOCK_S = 0.5
_TOLERANCE_S = 1e-6

# Samples float32 [n] or [n, channels] and their rate in Hz -> all estimates of the clip.
ClipEstimator = Callable[[NDArray[np.float32], int], list[Estimate]]
# Called with the number of clips done and the total.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predictions:
    """Estimates and labels of n clips at the end of each half second.

    Attributes:
        songs: song of each clip.
        values, low, high, labels: float64 [n, 20, 2] (valence, arousal); NaN where there is none.
        left_out: a sentence for each clip that could not be measured.
        whole_song: float64 [n, 20, 2], estimates for the whole song; NaN where the model has none.
        fast: float64 [n, 20, 2], the fast values; NaN where the model has none.
        clips: the clips.
    """

    songs: tuple[str, ...]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    labels: NDArray[np.float64]
    left_out: tuple[str, ...] = ()
    whole_song: NDArray[np.float64] | None = None
    fast: NDArray[np.float64] | None = None
    clips: tuple[Clip, ...] = ()

    def scored(self) -> Predictions:
        """Return the predictions from the first scored step (5 s) on."""
        return self.at_steps(slice(FIRST_SCORED_STEP - 1, None))

    def at_steps(self, steps: slice) -> Predictions:
        """Return the predictions at some steps; index 0 is the end of the first half second."""
        return replace(
            self,
            values=self.values[:, steps],
            low=self.low[:, steps],
            high=self.high[:, steps],
            labels=self.labels[:, steps],
            whole_song=None if self.whole_song is None else self.whole_song[:, steps],
            fast=None if self.fast is None else self.fast[:, steps],
        )

    def select(self, mask: NDArray[np.bool_]) -> Predictions:
        """Return the predictions of the clips where the mask [n] is True, without `left_out`."""
        rows = np.flatnonzero(mask)
        return Predictions(
            tuple(self.songs[row] for row in rows),
            self.values[rows],
            self.low[rows],
            self.high[rows],
            self.labels[rows],
            whole_song=None if self.whole_song is None else self.whole_song[rows],
            fast=None if self.fast is None else self.fast[rows],
            clips=tuple(self.clips[row] for row in rows) if self.clips else (),
        )


class UngatedEngine:
    """A model without its sound output: its values follow the input whatever the sound is.

    In speech and noise the pipeline repeats the last values. A study of the values themselves must
    not take values that are repeated for values that are stable.
    """

    def __init__(self, engine: Engine) -> None:
        self.info = replace(engine.info, sounds=())
        self.backend = engine.backend
        self._engine = engine

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """Update windows as `Engine.infer` does, with `sound` None."""
        return self._engine.infer(frames, cached_maps, past)._replace(sound=None)


def estimate_clip(
    engine: Engine,
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    *,
    hop_s: float = STEP_S,
    lag_order: int | None = None,
) -> list[Estimate]:
    """Run the pipeline on a clip as a complete stream.

    Args:
        engine: the model.
        samples: float32 [n] or [n, channels], full scale 1.0.
        sample_rate_hz: sample rate.
        hop_s: seconds between estimates.
        lag_order: half seconds in a window; None for the model's own.

    Raises:
        EngineError: the engine failed, also when the call was repeated.
    """
    pipeline = file_pipeline(
        engine,
        sample_rate_hz=sample_rate_hz,
        channels=1 if samples.ndim == 1 else samples.shape[1],
        config=PipelineConfig(hop_s=hop_s, lag_order=lag_order),
    )
    block = int(sample_rate_hz * _BLOCK_S)
    estimates = []
    for start in range(0, len(samples), block):
        estimates += pipeline.feed(samples[start : start + block])
    estimates += pipeline.finish()
    if pipeline.failure is not None:
        raise pipeline.failure
    return estimates


def clips_of(collection: Collection, split: str, songs: int | None = None) -> list[Clip]:
    """Return the clips of a split, in the order of its songs.

    Args:
        collection: labelled songs.
        split: name of the split.
        songs: maximum number of songs, evenly spaced over the split; None for all.
    """
    selected = collection.splits[split]
    if songs is not None and songs < len(selected):
        indices = np.linspace(0, len(selected) - 1, songs).round().astype(int)
        selected = tuple(selected[index] for index in indices)
    order = {song: index for index, song in enumerate(selected)}
    clips = [clip for clip in collection.clips if clip.song in order]
    return sorted(clips, key=lambda clip: (order[clip.song], clip.start_s))


def predict(
    collection: Collection,
    clips: Sequence[Clip],
    estimator: ClipEstimator,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Predictions:
    """Predict clips.

    Args:
        collection: labelled songs.
        clips: clips of the collection.
        estimator: such as `estimate_clip` with an engine.
        workers: number of threads.
        progress: called with the number of clips done and the total.

    Raises:
        DataError: no clip could be measured.
    """
    return predict_each(collection, clips, {"": estimator}, workers=workers, progress=progress)[""]


def predict_each(
    collection: Collection,
    clips: Sequence[Clip],
    estimators: Mapping[str, ClipEstimator],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Predictions]:
    """Predict the same clips with several estimators.

    A clip that one estimator cannot measure is left out for all.

    Raises:
        DataError: no clip could be measured.
    """

    def predict_clip(clip: Clip) -> NDArray[np.float64] | str:
        try:
            samples, rate = read_channels(clip)
            tables = [newest_by_step(estimator(samples, rate)) for estimator in estimators.values()]
        except (DataError, UserError) as error:
            return f"song {clip.song}: {error}"
        if any(np.isnan(table[0, FIRST_SCORED_STEP - 1]).any() for table in tables):
            return (
                f"song {clip.song}: the clip ends before {FIRST_SCORED_STEP * STEP_S:.1f} s, "
                "where scoring begins"
            )
        return np.stack(tables)

    measured: list[Clip] = []
    rows, labels, left_out = [], [], []
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(predict_clip, clips) if workers > 1 else map(predict_clip, clips)
        for number, (clip, tables) in enumerate(zip(clips, done, strict=True), start=1):
            if isinstance(tables, str):
                left_out.append(tables)
            else:
                measured.append(clip)
                rows.append(tables)
                labels.append(collection.labels(clip, CLIP_STEPS))
            if progress is not None:
                progress(number, len(clips))
    if not rows:
        reason = f": {left_out[0]}" if left_out else ""
        raise DataError(f"no clip of {collection.root} could be measured{reason}")
    truth = np.stack(labels).astype(np.float64)
    by_estimator = np.moveaxis(np.stack(rows), 0, 2)  # [estimator, kind, clip, step, dimension]
    return {
        name: Predictions(
            songs=tuple(clip.song for clip in measured),
            values=values,
            low=low,
            high=high,
            labels=truth,
            left_out=tuple(left_out),
            whole_song=whole_song,
            fast=fast,
            clips=tuple(measured),
        )
        for name, (values, low, high, whole_song, fast) in zip(
            estimators, by_estimator, strict=True
        )
    }


def newest_by_step(estimates: Sequence[Estimate], steps: int = CLIP_STEPS) -> NDArray[np.float64]:
    """Return the newest estimate at the end of each step, as a viewer of the stream sees it.

    Returns:
        float64 [5, steps, 2]: value, lower bound, upper bound, whole-song estimate and fast value
        of valence and arousal. NaN before the first estimate, after the end of the stream, and
        where the model has no whole-song estimate or fast value.
    """
    table = np.full((5, steps, 2), np.nan)
    if not estimates:
        return table
    times = np.array([estimate.t for estimate in estimates])
    ends = STEP_S * np.arange(1, steps + 1)
    newest = np.searchsorted(times, ends + _TOLERANCE_S, side="right") - 1
    hop = float(np.diff(times).max()) if len(times) > 1 else STEP_S
    for step, index in enumerate(newest):
        if index < 0 or ends[step] >= times[-1] + hop - _TOLERANCE_S:
            continue
        for row, suffix in enumerate(("", "_low", "_high")):
            table[row, step] = [getattr(estimates[index], name + suffix) for name in DIMENSIONS]
        whole_song = estimates[index].whole
        if whole_song is not None:
            table[3, step] = whole_song
        fast = estimates[index].fast
        if fast is not None:
            table[4, step] = [getattr(fast, name) for name in DIMENSIONS]
    return table
