"""Fit a regression head to encoded clips."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mer_engine.datasets.types import CLIP_STEPS, DIMENSIONS, FIRST_SCORED_STEP
from mer_engine.network import RegressionHead
from mer_engine.training.examples import Labels
from mer_engine.training.kernel_ridge import fit_regressor
from mer_engine.training.predict import mean_spread
from mer_engine.training.settings import FitSettings

_MAX_GRADIENT_NORM = 2.0
# Rate at which the offset of a scale follows the residuals of its clips, and the number of clips
# in a batch that halves it.
_OFFSET_RATE, _OFFSET_CLIPS = 0.1, 8


def fit(
    start: RegressionHead,
    steps: NDArray[np.float16],
    labels: Labels,
    settings: FitSettings,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    *,
    normalise: bool = True,
    device: str = "cpu",
) -> RegressionHead:
    """Fit a head to labels of all kinds, and attach a kernel regressor to it.

    Args:
        start: initial weights; left unchanged.
        steps: float16 [versions, n, 20, E], embeddings of clips.
        labels: of the same clips.
        settings: hyperparameters.
        seed: of every random choice.
        progress: called regularly with the step and the mean loss since the last call.
        normalise: first set the normalisation of the statistics from the clips.
        device: torch device.

    Returns:
        A new head in evaluation mode, on the CPU.
    """
    head, offsets = fit_head(
        start, steps, labels, settings, seed, progress, normalise=normalise, device=device
    )
    if settings.support:
        regressor = fit_regressor(head, steps, labels, offsets, settings, seed)
        if regressor is not None:
            spread = mean_spread(head, steps[0])
            head.attach_regressor(regressor, torch.from_numpy(spread))
    return head


def fit_head(
    start: RegressionHead,
    steps: NDArray[np.float16],
    labels: Labels,
    settings: FitSettings,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    *,
    normalise: bool = True,
    device: str = "cpu",
) -> tuple[RegressionHead, dict[str, NDArray[np.float32]]]:
    """Fit a head by gradient descent; arguments as for `fit`.

    Returns:
        The head with the running average of the weights, and by scale the offset of its labels
        (valence, arousal), float32 [2].
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = copy.deepcopy(start).to(device)
    versions = [torch.from_numpy(version).to(device) for version in steps]
    values = torch.from_numpy(labels.values).to(device)
    signs = torch.from_numpy(labels.signs).to(device).float()
    names, scale = np.unique(labels.scales, return_inverse=True)
    scales = torch.from_numpy(scale).to(device)
    offsets = torch.zeros(len(names), len(DIMENSIONS), device=device)
    learnt = torch.tensor([bool(name) for name in names.tolist()], device=device)
    probabilities = labels.weights / labels.weights.sum()
    if normalise:
        _set_statistics_normalisation(head, versions[0])
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
        pick = rng.choice(len(labels), settings.batch, p=probabilities)
        first, last = _random_window(rng)
        original = len(versions) == 1 or rng.random() < settings.original_share
        version = versions[0 if original else int(rng.integers(1, len(versions)))]
        logits = head(version[pick, first:last].float())
        truth = values[pick, last - 1]
        loss = _loss(head, logits, truth - offsets[scales[pick]], signs[pick], settings)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), _MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        if step > settings.warmup * settings.steps:
            _update_offsets(offsets, learnt, scales[pick], truth - _expectation(head, logits))
        _update_average(average, head, min(settings.averaging, step / (step + 10)))
        losses.append(loss.item())
        if progress is not None and (step % 100 == 0 or step == settings.steps):
            progress(step, float(np.mean(losses)))
            losses = []
    found = {str(name): offsets[row].cpu().numpy() for row, name in enumerate(names) if name}
    return average.to("cpu").eval(), found


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


def _expectation(head: RegressionHead, logits: Tensor) -> Tensor:
    """Return the values [B, scores] of logits [B, scores, bins]."""
    values: Tensor = torch.softmax(logits, dim=2) @ head.bins
    return values


def _loss(
    head: RegressionHead, logits: Tensor, truth: Tensor, signs: Tensor, settings: FitSettings
) -> Tensor:
    """Return the mean loss of a batch.

    A number costs the cross entropy with a Gaussian target plus the expectation's squared error. A
    sign costs its negative log probability plus the squared distance of the expectation from the
    margin.

    Args:
        head: gives the bin centres.
        logits: [B, scores, bins].
        truth: [B, scores]; NaN where unknown.
        signs: [B, scores]; 0 where unknown. Ignored where there is a number.
        settings: target width, margin and weight of the squared error.
    """
    centres = head.bins
    log_probability = functional.log_softmax(logits, dim=2)
    probability = log_probability.exp()
    expectation = probability @ centres
    known = ~truth.isnan()
    value = torch.where(known, truth, 0.0)
    target = functional.softmax(
        -((centres - value.unsqueeze(2)) ** 2) / (2 * settings.target_std**2), dim=2
    )
    number_loss = (
        -(target * log_probability).sum(2)
        + settings.squared_error_weight * (expectation - value) ** 2
    )
    above = (probability * ((centres > 1e-6) + 0.5 * (centres.abs() <= 1e-6))).sum(2)
    right = torch.where(signs > 0, above, 1 - above).clamp(min=1e-4)
    short = functional.relu(settings.margin - signs * expectation)
    sign_loss = -torch.log(right) + settings.squared_error_weight * short**2
    loss = torch.where(known, number_loss, torch.where(signs != 0, sign_loss, 0.0))
    return loss.mean()


@torch.no_grad()
def _update_offsets(offsets: Tensor, learnt: Tensor, scales: Tensor, residuals: Tensor) -> None:
    """Move the offsets [scales, 2] towards the residuals [B, 2] of a batch; NaN where unknown."""
    for row in scales.unique().tolist():
        if not learnt[row]:
            continue
        rows = residuals[scales == row]
        rows = rows[~rows.isnan().any(1)]
        if len(rows):
            rate = _OFFSET_RATE * len(rows) / (len(rows) + _OFFSET_CLIPS)
            offsets[row] += rate * (rows.mean(0) - offsets[row])


@torch.no_grad()
def _set_statistics_normalisation(head: RegressionHead, steps: Tensor) -> None:
    """Set the mean and deviation of the window statistics to those of clips [n, 20, E]."""
    rows = [
        head.statistics(part[:, :last].float())
        for last in (FIRST_SCORED_STEP, (FIRST_SCORED_STEP + CLIP_STEPS) // 2, CLIP_STEPS)
        for part in steps.split(512)
    ]
    together = torch.cat(rows)
    head.statistic_mean.copy_(together.mean(0))
    head.statistic_std.copy_(together.std(0) + 1e-3)


@torch.no_grad()
def _update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    for running, current in zip(average.parameters(), module.parameters(), strict=True):
        running.lerp_(current, 1 - decay)
