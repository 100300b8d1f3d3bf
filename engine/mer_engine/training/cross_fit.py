"""Fit a reader with a second opinion on every clip; deal out songs with their artists."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mer_engine.network import SCORES, WindowReader
from mer_engine.training.examples import STEPS, Labels
from mer_engine.training.fit import FitSettings, Lessons, fit_reader, statistics
from mer_engine.training.kernel_teacher import KernelTeacher
from mer_engine.training.problem import DataError

FOLDS = 5
# Windows that the kernel teacher learns from: the whole clip, and one of middle length.
_LASTS = (STEPS, 13)
# Fewer clips than this teach a kernel nothing.
_FEWEST = 20


def fold_of(groups: NDArray[np.str_], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal groups out to folds at random: the fold of each clip, int [n].

    Raises:
        DataError: fewer than two groups.
    """
    names = np.unique(groups)
    count = min(folds, len(names))
    if count < 2:
        raise DataError(
            "all songs are of one artist, or there is only one: nothing can be held out to "
            "measure the model on; add songs"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    fold = dict(zip(names[order].tolist(), (np.arange(len(names)) % count).tolist(), strict=True))
    return np.array([fold[group] for group in groups.tolist()])


def cross_fit(
    start: WindowReader,
    steps: NDArray[np.float16],
    labels: Labels,
    other: NDArray[np.float16],
    settings: FitSettings,
    seed: int,
    report: Callable[[int, float], None] | None = None,
    *,
    settle: bool = True,
    device: str = "cpu",
) -> WindowReader:
    """Ask a kernel teacher for its opinion, then fit a reader to labels and opinions.

    Args:
        start: the reader to begin with; stays as it is.
        steps: float16 [versions, n, 20, E], labelled clips.
        labels: of the same clips.
        other: float16 [1, m, 20, E], clips without labels; m may be 0.
        settings, seed, report, settle, device: as `fit_reader` takes them.
    """
    own = np.full((len(labels), len(SCORES)), np.nan, np.float32)
    about = np.full((other.shape[1], len(SCORES)), np.nan, np.float32)
    if settings.opinion or settings.unlabelled:
        own, about = opinions(start, steps[0], labels, other[0])
    more = None
    if other.shape[1] and settings.unlabelled and np.isfinite(about).any():
        nothing = np.full((other.shape[1], STEPS, 2), np.nan, np.float32)
        more = Lessons(other, nothing, nothing[:, 0], about)
    lessons = Lessons(steps, labels.values, labels.static, own)
    return fit_reader(start, lessons, more, settings, seed, report, settle=settle, device=device)


def opinions(
    reader: WindowReader,
    steps: NDArray[np.float16],
    labels: Labels,
    other: NDArray[np.float16],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a kernel teacher says of whole clips.

    Args:
        reader: tells what the statistics of a window are; its weights play no part.
        steps: float16 [n, 20, E], labelled clips.
        labels: of the same clips.
        other: float16 [m, 20, E], clips without labels.

    Returns:
        float32 [n, 4], of each labelled clip without its own song, and [m, 4]; NaN where too few
        labels are known.
    """
    rows = np.concatenate([statistics(reader, steps, last) for last in _LASTS])
    songs = np.tile(labels.songs, len(_LASTS))
    moment = np.concatenate([labels.values[:, last - 1] for last in _LASTS])
    whole = np.tile(labels.static, (len(_LASTS), 1))
    asked = statistics(reader, other, STEPS) if len(other) else None
    mode = reader.config.statistic_size - 3 * reader.config.channels
    own = np.full((len(steps), len(SCORES)), np.nan, np.float32)
    about = np.full((len(other), len(SCORES)), np.nan, np.float32)
    for columns, targets in ((slice(0, 2), moment), (slice(2, 4), whole)):
        known = np.isfinite(targets).all(axis=1)
        if known.sum() < _FEWEST or len(np.unique(songs[known])) < 2:
            continue
        teacher = KernelTeacher(rows[known], mode, targets[known], songs[known].tolist())
        said = np.full((len(rows), 2), np.nan, np.float32)
        said[known] = teacher.without_own_song()
        own[:, columns] = said[: len(steps)]
        if asked is not None:
            about[:, columns] = teacher(asked)
    return own, about
