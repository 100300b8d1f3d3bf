"""A training run, from labelled music to a model file."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.datasets.load import load_collection
from mer_engine.datasets.types import DIMENSIONS, FIRST_SCORED_STEP, Collection
from mer_engine.model_file import ModelInfo
from mer_engine.network import EmotionNetwork, RegressionHead
from mer_engine.network_import import load_network
from mer_engine.training.acoustic_augmentation import AcousticAugmentation
from mer_engine.training.calibrate import COVERAGE, calibrate
from mer_engine.training.checkpoint import Checkpoint
from mer_engine.training.checkpoint_export import MODEL, model_state
from mer_engine.training.encoded_dataset import (
    TRAINING_SPLITS,
    EncodedDataset,
    encode_dataset,
    network_config,
)
from mer_engine.training.export import Calibration, export_model
from mer_engine.training.folds import clip_folds
from mer_engine.training.predict import predict, score_values
from mer_engine.training.settings import TrainSettings
from mer_engine.training.teacher import NOTICE, read_teacher
from mer_engine.training.unlabelled import find_music

# Folds of the cross-validation that calibrates the intervals. With more folds, each head is trained
# on nearly as many songs as the final one.
CALIBRATION_FOLDS = 10
# Keys of a checkpoint's state.
DATASET, PREDICTIONS = "dataset", "predictions"


def train(settings: TrainSettings, log: Callable[[str], None]) -> ModelInfo:
    """Train a network and write it as a model file.

    1. Encode every clip. The encoder comes from the teacher or the start network; else it is
       trained on the labels of the training songs.
    2. Cross-validate: fit heads on all folds but one of the train and validation splits, and
       predict that fold. This calibrates the intervals and gives the validation figures. If the
       encoder was trained on labels, the validation split is the only held-out fold.
    3. Fit the final head to all clips in the same way, and export the model.

    Songs of the test split are not used.

    Args:
        settings: of the run.
        log: called with progress messages.

    Raises:
        DataError: the data are incomplete, the teacher cannot be read, or the checkpoint belongs to
            another run.
        ModelError: the start network cannot be read.
    """
    started = time.perf_counter()
    # Also set when a run resumes: denormal numbers are slow on CPUs.
    torch.set_flush_denormal(True)
    collections = read_collections(settings.data, log)
    auxiliary = read_collections(settings.auxiliary, log)
    teacher = None if settings.teacher is None else read_teacher(settings.teacher)
    start, parent = (None, None) if settings.init is None else load_network(settings.init)
    fit_settings = settings.fit_settings()
    unlabelled = [clip for folder in settings.unlabelled for clip in find_music(folder, log)]
    unlabelled += [
        clip
        for collection in (*collections, *auxiliary)
        for clip in collection.extra
        if clip.song not in collection.splits["test"]
    ]
    checkpoint = Checkpoint(
        settings.checkpoint,
        {
            "data": settings.data,
            "auxiliary": settings.auxiliary,
            "clips": {
                name: sum(len(c.clips_of(name)) for c in (*collections, *auxiliary))
                for name in TRAINING_SPLITS
            },
            "unlabelled": len(unlabelled),
            "init": None if parent is None else parent.sha256,
            "teacher": None if teacher is None else teacher.name,
            "seed": settings.seed,
            "quick": settings.quick,
            "fit": asdict(fit_settings),
            "augmentation": asdict(AcousticAugmentation()),
            "network": asdict(network_config(teacher) if start is None else start.config),
        },
    )
    if settings.fresh:
        checkpoint.discard()
    state = checkpoint.load() or {}
    if state:
        log(f"resuming from {settings.checkpoint}")

    dataset = restore_dataset(state)
    if dataset is None:
        dataset = encode_dataset(collections, auxiliary, unlabelled, teacher, start, settings, log)
        state[DATASET] = dataset.to_state()
        checkpoint.save(state)
    report: dict[str, Any] = {
        "data": f"{', '.join(c.name for c in collections)}: train and validation splits",
        "collections": [describe(collection) for collection in collections],
        "auxiliary": [describe(collection) for collection in auxiliary],
        "clips": len(dataset.labels),
        "unlabelled_clips": dataset.unlabelled.shape[1],
        "teacher": None if teacher is None else teacher.name,
        "init": None if parent is None else {"name": parent.name, "sha256": parent.sha256},
        "seed": settings.seed,
        "fit": asdict(fit_settings),
        "augmentation": asdict(AcousticAugmentation()),
        "network": asdict(dataset.network.config),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    notice = settings.text.notice
    if teacher is not None:
        notice = NOTICE
    elif parent is not None:
        notice = parent.notice
    text = replace(settings.text, training=report, notice=notice)

    def save_model(network: EmotionNetwork, calibration: Calibration | None) -> None:
        state[MODEL] = model_state(network, calibration, text)
        checkpoint.save(state)

    probabilities, held_out = _cross_validate(dataset, settings, state, save_model, log)
    calibration, report["validation"] = _measure(dataset, probabilities, held_out)
    figures = report["validation"]
    log(
        f"held-out songs: R2 arousal {figures['arousal']['r2']:.3f}, "
        f"valence {figures['valence']['r2']:.3f}"
    )

    primary = int((~dataset.labels.auxiliary).sum())
    log(
        f"fitting {primary} clips of the training and validation songs"
        + (f" and {len(dataset.labels) - primary} auxiliary clips" if auxiliary else "")
    )
    head = _fit_head(dataset, np.arange(len(dataset.labels)), settings, log)
    final = dataset.with_head(head).eval()
    report["network"] = asdict(final.config)
    report["seconds"] = round(time.perf_counter() - started)
    info = export_model(final, settings.out, calibration, text)
    if settings.keep_checkpoint:
        save_model(final, calibration)
    else:
        checkpoint.discard()
    log(f"wrote {settings.out} ({settings.out.stat().st_size / 1e6:.1f} MB)")
    return info


def read_collections(
    sources: tuple[str, ...], log: Callable[[str], None]
) -> tuple[Collection, ...]:
    """Read collections and log the songs that are left out.

    Raises:
        DataError: a collection cannot be used at all.
    """
    collections = tuple(load_collection(source) for source in sources)
    for collection in collections:
        for sentence in (*collection.left_out, *collection.remarks):
            log(f"{collection.name}: {sentence}")
        if collection.summary:
            log(f"{collection.name}: {collection.summary}")
    return collections


def restore_dataset(state: dict[str, Any]) -> EncodedDataset | None:
    """Return the encoded data set of a checkpoint's state, or None if it is not encoded yet."""
    stored = state.get(DATASET)
    return None if stored is None else EncodedDataset.from_state(stored)


