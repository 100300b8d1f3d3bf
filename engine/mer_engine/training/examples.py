"""Clips as the training sees them: labels, and the embeddings of their steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mer_engine.frontend import FrontEndConfig, features
from mer_engine.network import EmotionNetwork
from mer_engine.training.augment import Augmentation, augment
from mer_engine.training.clip_audio import read_clip
from mer_engine.training.collection import Clip, Collection
from mer_engine.training.problem import DataError

STEPS = 20
# A clip may end a little early: the rest is filled with silence and its labels are dropped.
_SHORTEST_STEPS = 4


@dataclass(frozen=True)
class Labels:
    """What listeners said of n clips of ten seconds.

    Attributes:
        values: float32 [n, 20, 2], valence and arousal at the end of each step; NaN where unknown.
        static: float32 [n, 2], of the whole song, in [-1, 1]; NaN where unknown.
        songs: [n], "collection/song".
        groups: [n], what may not stand on both sides of a split: the artist, else the song.
    """

    values: NDArray[np.float32]
    static: NDArray[np.float32]
    songs: NDArray[np.str_]
    groups: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.values)

    def __add__(self, more: Labels) -> Labels:
        return Labels(
            *(np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self))
        )

    def select(self, index: NDArray[np.int64]) -> Labels:
        """Return some of the clips."""
        return Labels(*(getattr(self, f.name)[index] for f in fields(self)))


def read_labels(collection: Collection, clips: tuple[Clip, ...]) -> Labels:
    """Collect the labels of clips of a collection."""
    values, static, songs, groups = [], [], [], []
    for clip in clips:
        song = collection.songs[clip.song]
        values.append(collection.labels(clip, STEPS))
        static.append((np.nan, np.nan) if song.static is None else song.static)
        songs.append(f"{collection.name}/{clip.song}")
        artist = (song.artist or "").strip().casefold()
        groups.append(f"artist {artist}" if artist else f"song {songs[-1]}")
    return Labels(
        np.array(values, np.float32).reshape(-1, STEPS, 2),
        np.array(static, np.float32).reshape(-1, 2),
        np.array(songs, np.str_),
        np.array(groups, np.str_),
    )


def read_frames(clip: Clip) -> tuple[NDArray[np.float16], int] | None:
    """The features of a clip, float16 [20 * S, width], and its whole steps; None if too short.

    Raises:
        DataError: its audio cannot be read.
    """
    frontend = FrontEndConfig()
    per_step = frontend.frames_per_second // 2
    frames = features(read_clip(clip, frontend.sample_rate_hz), frontend)[: STEPS * per_step]
    steps = len(frames) // per_step
    if steps < _SHORTEST_STEPS:
        return None
    filled = np.zeros((STEPS * per_step, frontend.width), np.float16)
    filled[: len(frames)] = frames
    return filled, steps


def with_context(network: EmotionNetwork, frames: Tensor) -> Tensor:
    """Put the digital silence before clips that a stream begins with."""
    return functional.pad(frames, (0, 0, network.config.context_frames, 0))


class Encoder:
    """Turns clips into the embeddings of their steps, in one or several variations.

    Args:
        network: its encoder is used as it is.
        augmentation: how variations differ; the first is always the clip as it is.
        device: of torch.
    """

    def __init__(
        self, network: EmotionNetwork, augmentation: Augmentation, device: str = "cpu"
    ) -> None:
        self.network = network.to(device).eval()
        self.augmentation = augmentation
        self.device = device

    @torch.inference_mode()
    def __call__(
        self, frames: NDArray[np.float16], versions: int, generator: torch.Generator
    ) -> NDArray[np.float16]:
        """Return float16 [versions, n, 20, E] of frames [n, 20 * S, width]."""
        bands = self.network.config.bands
        clean = torch.from_numpy(frames.astype(np.float32)).to(self.device)
        rows = []
        for version in range(versions):
            varied = clean
            if version:
                sound, _ = augment(
                    clean[:, :, :bands],
                    torch.zeros(len(clean), 1, device=self.device),
                    self.augmentation,
                    generator,
                )
                varied = torch.cat([sound, clean[:, :, bands:]], dim=2)
            rows.append(self.network.encoder(with_context(self.network, varied)).cpu())
        return torch.stack(rows).numpy().astype(np.float16)


def encode_clips(
    encoder: Encoder,
    clips: list[Clip],
    versions: int,
    seed: int,
    say: Callable[[str], None],
    what: str,
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]:
    """Read and encode clips; those that cannot be read are left out and told.

    Returns:
        Embeddings float16 [versions, n, 20, E], which of the clips they belong to [n], and their
        whole steps [n].
    """
    generator = torch.Generator().manual_seed(seed)
    rows: list[NDArray[np.float16]] = []
    batch: list[NDArray[np.float16]] = []
    kept: list[int] = []
    steps: list[int] = []
    for number, clip in enumerate(clips):
        try:
            read = read_frames(clip)
        except DataError as error:
            say(f"left out: {error}")
            read = None
        if read is not None:
            batch.append(read[0])
            kept.append(number)
            steps.append(read[1])
        if batch and (len(batch) == 8 or number == len(clips) - 1):
            rows.append(encoder(np.stack(batch), versions, generator))
            batch = []
        if (number + 1) % 500 == 0:
            say(f"{number + 1} of {len(clips)} {what} clips heard")
    size = encoder.network.config.embedding
    empty = np.zeros((versions, 0, STEPS, size), np.float16)
    return np.concatenate([empty, *rows], axis=1), np.array(kept, int), np.array(steps, int)
