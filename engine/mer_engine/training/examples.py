"""Training examples: the labels of clips, and the embeddings of their steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mer_engine.datasets.audio import read_clip
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_STEPS, DIMENSIONS, Clip, Collection, group_of, song_parts
from mer_engine.frontend import FrontEndConfig, features
from mer_engine.network import Encoder
from mer_engine.training.acoustic_augmentation import AcousticAugmentation, augment_audio

# Splits that are trained on.
TRAINING_SPLITS = ("train", "validation")
# Parts of each collection that are held out one after another.
PARTS = 5
# Weight of a clip by collection; 1 for others. Collections of many similar clips (piano, game music
# from a synthesizer) and proxies of ratings have less. Chosen by held-out artists and collections.
COLLECTION_WEIGHTS = {"4q": 0.75, "emotify": 0.2, "emopia": 0.2, "vgmidi": 0.2}
# A mean of n listeners has the weight n / (n + this number).
_FEW_RATERS = 3.0
# Shorter clips are left out. Others are padded with silence, and labels there are dropped.
_MIN_STEPS = 4


@dataclass(frozen=True)
class Labels:
    """Labels of n clips of ten seconds.

    Attributes:
        values: float32 [n, 20, 2], valence and arousal at the end of each step; NaN where unknown.
        signs: int64 [n, 2], signs of valence and arousal of the song; 0 where unknown.
        songs: [n], "collection/song".
        groups: [n], the artist, film or game, else the song. A group must not be on both sides of a
            split, not even in two collections.
        collections: [n], name of the collection.
        scales: [n], "collection/campaign" of clips whose labels have an offset of their own, ""
            of the others.
        parts: int64 [n], part of the collection, 0 to `PARTS` - 1.
        weights: float64 [n], weight of each clip.
    """

    values: NDArray[np.float32]
    signs: NDArray[np.int64]
    songs: NDArray[np.str_]
    groups: NDArray[np.str_]
    collections: NDArray[np.str_]
    scales: NDArray[np.str_]
    parts: NDArray[np.int64]
    weights: NDArray[np.float64]

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

    def to_state(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        return {f.name: getattr(self, f.name).tolist() for f in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Labels:
        """Restore labels from the content of a checkpoint."""
        kinds = {"values": np.float32, "signs": np.int64, "parts": np.int64, "weights": np.float64}
        return cls(*(np.array(state[f.name], kinds.get(f.name, np.str_)) for f in fields(cls)))


def read_labels(collection: Collection, clips: Sequence[Clip], *, anchor: bool = False) -> Labels:
    """Collect the labels of clips of a collection.

    Args:
        collection: the clips' collection.
        clips: the clips.
        anchor: whether its numbers are taken as they are. Those of other collections have an
            unknown offset, which is learnt.
    """
    count = len(clips)
    values = [collection.labels(clip, CLIP_STEPS) for clip in clips]
    parts = song_parts(collection, PARTS)
    songs = [collection.songs[clip.song] for clip in clips]
    numbered = collection.labelled != "quadrant" and not (anchor and collection.scale == "shared")
    weight = COLLECTION_WEIGHTS.get(collection.name, 1.0)
    return Labels(
        values=np.array(values, np.float32).reshape(count, CLIP_STEPS, len(DIMENSIONS)),
        signs=np.array([song.quadrant or (0, 0) for song in songs], np.int64).reshape(count, 2),
        songs=np.array([f"{collection.name}/{song.id}" for song in songs], np.str_),
        groups=np.array(
            [
                group_of(song) if song.artist else f"song {collection.name}/{song.id}"
                for song in songs
            ],
            np.str_,
        ),
        collections=np.full(count, collection.name),
        scales=np.array(
            [f"{collection.name}/{song.campaign}" if numbered else "" for song in songs], np.str_
        ),
        parts=np.array([parts[song.id] for song in songs], np.int64),
        weights=np.array(
            [
                weight * (song.raters / (song.raters + _FEW_RATERS))
                if collection.labelled == "mean" and collection.scale == "shared" and song.raters
                else weight
                for song in songs
            ],
            np.float64,
        ),
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


class ClipEncoder:
    """Encodes the features of clips into the embeddings of their steps, as far as a head uses them.

    Args:
        encoder: the encoder; moved to the device and set to evaluation mode.
        device: torch device.
    """

    def __init__(self, encoder: Encoder, device: str = "cpu") -> None:
        self.encoder = encoder.to(device).eval()
        self.device = device

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.float16]) -> NDArray[np.float16]:
        """Encode frames [n, 20 * S, width], which follow silence: float16 [n, 20, described]."""
        clips = torch.from_numpy(frames.astype(np.float32)).to(self.device)
        clips = functional.pad(clips, (0, 0, self.encoder.config.step_context, 0))
        steps = self.encoder.describe(self.encoder.maps(clips)).cpu()
        return np.asarray(steps.numpy().astype(np.float16))


def encode_clips(
    encoder: ClipEncoder,
    clips: Sequence[Clip],
    versions: int,
    seed: int,
    log: Callable[[str], None],
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]:
    """Read and encode clips. Unreadable clips are left out and reported.

    Args:
        encoder: the encoder.
        clips: the clips.
        versions: versions of each clip: the first is the original, the others are augmented.
        seed: of the augmentations. The augmentation of a clip does not depend on other clips.
        log: called with progress messages.

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
            log(f"{number + 1} of {len(clips)} clips encoded")
    width = encoder.encoder.config.described
    encoded = (
        np.stack(rows, axis=1) if rows else np.zeros((versions, 0, CLIP_STEPS, width), np.float16)
    )
    return encoded, np.array(kept, int), np.array(steps, int)
