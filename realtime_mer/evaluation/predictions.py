"""Labelled clips through the real pipeline, each as a live stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from mer_engine import Engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, STEP_S, Clip, Collection
from numpy.typing import NDArray

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError

# A clip is ten seconds, in steps of half a second; scored are five to ten seconds heard.
STEPS = 20
FIRST_SCORED_STEP = 10
_BLOCK_S = 0.5

ClipEstimator = Callable[[NDArray[np.float32], int], list[Estimate]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predictions:
    """Estimates and labels of n clips at the end of each half second heard.

    Attributes:
        songs: the song of each clip.
        values, low, high, labels: float64 [n, 20, 2] (valence, arousal); NaN where there is none.
        left_out: what could not be measured, one sentence each.
        whole: float64 [n, 20, 2], the piece as a whole as told then; NaN where the model does not
            tell, None where it was not asked.
    """

    songs: tuple[str, ...]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    labels: NDArray[np.float64]
    left_out: tuple[str, ...] = ()
    whole: NDArray[np.float64] | None = None

    def scored(self) -> Predictions:
        """The same without what was heard for less than five seconds."""
        return self.moments(slice(FIRST_SCORED_STEP - 1, None))

    def moments(self, steps: slice) -> Predictions:
        """Some of the steps: index 0 is half a second heard."""
        return replace(
            self,
            values=self.values[:, steps],
            low=self.low[:, steps],
            high=self.high[:, steps],
            labels=self.labels[:, steps],
            whole=None if self.whole is None else self.whole[:, steps],
        )

    def of_songs(self, chosen: NDArray[np.bool_]) -> Predictions:
        """The clips for which `chosen`, bool [n], is true."""
        rows = np.flatnonzero(chosen)
        return Predictions(
            tuple(self.songs[row] for row in rows),
            self.values[rows],
            self.low[rows],
            self.high[rows],
            self.labels[rows],
            whole=None if self.whole is None else self.whole[rows],
        )


def listen(
    engine: Engine,
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    *,
    hop_s: float = STEP_S,
    lag_order: int | None = None,
) -> list[Estimate]:
    """All estimates of a stream that begins and ends with these samples.

    Args:
        samples: float32 [n] or [n, channels], full scale 1.0.
    """
    pipeline = Pipeline(
        engine,
        sample_rate_hz=sample_rate_hz,
        channels=1 if samples.ndim == 1 else samples.shape[1],
        config=PipelineConfig(hop_s=hop_s, lag_order=lag_order),
    )
    block = int(sample_rate_hz * _BLOCK_S)
    estimates = []
    for start in range(0, len(samples), block):
        estimates += pipeline.feed(samples[start : start + block])
    return estimates + pipeline.finish()


def clips_of(collection: Collection, split: str, songs: int | None = None) -> list[Clip]:
    """The clips of a split, in its order.

    Args:
        songs: at most so many songs, evenly spaced over the split; all where None.
    """
    chosen = collection.splits[split]
    if songs is not None and songs < len(chosen):
        places = np.linspace(0, len(chosen) - 1, songs).round().astype(int)
        chosen = tuple(chosen[place] for place in places)
    order = {song: place for place, song in enumerate(chosen)}
    clips = [clip for clip in collection.clips if clip.song in order]
    return sorted(clips, key=lambda clip: (order[clip.song], clip.start_s))


def predict(
    collection: Collection,
    clips: Sequence[Clip],
    listener: ClipEstimator,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Predictions:
    """Listens to clips.

    Args:
        listener: makes estimates of samples and their rate, such as `listen` with an engine.
        workers: threads.
        progress: called with the number of clips done and of all.

    Raises:
        DataError: not one clip could be measured.
    """
    return predict_each(collection, clips, {"": listener}, workers=workers, progress=progress)[""]


def predict_each(
    collection: Collection,
    clips: Sequence[Clip],
    listeners: Mapping[str, ClipEstimator],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Predictions]:
    """Listens to the same clips in several ways; a clip that fails one of them is left out of all.

    Raises:
        DataError: not one clip could be measured.
    """

    def one(clip: Clip) -> NDArray[np.float64] | str:
        try:
            samples, rate = read_channels(clip)
            tables = [by_step(listener(samples, rate)) for listener in listeners.values()]
        except (DataError, UserError) as error:
            return f"song {clip.song}: {error}"
        if any(np.isnan(table[0, FIRST_SCORED_STEP - 1]).any() for table in tables):
            return (
                f"song {clip.song}: the clip ends before {FIRST_SCORED_STEP * STEP_S:.1f} s, "
                "where scoring begins"
            )
        return np.stack(tables)

    songs, rows, labels, left_out = [], [], [], []
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(one, clips) if workers > 1 else map(one, clips)
        for number, (clip, tables) in enumerate(zip(clips, done, strict=True), start=1):
            if isinstance(tables, str):
                left_out.append(tables)
            else:
                songs.append(clip.song)
                rows.append(tables)
                labels.append(collection.labels(clip, STEPS))
            if progress is not None:
                progress(number, len(clips))
    if not rows:
        why = f": {left_out[0]}" if left_out else ""
        raise DataError(f"not one clip of {collection.root} could be measured{why}")
    truth = np.stack(labels).astype(np.float64)
    by_listener = np.moveaxis(np.stack(rows), 0, 2)  # listener, row, clip, step, 2
    return {
        name: Predictions(tuple(songs), values, low, high, truth, tuple(left_out), whole)
        for name, (values, low, high, whole) in zip(listeners, by_listener, strict=True)
    }


def by_step(estimates: Sequence[Estimate], steps: int = STEPS) -> NDArray[np.float64]:
    """What stands on the screen at the end of each step: the newest estimate until then.

    Returns:
        float64 [4, steps, 2]: value, low and high of valence and arousal, and both of the piece as
        a whole; NaN before the first estimate, after the stream's end, and where it is not told.
    """
    table = np.full((4, steps, 2), np.nan)
    if not estimates:
        return table
    times = np.array([estimate.t for estimate in estimates])
    ends = STEP_S * np.arange(1, steps + 1)
    newest = np.searchsorted(times, ends + 1e-6, side="right") - 1
    hop = float(np.diff(times).max()) if len(times) > 1 else STEP_S
    for step, place in enumerate(newest):
        if place < 0 or ends[step] >= times[-1] + hop - 1e-6:
            continue
        for row, suffix in enumerate(("", "_low", "_high")):
            table[row, step] = [getattr(estimates[place], name + suffix) for name in DIMENSIONS]
        whole = estimates[place].whole
        if whole is not None:
            table[3, step] = whole
    return table
