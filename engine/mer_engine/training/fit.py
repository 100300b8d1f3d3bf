"""Fit the reader to clips whose steps are encoded, and, where it must be, the encoder too."""

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

from mer_engine.metrics import Fit, fit
from mer_engine.network import SCORES, EmotionNetwork, RegressionHead
from mer_engine.training.examples import STEPS, with_context
from mer_engine.training.spectral_augmentation import Augmentation, augment
from mer_engine.window_statistics import power_of

# The metric's window lengths: five to ten seconds heard.
FIRST_SCORED = 10


@dataclass(frozen=True)
class TrainingSet:
    """Encoded clips with what is known of them.

    Attributes:
        steps: float16 [versions, n, 20, E].
        values: float32 [n, 20, 2]; NaN where unknown.
        static: float32 [n, 2]; NaN where unknown.
        opinion: float32 [n, 4], a teacher's answer for the scores; NaN where there is none.
        weights: float64 [n], how often a clip is learnt from beside the others.
    """

    steps: NDArray[np.float16]
    values: NDArray[np.float32]
    static: NDArray[np.float32]
    opinion: NDArray[np.float32]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return self.steps.shape[1]


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How the network is fitted.

    Attributes:
        steps: steps of the optimiser.
        batch: clips in a batch, as many again of those without labels.
        rate: learning rate.
        warmup: share of the steps over which the rate rises.
        decay: weight decay.
        spread: standard deviation that a value's distribution over the score bins is given.
        square: weight of the squared error of the expectation.
        label, opinion, unlabelled: weights of the listeners' labels, of the teacher's opinion on
            the same clips, and of its opinion on clips without labels.
        average: decay of the running average of the weights.
        versions: variations of every labelled clip, itself included.
        plain: share of the batches with clips as they are, the others with one of the variations.
        elsewhere: weight of a variation in the memory; a clip as it is has 1.
        auxiliary: weight of a clip of auxiliary data, everywhere; above 0.
        memory: give the fitted reader the kernel teacher's memory.
    """

    steps: int = 700
    batch: int = 64
    rate: float = 1e-3
    warmup: float = 0.05
    decay: float = 0.05
    spread: float = 0.15
    square: float = 4.0
    label: float = 1.0
    opinion: float = 1.0
    unlabelled: float = 1.0
    average: float = 0.998
    versions: int = 3
    plain: float = 0.6
    elsewhere: float = 0.1
    auxiliary: float = 0.1
    memory: bool = True


def fit_head(
    start: RegressionHead,
    lessons: TrainingSet,
    more: TrainingSet | None,
    settings: FitSettings,
    seed: int,
    report: Callable[[int, float], None] | None = None,
    *,
    settle: bool = True,
    device: str = "cpu",
) -> RegressionHead:
    """Fit a reader.

    Args:
        start: stays as it is.
        lessons: labelled clips.
        more: clips without labels, with a teacher's opinion.
        settings: how.
        seed: of every choice made by chance.
        report: called a few times with the step and the mean loss since the last call.
        settle: set the normalisation of the statistics first.
        device: of torch.

    Returns:
        A new reader, at rest, on the CPU: the running average of the fitted one.
    """
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    reader = copy.deepcopy(start).to(device)
    parts = [_Part(lessons, device)] + ([] if more is None else [_Part(more, device)])
    if settle:
        _settle(reader, parts)
    optimiser = torch.optim.AdamW(
        reader.parameters(), lr=settings.rate, weight_decay=settings.decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_at(step, settings))
    average = copy.deepcopy(reader)
    losses = []
    for step in range(1, settings.steps + 1):
        reader.train()
        picks = [part.pick(chance, settings.batch) for part in parts]
        first, last = _window(chance)
        plain = chance.random() < settings.plain
        windows = [
            p.window(pick, chance, first, last, plain) for p, pick in zip(parts, picks, strict=True)
        ]
        logits = reader(torch.cat(windows)).split(settings.batch)
        labelled, index = parts[0], picks[0]
        loss = settings.label * _loss(reader, logits[0], labelled.truth(index, last), settings)
        loss = loss + settings.opinion * _loss(reader, logits[0], labelled.opinion[index], settings)
        if more is not None:
            loss = loss + settings.unlabelled * _loss(
                reader, logits[1], parts[1].opinion[picks[1]], settings
            )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        _follow(average, reader, min(settings.average, step / (step + 10)))
        losses.append(loss.item())
        if report is not None and (step % 100 == 0 or step == settings.steps):
            report(step, float(np.mean(losses)))
            losses = []
    return average.to("cpu").eval()


def fit_encoder(
    network: EmotionNetwork,
    frames: NDArray[np.float16],
    values: NDArray[np.float32],
    epochs: int,
    settings: FitSettings,
    augmentation: Augmentation,
    seed: int,
    report: Callable[[int, float], None] | None = None,
    device: str = "cpu",
) -> None:
    """Fit an encoder that starts from nothing, with a reader of its own, from the labels alone.

    Args:
        network: changed in place; its reader is of no use afterwards.
        frames: [n, 20 * S, width].
        values: float32 [n, 20, 2].
        epochs: passes over the clips.
        settings: rates and weights.
        augmentation: how much each clip is varied.
        seed: of every choice made by chance.
        report: called after each epoch with its number and mean loss.
        device: of torch.
    """
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    network.to(device)
    bands = network.config.bands
    batches = math.ceil(len(frames) / 32)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.rate, weight_decay=settings.decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    for epoch in range(1, epochs + 1):
        network.train()
        losses = []
        for index in np.array_split(chance.permutation(len(frames)), batches):
            if len(index) < 2:  # a normalisation over a single clip would tell nothing
                continue
            batch = torch.from_numpy(frames[index].astype(np.float32)).to(device)
            truth = torch.from_numpy(values[index]).to(device)
            sound, varied = augment(batch[:, :, :bands], truth, augmentation, generator)
            rest = batch[:, :, bands:]
            if network.config.peaks:
                rest = torch.cat([rest[:, :, :-1], _peaks(batch, sound)], dim=2)
            batch = torch.cat([sound, rest], dim=2)
            steps = network.encoder(with_context(network, batch))
            first, last = _window(chance)
            unknown = torch.full((len(index), 2), torch.nan, device=device)
            loss = _loss(
                network.head,
                network.head(steps[:, first:last]),
                torch.cat([varied[:, last - 1], unknown], dim=1),
                settings,
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        if report is not None:
            report(epoch, float(np.mean(losses)))
    network.to("cpu").eval()


@torch.inference_mode()
def predict(reader: RegressionHead, steps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Distributions after each step of clips [n, 20, E]: float32 [n, 20, scores, bins]."""
    reader.eval()
    rows = []
    for start in range(0, len(steps), 128):
        batch = torch.from_numpy(steps[start : start + 128].astype(np.float32))
        heard = [torch.softmax(reader(batch[:, :end]), dim=2) for end in range(1, STEPS + 1)]
        rows.append(torch.stack(heard, dim=1).numpy())
    return np.concatenate(rows)


