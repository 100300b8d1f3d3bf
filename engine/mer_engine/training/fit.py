"""Fit the network to labelled clips."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mer_engine.network import ChannelNorm, EmotionNetwork
from mer_engine.training.augment import Augmentation, augment
from mer_engine.training.metrics import Fit, fit

STEPS = 20
# The metric's window lengths: five to ten seconds heard.
FIRST_SCORED = 10


@dataclass(frozen=True)
class Examples:
    """Clips of ten seconds.

    Attributes:
        frames: float16 [n, 20 * S, bands].
        labels: float32 [n, 20, 2], valence and arousal at the end of each step; NaN where unknown.
        static: float32 [n, 2], labels of the whole song scaled to about [-1, 1]; NaN where unknown.
        other: float32 [n, 20, 2], like `labels`, of a collection with raters of its own.
        taught: float32 [n, T], what a teacher says of the clip; T may be 0, NaN where unknown.
    """

    frames: NDArray[np.float16]
    labels: NDArray[np.float32]
    static: NDArray[np.float32]
    other: NDArray[np.float32]
    taught: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.frames)

    def __add__(self, more: Examples) -> Examples:
        return Examples(
            *(
                np.concatenate([getattr(self, name), getattr(more, name)])
                for name in ("frames", "labels", "static", "other", "taught")
            )
        )

    def select(self, index: NDArray[np.int64]) -> Examples:
        """Return some of the clips."""
        return Examples(
            self.frames[index],
            self.labels[index],
            self.static[index],
            self.other[index],
            self.taught[index],
        )


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How the network is fitted.

    Attributes:
        epochs: passes over the clips.
        batch: clips in a batch.
        rate: learning rate of the reader.
        encoder_rate: learning rate of the encoder.
        warmup: share of the steps over which the rates rise.
        decay: weight decay.
        spread: standard deviation that a label's distribution over the score bins is given.
        square: weight of the squared error of the expectation.
        static: weight of the static labels' error.
        other: weight of the other collection's error.
        taught: weight of the teacher's error.
        average: decay of the running average of the weights.
        versions: variations of every clip that are made before the fit. The first filters stay
            as they start, so what they find is computed once, which saves most of the time; 0
            makes new variations in each epoch and trains the first filters as well.
        keep_statistics: leave the normalisations' statistics as they start.
    """

    epochs: int = 12
    batch: int = 32
    rate: float = 1e-3
    encoder_rate: float = 1e-3
    warmup: float = 0.1
    decay: float = 0.1
    spread: float = 0.12
    square: float = 6.0
    static: float = 1.0
    other: float = 0.3
    taught: float = 0.3
    average: float = 0.99
    versions: int = 3
    keep_statistics: bool = True


