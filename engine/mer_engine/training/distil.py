"""Teach the encoder's residual blocks what the tagger's blocks say of the same music.

The living filters are taken over as they are, but at another frame rate, and each group ends at the
newest frame instead of lying around a common centre, so that nothing waits for the longest. The
blocks that follow have to learn that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mer_engine.frontend import FrontEndConfig, features
from mer_engine.network import EmotionNetwork
from mer_engine.training.clip_audio import read_clip
from mer_engine.training.collection import Clip
from mer_engine.training.fit import STEPS, with_context
from mer_engine.training.problem import DataError
from mer_engine.training.teacher import HOP, Teacher, tagger_features

LESSON_EPOCHS = 8
CLIP_SAMPLES = 160_000
_FRONT_CHANNELS = 561


@dataclass(frozen=True)
class Lessons:
    """Clips and what the tagger's residual blocks make of them.

    Attributes:
        frames: float16 [n, 20 * S, bands], our features.
        answers: float32 [n, 20, 2, 192], maximum and mean over each step.
    """

    frames: NDArray[np.float16]
    answers: NDArray[np.float32]

    def __add__(self, more: Lessons) -> Lessons:
        return Lessons(
            np.concatenate([self.frames, more.frames]),
            np.concatenate([self.answers, more.answers]),
        )


def ask_teacher(teacher: Teacher, clips: Sequence[Clip], say: Callable[[str], None]) -> Lessons:
    """Collect what the tagger says of clips; those that cannot be read are left out and told.

    Raises:
        DataError: none can be read.
    """
    config = FrontEndConfig()
    frames, answers = [], []
    for clip in clips:
        try:
            samples = read_clip(clip, config.sample_rate_hz)
        except DataError as error:
            say(f"left out: {error}")
            continue
        filled = np.zeros(CLIP_SAMPLES, np.float32)
        filled[: len(samples)] = samples[:CLIP_SAMPLES]
        frames.append(features(filled, config).astype(np.float16))
        answers.append(describe(teacher, filled))
    if not frames:
        raise DataError("none of the training songs' clips can be read")
    return Lessons(np.stack(frames), np.stack(answers))


def describe(teacher: Teacher, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return maxima and means of the tagger's residual maps over each step of a clip.

    Args:
        teacher: the tagger.
        samples: float32 [160000], ten seconds of mono at 16 kHz.

    Returns:
        float32 [20, 2, 192].
    """
    frames = tagger_features(samples)
    maps = teacher.feature_map(torch.from_numpy(frames)[None])[0, :, _FRONT_CHANNELS:].numpy()
    ends = np.round(np.arange(STEPS + 1) * (CLIP_SAMPLES / STEPS / HOP)).astype(int)
    rows = [maps[a:b] for a, b in pairwise(ends)]
    return np.stack([np.stack([row.max(0), row.mean(0)]) for row in rows])


def teach_encoder(
    network: EmotionNetwork,
    lessons: Lessons,
    epochs: int,
    seed: int,
    say: Callable[[str], None],
    device: str = "cpu",
) -> None:
    """Fit the residual blocks to the tagger's answers; the first filters stay as they are.

    Args:
        network: its encoder started from the tagger; changed in place.
        lessons: what to learn.
        epochs: passes over the clips.
        seed: of their order.
        say: takes a sentence about the result.
        device: of torch.
    """
    torch.set_flush_denormal(True)
    network.to(device).eval()
    encoder = network.encoder
    norm = encoder.pool_norm
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    answers = torch.from_numpy(lessons.answers)
    centre, size = answers.mean((0, 1)), answers.std((0, 1)) + 1e-3
    answers = (answers - centre) / size
    centre, size = centre.to(device), size.to(device)
    with torch.no_grad():
        front = torch.cat(
            [
                encoder.filter(with_context(network, torch.from_numpy(part).float().to(device)))
                .half()
                .cpu()
                for part in np.array_split(lessons.frames, max(1, len(lessons.frames) // 16))
            ]
        )
    learned = [
        parameter
        for part in (
            encoder.transition,
            encoder.transition_norm,
            encoder.residual,
            encoder.residual_norms,
        )
        for parameter in part.parameters()
    ]
    batches = max(1, len(front) // 32)
    optimiser = torch.optim.AdamW(learned, lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros(())
    for _ in range(epochs):
        order = torch.randperm(len(front), generator=generator)
        for index in torch.tensor_split(order, batches):
            guess = _residual_channels(network, front[index].float().to(device))
            loss = functional.smooth_l1_loss((guess - centre) / size, answers[index].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    say(f"taught by the tagger: loss {loss.item():.4f}")


def _residual_channels(network: EmotionNetwork, front: Tensor) -> Tensor:
    """Return maxima and means of the residual maps, [B, k, 2, 192]."""
    config = network.config
    pooled = network.encoder.pool_filtered(front).unflatten(2, (2, config.channels))
    return pooled[..., config.front_channels :]