def score_values(values: NDArray[np.floating], labels: NDArray[np.float32]) -> tuple[Fit, Fit]:
    """Agreement of values [n, 20, 2] with the labels, five to ten seconds heard, pooled."""
    scored = slice(FIRST_SCORED - 1, STEPS)
    pairs = []
    for dimension in (0, 1):
        truth, guess = labels[:, scored, dimension], values[:, scored, dimension]
        known = np.isfinite(truth)
        pairs.append(fit(truth[known], guess[known]))
    return pairs[0], pairs[1]


@torch.inference_mode()
def statistics(
    reader: RegressionHead, steps: NDArray[np.float16], last: int, first: int = 0
) -> NDArray[np.float32]:
    """Statistics of the steps from `first` to before `last` of clips [n, 20, E]: float32 [n, D]."""
    rows = [
        reader.statistics(torch.from_numpy(part[:, first:last].astype(np.float32))).numpy()
        for part in np.array_split(steps, max(1, len(steps) // 512))
    ]
    return np.concatenate(rows)


@torch.inference_mode()
def spread(reader: RegressionHead, steps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Usual standard deviation of what a reader says of clips [n, 20, E]: float32 [scores]."""
    reader.eval()
    centres = reader.config.bin_centres()
    total, count = torch.zeros(len(SCORES)), 0
    for part in np.array_split(steps, max(1, len(steps) // 128)):
        told = torch.softmax(reader(torch.from_numpy(part.astype(np.float32))), dim=2)
        total += ((told @ centres**2) - (told @ centres) ** 2).sum(0)
        count += len(part)
    return np.asarray((total / max(1, count)).sqrt().numpy())


class _Part:
    """TrainingSet as tensors."""

    def __init__(self, lessons: TrainingSet, device: str) -> None:
        self.count = len(lessons)
        self.steps = torch.from_numpy(lessons.steps).to(device)
        self.values = torch.from_numpy(lessons.values).to(device)
        self.static = torch.from_numpy(lessons.static).to(device)
        self.opinion = torch.from_numpy(lessons.opinion).to(device)
        self.chances = lessons.weights / lessons.weights.sum()

    def pick(self, chance: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Numbers of so many clips."""
        return chance.choice(self.count, count, p=self.chances)

    def window(
        self,
        index: NDArray[np.int64],
        chance: np.random.Generator,
        first: int,
        last: int,
        plain: bool,
    ) -> Tensor:
        versions = len(self.steps)
        version = 0 if plain or versions == 1 else int(chance.integers(1, versions))
        return self.steps[version, index, first:last].float()

    def truth(self, index: NDArray[np.int64], last: int) -> Tensor:
        return torch.cat([self.values[index, last - 1], self.static[index]], dim=1)


def _peaks(frames: Tensor, varied: Tensor) -> Tensor:
    """Peaks [B, n, 1] of frames whose bands were varied: as far above their power as they were."""
    bands = varied.shape[2]
    before = power_of(frames[:, :, :bands]).mean((1, 2)).clamp(min=1e-6)
    gain = power_of(varied).mean((1, 2)) / before
    return torch.log10(1 + power_of(frames[:, :, -1:]) * gain.view(-1, 1, 1))


def _rate_at(step: int, settings: FitSettings) -> float:
    rise = (step + 1) / max(1.0, settings.warmup * settings.steps)
    return min(rise, 0.5 * (1 + math.cos(math.pi * step / settings.steps)))


def _window(chance: np.random.Generator) -> tuple[int, int]:
    """A window (first step, step after the last): mostly one that is scored."""
    kind = chance.random()
    if kind < 0.75:
        return 0, int(chance.integers(FIRST_SCORED - 2, STEPS + 1))
    if kind < 0.85:
        return 0, int(chance.integers(1, FIRST_SCORED - 2))
    first = int(chance.integers(1, STEPS - 4))
    return first, int(chance.integers(first + 4, STEPS + 1))


def _loss(reader: RegressionHead, logits: Tensor, truth: Tensor, settings: FitSettings) -> Tensor:
    """Cross entropy with a bell around each known value, and the expectation's squared error.

    Args:
        logits: [B, scores, bins].
        truth: [B, scores]; NaN where unknown.
    """
    known = ~truth.isnan()
    if not known.any():
        return logits.sum() * 0.0
    centres = reader.config.bin_centres().to(logits.device)
    value = truth[known]
    log_probability = functional.log_softmax(logits[known], dim=1)
    bell = functional.softmax(
        -((centres - value.unsqueeze(1)) ** 2) / (2 * settings.spread**2), dim=1
    )
    expectation = log_probability.exp() @ centres
    surprise = -(bell * log_probability).sum(1)
    loss = surprise + settings.square * (expectation - value) ** 2
    # Every score counts the same, however many clips tell it.
    weight = known / known.sum(0, keepdim=True).clamp(min=1)
    return (loss * weight[known]).sum() / len(SCORES) * 2


@torch.no_grad()
def _settle(reader: RegressionHead, parts: list[_Part]) -> None:
    """Set the normalisation of the statistics to those of the clips."""
    rows = [
        reader.statistics(part.steps[0, :, :last].float())
        for part in parts
        for last in (FIRST_SCORED, (FIRST_SCORED + STEPS) // 2, STEPS)
    ]
    together = torch.cat(rows)
    reader.statistic_mean.copy_(together.mean(0))
    reader.statistic_std.copy_(together.std(0) + 1e-3)


@torch.no_grad()
def _follow(average: nn.Module, module: nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), module.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
