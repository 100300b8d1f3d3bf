r"""Studies of the training recipe: cross-validation, transfer to other songs, ablation.

They need the checkpoint of a training run, which contains the encoded clips of the run:

    realtime-mer train --data DEAM --auxiliary vgmidi=DIR --teacher WHEEL --unlabelled DIR \
        --keep-checkpoint
    python benchmarks/studies/recipe.py cross-validation --checkpoint mer-1.onnx.checkpoint
    python benchmarks/studies/recipe.py ablation --checkpoint mer-1.onnx.checkpoint
    python benchmarks/studies/recipe.py features --checkpoint mer-1.onnx.checkpoint --data DEAM
    python benchmarks/studies/recipe.py raters --checkpoint mer-1.onnx.checkpoint --data DEAM
    python benchmarks/studies/recipe.py transfer --checkpoint mer-1.onnx.checkpoint --data DEAM
    python benchmarks/studies/recipe.py long-songs --checkpoint mer-1.onnx.checkpoint --data DEAM

Every study fits new regression heads or kernel regressors and tests them on held-out songs. The
encoder was trained without labels. Metrics are pooled over 5 to 10 s of audio.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Waiting threads of torch must not spin: on a busy machine that is ten times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_STEPS, Clip, Collection
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.model_file import DIMENSIONS
from mer_engine.network import EmotionNetwork, RegressionHead
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.encoded_dataset import EncodedDataset
from mer_engine.training.examples import ClipEncoder, Labels, encode_clips, read_labels
from mer_engine.training.folds import FOLDS, clip_folds, group_folds
from mer_engine.training.kernel_ridge import KERNEL_WEIGHTS, KernelSpace, fit_regressor
from mer_engine.training.predict import predict, score_values, window_statistics
from mer_engine.training.settings import FitSettings
from mer_engine.training.train import restore_dataset
from numpy.typing import NDArray
from study import RESULTS, of_2013, write_result
from torch import Tensor

from realtime_mer.bench.machine import describe_machine
from realtime_mer.evaluation.metrics import genre_groups

SEEDS = (0, 1, 2)
# Folds that the ablation predicts, of `FOLDS`: about 600 songs.
ABLATION_FOLDS = 2
_MIN_GENRE_SONGS = 20
# Steps at which kernel regressors are tested: after 5 to 10 s.
_TEST_STEPS = (10, 13, 16, 20)
# Ends of the windows that kernel regressors are fitted on, steps.
_FIT_STEPS = (CLIP_STEPS, CLIP_STEPS // 2)
_REGRESSOR_PROTOCOL = (
    "kernel regression only; five folds of the train and validation songs by artist; after "
    "5.0, 6.5, 8.0 and 10.0 s"
)
_REGRESSOR_ONLY = "kernel regression only"
# Studies without auxiliary clips.
_PRIMARY_ONLY = ("features", "raters")
_NEED_DATA = ("features", "raters", "transfer", "long-songs")
_KINDS = ("channels", "mode", "tonic_chroma", "spectrum", "tags", "inverse_crest")

Row = dict[str, Any]
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
# Window statistics of all clips, by version of the clip and end of the window in steps.
Statistics = dict[tuple[int, int], NDArray[np.float32]]
# Predicts values float64 [n, 20, 2] from embeddings float16 [n, 20, E].
Predictor = Callable[[RegressionHead, NDArray[np.float16]], Values]


class SequenceHead(RegressionHead):
    """A head without window statistics and mode in its network."""

    def direct_logits(self, statistics: Tensor, *windows: Tensor) -> Tensor:
        return torch.cat([self.sequence_logits(window) for window in windows])


class StatisticsHead(RegressionHead):
    """A head without BiLSTM and attention."""

    def direct_logits(self, statistics: Tensor, *windows: Tensor) -> Tensor:
        return self.statistic_logits(statistics)


# -- studies --------------------------------------------------------------------------------------


def cross_validation(dataset: EncodedDataset, settings: FitSettings, _: Collection | None) -> Row:
    """Measure five folds by artist, with three seeds."""
    rows = []
    for seed in SEEDS:
        folds = clip_folds(dataset.labels, FOLDS, seed)
        for fold in range(FOLDS):
            held_out = folds == fold
            values = _predict_held_out(dataset, held_out, settings, seed)
            rows.append(
                {"fold": fold + 1, "seed": seed, **_metrics(values, dataset.labels, held_out)}
            )
            _log(f"seed {seed}, fold {fold + 1}", rows[-1])
    protocol = "five folds of the train and validation splits, no artist in two folds, three seeds"
    return {"folds": rows, "protocol": protocol}


def ablation(dataset: EncodedDataset, settings: FitSettings, _: Collection | None) -> Row:
    """Remove one part of the recipe at a time."""
    config, head = dataset.network.config, dataset.network.head
    # Columns of the embeddings.
    chroma = slice(2 * config.channels, 2 * config.channels + config.pitch_classes)
    tags = slice(chroma.stop + config.bands, chroma.stop + config.bands + config.tags)
    inverse_crest = slice(tags.stop, None)
    no_static = replace(dataset.labels, static=np.full_like(dataset.labels.static, np.nan))
    no_teacher = replace(settings, teacher_weight=0.0, unlabelled_weight=0.0)
    variants: list[tuple[str, str, EncodedDataset, FitSettings]] = [
        ("as shipped", "complete recipe", dataset, settings),
        (
            "no chroma",
            "no pitch classes, so no information on major or minor",
            _without_columns(dataset, chroma),
            settings,
        ),
        ("no tags", "without the tagger's output", _without_columns(dataset, tags), settings),
        (
            "no inverse crest factor",
            "without the mean power relative to the peak",
            _without_columns(dataset, inverse_crest),
            settings,
        ),
        (
            "no kernel regression",
            "regression head only",
            dataset,
            replace(settings, regressor=False),
        ),
        # The kernel regressor does not depend on the optimiser steps of the head.
        (_REGRESSOR_ONLY, "no regression head", dataset, replace(settings, steps=1)),
        (
            "no kernel regression, no teacher",
            "regression head only, trained on labels only",
            dataset,
            replace(no_teacher, regressor=False),
        ),
        ("no teacher", "trained on labels only", dataset, no_teacher),
        (
            "no teacher on labelled clips",
            "teacher targets only for unlabelled music",
            dataset,
            replace(settings, teacher_weight=0.0),
        ),
        (
            "no unlabelled music",
            "teacher targets only for labelled clips",
            dataset,
            replace(settings, unlabelled_weight=0.0),
        ),
    ]
    if dataset.labels.auxiliary.any():
        primary = dataset.select(_primary(dataset.labels))
        variants.append(("no auxiliary labels", "without labels of game scores", primary, settings))
    variants += [
        (
            "no augmentation",
            "original clips only",
            replace(dataset, steps=dataset.steps[:1]),
            settings,
        ),
        (
            "no static labels",
            "labels over time only",
            replace(dataset, labels=no_static),
            settings,
        ),
        (
            "no statistics",
            "BiLSTM and attention, with kernel regression",
            _with_head(dataset, SequenceHead(head.config)),
            settings,
        ),
        (
            "no BiLSTM, no attention",
            "statistics and mode, with kernel regression",
            _with_head(dataset, StatisticsHead(head.config)),
            settings,
        ),
    ]
    rows = []
    for name, what, variant, variant_settings in variants:
        torch.manual_seed(0)
        folds = clip_folds(variant.labels, FOLDS, 0)
        values = np.zeros((len(folds), CLIP_STEPS, 2))
        predictor = _regressor_values if name == _REGRESSOR_ONLY else _head_values
        for fold in range(ABLATION_FOLDS):
            held_out = folds == fold
            values[held_out] = _predict_held_out(variant, held_out, variant_settings, 0, predictor)
        tested = np.flatnonzero((folds >= 0) & (folds < ABLATION_FOLDS))
        rows.append(_row(name, what, _r2(values[tested], variant.labels.select(tested))))
    protocol = (
        f"{ABLATION_FOLDS} of {FOLDS} folds, predicted by networks trained on the other folds; "
        "one seed"
    )
    return {"rows": rows, "protocol": protocol}


def features(dataset: EncodedDataset, settings: FitSettings, collection: Collection | None) -> Row:
    """Measure kernel regression with each kind of statistic. No head is fitted."""
    assert collection is not None
    rows = []
    original = _statistics(dataset, dataset.steps[:1])
    for name, what, kinds in (
        ("all", "as shipped", _KINDS),
        ("channels", "the tagger's convolutions", _KINDS[:1]),
        ("channels, mode", "and major or minor mode", _KINDS[:2]),
        ("channels, mode, tonic chroma", "and tonic-aligned chroma", _KINDS[:3]),
        ("channels, mode, tonic chroma, spectrum", "and the mean of each mel band", _KINDS[:4]),
        ("channels, mode, tonic chroma, spectrum, tags", "and the tagger's output", _KINDS[:5]),
        ("channels, tags", "the tagger's convolutions and output", ("channels", "tags")),
        (
            "channels, inverse crest factor",
            "and the mean power relative to the peak",
            ("channels", "inverse_crest"),
        ),
        ("no channels", "all but the tagger's convolutions", _KINDS[1:]),
    ):
        values = _cross_predict(dataset, original, dataset.labels.values, kinds)
        rows.append(_row(name, what, _r2_where_predicted(values, dataset.labels)))
    own_level = _statistics(dataset, _encode_at_own_level(dataset, collection))
    values = _cross_predict(dataset, own_level, dataset.labels.values)
    rows.append(
        _row(
            "no level normalisation",
            "each clip at its own level; a gain of -20 dB then costs more",
            _r2_where_predicted(values, dataset.labels),
        )
    )
    if len(dataset.steps) > 1:  # the run has augmented clips
        rows += _augmentation_rows(dataset, settings.augmented_weight)
    return {"rows": rows, "protocol": _REGRESSOR_PROTOCOL}


def _augmentation_rows(dataset: EncodedDataset, weight: float) -> list[Row]:
    """Train and test kernel regression on augmented clips."""
    statistics = _statistics(dataset, dataset.steps)
    rows = []
    for name, what, weights, tested in (
        (
            "augmented clips with weight {:g}",
            "trained on original and augmented clips",
            (weight, 1.0),
            0,
        ),
        (
            "tested on augmented clips, weight {:g}",
            "tested on augmented clips",
            (0.0, weight, 1.0),
            1,
        ),
    ):
        for augmented_weight in weights:
            values = _cross_predict(
                dataset,
                statistics,
                dataset.labels.values,
                augmented_weight=augmented_weight,
                tested_version=tested,
            )
            metrics = _r2_where_predicted(values, dataset.labels)
            rows.append(_row(name.format(augmented_weight), what, metrics))
    return rows


def raters(dataset: EncodedDataset, settings: FitSettings, collection: Collection | None) -> Row:
    """Measure the cost of not knowing the raters of a song."""
    assert collection is not None
    labels = dataset.labels
    statistics = _statistics(dataset, dataset.steps[:1])
    first = of_2013(labels.songs)
    campaign = np.broadcast_to(first[:, None, None], labels.values.shape).astype(np.float64)
    shared = _cross_predict(dataset, statistics, labels.values)
    by_first = _cross_predict(dataset, statistics, labels.values, training=first)
    by_later = _cross_predict(dataset, statistics, labels.values, training=~first)
    probability = np.clip(_cross_predict(dataset, statistics, campaign), 0.0, 1.0)
    known = np.where(first[:, None, None], by_first, by_later)
    mixed = probability * by_first + (1 - probability) * by_later
    at_end = probability[:, CLIP_STEPS - 1].mean(1)
    auc = (at_end[first][:, None] > at_end[~first]).mean()
    rows = [
        _row(name, what, _r2_where_predicted(values, labels))
        for name, what, values in (
            ("shared", "one regressor for all campaigns, as shipped", shared),
            (
                "campaign predicted",
                f"one regressor per campaign, weighted by the predicted campaign (AUC {auc:.0%})",
                mixed,
            ),
            (
                "campaign known",
                "one regressor per campaign, for its own songs; impossible for new music",
                known,
            ),
        )
    ]
    no_crest = tuple(kind for kind in _KINDS if kind != "inverse_crest")
    for title, tested in (("songs of 2013", first), ("songs of 2014 and 2015", ~first)):
        of_tested = labels.select(np.flatnonzero(tested))
        songs = f"{int(tested.sum())} songs"
        for name, what, values in (
            ("shared", songs, shared),
            ("campaign known", songs, known),
            (
                "other campaigns only",
                f"{songs}, none in training",
                _predict_without(dataset, statistics, tested, _KINDS),
            ),
            (
                "other campaigns only, no inverse crest factor",
                f"{songs}, none in training",
                _predict_without(dataset, statistics, tested, no_crest),
            ),
        ):
            rows.append(
                _row(f"{title}: {name}", what, _r2_where_predicted(values[tested], of_tested))
            )
    rows += _test_song_rows(dataset, statistics, collection)
    protocol = f"{_REGRESSOR_PROTOCOL}; test songs: regressors trained on all of these songs"
    return {"rows": rows, "protocol": protocol}


def _test_song_rows(
    dataset: EncodedDataset, statistics: Statistics, collection: Collection
) -> list[Row]:
    """Predict the test songs by one regressor for all campaigns, and by one per campaign."""
    steps, labels = _encode(dataset, collection, list(collection.clips_of("test")), "test")
    test_statistics = _statistics(dataset, steps)
    tested_first, first = of_2013(labels.songs), of_2013(dataset.labels.songs)
    shared = np.full(labels.values.shape, np.nan)
    known = shared.copy()
    for training, tested, values in (
        (np.ones(len(first), np.bool_), np.ones(len(tested_first), np.bool_), shared),
        (first, tested_first, known),
        (~first, ~tested_first, known),
    ):
        regressor = _regressor(dataset, statistics, training, dataset.labels.values, _KINDS)
        _predict_into(values, regressor, test_statistics, tested)
    what = f"{len(labels)} songs, none in training"
    return [
        _row(f"test songs: {name}", what, _r2_where_predicted(values, labels))
        for name, values in (("shared", shared), ("campaign known", known))
    ]


def transfer(dataset: EncodedDataset, settings: FitSettings, collection: Collection | None) -> Row:
    """Leave campaigns and genres out of training, and measure them."""
    assert collection is not None
    auxiliary = dataset.labels.auxiliary
    first = np.zeros(len(auxiliary), np.bool_)
    first[~auxiliary] = of_2013(dataset.labels.songs[~auxiliary])
    rows = [
        _left_out_row("songs of 2013, trained on the later ones", dataset, first, settings),
        _left_out_row(
            "songs of 2014 and 2015, trained on 2013", dataset, ~first & ~auxiliary, settings
        ),
    ]
    names = [song.split("/", 1)[1] for song in dataset.labels.songs[~auxiliary].tolist()]
    groups = np.full(len(auxiliary), "other", dtype=object)
    groups[~auxiliary] = genre_groups(
        tuple(names), {name: collection.songs[name].genre for name in names}
    )
    for genre in sorted(set(groups.tolist())):
        held_out = groups == genre
        if genre != "other" and held_out.sum() >= _MIN_GENRE_SONGS:
            rows.append(_left_out_row(genre, dataset, held_out, settings))
    if auxiliary.any():
        rows += _auxiliary_rows(dataset, settings)
    return {"rows": rows, "protocol": "trained without the songs of the row, measured on them"}


def _left_out_row(
    title: str, dataset: EncodedDataset, held_out: Mask, settings: FitSettings
) -> Row:
    """Train without some clips and their artists, and measure these clips."""
    training = dataset.labels.outside_groups_of(held_out)
    head = dataset.fit(np.flatnonzero(training), settings, 0)
    values = _head_values(head, dataset.steps[0, held_out])
    songs = len(np.unique(dataset.labels.songs[held_out]))
    row = {"left_out": title, "songs": songs, **_metrics(values, dataset.labels, held_out)}
    _log(title, row)
    return row


def _auxiliary_rows(dataset: EncodedDataset, settings: FitSettings) -> list[Row]:
    """Measure the auxiliary clips, trained without any of them and on the other folds of them."""
    labels = dataset.labels
    auxiliary = labels.auxiliary
    without = _left_out_row(
        "game scores, trained without labels of game scores", dataset, auxiliary, settings
    )
    folds = np.full(len(labels), -1)
    folds[auxiliary] = group_folds(labels.groups[auxiliary], FOLDS, 0)
    values = np.zeros((len(labels), CLIP_STEPS, 2))
    for fold in range(int(folds.max()) + 1):
        values[folds == fold] = _predict_held_out(dataset, folds == fold, settings, 0)
    with_others = {
        "left_out": "game scores, five folds by game, trained on the other folds",
        "songs": without["songs"],
        **_metrics(values[auxiliary], labels, auxiliary),
    }
    _log(with_others["left_out"], with_others)
    return [without, with_others]


def long_songs(
    dataset: EncodedDataset, settings: FitSettings, collection: Collection | None
) -> Row:
    """Measure the 58 songs of 2015 with a head that was trained without them."""
    assert collection is not None
    clips = [clip for clip in collection.clips if collection.songs[clip.song].campaign == "2015"]
    names = {f"{collection.name}/{clip.song}" for clip in clips}
    steps, labels = _encode(dataset, collection, clips, "long")
    training = np.array([song not in names for song in dataset.labels.songs.tolist()])
    # No shared artists either.
    training &= ~np.isin(dataset.labels.groups, labels.groups)
    head = dataset.fit(np.flatnonzero(training), settings, 0)
    metrics = _metrics(_head_values(head, steps[0]), labels, np.ones(len(labels), bool))
    protocol = "ten seconds of each; trained on the train and validation splits without them"
    return {"songs": len(labels), **metrics, "protocol": protocol}


STUDIES: dict[str, Callable[[EncodedDataset, FitSettings, Collection | None], Row]] = {
    "cross-validation": cross_validation,
    "ablation": ablation,
    "features": features,
    "raters": raters,
    "transfer": transfer,
    "long-songs": long_songs,
}


# -- regression heads -----------------------------------------------------------------------------


def _head_values(head: RegressionHead, steps: NDArray[np.float16]) -> Values:
    """Predict values [n, 20, 2] with a head from embeddings [n, 20, E]."""
    centres = head.config.bin_centres().numpy()
    return np.asarray(predict(head, steps)[:, :, :2] @ centres, dtype=np.float64)


@torch.inference_mode()
def _regressor_values(head: RegressionHead, steps: NDArray[np.float16]) -> Values:
    """Predict values [n, 20, 2] with the kernel regressor of a head from embeddings [n, 20, E]."""
    assert head.regressor is not None
    values = np.empty((len(steps), CLIP_STEPS, 2))
    for end in range(1, CLIP_STEPS + 1):
        predicted = head.regressor(torch.from_numpy(window_statistics(head, steps, end)))
        values[:, end - 1] = predicted[:, :2]
    return values


def _predict_held_out(
    dataset: EncodedDataset,
    held_out: Mask,
    settings: FitSettings,
    seed: int,
    predictor: Predictor = _head_values,
) -> Values:
    """Fit a head to the other clips, and predict the held-out clips: values [m, 20, 2]."""
    head = dataset.fit(np.flatnonzero(~held_out), settings, seed)
    return predictor(head, dataset.steps[0, held_out])


def _without_columns(dataset: EncodedDataset, columns: slice) -> EncodedDataset:
    """Set some columns of the embeddings to zero."""
    steps, unlabelled = dataset.steps.copy(), dataset.unlabelled.copy()
    steps[..., columns] = 0
    unlabelled[..., columns] = 0
    return replace(dataset, steps=steps, unlabelled=unlabelled)


def _with_head(dataset: EncodedDataset, head: RegressionHead) -> EncodedDataset:
    return replace(dataset, network=dataset.with_head(head))


def _primary(labels: Labels) -> NDArray[np.int64]:
    """Return the indices of the clips that are not auxiliary."""
    return np.flatnonzero(~labels.auxiliary)


def _encode(
    dataset: EncodedDataset, collection: Collection, clips: list[Clip], kind: str
) -> tuple[NDArray[np.float16], Labels]:
    """Encode further clips: embeddings [1, n, 20, E] and labels."""
    steps, kept, _ = encode_clips(ClipEncoder(dataset.network), clips, 1, 0, print, kind)
    return steps, read_labels(collection, tuple(clips)).select(kept)


def _encode_at_own_level(dataset: EncodedDataset, collection: Collection) -> NDArray[np.float16]:
    """Encode the labelled clips without level normalisation."""
    network = EmotionNetwork(replace(dataset.network.config, level_frames=0))
    network.load_state_dict(dataset.network.state_dict())
    clips = {f"{collection.name}/{clip.song}": clip for clip in collection.clips}
    labelled = [clips[song] for song in dataset.labels.songs.tolist()]
    steps, kept, _ = encode_clips(ClipEncoder(network), labelled, 1, 0, print, "labelled")
    assert len(kept) == len(labelled)
    return steps


# -- kernel regression ----------------------------------------------------------------------------


def _statistics(dataset: EncodedDataset, steps: NDArray[np.float16]) -> Statistics:
    """Compute the statistics of windows from the beginning of the clips."""
    head = dataset.network.head
    return {
        (version, end): window_statistics(head, steps[version], end)
        for version in range(len(steps))
        for end in _TEST_STEPS
    }


def _regressor(
    dataset: EncodedDataset,
    statistics: Statistics,
    training: Mask,
    targets: NDArray[np.floating],
    kinds: tuple[str, ...],
    augmented_weight: float = 0.0,
) -> KernelRegressor:
    """Fit a kernel regressor.

    Args:
        dataset: encoded clips.
        statistics: window statistics of the clips.
        training: [n], the clips to fit on.
        targets: [n, 20, 2].
        kinds: kinds of statistics in the kernel.
        augmented_weight: weight of augmented clips; originals have weight 1.
    """
    versions = 1 + max(version for version, _ in statistics)
    windows = [(version, end) for version in range(versions) for end in _FIT_STEPS]
    space = KernelSpace(
        np.concatenate([statistics[0, end][training] for end in _FIT_STEPS]),
        dataset.network.head.statistics.sizes,
    )
    support = space.project(statistics[0, CLIP_STEPS][training])
    regressor = space.regressor(support, 2)
    points = np.concatenate([space.project(statistics[window][training]) for window in windows])
    weights = np.repeat(
        [1.0 if version == 0 else augmented_weight for version, _ in windows], training.sum()
    )
    songs = dataset.labels.songs[training].tolist() * len(windows)
    for column, name in enumerate(DIMENSIONS):
        target = np.concatenate([targets[training, end - 1, column] for _, end in windows])
        kernel_weights = {k: weight for k, weight in KERNEL_WEIGHTS[name].items() if k in kinds}
        fit_regressor(
            regressor, [column], space, support, points, target[:, None], weights, songs,
            kernel_weights,
        )  # fmt: skip
    return regressor


def _predict_into(
    values: Values,
    regressor: KernelRegressor,
    statistics: Statistics,
    tested: Mask,
    version: int = 0,
) -> None:
    """Write the predictions of the tested clips into `values` [n, 20, 2], at `_TEST_STEPS`."""
    for end in _TEST_STEPS:
        inputs = torch.from_numpy(statistics[version, end][tested])
        values[tested, end - 1] = regressor(inputs).numpy()


def _cross_predict(
    dataset: EncodedDataset,
    statistics: Statistics,
    targets: NDArray[np.floating],
    kinds: tuple[str, ...] = _KINDS,
    *,
    augmented_weight: float = 0.0,
    tested_version: int = 0,
    training: Mask | None = None,
) -> Values:
    """Predict each fold with a kernel regressor that is fitted on the other folds.

    Args:
        dataset, statistics, targets, kinds, augmented_weight: as for `_regressor`.
        tested_version: version of the clips to predict; 0 is the original.
        training: [n], the clips that may be fitted on; None for all.

    Returns:
        Values [n, 20, 2], NaN at steps that are not in `_TEST_STEPS`.
    """
    folds = group_folds(dataset.labels.groups, FOLDS, 0)
    values = np.full((len(folds), CLIP_STEPS, 2), np.nan)
    for fold in range(int(folds.max()) + 1):
        chosen = folds != fold if training is None else training & (folds != fold)
        if not chosen.any():
            raise DataError("the songs of one campaign are all by the artists of one fold")
        regressor = _regressor(dataset, statistics, chosen, targets, kinds, augmented_weight)
        _predict_into(values, regressor, statistics, folds == fold, tested_version)
    return values


def _predict_without(
    dataset: EncodedDataset, statistics: Statistics, held_out: Mask, kinds: tuple[str, ...]
) -> Values:
    """Predict clips with a kernel regressor fitted without them and their artists.

    Returns:
        Values [n, 20, 2], NaN for other clips and at steps that are not in `_TEST_STEPS`.
    """
    training = dataset.labels.outside_groups_of(held_out)
    if not training.any():
        raise DataError("the songs of one campaign are all by the artists of another")
    values = np.full(dataset.labels.values.shape, np.nan)
    regressor = _regressor(dataset, statistics, training, dataset.labels.values, kinds)
    _predict_into(values, regressor, statistics, held_out)
    return values


# -- rows of results ------------------------------------------------------------------------------


def _metrics(values: Values, labels: Labels, chosen: Mask) -> Row:
    """Score values [m, 20, 2] of the chosen clips, by dimension."""
    valence, arousal = score_values(values, labels.values[chosen])
    return {"arousal": arousal.to_dict(), "valence": valence.to_dict()}


def _r2(values: Values, labels: Labels) -> Row:
    """Return R2 of arousal and valence of values [n, 20, 2]."""
    valence, arousal = score_values(values, labels.values)
    return {"r2_arousal": arousal.r2, "r2_valence": valence.r2}


def _r2_where_predicted(values: Values, labels: Labels) -> Row:
    """Return R2 at the steps that have a prediction; the others are NaN."""
    truth = np.where(np.isfinite(values), labels.values, np.nan)
    return _r2(np.nan_to_num(values), replace(labels, values=truth.astype(np.float32)))


def _row(name: str, what: str, metrics: Row) -> Row:
    """Make a row of a table, and log it."""
    _log(name, metrics)
    return {"name": name, "what": what, **metrics}


def _log(name: str, row: Row) -> None:
    r2 = [row[f"r2_{d}"] if f"r2_{d}" in row else row[d]["r2"] for d in ("arousal", "valence")]
    print(f"{name}: R2 arousal {r2[0]:.3f}, valence {r2[1]:.3f}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=tuple(STUDIES))
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", metavar="DATA", help="DEAM, for genres, other songs and audio")
    parser.add_argument(
        "--steps", type=int, metavar="N",
        help="optimiser steps of each fit (default: as the training run)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file")
    return parser


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        state = read_checkpoint(args.checkpoint)
        dataset = restore_dataset(state["state"])
        if dataset is None:
            raise DataError(f"{args.checkpoint} is of a run that has not encoded its music yet")
        settings = FitSettings(**state["configuration"]["fit"])
        if args.steps is not None:
            settings = replace(settings, steps=args.steps)
        collection = None
        if args.study in _NEED_DATA:
            if args.data is None:
                raise DataError(f"{args.study} needs --data, the folder of DEAM")
            collection = load_collection(args.data)
        begun = time.perf_counter()
        if args.study in _PRIMARY_ONLY:
            dataset = dataset.select(_primary(dataset.labels))
        result = STUDIES[args.study](dataset, settings, collection)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    auxiliary = dataset.labels.auxiliary
    primary_names, auxiliary_names = (
        ", ".join(sorted({song.split("/", 1)[0] for song in dataset.labels.songs[mask].tolist()}))
        for mask in (~auxiliary, auxiliary)
    )
    name = args.study.replace("-", "_")
    write_result(
        args.out or RESULTS / f"{name}.json",
        {
            **result,
            "data": f"{primary_names}, train and validation splits"
            + (f"; auxiliary: {auxiliary_names}" if auxiliary_names else ""),
            "clips": int((~auxiliary).sum()),
            "auxiliary_clips": int(auxiliary.sum()),
            "unlabelled_clips": dataset.unlabelled.shape[1],
            "steps": settings.steps,
            "machine": describe_machine(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "seconds": round(time.perf_counter() - begun, 1),
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
