"""Fit a regression head to encoded clips, and an encoder from scratch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mer_engine.datasets.types import CLIP_STEPS, FIRST_SCORED_STEP
from mer_engine.network import SCORES, EmotionNetwork, RegressionHead
from mer_engine.training.examples import with_context
from mer_engine.training.settings import FitSettings
from mer_engine.training.spectral_augmentation import SpectralAugmentation, augment_spectra
from mer_engine.window_statistics import power_of

_MAX_GRADIENT_NORM = 2.0
_ENCODER_BATCH = 32


@dataclass(frozen=True)
class TrainingSet:
    """Encoded clips with their labels and teacher targets.

    Attributes:
        steps: float16 [versions, n, 20, E], embeddings.
        values: float32 [n, 20, 2]; NaN where unknown.
        static: float32 [n, 2]; NaN where unknown.
        teacher_targets: float32 [n, 4]; NaN where there is none.
        weights: float64 [n], relative probability of drawing a clip.
    """

    steps: NDArray[np.float16]
    values: NDArray[np.float32]
    static: NDArray[np.float32]
    teacher_targets: NDArray[np.float32]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return self.steps.shape[1]


def fit_head(
    start: RegressionHead,
    labelled: TrainingSet,
    unlabelled: TrainingSet | None,
    settings: FitSettings,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    *,
    normalise: bool = True,
    device: str = "cpu",
) -> RegressionHead:
    """Fit a regression head.

    Args:
        start: initial weights; left unchanged.
        labelled: labelled clips.
        unlabelled: unlabelled clips with teacher targets.
        settings: hyperparameters.
        seed: of every random choice.
        progress: called regularly with the step and the mean loss since the last call.
        normalise: first set the normalisation of the statistics from the clips.
        device: torch device.

    Returns:
        A new head with the running average of the weights, in evaluation mode, on the CPU.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = copy.deepcopy(start).to(device)
    samplers = [_Sampler(labelled, device)]
    if unlabelled is not None:
        samplers.append(_Sampler(unlabelled, device))
    if normalise:
        _set_statistics_normalisation(head, samplers)
    optimiser = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _learning_rate_factor(step, settings)
    )
    average = copy.deepcopy(head)
    losses = []
    for step in range(1, settings.steps + 1):
        head.train()
        picks = [sampler.draw(rng, settings.batch) for sampler in samplers]
        first, last = _random_window(rng)
        original = rng.random() < settings.original_share
        windows = [
            sampler.window(pick, rng, first, last, original)
            for sampler, pick in zip(samplers, picks, strict=True)
        ]
        logits = head(torch.cat(windows)).split(settings.batch)
        sampler, pick = samplers[0], picks[0]
        loss = settings.label_weight * _loss(head, logits[0], sampler.labels(pick, last), settings)
        loss = loss + settings.teacher_weight * _loss(
            head, logits[0], sampler.teacher_targets[pick], settings
        )
        if unlabelled is not None:
            loss = loss + settings.unlabelled_weight * _loss(
                head, logits[1], samplers[1].teacher_targets[picks[1]], settings
            )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), _MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        _update_average(average, head, min(settings.averaging, step / (step + 10)))
        losses.append(loss.item())
        if progress is not None and (step % 100 == 0 or step == settings.steps):
            progress(step, float(np.mean(losses)))
            losses = []
    return average.to("cpu").eval()


