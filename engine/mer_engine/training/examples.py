"""Training examples: the labels of clips, and the embeddings of their steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mer_engine.datasets.audio import read_clip
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_STEPS, Clip, Collection
from mer_engine.frontend import FrontEndConfig, features
from mer_engine.network import EmotionNetwork
from mer_engine.training.acoustic_augmentation import AcousticAugmentation, augment_audio

# Shorter clips are left out. Others are padded with silence, and labels there are dropped.
_MIN_STEPS = 4


@dataclass(frozen=True)
class Labels:
    """Labels of n clips of ten seconds.

    Attributes:
        values: float32 [n, 20, 2], valence and arousal at the end of each step; NaN where unknown.
        static: float32 [n, 2], of the whole song, in [-1, 1]; NaN where unknown.
        songs: [n], "collection/song".
        groups: [n], the artist, else the song. A group must not be on both sides of a split.
        auxiliary: bool [n], clips of music that the model is not made for. They have less weight,
            are never held out, and affect neither intervals nor figures. The others are primary.
    """

    values: NDArray[np.float32]
    static: NDArray[np.float32]
    songs: NDArray[np.str_]
    groups: NDArray[np.str_]
    auxiliary: NDArray[np.bool_]

    def weights(self, auxiliary: float) -> NDArray[np.float64]:
        """Return the weight of each clip [n]: `auxiliary` for auxiliary clips, else 1."""
        return np.where(self.auxiliary, auxiliary, 1.0)

    def __len__(self) -> int:
        return len(self.values)

    def __add__(self, more: Labels) -> Labels:
        return Labels(
            *(np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self))
        )

    def outside_groups_of(self, held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask [n] of clips that share no group with `held_out` [n], to avoid leakage."""
        return ~np.isin(self.groups, self.groups[held_out])

    def select(self, index: NDArray[np.int64]) -> Labels:
        """Return the labels of some of the clips."""
        return Labels(*(getattr(self, f.name)[index] for f in fields(self)))


def read_labels(
    collection: Collection, clips: tuple[Clip, ...], *, auxiliary: bool = False
) -> Labels:
    """Collect the labels of clips of a collection."""
    values, static, songs, groups = [], [], [], []
    for clip in clips:
        song = collection.songs[clip.song]
        values.append(collection.labels(clip, CLIP_STEPS))
        static.append((np.nan, np.nan) if song.static is None else song.static)
        songs.append(f"{collection.name}/{clip.song}")
        artist = (song.artist or "").strip().casefold()
        groups.append(f"artist {artist}" if artist else f"song {songs[-1]}")
    return Labels(
        np.array(values, np.float32).reshape(-1, CLIP_STEPS, 2),
        np.array(static, np.float32).reshape(-1, 2),
        np.array(songs, np.str_),
        np.array(groups, np.str_),
        np.full(len(clips), auxiliary),
    )


def read_frames(
    clip: Clip,
    augmentations: int = 0,
    rng: np.random.Generator | None = None,
    settings: AcousticAugmentation | None = None,
) -> tuple[NDArray[np.float16], int] | None:
    """Compute the features of a clip and of augmented versions of it.

    Args:
        clip: the clip.
        augmentations: number of augmented versions.
        rng: for the augmentations; None for a fixed seed.
        settings: of the augmentations; None for the defaults.

    Returns:
        float16 [1 + augmentations, 20 * S, width], and the number of complete steps of the clip;
        None if there are too few.

    Raises:
        DataError: the audio cannot be read.
    """
    frontend = FrontEndConfig()
    rate = frontend.sample_rate_hz
    per_step = frontend.frames_per_second // 2
    audio = read_clip(clip, rate)
    steps = min(CLIP_STEPS, len(audio) // (per_step * frontend.hop))
    if steps < _MIN_STEPS:
        return None
    audio = audio[: CLIP_STEPS * per_step * frontend.hop]
    padded = np.zeros((1 + augmentations, CLIP_STEPS * per_step, frontend.width), np.float16)
    rng = np.random.default_rng(0) if rng is None else rng
    settings = settings or AcousticAugmentation()
    for number in range(1 + augmentations):
        version = augment_audio(audio, rate, rng, settings) if number else audio
        frames = features(version, frontend)
        padded[number, : len(frames)] = frames
    return padded, steps


def with_context(network: EmotionNetwork, frames: Tensor) -> Tensor:
    """Prepend the silence that a stream begins with to frames [n, 20 * S, width]."""
    return functional.pad(frames, (0, 0, network.config.step_context, 0))


class ClipEncoder:
    """Encodes the features of clips into the embeddings of their steps, as far as a head uses them.

    Args:
        network: its encoder is used; moved to the device and set to evaluation mode.
        device: torch device.
    """

    def __init__(self, network: EmotionNetwork, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = device

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.float16]) -> NDArray[np.float16]:
        """Encode frames [n, 20 * S, width] into float16 [n, 20, described]."""
        clips = torch.from_numpy(frames.astype(np.float32)).to(self.device)
        encoder = self.network.encoder
        steps = encoder.describe(encoder.maps(with_context(self.network, clips))).cpu()
        return np.asarray(steps.numpy().astype(np.float16))


def encode_clips(
    encoder: ClipEncoder,
    clips: list[Clip],
    versions: int,
    seed: int,
    log: Callable[[str], None],
    kind: str,
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]:
    """Read and encode clips. Unreadable clips are left out and reported.

    Args:
        encoder: the encoder.
        clips: the clips.
        versions: versions of each clip: the first is the original, the others are augmented.
        seed: of the augmentations. The augmentation of a clip does not depend on other clips.
        log: called with progress messages.
        kind: of the clips, for these messages.

    Returns:
        Embeddings float16 [versions, n, 20, described], the indices of their clips [n], and their
        numbers of complete steps [n].
    """
    rows: list[NDArray[np.float16]] = []
    kept: list[int] = []
    steps: list[int] = []
    for number, clip in enumerate(clips):
        try:
            read = read_frames(clip, versions - 1, np.random.default_rng((seed, number)))
        except DataError as error:
            log(f"left out: {error}")
            read = None
        if read is not None:
            rows.append(encoder(read[0]))
            kept.append(number)
            steps.append(read[1])
        if (number + 1) % 500 == 0:
            log(f"{number + 1} of {len(clips)} {kind} clips encoded")
    if rows:
        encoded = np.stack(rows, axis=1)
    else:
        encoded = np.zeros((versions, 0, CLIP_STEPS, encoder.network.config.described), np.float16)
    return encoded, np.array(kept, int), np.array(steps, int)
