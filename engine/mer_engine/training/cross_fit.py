"""Fit a reader with a second opinion on every clip; deal out songs with their artists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.datasets.problems import DataError
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.model_file import DIMENSIONS
from mer_engine.network import SCORES, RegressionHead
from mer_engine.training.examples import STEPS, Labels
from mer_engine.training.fit import FitSettings, TrainingSet, fit_head, spread, statistics
from mer_engine.training.kernel_ridge import SHARES, KernelTeacher, LikenessSpace, teach

FOLDS = 5
# Lengths of the windows that the kernel teacher learns from: the whole clip, which the memory
# keeps, and half.
_LASTS = (STEPS, STEPS // 2)
# Windows that the memory is taught: first step, step after the last, how much it counts. Those that
# begin within the clip matter: all others hear the silence before it, which a stream has only once.
# Taught without them the memory was lost in the middle of a stream (R2 of arousal 0.36, not 0.62).
_TAUGHT = (
    (0, 20, 1.0), (0, 10, 1.0), (0, 4, 0.4), (0, 2, 0.2), (4, 20, 1.0), (12, 18, 0.4),
)  # fmt: skip
# Fewer windows than this teach a kernel nothing.
_FEWEST = 20
# More windows than this are thinned: the cost grows with the cube, and the memory with it.
MOST_ROWS = 6000
# So wide is what a memory says of a score that it does not know.
_FLAT = 1e6


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


def parts_of(labels: Labels, parts: int, seed: int) -> NDArray[np.int64]:
    """Deal clips out to parts, no group in two: the part of each, int [n]; -1 for auxiliary clips.

    Raises:
        DataError: fewer than two groups.
    """
    part = np.full(len(labels), -1)
    meant = ~labels.auxiliary
    part[meant] = fold_of(labels.groups[meant], parts, seed)
    return part


def cross_fit(
    start: RegressionHead,
    steps: NDArray[np.float16],
    labels: Labels,
    other: NDArray[np.float16],
    settings: FitSettings,
    seed: int,
    report: Callable[[int, float], None] | None = None,
    *,
    settle: bool = True,
    device: str = "cpu",
) -> RegressionHead:
    """Ask kernel teachers for their opinion, fit a reader to labels and opinions, give it a memory.

    Args:
        start: the reader to begin with; stays as it is.
        steps: float16 [versions, n, 20, E], labelled clips.
        labels: of the same clips.
        other: float16 [1, m, 20, E], clips without labels; m may be 0.
        settings, seed, report, settle, device: as `fit_head` takes them.
    """
    told = TeacherTargets.none(len(labels), other.shape[1])
    if settings.opinion or settings.unlabelled or settings.memory:
        told = opinions(start, steps, labels, other[0], settings.elsewhere, settings.auxiliary)
    more = None
    if other.shape[1] and settings.unlabelled and np.isfinite(told.other).any():
        nothing = np.full((other.shape[1], STEPS, 2), np.nan, np.float32)
        more = TrainingSet(other, nothing, nothing[:, 0], told.other, np.ones(other.shape[1]))
    lessons = TrainingSet(
        steps, labels.values, labels.static, told.own, labels.weights(settings.auxiliary)
    )
    reader = fit_head(start, lessons, more, settings, seed, report, settle=settle, device=device)
    if settings.memory and told.memory is not None:
        width = spread(reader, steps[0, ~labels.auxiliary])
        width[~told.tells] = _FLAT
        reader.attach_regressor(told.memory, torch.from_numpy(width))
    return reader


@dataclass(frozen=True)
class TeacherTargets:
    """What the kernel teachers say of whole clips, and what is kept of them.

    Attributes:
        own: float32 [n, 4], of each labelled clip without its own song; NaN where too few labels
            are known.
        other: float32 [m, 4], of clips without labels.
        memory: None where the moments' labels are too few.
        tells: bool [4], the scores that the memory knows.
    """

    own: NDArray[np.float32]
    other: NDArray[np.float32]
    memory: KernelRegressor | None
    tells: NDArray[np.bool_]

    @classmethod
    def none(cls, labelled: int, other: int) -> TeacherTargets:
        """No opinion on so many clips with labels, and so many without."""
        shape = len(SCORES)
        own = np.full((labelled, shape), np.nan, np.float32)
        return cls(
            own, np.full((other, shape), np.nan, np.float32), None, np.zeros(shape, np.bool_)
        )


def opinions(
    reader: RegressionHead,
    steps: NDArray[np.float16],
    labels: Labels,
    other: NDArray[np.float16],
    elsewhere: float = 1.0,
    auxiliary: float = 1.0,
) -> TeacherTargets:
    """Ask kernel teachers, one for each kind of score.

    Args:
        reader: tells what the statistics of a window are; its weights play no part.
        steps: float16 [versions, n, 20, E], labelled clips, first as they are. Teacher targets
            are computed for these; the memory learns to tell the others too.
        labels: of the same clips.
        other: float16 [m, 20, E], clips without labels.
        elsewhere: how much a variation counts for the memory beside the clip as it is.
        auxiliary: how much an auxiliary clip counts beside one of the others.
    """
    told = TeacherTargets.none(steps.shape[1], len(other))
    statistic_rows = np.concatenate([statistics(reader, steps[0], last) for last in _LASTS])
    songs = np.tile(labels.songs, len(_LASTS))
    targets = np.concatenate(
        [np.column_stack([labels.values[:, last - 1], labels.static]) for last in _LASTS]
    )
    learnt = _some(songs)
    weights = np.tile(labels.weights(auxiliary), len(_LASTS))
    # What is like what, the music tells that the model is meant for, and that alone is remembered:
    # auxiliary clips change what it says. To remember 400 of them too gained 0.01 of R2 on such
    # music, for 0.7 MB.
    meant = ~labels.auxiliary
    of_those = learnt & np.tile(meant, len(_LASTS))
    space = LikenessSpace(statistic_rows[of_those], reader.statistics.sizes)
    places = space.place(statistic_rows)
    asked = space.place(statistics(reader, other, STEPS)) if len(other) else None
    anchors = places[: len(labels)][_some(labels.songs) & meant]
    memory = space.memory(anchors, len(SCORES))
    taught = _taught(reader, space, steps, labels, elsewhere, auxiliary)
    for dimension, name in enumerate(DIMENSIONS):
        for scores in _alike(targets, (dimension, dimension + len(DIMENSIONS))):
            known = learnt & np.isfinite(targets[:, scores]).all(axis=1)
            if known.sum() < _FEWEST or len(np.unique(songs[known])) < 2:
                continue
            truth, names = targets[np.ix_(known, scores)], songs[known].tolist()
            teacher = KernelTeacher(
                space, places[known], truth, names, SHARES[name], weights[known]
            )
            said = np.where(np.isfinite(targets[:, scores]), teacher(places), np.nan)
            said[known] = teacher.without_own_song()
            told.own[:, scores] = said[: len(labels)]
            if asked is not None:
                told.other[:, scores] = teacher(asked)
            use = _some(labels.songs)[taught.clip]
            use &= np.isfinite(taught.targets[:, scores]).all(axis=1)
            teach(
                memory, scores, space, anchors, taught.places[use],
                taught.targets[use][:, scores], taught.weights[use],
                labels.songs[taught.clip[use]].tolist(), SHARES[name],
            )  # fmt: skip
            told.tells[scores] = True
    if not told.tells[: len(DIMENSIONS)].all():
        return told
    return replace(told, memory=memory)


@dataclass(frozen=True)
class _Taught:
    """Windows that a memory is taught: places [n, D'], targets [n, 4], weights, clips [n]."""

    places: NDArray[np.float64]
    targets: NDArray[np.float32]
    weights: NDArray[np.float64]
    clip: NDArray[np.int64]


def _taught(
    reader: RegressionHead,
    space: LikenessSpace,
    steps: NDArray[np.float16],
    labels: Labels,
    elsewhere: float,
    auxiliary: float,
) -> _Taught:
    places, targets, weights = [], [], []
    for version, played in enumerate(steps):
        for first, last, weight in _TAUGHT:
            places.append(space.place(statistics(reader, played, last, first)))
            targets.append(np.column_stack([labels.values[:, last - 1], labels.static]))
            weights.append(weight * (elsewhere if version else 1.0) * labels.weights(auxiliary))
    clip = np.tile(np.arange(len(labels)), len(places))
    return _Taught(np.concatenate(places), np.concatenate(targets), np.concatenate(weights), clip)


def _alike(targets: NDArray[np.float32], scores: tuple[int, ...]) -> list[list[int]]:
    """Scores that are known of the same windows, together: one kernel serves them."""
    groups: list[list[int]] = []
    for score in scores:
        for group in groups:
            if (np.isfinite(targets[:, score]) == np.isfinite(targets[:, group[0]])).all():
                group.append(score)
                break
        else:
            groups.append([score])
    return groups


def _some(songs: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Windows to learn from: all, or those of songs evenly chosen until there are `MOST_ROWS`."""
    if len(songs) <= MOST_ROWS:
        return np.ones(len(songs), np.bool_)
    names = np.array(list(dict.fromkeys(songs.tolist())))
    count = max(2, int(len(names) * MOST_ROWS / len(songs)))
    return np.isin(songs, names[np.linspace(0, len(names) - 1, count).astype(int)])