def describe(collection: Collection) -> dict[str, Any]:
    """Return the numbers of songs and clips of a collection, for the training report."""
    clips = {name: collection.clips_of(name) for name in TRAINING_SPLITS}
    return {
        "name": collection.name,
        "songs": {name: len({clip.song for clip in split}) for name, split in clips.items()},
        "clips": {name: len(split) for name, split in clips.items()},
    }


def _cross_validate(
    dataset: EncodedDataset,
    settings: TrainSettings,
    state: dict[str, Any],
    save_model: Callable[[EmotionNetwork, Calibration | None], None],
    log: Callable[[str], None],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Predict every fold with a head that was fitted without its songs and artists.

    Folds whose predictions are in `state` are not repeated.

    Returns:
        Distributions float32 [m, 20, scores, bins] and the indices of their clips [m].
    """
    if dataset.label_free_encoder:
        folds = clip_folds(dataset.labels, CALIBRATION_FOLDS, settings.seed)
    else:
        folds = np.where(dataset.validation, 0, -1)
    predictions: dict[int, NDArray[np.float32]] = {
        int(fold): stored.numpy() for fold, stored in state.get(PREDICTIONS, {}).items()
    }
    count = int(folds.max()) + 1
    for fold in range(count):
        if fold in predictions:
            continue
        log(f"fitting without fold {fold + 1} of {count}, to measure on its songs")
        head = _fit_head(dataset, np.flatnonzero(folds != fold), settings, log)
        predictions[fold] = predict(head, dataset.steps[0, folds == fold]).astype(np.float16)
        state[PREDICTIONS] = {
            str(key): torch.from_numpy(value) for key, value in predictions.items()
        }
        # The model to export if the run is interrupted.
        save_model(dataset.with_head(head), None)
    clips = [np.flatnonzero(folds == fold) for fold in range(count)]
    probabilities = [predictions[fold].astype(np.float32) for fold in range(count)]
    return np.concatenate(probabilities), np.concatenate(clips)


def _fit_head(
    dataset: EncodedDataset,
    chosen: NDArray[np.int64],
    settings: TrainSettings,
    log: Callable[[str], None],
) -> RegressionHead:
    started = time.perf_counter()
    fit_settings = settings.fit_settings()

    def progress(step: int, loss: float) -> None:
        if step % 200 == 0 or step == fit_settings.steps:
            seconds = time.perf_counter() - started
            log(f"step {step} of {fit_settings.steps}: loss {loss:.4f}, {seconds:.0f} s")

    return dataset.fit(
        chosen,
        fit_settings,
        settings.seed,
        progress,
        normalise=settings.init is None,
        device=settings.device,
    )


def _measure(
    dataset: EncodedDataset, probabilities: NDArray[np.float32], held_out: NDArray[np.int64]
) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration and the figures of predictions for held-out clips."""
    centres = dataset.network.config.bin_centres().numpy()
    labels = dataset.labels
    truth = labels.values[held_out]
    calibration = calibrate(
        probabilities,
        centres,
        truth,
        labels.values[~labels.auxiliary],
        labels.static[held_out],
    )
    values = (probabilities @ centres)[:, :, : len(DIMENSIONS)]
    for column, name in enumerate(DIMENSIONS):
        intercept, slope = np.array(calibration.line[name]).T
        values[..., column] = intercept + slope * values[..., column]
    valence, arousal = score_values(values, truth)
    errors = np.abs(truth - values)[:, FIRST_SCORED_STEP - 1 :]
    held_out_songs = (
        "parts of the train and validation splits, by artist"
        if dataset.label_free_encoder
        else "validation split"
    )
    return calibration, {
        "held_out": held_out_songs,
        "valence": valence.to_dict(),
        "arousal": arousal.to_dict(),
        "constant_half_width": {
            name: round(float(np.nanquantile(errors[..., column], COVERAGE)), 4)
            for column, name in enumerate(DIMENSIONS)
        },
    }