def fit_encoder(
    network: EmotionNetwork,
    frames: NDArray[np.float16],
    values: NDArray[np.float32],
    epochs: int,
    settings: FitSettings,
    augmentation: SpectralAugmentation,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    device: str = "cpu",
) -> None:
    """Fit an encoder from scratch to the labels, together with a temporary head.

    Args:
        network: changed in place; discard its head afterwards.
        frames: float16 [n, 20 * S, width], features.
        values: float32 [n, 20, 2]; NaN where unknown.
        epochs: passes over the clips.
        settings: learning rate and loss weights.
        augmentation: of the spectra.
        seed: of every random choice.
        progress: called after each epoch with its number and mean loss.
        device: torch device.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    network.to(device)
    bands = network.config.bands
    batches = math.ceil(len(frames) / _ENCODER_BATCH)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    for epoch in range(1, epochs + 1):
        network.train()
        losses = []
        for index in np.array_split(rng.permutation(len(frames)), batches):
            if len(index) < 2:  # a batch normalisation needs more than one clip
                continue
            batch = torch.from_numpy(frames[index].astype(np.float32)).to(device)
            labels = torch.from_numpy(values[index]).to(device)
            spectra, labels = augment_spectra(batch[:, :, :bands], labels, augmentation, generator)
            rest = batch[:, :, bands:]
            if network.config.peaks:
                rest = torch.cat([rest[:, :, :-1], scale_peaks(batch, spectra)], dim=2)
            batch = torch.cat([spectra, rest], dim=2)
            steps = network.encoder(with_context(network, batch))
            first, last = _random_window(rng)
            unknown = torch.full((len(index), 2), torch.nan, device=device)
            loss = _loss(
                network.head,
                network.head(steps[:, first:last]),
                torch.cat([labels[:, last - 1], unknown], dim=1),
                settings,
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        if progress is not None:
            progress(epoch, float(np.mean(losses)))
    network.to("cpu").eval()


def scale_peaks(frames: Tensor, augmented: Tensor) -> Tensor:
    """Scale the peaks of frames by the gain of their augmented bands.

    Args:
        frames: [B, n, width], the original frames; the last number is the peak.
        augmented: [B, n, bands], their augmented bands.

    Returns:
        Peaks [B, n, 1], as log10(1 + scaled power).
    """
    bands = augmented.shape[2]
    before = power_of(frames[:, :, :bands]).mean((1, 2)).clamp(min=1e-6)
    gain = power_of(augmented).mean((1, 2)) / before
    return torch.log10(1 + power_of(frames[:, :, -1:]) * gain.view(-1, 1, 1))


class _Sampler:
    """Draws batches from a training set on a device."""

    def __init__(self, examples: TrainingSet, device: str) -> None:
        self.count = len(examples)
        self.steps = torch.from_numpy(examples.steps).to(device)
        self.values = torch.from_numpy(examples.values).to(device)
        self.static = torch.from_numpy(examples.static).to(device)
        self.teacher_targets = torch.from_numpy(examples.teacher_targets).to(device)
        self.probabilities = examples.weights / examples.weights.sum()

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw the indices of `count` clips."""
        return rng.choice(self.count, count, p=self.probabilities)

    def window(
        self,
        index: NDArray[np.int64],
        rng: np.random.Generator,
        first: int,
        last: int,
        original: bool,
    ) -> Tensor:
        """Return steps `first` to `last` - 1 of clips, original or from a random augmentation."""
        versions = len(self.steps)
        version = 0 if original or versions == 1 else int(rng.integers(1, versions))
        return self.steps[version, index, first:last].float()

    def labels(self, index: NDArray[np.int64], last: int) -> Tensor:
        """Return the labels [B, 4] of windows that end before step `last`."""
        return torch.cat([self.values[index, last - 1], self.static[index]], dim=1)


def _learning_rate_factor(step: int, settings: FitSettings) -> float:
    rise = (step + 1) / max(1.0, settings.warmup * settings.steps)
    return min(rise, 0.5 * (1 + math.cos(math.pi * step / settings.steps)))


def _random_window(rng: np.random.Generator) -> tuple[int, int]:
    """Draw a window (first step, step after the last), mostly of a length that is scored."""
    kind = rng.random()
    if kind < 0.75:
        return 0, int(rng.integers(FIRST_SCORED_STEP - 2, CLIP_STEPS + 1))
    if kind < 0.85:
        return 0, int(rng.integers(1, FIRST_SCORED_STEP - 2))
    first = int(rng.integers(1, CLIP_STEPS - 4))
    return first, int(rng.integers(first + 4, CLIP_STEPS + 1))


def _loss(head: RegressionHead, logits: Tensor, truth: Tensor, settings: FitSettings) -> Tensor:
    """Return the cross entropy with Gaussian targets plus the expectation's squared error.

    Args:
        head: gives the bin centres.
        logits: [B, scores, bins].
        truth: [B, scores]; NaN where unknown.
        settings: target width and weight of the squared error.
    """
    known = ~truth.isnan()
    if not known.any():
        return logits.sum() * 0.0
    centres = head.config.bin_centres().to(logits.device)
    value = truth[known]
    log_probability = functional.log_softmax(logits[known], dim=1)
    target = functional.softmax(
        -((centres - value.unsqueeze(1)) ** 2) / (2 * settings.target_std**2), dim=1
    )
    expectation = log_probability.exp() @ centres
    cross_entropy = -(target * log_probability).sum(1)
    loss = cross_entropy + settings.squared_error_weight * (expectation - value) ** 2
    # Every score has the same weight, however many clips have a label for it.
    weight = known / known.sum(0, keepdim=True).clamp(min=1)
    return (loss * weight[known]).sum() / len(SCORES) * 2


@torch.no_grad()
def _set_statistics_normalisation(head: RegressionHead, samplers: list[_Sampler]) -> None:
    """Set the mean and deviation of the window statistics to those of the clips."""
    rows = [
        head.statistics(sampler.steps[0, :, :last].float())
        for sampler in samplers
        for last in (FIRST_SCORED_STEP, (FIRST_SCORED_STEP + CLIP_STEPS) // 2, CLIP_STEPS)
    ]
    together = torch.cat(rows)
    head.statistic_mean.copy_(together.mean(0))
    head.statistic_std.copy_(together.std(0) + 1e-3)


@torch.no_grad()
def _update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    for running, current in zip(average.parameters(), module.parameters(), strict=True):
        running.lerp_(current, 1 - decay)