class SideHeads(nn.Module):
    """What the network also learns to tell while it is trained; not part of the model file."""

    def __init__(self, width: int, taught: int) -> None:
        super().__init__()
        self.static = nn.Parameter(torch.zeros(2, width))
        self.other = nn.Parameter(torch.zeros(2, width))
        self.taught = nn.Linear(2 * width, taught) if taught else None

    def forward(self, answers: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return static [B, 2], other [B, 2] and taught [B, T] from answers [B, 2, width]."""
        taught = None if self.taught is None else self.taught(answers.flatten(1))
        return (answers * self.static).sum(2), (answers * self.other).sum(2), taught


def fit_network(
    network: EmotionNetwork,
    examples: Examples,
    settings: FitSettings,
    augmentation: Augmentation,
    seed: int,
    report: Callable[[int, float], None] | None = None,
    device: str = "cpu",
) -> EmotionNetwork:
    """Fit the network and return the running average of its weights.

    Args:
        network: where to start; changed in place.
        examples: the clips.
        settings, augmentation: how.
        seed: of every choice made by chance.
        report: called after each epoch with its number (from 1) and the mean loss.
        device: of torch.
    """
    torch.set_flush_denormal(True)  # numbers this small are noise, and slow
    generator = torch.Generator().manual_seed(seed)
    network.to(device)
    heads = SideHeads(network.config.width, examples.taught.shape[1]).to(device)
    if examples.taught.shape[1]:
        known = examples.taught
        centre, size = np.nanmean(known, axis=0), np.nanstd(known, axis=0) + 1e-6
        examples = Examples(
            examples.frames,
            examples.labels,
            examples.static,
            examples.other,
            ((known - centre) / size).astype(np.float32),
        )
    for parameter in network.encoder.front.parameters():
        parameter.requires_grad_(not settings.versions)
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": encoder, "lr": settings.encoder_rate},
            {"params": [*network.reader.parameters(), *heads.parameters()], "lr": settings.rate},
        ],
        weight_decay=settings.decay,
    )
    batches = math.ceil(len(examples) / settings.batch)
    total = settings.epochs * batches
    warm = max(1, round(settings.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / total))),
    )
    average = copy.deepcopy(network)
    versions = [
        _make_version(network, examples, augmentation, generator, device)
        for _ in range(settings.versions)
    ]
    step = 0
    for epoch in range(1, settings.epochs + 1):
        network.train()
        if settings.keep_statistics:
            for module in network.modules():
                if isinstance(module, ChannelNorm):
                    module.eval()
        losses = []
        for index in _batches(len(examples), settings.batch, generator):
            if versions:
                front, targets = versions[(epoch - 1) % len(versions)].select(index)
            else:
                frames, targets = _tensors(examples, index, device)
                frames, targets = augment(frames, targets, augmentation, generator)
                front = network.encoder.filter(with_context(network, frames))
            loss = _loss(
                network, heads, front.to(device), targets.to(device), settings, generator
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            step += 1
            _follow(average, network, min(settings.average, step / (step + 10)))
            losses.append(loss.item())
        if report is not None:
            report(epoch, float(np.mean(losses)))
    return average.eval()


def with_context(network: EmotionNetwork, frames: Tensor) -> Tensor:
    """Put the digital silence before clips that a stream begins with."""
    return functional.pad(frames, (0, 0, network.config.context_frames, 0))


@torch.inference_mode()
def predict(
    network: EmotionNetwork, frames: NDArray[np.float16], device: str = "cpu"
) -> NDArray[np.float32]:
    """Distributions after each step of clips fed as streams of their own.

    Args:
        network: at rest.
        frames: [n, steps * S, bands].
        device: of torch.

    Returns:
        float32 [n, steps, 2, bins].
    """
    network.to(device).eval()
    rows = []
    for start in range(0, len(frames), 16):
        batch = torch.from_numpy(frames[start : start + 16].astype(np.float32)).to(device)
        steps = network.encoder(with_context(network, batch))
        rows.append(
            torch.stack(
                [
                    torch.softmax(network.reader(steps[:, :heard]), dim=2)
                    for heard in range(1, steps.shape[1] + 1)
                ],
                dim=1,
            )
            .cpu()
            .numpy()
        )
    return np.concatenate(rows)


@torch.inference_mode()
def settle_norm(network: EmotionNetwork, examples: Examples, clips: int = 256) -> None:
    """Set the statistics of the normalisation before the embedding to those of some clips."""
    network.eval()
    norm = network.encoder.pool_norm
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    chosen = np.linspace(0, len(examples) - 1, min(clips, len(examples))).astype(np.int64)
    pooled = []
    for start in range(0, len(chosen), 16):
        frames, _ = _tensors(examples, chosen[start : start + 16], "cpu")
        pooled.append(network.encoder.pool(with_context(network, frames)).flatten(0, 1))
    spread, mean = torch.var_mean(torch.cat(pooled), dim=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(spread + norm.eps)


def score(network: EmotionNetwork, examples: Examples) -> tuple[Fit, Fit]:
    """Agreement with the labels of valence and arousal, five to ten seconds heard, pooled."""
    bins = network.config.bin_centres().numpy()
    values = predict(network, examples.frames) @ bins
    return score_values(values, examples.labels)


def score_values(values: NDArray[np.float32], labels: NDArray[np.float32]) -> tuple[Fit, Fit]:
    """As `score`, from values [n, 20, 2]."""
    scored = slice(FIRST_SCORED - 1, STEPS)
    pairs = []
    for dimension in (0, 1):
        truth, guess = labels[:, scored, dimension], values[:, scored, dimension]
        known = np.isfinite(truth)
        pairs.append(fit(truth[known], guess[known]))
    return pairs[0], pairs[1]


@dataclass(frozen=True)
class _Version:
    """One variation of every clip: what the first filters find (float16), and the targets."""

    front: Tensor
    targets: Tensor

    def select(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return self.front[index].float(), self.targets[index]


@torch.no_grad()
def _make_version(
    network: EmotionNetwork,
    examples: Examples,
    augmentation: Augmentation,
    generator: torch.Generator,
    device: str,
) -> _Version:
    network.eval()
    fronts, targets = [], []
    order = torch.randperm(len(examples), generator=generator).numpy()
    for start in range(0, len(order), 32):
        frames, target = _tensors(examples, order[start : start + 32], device)
        frames, target = augment(frames, target, augmentation, generator)
        fronts.append(network.encoder.filter(with_context(network, frames)).half().cpu())
        targets.append(target.cpu())
    return _Version(torch.cat(fronts), torch.cat(targets))


def _tensors(
    examples: Examples, index: NDArray[np.int64], device: str
) -> tuple[Tensor, Tensor]:
    """Frames [B, T, bands] and all targets side by side [B, ...] of some clips."""
    chosen = examples.select(index)
    targets = (chosen.labels, chosen.other, chosen.static, chosen.taught)
    frames = torch.from_numpy(chosen.frames.astype(np.float32))
    side_by_side = torch.cat([torch.from_numpy(target).flatten(1) for target in targets], dim=1)
    return frames.to(device), side_by_side.to(device)


def _loss(
    network: EmotionNetwork,
    heads: SideHeads,
    front: Tensor,
    targets: Tensor,
    settings: FitSettings,
    generator: torch.Generator,
) -> Tensor:
    sizes = [STEPS * 2, STEPS * 2, 2, targets.shape[1] - STEPS * 4 - 2]
    labels, other, static, taught = targets.split(sizes, dim=1)
    labels, other = labels.unflatten(1, (STEPS, 2)), other.unflatten(1, (STEPS, 2))
    steps = network.encoder.project(network.encoder.pool_filtered(front))
    centres = network.config.bin_centres().to(front.device)
    loss = torch.zeros((), device=front.device)
    windows = list(_windows(generator))
    for first, last in windows:
        answers = network.reader.summarise(steps[:, first:last])
        logits = network.reader.score(answers)
        truth = labels[:, last - 1]
        known = ~truth.isnan()
        if known.any():
            target = functional.softmax(
                -((centres - truth[known].unsqueeze(1)) ** 2) / (2 * settings.spread**2), dim=1
            )
            log_probability = functional.log_softmax(logits[known], dim=1)
            expectation = log_probability.exp() @ centres
            loss = loss - (target * log_probability).sum(1).mean()
            loss = loss + settings.square * functional.mse_loss(expectation, truth[known])
        for guess, wanted, weight in zip(
            heads(answers),
            (static, other[:, last - 1], taught),
            (settings.static, settings.other, settings.taught),
            strict=True,
        ):
            if guess is None or not weight:
                continue
            known = ~wanted.isnan()
            if known.any():
                loss = loss + weight * functional.mse_loss(guess[known], wanted[known])
    return loss / len(windows)


def _windows(generator: torch.Generator) -> Iterator[tuple[int, int]]:
    """Yield windows as (first step, step after the last), from the start and from within."""

    def choose(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    yield 0, choose(FIRST_SCORED, STEPS)
    yield 0, choose(1, STEPS)
    first = choose(1, STEPS - 4)
    yield first, choose(first + 4, STEPS)


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[NDArray[np.int64]]:
    order = torch.randperm(count, generator=generator).numpy()
    for start in range(0, count, size):
        if count - start > 1:  # a normalisation over a single clip would tell nothing
            yield order[start : start + size]


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    current = network.state_dict()
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])
