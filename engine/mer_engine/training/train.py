"""A training run, from labelled music to a model file."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, Clip, Collection
from mer_engine.model_file import ModelInfo
from mer_engine.network import EmotionNetwork, NetworkConfig, RegressionHead
from mer_engine.network_import import load_network
from mer_engine.training.acoustic_augmentation import AcousticAugmentation
from mer_engine.training.calibrate import calibration, interval_scale
from mer_engine.training.checkpoint import Checkpoint
from mer_engine.training.checkpoint_export import MODEL, model_state
from mer_engine.training.examples import (
    PARTS,
    TRAINING_SPLITS,
    ClipEncoder,
    Labels,
    encode_clips,
    read_labels,
)
from mer_engine.training.export import Calibration, export_model
from mer_engine.training.fit import fit
from mer_engine.training.measure import SCORED, collection_weights, measure
from mer_engine.training.predict import predict
from mer_engine.training.settings import TrainSettings

# Keys of a checkpoint's state.
DATASET, PREDICTIONS = "dataset", "predictions"


@dataclass(frozen=True)
class EncodedDataset:
    """The encoded clips of a training run.

    Attributes:
        steps: float16 [versions, n, 20, E], embeddings.
        labels: of the same clips; unknown after the end of a clip.
    """

    steps: NDArray[np.float16]
    labels: Labels

    def select(self, chosen: NDArray[np.int64]) -> EncodedDataset:
        """Return the data set with some of the clips (indices)."""
        return EncodedDataset(self.steps[:, chosen], self.labels.select(chosen))


def train(settings: TrainSettings, log: Callable[[str], None]) -> ModelInfo:
    """Train a head and write it, with its encoder, as a model file.

    1. Encode every clip of the train and validation splits.
    2. Hold out each of five parts of the music, by artist, fit a head to the others, and measure it
       on the part: figures for known collections.
    3. Hold out each collection in turn: figures for unknown collections. They calibrate the
       intervals. With one collection alone, step 2 does.
    4. Fit the final head to all clips in the same way, and export the model.

    Songs of the test splits are not used.

    Args:
        settings: of the run.
        log: called with progress messages.

    Raises:
        DataError: the data are incomplete, or the checkpoint belongs to another run.
        ModelError: the model of the encoder cannot be read.
    """
    # Denormal numbers are slow on processors.
    torch.set_flush_denormal(True)
    try:
        return _train(settings, log)
    finally:
        torch.set_flush_denormal(False)  # it holds for the whole thread


def _train(settings: TrainSettings, log: Callable[[str], None]) -> ModelInfo:
    started = time.perf_counter()
    collections = read_collections(settings.data, log)
    start, parent = load_network(settings.init or settings.encoder)
    if settings.init is not None and start.config.scores != DIMENSIONS:
        raise DataError(
            f"the head of {settings.init} also predicts values of whole pieces, which this version "
            "does not train; use its encoder alone (--encoder)"
        )
    network = start if settings.init is not None else _with_new_head(start, settings.seed)
    clips, labels = labelled_clips(collections)
    fit_settings = settings.fit_settings()
    report: dict[str, Any] = {
        "data": ", ".join(c.name for c in collections) + ": train and validation splits",
        "collections": [describe(collection) for collection in collections],
        "encoder": {"name": parent.name, "sha256": parent.sha256},
        "init": settings.init is not None,
        "seed": settings.seed,
        "fit": asdict(fit_settings),
        "augmentation": asdict(AcousticAugmentation()),
        "network": asdict(network.config),
    }
    checkpoint = Checkpoint(settings.checkpoint, {**report, "quick": settings.quick})
    if settings.fresh:
        checkpoint.discard()
    state = checkpoint.load() or {}
    if state:
        log(f"resuming from {settings.checkpoint}")
    report["versions"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    text = replace(settings.text, training=report, notice=settings.text.notice or parent.notice)

    if DATASET in state:
        stored = state[DATASET]
        dataset = EncodedDataset(stored["steps"].numpy(), Labels.from_state(stored["labels"]))
    else:
        dataset = encode(network, clips, labels, settings, log)
        state[DATASET] = {
            "steps": torch.from_numpy(dataset.steps),
            "labels": dataset.labels.to_state(),
        }
        checkpoint.save(state)

    def save_model(head: RegressionHead, found: Calibration | None) -> None:
        state[MODEL] = model_state(with_head(network, head), found, text)
        checkpoint.save(state)

    proxies = frozenset(c.name for c in collections if c.scale == "own")
    found, report["validation"] = _validate(
        dataset, network, settings, state, proxies, save_model, log
    )
    log(f"fitting all {len(dataset.labels)} clips")
    head = _fit(network.head, dataset, settings, log)
    final = with_head(network, head)
    report["network"] = asdict(final.config)
    report["seconds"] = round(time.perf_counter() - started)
    info = export_model(final.eval(), settings.out, found, text)
    if settings.keep_checkpoint:
        save_model(head, found)
    else:
        checkpoint.discard()
    log(f"wrote {settings.out} ({settings.out.stat().st_size / 1e6:.1f} MB)")
    return info


def read_collections(
    sources: tuple[str, ...], log: Callable[[str], None]
) -> tuple[Collection, ...]:
    """Read collections and log the songs that are left out.

    Raises:
        DataError: a collection cannot be used at all, or two have the same name.
    """
    collections = tuple(load_collection(source) for source in sources)
    names = [collection.name for collection in collections]
    if len(set(names)) < len(names):
        raise DataError(f"a kind of data is given twice ({', '.join(names)}); join the folders")
    for collection in collections:
        for sentence in (*collection.left_out, *collection.remarks):
            log(f"{collection.name}: {sentence}")
        if collection.summary:
            log(f"{collection.name}: {collection.summary}")
    return collections


def describe(collection: Collection) -> dict[str, Any]:
    """Return the numbers of songs and clips of a collection, for the training report."""
    clips = {name: collection.clips_of(name) for name in TRAINING_SPLITS}
    return {
        "name": collection.name,
        "songs": {name: len({clip.song for clip in split}) for name, split in clips.items()},
        "clips": {name: len(split) for name, split in clips.items()},
    }


def labelled_clips(collections: tuple[Collection, ...]) -> tuple[list[Clip], Labels]:
    """List the clips of the train and validation splits and their labels.

    Raises:
        DataError: there is no clip, or no label.
    """
    clips: list[Clip] = []
    labels: Labels | None = None
    for number, collection in enumerate(collections):
        more = [clip for split in TRAINING_SPLITS for clip in collection.clips_of(split)]
        read = read_labels(collection, more, anchor=number == 0)
        labels = read if labels is None else labels + read
        clips += more
    if labels is None or not clips:
        roots = ", ".join(str(collection.root) for collection in collections)
        raise DataError(
            f"no song of the splits train and validation in {roots} can be used (own data: the "
            "column split of songs.csv)"
        )
    if not (np.isfinite(labels.values).any() or labels.signs.any()):
        raise DataError("no song of the train split has labels")
    return clips, labels


def encode(
    network: EmotionNetwork,
    clips: list[Clip],
    labels: Labels,
    settings: TrainSettings,
    log: Callable[[str], None],
) -> EncodedDataset:
    """Encode clips with the network's encoder.

    Raises:
        DataError: no clip can be read.
    """
    log(f"encoding {len(clips)} clips")
    encoder = ClipEncoder(network.encoder, settings.device)
    versions = settings.fit_settings().versions
    steps, kept, lengths = encode_clips(encoder, clips, versions, settings.seed, log)
    network.to("cpu")
    if not len(kept):
        raise DataError("none of the songs' clips can be read")
    labels = labels.select(kept)
    for values, length in zip(labels.values, lengths, strict=True):
        values[length:] = np.nan
    return EncodedDataset(steps, labels)


def with_head(network: EmotionNetwork, head: RegressionHead) -> EmotionNetwork:
    """Return a network of this encoder and another head."""
    result = EmotionNetwork(replace(head.config, regressor_windows=0))
    result.encoder.load_state_dict(network.encoder.state_dict())
    result.head = head
    result.config = head.config
    return result


def _with_new_head(start: EmotionNetwork, seed: int) -> EmotionNetwork:
    """Return a network of this encoder, without a tagger, and an untrained head."""
    torch.manual_seed(seed)
    fresh = NetworkConfig()
    config = replace(
        start.config,
        tags=0,
        regressor_windows=0,
        regressor_collections=0,
        scores=fresh.scores,
        bins=fresh.bins,
    )
    network = EmotionNetwork(config)
    missing = network.encoder.load_state_dict(start.encoder.state_dict(), strict=False)
    if missing.missing_keys:
        raise RuntimeError(f"the encoder lacks {missing.missing_keys[0]}")
    return network


def _fit(
    start: RegressionHead,
    dataset: EncodedDataset,
    settings: TrainSettings,
    log: Callable[[str], None],
) -> RegressionHead:
    began = time.perf_counter()
    fit_settings = settings.fit_settings()

    def progress(step: int, loss: float) -> None:
        if step % 200 == 0 or step == fit_settings.steps:
            seconds = time.perf_counter() - began
            log(f"step {step} of {fit_settings.steps}: loss {loss:.4f}, {seconds:.0f} s")

    return fit(
        start,
        dataset.steps,
        dataset.labels,
        fit_settings,
        settings.seed,
        progress,
        normalise=settings.init is None,
        device=settings.device,
    )


def held_out_masks(labels: Labels) -> Mapping[str, NDArray[np.bool_]]:
    """Return by name the clips to hold out: each part of the music, then each collection.

    A single collection is not held out as a whole.
    """
    masks = {f"part {part + 1}": labels.parts == part for part in range(PARTS)}
    names = sorted(set(labels.collections.tolist()))
    if len(names) > 1:
        masks |= {name: labels.collections == name for name in names}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _validate(
    dataset: EncodedDataset,
    network: EmotionNetwork,
    settings: TrainSettings,
    state: dict[str, Any],
    proxies: frozenset[str],
    save_model: Callable[[RegressionHead, Calibration | None], None],
    log: Callable[[str], None],
) -> tuple[Calibration, dict[str, Any]]:
    """Predict every part and every collection with a head that was fitted without it.

    Predictions that are in `state` are not repeated. Collections of `proxies` have no ratings, so
    they do not calibrate the intervals.

    Returns:
        The calibration, and the figures by collection for held-out artists and for held-out
        collections.
    """
    labels = dataset.labels
    masks = held_out_masks(labels)
    predictions: dict[str, NDArray[np.float32]] = {
        name: stored.numpy() for name, stored in state.get(PREDICTIONS, {}).items()
    }
    for name, mask in masks.items():
        if name in predictions:
            continue
        fitted = np.flatnonzero(~mask & labels.outside_groups_of(mask))
        if not len(fitted):
            raise DataError(
                "all songs are by one artist, or there is only one song, so nothing can be held "
                "out to measure the model; add songs"
            )
        log(f"fitting without {name}, to measure on it")
        head = _fit(network.head, dataset.select(fitted), settings, log)
        predictions[name] = predict(head, dataset.steps[0, mask]).astype(np.float16)
        state[PREDICTIONS] = {key: torch.from_numpy(value) for key, value in predictions.items()}
        # The model to export if the run is interrupted.
        save_model(head, None)

    centres = network.config.bin_centres().numpy()
    collections = sorted(set(labels.collections.tolist()))
    known = np.empty((len(labels), *next(iter(predictions.values())).shape[1:]), np.float32)
    unknown = np.empty_like(known)
    for name, mask in masks.items():
        target = unknown if name in collections else known
        target[mask] = predictions[name]
    if len(collections) == 1:
        unknown = known
    weights = collection_weights(labels)
    rated = ~np.isin(labels.collections, sorted(proxies))

    def scales_of(rows: NDArray[np.bool_]) -> dict[str, tuple[float, ...]]:
        return interval_scale(unknown[rows], centres, labels.values[rows], weights[rows])

    shipped = scales_of(rated)
    values = (known[:, SCORED] @ centres).mean(1).astype(np.float64)
    figures: dict[str, Any] = {"known": {}, "unknown": {}}
    for kind, probabilities in (("known", known), ("unknown", unknown)):
        for name in collections:
            rows = labels.collections == name
            # Intervals of an unknown collection are calibrated on the others.
            others = rated & ~rows
            unseen = kind == "unknown" and np.isfinite(labels.values[others]).any()
            scales = scales_of(others) if unseen else shipped
            figures[kind][name] = measure(
                labels.select(np.flatnonzero(rows)),
                probabilities[rows],
                centres,
                None if name in proxies else scales,
            )
            log(f"{name}, {kind}: {_summary(figures[kind][name])}")
    if len(collections) == 1:
        del figures["unknown"]
    return calibration(shipped, values, weights), figures


def _summary(figures: Mapping[str, Any]) -> str:
    parts = [f"{figures['songs']} songs"]
    if "quadrants" in figures:
        parts.append(f"quadrants {figures['quadrants']:.1%}")
        if "valence_calm" in figures["auc"]:
            parts.append(f"AUC of calm valence {figures['auc']['valence_calm']:.3f}")
    for name in ("arousal", "valence"):
        if name in figures:
            row = figures[name]
            parts.append(f"{name} R2 {row['r2']:.3f}, r {row['r']:.3f}")
            if "coverage" in row:
                parts.append(f"coverage {row['coverage']:.0%}")
    return ", ".join(parts)
