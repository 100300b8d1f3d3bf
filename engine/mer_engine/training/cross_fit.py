"""Fit a head to labels and teacher targets, and attach a kernel regressor to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.datasets.types import CLIP_STEPS
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.model_file import DIMENSIONS
from mer_engine.network import SCORES, RegressionHead
from mer_engine.training.examples import Labels
from mer_engine.training.fit import TrainingSet, fit_head
from mer_engine.training.kernel_ridge import (
    KERNEL_WEIGHTS,
    KernelSpace,
    KernelTeacher,
    fit_regressor,
)
from mer_engine.training.predict import mean_spread, window_statistics
from mer_engine.training.settings import FitSettings

# Lengths of the windows that the kernel teacher is fitted to. The regressor's support windows have
# the first.
_TEACHER_LENGTHS = (CLIP_STEPS, CLIP_STEPS // 2)
# Windows that the regressor is fitted to: first step, step after the last, weight. Windows that
# begin within a clip are necessary: the others follow the silence before the clip, which a stream
# has only at its start. Without them the regressor failed in the middle of a stream (R2 of arousal
# 0.36 instead of 0.62).
_REGRESSOR_WINDOWS = (
    (0, 20, 1.0), (0, 10, 1.0), (0, 4, 0.4), (0, 2, 0.2), (4, 20, 1.0), (12, 18, 0.4),
)  # fmt: skip
# A kernel is not fitted to fewer windows.
_MIN_WINDOWS = 20
# More windows are thinned, because the cost grows with the cube of their number.
MAX_WINDOWS = 6000
# Spread of the regressor's distribution for a score that it does not predict: practically uniform.
_UNIFORM_SPREAD = 1e6


def cross_fit(
    start: RegressionHead,
    steps: NDArray[np.float16],
    labels: Labels,
    unlabelled: NDArray[np.float16],
    settings: FitSettings,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    *,
    normalise: bool = True,
    device: str = "cpu",
) -> RegressionHead:
    """Compute teacher targets, fit a head to them and the labels, and attach a regressor.

    Args:
        start: initial head; left unchanged.
        steps: float16 [versions, n, 20, E], labelled clips.
        labels: of the same clips.
        unlabelled: float16 [1, m, 20, E], unlabelled clips; m may be 0.
        settings, seed, progress, normalise, device: as `fit_head` takes them.
    """
    targets = TeacherTargets.none(len(labels), unlabelled.shape[1])
    if settings.teacher_weight or settings.unlabelled_weight or settings.regressor:
        targets = teacher_targets(
            start,
            steps,
            labels,
            unlabelled[0],
            settings.augmented_weight,
            settings.auxiliary_weight,
        )
    more = None
    if unlabelled.shape[1] and settings.unlabelled_weight and np.isfinite(targets.unlabelled).any():
        count = unlabelled.shape[1]
        unknown = np.full((count, CLIP_STEPS, 2), np.nan, np.float32)
        more = TrainingSet(unlabelled, unknown, unknown[:, 0], targets.unlabelled, np.ones(count))
    labelled = TrainingSet(
        steps,
        labels.values,
        labels.static,
        targets.labelled,
        labels.weights(settings.auxiliary_weight),
    )
    head = fit_head(
        start, labelled, more, settings, seed, progress, normalise=normalise, device=device
    )
    if settings.regressor and targets.regressor is not None:
        spread = mean_spread(head, steps[0, ~labels.auxiliary])
        spread[~targets.predicted] = _UNIFORM_SPREAD
        head.attach_regressor(targets.regressor, torch.from_numpy(spread))
    return head


@dataclass(frozen=True)
class TeacherTargets:
    """Predictions of the kernel teachers for whole clips, and their sparse version.

    Attributes:
        labelled: float32 [n, 4], of each labelled clip without its own song; NaN if there are too
            few labels.
        unlabelled: float32 [m, 4], of the unlabelled clips.
        regressor: None if valence or arousal has too few labels.
        predicted: bool [4], the scores that the regressor predicts.
    """

    labelled: NDArray[np.float32]
    unlabelled: NDArray[np.float32]
    regressor: KernelRegressor | None
    predicted: NDArray[np.bool_]

    @classmethod
    def none(cls, labelled: int, unlabelled: int) -> TeacherTargets:
        """Return unknown targets (NaN) of these numbers of clips."""
        scores = len(SCORES)
        return cls(
            np.full((labelled, scores), np.nan, np.float32),
            np.full((unlabelled, scores), np.nan, np.float32),
            None,
            np.zeros(scores, np.bool_),
        )


def teacher_targets(
    head: RegressionHead,
    steps: NDArray[np.float16],
    labels: Labels,
    unlabelled: NDArray[np.float16],
    augmented_weight: float = 1.0,
    auxiliary_weight: float = 1.0,
) -> TeacherTargets:
    """Fit kernel teachers and the regressor, and predict all clips.

    Args:
        head: computes the window statistics; its weights have no effect.
        steps: float16 [versions, n, 20, E], labelled clips, the originals first. Targets are
            predicted for the originals; the regressor is fitted to all versions.
        labels: of the same clips.
        unlabelled: float16 [m, 20, E], unlabelled clips.
        augmented_weight: weight of an augmented clip in the regressor, relative to the original.
        auxiliary_weight: weight of an auxiliary clip relative to the others.
    """
    result = TeacherTargets.none(steps.shape[1], len(unlabelled))
    statistics = np.concatenate(
        [window_statistics(head, steps[0], last) for last in _TEACHER_LENGTHS]
    )
    windows = len(_TEACHER_LENGTHS)
    songs = np.tile(labels.songs, windows)
    targets = np.concatenate(
        [np.column_stack([labels.values[:, last - 1], labels.static]) for last in _TEACHER_LENGTHS]
    )
    chosen = _thin(songs)
    weights = np.tile(labels.weights(auxiliary_weight), windows)
    # The space and the support windows come from the primary clips; auxiliary clips only affect
    # the coefficients. 400 auxiliary support windows gained 0.01 of R2 on auxiliary music and cost
    # 0.7 MB.
    primary = ~labels.auxiliary
    space = KernelSpace(statistics[chosen & np.tile(primary, windows)], head.statistics.sizes)
    points = space.project(statistics)
    unlabelled_points = None
    if len(unlabelled):
        unlabelled_points = space.project(window_statistics(head, unlabelled, CLIP_STEPS))
    support = points[: len(labels)][_thin(labels.songs) & primary]
    regressor = space.regressor(support, len(SCORES))
    examples = _regressor_examples(head, space, steps, labels, augmented_weight, auxiliary_weight)
    for dimension, name in enumerate(DIMENSIONS):
        kernel_weights = KERNEL_WEIGHTS[name]
        for scores in _scores_known_together(targets, (dimension, dimension + len(DIMENSIONS))):
            known = chosen & np.isfinite(targets[:, scores]).all(axis=1)
            if known.sum() < _MIN_WINDOWS or len(np.unique(songs[known])) < 2:
                continue
            teacher = KernelTeacher(
                space,
                points[known],
                targets[np.ix_(known, scores)],
                songs[known].tolist(),
                kernel_weights,
                weights[known],
            )
            predictions = np.where(np.isfinite(targets[:, scores]), teacher(points), np.nan)
            predictions[known] = teacher.without_own_song()
            result.labelled[:, scores] = predictions[: len(labels)]
            if unlabelled_points is not None:
                result.unlabelled[:, scores] = teacher(unlabelled_points)
            use = _thin(labels.songs)[examples.clip]
            use &= np.isfinite(examples.targets[:, scores]).all(axis=1)
            fit_regressor(
                regressor,
                scores,
                space,
                support,
                examples.points[use],
                examples.targets[use][:, scores],
                examples.weights[use],
                labels.songs[examples.clip[use]].tolist(),
                kernel_weights,
            )
            result.predicted[scores] = True
    if not result.predicted[: len(DIMENSIONS)].all():
        return result
    return replace(result, regressor=regressor)


@dataclass(frozen=True)
class _RegressorExamples:
    """Windows to fit a regressor to: points [n, D'], targets [n, 4], weights [n], clips [n]."""

    points: NDArray[np.float64]
    targets: NDArray[np.float32]
    weights: NDArray[np.float64]
    clip: NDArray[np.int64]


def _regressor_examples(
    head: RegressionHead,
    space: KernelSpace,
    steps: NDArray[np.float16],
    labels: Labels,
    augmented_weight: float,
    auxiliary_weight: float,
) -> _RegressorExamples:
    points, targets, weights = [], [], []
    for version, version_steps in enumerate(steps):
        version_weight = augmented_weight if version else 1.0
        for first, last, weight in _REGRESSOR_WINDOWS:
            points.append(space.project(window_statistics(head, version_steps, last, first)))
            targets.append(np.column_stack([labels.values[:, last - 1], labels.static]))
            weights.append(weight * version_weight * labels.weights(auxiliary_weight))
    clip = np.tile(np.arange(len(labels)), len(points))
    return _RegressorExamples(
        np.concatenate(points), np.concatenate(targets), np.concatenate(weights), clip
    )


def _scores_known_together(
    targets: NDArray[np.float32], scores: tuple[int, ...]
) -> list[list[int]]:
    """Group scores with labels of the same windows, which can share a kernel matrix."""
    groups: list[list[int]] = []
    for score in scores:
        for group in groups:
            if (np.isfinite(targets[:, score]) == np.isfinite(targets[:, group[0]])).all():
                group.append(score)
                break
        else:
            groups.append([score])
    return groups


def _thin(songs: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Select the windows of evenly spaced songs, at most about `MAX_WINDOWS`: bool [n]."""
    if len(songs) <= MAX_WINDOWS:
        return np.ones(len(songs), np.bool_)
    names = np.array(list(dict.fromkeys(songs.tolist())))
    count = max(2, int(len(names) * MAX_WINDOWS / len(songs)))
    return np.isin(songs, names[np.linspace(0, len(names) - 1, count).astype(int)])
