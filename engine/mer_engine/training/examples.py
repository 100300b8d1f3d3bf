"""Clips as the training sees them: labels, and the embeddings of their steps."""

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
from mer_engine.datasets.types import Clip, Collection
from mer_engine.frontend import FrontEndConfig, features
from mer_engine.network import EmotionNetwork
from mer_engine.training.acoustic_augmentation import AcousticAugmentation, play

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
        auxiliary: bool [n], clips that are learnt from, but that the model is not meant for: they
            count less, are never held out, and set neither intervals nor figures.
    """

    values: NDArray[np.float32]
    static: NDArray[np.float32]
    songs: NDArray[np.str_]
    groups: NDArray[np.str_]
    auxiliary: NDArray[np.bool_]

    def weights(self, auxiliary: float) -> NDArray[np.float64]:
        """How much each clip counts [n]: `auxiliary` for auxiliary ones, 1 for the others."""
        return np.where(self.auxiliary, auxiliary, 1.0)

    def __len__(self) -> int:
        return len(self.values)

    def __add__(self, more: Labels) -> Labels:
        return Labels(
            *(np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self))
        )

    def strangers(self, out: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Clips [n] of none of the groups of `out` [n]: others would tell too much of those."""
        return ~np.isin(self.groups, self.groups[out])

    def select(self, index: NDArray[np.int64]) -> Labels:
        """Return some of the clips."""
        return Labels(*(getattr(self, f.name)[index] for f in fields(self)))


def read_labels(
    collection: Collection, clips: tuple[Clip, ...], *, auxiliary: bool = False
) -> Labels:
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
        np.full(len(clips), auxiliary),
    )


def read_frames(
    clip: Clip,
    variations: int = 0,
    rng: np.random.Generator | None = None,
    surroundings: AcousticAugmentation | None = None,
) -> tuple[NDArray[np.float16], int] | None:
    """The features of a clip as it is, and as it would arrive in other surroundings.

    Args:
        clip: which.
        variations: how often it is played elsewhere.
        rng: chance for these; a fixed one where None.
        surroundings: where.

    Returns:
        float16 [1 + variations, 20 * S, width], and the whole steps of the clip; None if there are
        too few.

    Raises:
        DataError: its audio cannot be read.
    """
    frontend = FrontEndConfig()
    rate = frontend.sample_rate_hz
    per_step = frontend.frames_per_second // 2
    audio = read_clip(clip, rate)
    steps = min(STEPS, len(audio) // (per_step * frontend.hop))
    if steps < _SHORTEST_STEPS:
        return None
    audio = audio[: STEPS * per_step * frontend.hop]
    filled = np.zeros((1 + variations, STEPS * per_step, frontend.width), np.float16)
    rng = np.random.default_rng(0) if rng is None else rng
    where = surroundings or AcousticAugmentation()
    for number in range(1 + variations):
        frames = features(play(audio, rate, rng, where) if number else audio, frontend)
        filled[number, : len(frames)] = frames
    return filled, steps


def with_context(network: EmotionNetwork, frames: Tensor) -> Tensor:
    """Put the digital silence before clips that a stream begins with."""
    return functional.pad(frames, (0, 0, network.config.step_context, 0))


class ClipEncoder:
    """Turns clips into the embeddings of their steps.

    Args:
        network: its encoder is used as it is.
        device: of torch.
    """

    def __init__(self, network: EmotionNetwork, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = device

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.float16]) -> NDArray[np.float16]:
        """Return float16 [n, 20, E] of frames [n, 20 * S, width]."""
        clips = torch.from_numpy(frames.astype(np.float32)).to(self.device)
        steps = self.network.encoder(with_context(self.network, clips)).cpu()
        return np.asarray(steps.numpy().astype(np.float16))


def encode_clips(
    encoder: ClipEncoder,
    clips: list[Clip],
    versions: int,
    seed: int,
    say: Callable[[str], None],
    what: str,
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]:
    """Read and encode clips; those that cannot be read are left out and told.

    Args:
        encoder: does it.
        clips: which.
        versions: how many of each: the first is the clip as it is, the others are played elsewhere.
        seed: of where; what a clip sounds like does not depend on the others.
        say: takes sentences about the progress.
        what: kind of the clips, for these.

    Returns:
        Embeddings float16 [versions, n, 20, E], which of the clips they belong to [n], and their
        whole steps [n].
    """
    rows: list[NDArray[np.float16]] = []
    kept: list[int] = []
    steps: list[int] = []
    for number, clip in enumerate(clips):
        try:
            read = read_frames(clip, versions - 1, np.random.default_rng((seed, number)))
        except DataError as error:
            say(f"left out: {error}")
            read = None
        if read is not None:
            rows.append(encoder(read[0]))
            kept.append(number)
            steps.append(read[1])
        if (number + 1) % 500 == 0:
            say(f"{number + 1} of {len(clips)} {what} clips heard")
    size = encoder.network.config.embedding
    found = np.stack(rows, axis=1) if rows else np.zeros((versions, 0, STEPS, size), np.float16)
    return found, np.array(kept, int), np.array(steps, int)
