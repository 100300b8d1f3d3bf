"""Training of a method on windows, within a budget that all compared methods share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer_research.paper.protocols import Windows
from mer_research.paper.regressor import Regressor

_EVALUATION_BATCH = 1024
_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Training settings.

    Attributes:
        epochs: maximum number of epochs.
        batch: windows in a batch.
        rate: Adam's learning rate.
        halve_every: epochs after which the learning rate is halved; 0 keeps it constant.
        noise: standard deviation of Gaussian noise on the scaled input.
        patience: epochs without a lower validation loss after which training stops.
    """

    epochs: int
    batch: int = 168
    rate: float = 0.004
    halve_every: int = 2
    noise: float = 0.0
    patience: int = 6


@dataclass(frozen=True, eq=False)
class Fitted:
    """Result of a training run.

    Attributes:
        predictions: by part, float32 [n] in the order of its windows.
        epochs: epochs that were run.
        best_epoch: the epoch with the lowest validation loss, from 1.
    """

    predictions: dict[str, NDArray[np.float32]]
    epochs: int
    best_epoch: int


class WindowData:
    """Windows as tensors, cut from the steps one batch at a time."""

    def __init__(self, steps: NDArray[np.float32], windows: Windows) -> None:
        self.steps = torch.from_numpy(np.ascontiguousarray(steps))
        self.first = torch.from_numpy(windows.first)
        self.labels = torch.from_numpy(windows.labels)
        self.within = torch.arange(windows.lag)

    def at(self, indices: Tensor) -> Tensor:
        """Return the windows of int64 indices [n] as float32 [n, lag, columns]."""
        return self.steps[self.first[indices].unsqueeze(1) + self.within]


def fit(
    model: Regressor,
    data: WindowData,
    parts: Mapping[str, NDArray[np.int64]],
    budget: Budget,
    seed: int,
) -> Fitted:
    """Train a model in place and keep the state with the lowest validation loss.

    Args:
        model: the model.
        data: all windows.
        parts: window indices of "train", "validation" and "test".
        budget: training settings.
        seed: of the order, the noise and the dropout.
    """
    torch.manual_seed(seed)
    indices = {name: torch.from_numpy(part) for name, part in parts.items()}
    optimiser = torch.optim.Adam(model.parameters(), lr=budget.rate)
    best, best_epoch, best_state, epoch = float("inf"), 0, copy.deepcopy(model.state_dict()), 0
    for epoch in range(1, budget.epochs + 1):
        if budget.halve_every:
            for group in optimiser.param_groups:
                group["lr"] = budget.rate * 0.5 ** ((epoch - 1) // budget.halve_every)
        model.train()
        order = indices["train"][torch.randperm(len(indices["train"]))]
        for batch in order.split(budget.batch):
            if len(batch) < 2 <= len(order):
                continue  # batch norm needs two windows
            windows = data.at(batch)
            if budget.noise:
                windows = windows + budget.noise * torch.randn_like(windows)
            optimiser.zero_grad()
            model.loss(windows, data.labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
            optimiser.step()
        loss = _validation_loss(model, data, indices["validation"])
        if loss < best:
            best, best_epoch = loss, epoch
            best_state = copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= budget.patience:
            break
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        train = indices["train"]
        model.finish(lambda rows: data.at(train[rows]), data.labels[train], seed)
        predictions = {
            name: torch.cat([model(data.at(b)) for b in part.split(_EVALUATION_BATCH)]).numpy()
            for name, part in indices.items()
        }
    return Fitted(predictions, epoch, best_epoch)


def _validation_loss(model: Regressor, data: WindowData, indices: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        losses = [
            float(model.validation_loss(data.at(batch), data.labels[batch])) * len(batch)
            for batch in indices.split(_EVALUATION_BATCH)
        ]
    return sum(losses) / len(indices)
