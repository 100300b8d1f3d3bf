"""Everything that a training run learns from, encoded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, Clip, Collection
from mer_engine.network import EmotionNetwork, NetworkConfig, RegressionHead
from mer_engine.training.cross_fit import cross_fit
from mer_engine.training.examples import ClipEncoder, Labels, encode_clips, read_frames, read_labels
from mer_engine.training.fit import fit_encoder
from mer_engine.training.settings import FitSettings, TrainSettings
from mer_engine.training.spectral_augmentation import SpectralAugmentation
from mer_engine.training.teacher import TaggerWeights
from mer_engine.training.transfer import init_encoder, normalise_pool

# Splits that are trained on.
TRAINING_SPLITS = ("train", "validation")
# Passes over the clips that an encoder without a teacher is trained for.
ENCODER_EPOCHS = 12
# Clips that normalisations are computed from.
_NORMALISATION_CLIPS = 256


@dataclass(frozen=True)
class EncodedDataset:
    """The encoded clips and labels of a training run.

    Attributes:
        network: its encoder is final, its head is the starting point of the fits.
        steps: float16 [versions, n, 20, E], embeddings of the labelled clips.
        labels: of the same clips; unknown after the end of a clip.
        validation: bool [n], clips of the validation split.
        unlabelled: float16 [1, m, 20, E], embeddings of clips without labels.
        label_free_encoder: whether the encoder was trained without labels of these clips.
    """

    network: EmotionNetwork
    steps: NDArray[np.float16]
    labels: Labels
    validation: NDArray[np.bool_]
    unlabelled: NDArray[np.float16]
    label_free_encoder: bool

    def fit(
        self,
        chosen: NDArray[np.int64],
        settings: FitSettings,
        seed: int,
        progress: Callable[[int, float], None] | None = None,
        *,
        normalise: bool = True,
        device: str = "cpu",
    ) -> RegressionHead:
        """Fit a head to the labelled clips `chosen` (indices) and the unlabelled music."""
        return cross_fit(
            self.network.head,
            self.steps[:, chosen],
            self.labels.select(chosen),
            self.unlabelled,
            settings,
            seed,
            progress,
            normalise=normalise,
            device=device,
        )

    def select(self, chosen: NDArray[np.int64]) -> EncodedDataset:
        """Return the data set with some of the labelled clips (indices)."""
        return replace(
            self,
            steps=self.steps[:, chosen],
            labels=self.labels.select(chosen),
            validation=self.validation[chosen],
        )

    def with_head(self, head: RegressionHead) -> EmotionNetwork:
        """Return a network of this encoder and another head."""
        network = EmotionNetwork(replace(head.config, regressor_windows=0))
        network.encoder.load_state_dict(self.network.encoder.state_dict())
        network.head = head
        network.config = head.config
        return network

    def to_state(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        labels = self.labels
        return {
            "config": asdict(self.network.config),
            "weights": self.network.state_dict(),
            "steps": torch.from_numpy(self.steps),
            "unlabelled": torch.from_numpy(self.unlabelled),
            "values": torch.from_numpy(labels.values),
            "static": torch.from_numpy(labels.static),
            "songs": labels.songs.tolist(),
            "groups": labels.groups.tolist(),
            "auxiliary": torch.from_numpy(labels.auxiliary),
            "validation": torch.from_numpy(self.validation),
            "label_free_encoder": self.label_free_encoder,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> EncodedDataset:
        """Restore a data set from the content of a checkpoint."""
        network = EmotionNetwork(NetworkConfig(**state["config"]))
        network.load_state_dict(state["weights"])
        return cls(
            network=network.eval(),
            steps=state["steps"].numpy(),
            labels=Labels(
                state["values"].numpy(),
                state["static"].numpy(),
                np.array(state["songs"], np.str_),
                np.array(state["groups"], np.str_),
                state["auxiliary"].numpy(),
            ),
            validation=state["validation"].numpy(),
            unlabelled=state["unlabelled"].numpy(),
            label_free_encoder=state["label_free_encoder"],
        )


def encode_dataset(
    collections: tuple[Collection, ...],
    auxiliary: tuple[Collection, ...],
    unlabelled: list[Clip],
    teacher: TaggerWeights | None,
    start: EmotionNetwork | None,
    settings: TrainSettings,
    log: Callable[[str], None],
) -> EncodedDataset:
    """Build the encoder and encode all clips with it.

    Args:
        collections: labelled music.
        auxiliary: auxiliary labelled music.
        unlabelled: clips without labels.
        teacher: the tagger that initialises a new encoder.
        start: a network whose encoder is used as it is; None for a new one.
        settings: of the run.
        log: called with progress messages.

    Raises:
        DataError: a split has no usable clip, or no label of a dimension.
    """
    clips, labels, validation = labelled_clips(collections, auxiliary)
    fit_settings = settings.fit_settings()
    torch.manual_seed(settings.seed)
    network = start or EmotionNetwork(network_config(teacher))
    if start is None:
        if teacher is not None:
            init_encoder(network, teacher)
        else:
            _train_encoder(network, clips, labels, validation, settings, log)
        primary = [clips[number] for number in np.flatnonzero(~labels.auxiliary)]
        normalise_pool(network, _sample_frames(primary, log))
    encoder = ClipEncoder(network, settings.device)
    steps, kept, lengths = encode_clips(
        encoder, clips, fit_settings.versions, settings.seed, log, "labelled"
    )
    if not len(kept):
        raise DataError("none of the songs' clips can be read")
    labels = labels.select(kept)
    for values, length in zip(labels.values, lengths, strict=True):
        values[length:] = np.nan
    if not fit_settings.unlabelled_weight:
        unlabelled = []
    unlabelled_steps, _, _ = encode_clips(encoder, unlabelled, 1, settings.seed, log, "unlabelled")
    network.to("cpu")
    label_free = start is not None or teacher is not None
    return EncodedDataset(network, steps, labels, validation[kept], unlabelled_steps, label_free)


def labelled_clips(
    collections: tuple[Collection, ...], auxiliary: tuple[Collection, ...] = ()
) -> tuple[list[Clip], Labels, NDArray[np.bool_]]:
    """List the labelled clips of the train and validation splits.

    Returns:
        The clips, their labels, and a mask of the clips of the validation split, without auxiliary
        clips.

    Raises:
        DataError: a split is empty, or has no labels of a dimension.
    """
    clips: list[Clip] = []
    labels: Labels | None = None
    validation: list[bool] = []
    for split in TRAINING_SPLITS:
        of_split: Labels | None = None
        for collection in collections:
            more_clips = collection.clips_of(split)
            more = read_labels(collection, more_clips)
            clips += more_clips
            validation += [split == "validation"] * len(more_clips)
            of_split = more if of_split is None else of_split + more
        if of_split is None or not len(of_split):
            roots = ", ".join(str(collection.root) for collection in collections)
            raise DataError(
                f"no song of the {split} split in {roots} can be used; training needs songs of the "
                "splits train and validation (own data: the column split of songs.csv)"
            )
        for column, name in enumerate(DIMENSIONS):
            if not np.isfinite(of_split.values[..., column]).any():
                raise DataError(f"no song of the {split} split has labels of {name}")
        labels = of_split if labels is None else labels + of_split
    assert labels is not None
    for split in TRAINING_SPLITS:
        for collection in auxiliary:
            more_clips = collection.clips_of(split)
            labels += read_labels(collection, more_clips, auxiliary=True)
            clips += more_clips
            validation += [False] * len(more_clips)
    return clips, labels, np.array(validation)


def network_config(teacher: TaggerWeights | None) -> NetworkConfig:
    """Return the configuration of a new network, with the tags of the teacher if there is one."""
    return NetworkConfig(tags=0 if teacher is None else len(teacher.tags[1]))


def _train_encoder(
    network: EmotionNetwork,
    clips: list[Clip],
    labels: Labels,
    validation: NDArray[np.bool_],
    settings: TrainSettings,
    log: Callable[[str], None],
) -> None:
    """Train the encoder from scratch on the labels of the training songs."""
    rows, truth = [], []
    for number in np.flatnonzero(~validation & ~labels.auxiliary):
        read = _read_or_log(clips[number], log)
        if read is not None:
            rows.append(read[0][0])
            values = labels.values[number].copy()
            values[read[1] :] = np.nan
            truth.append(values)
    if not rows:
        raise DataError("none of the training songs' clips can be read")
    frames = np.stack(rows)
    bands = network.config.bands
    sample = frames[:: max(1, len(frames) // _NORMALISATION_CLIPS), :, :bands]
    normalised = network.encoder.normalise_bands(torch.from_numpy(sample.astype(np.float32)))
    network.encoder.mean.copy_(normalised.mean((0, 1)))
    network.encoder.std.copy_(normalised.std((0, 1)) + 1e-3)
    epochs = 1 if settings.quick else ENCODER_EPOCHS
    log(f"training an encoder on {len(frames)} clips of the training songs")
    fit_encoder(
        network,
        frames,
        np.stack(truth),
        epochs,
        settings.fit_settings(),
        SpectralAugmentation(),
        settings.seed,
        lambda epoch, loss: log(f"epoch {epoch} of {epochs}: loss {loss:.4f}"),
        settings.device,
    )


def _read_or_log(clip: Clip, log: Callable[[str], None]) -> tuple[NDArray[np.float16], int] | None:
    """Return the features of a clip, or None (logged) if it cannot be read."""
    try:
        return read_frames(clip)
    except DataError as error:
        log(f"left out: {error}")
        return None


def _sample_frames(clips: list[Clip], log: Callable[[str], None]) -> NDArray[np.float16]:
    """Return the features of evenly spaced clips, float16 [n, 20 * S, width]."""
    count = min(len(clips), _NORMALISATION_CLIPS)
    chosen = np.unique(np.linspace(0, len(clips) - 1, count).astype(int))
    read = [_read_or_log(clips[number], log) for number in chosen]
    rows = [row[0][0] for row in read if row is not None]
    if not rows:
        raise DataError("none of the songs' clips can be read")
    return np.stack(rows)
