"""Fit a method on windows, within a budget that is the same for all that are compared."""

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

_AT_ONCE = 1024
_LONGEST_STEP = 1.0  # of the gradient


@dataclass(frozen=True, slots=True)
class Budget:
    """How long and how a method is fitted.

    Attributes:
        epochs: at most so many.
        batch: windows in a batch.
        rate: Adam's learning rate.
        halve_every: epochs after which the rate is halved; 0 keeps it.
        noise: standard deviation of noise on the scaled input.
        patience: epochs without a better validation part after which the fitting ends.
    """

    epochs: int
    batch: int = 168
    rate: float = 0.004
    halve_every: int = 2
    noise: float = 0.0
    patience: int = 6


@dataclass(frozen=True, eq=False)
class Fitted:
    """What came of a fitting.

    Attributes:
        predictions: by part, float32 in the order of its windows.
        epochs: epochs that were run.
        best_epoch: the one that the validation part chose, from 1.
    """

    predictions: dict[str, NDArray[np.float32]]
    epochs: int
    best_epoch: int


class WindowData:
    """Windows as tensors, cut out of the steps batch by batch."""

    def __init__(self, steps: NDArray[np.float32], windows: Windows) -> None:
        self.steps = torch.from_numpy(np.ascontiguousarray(steps))
        self.first = torch.from_numpy(windows.first)
        self.labels = torch.from_numpy(windows.labels)
        self.within = torch.arange(windows.lag)

    def at(self, places: Tensor) -> Tensor:
        """The windows of some places, float32 [n, lag, columns]."""
        return self.steps[self.first[places].unsqueeze(1) + self.within]


def fit(
    model: Regressor,
    data: WindowData,
    parts: Mapping[str, NDArray[np.int64]],
    budget: Budget,
    seed: int,
) -> Fitted:
    """Fit a model; the state with the best validation part is kept.

    Args:
        model: is fitted in place.
        data: all windows.
        parts: places of the windows of "train", "validation" and "test".
        budget: how.
        seed: of the order, the noise and the dropout.
    """
    torch.manual_seed(seed)
    places = {name: torch.from_numpy(where) for name, where in parts.items()}
    optimiser = torch.optim.Adam(model.parameters(), lr=budget.rate)
    best, best_epoch, best_state, epoch = float("inf"), 0, copy.deepcopy(model.state_dict()), 0
    for epoch in range(1, budget.epochs + 1):
        if budget.halve_every:
            for group in optimiser.param_groups:
                group["lr"] = budget.rate * 0.5 ** ((epoch - 1) // budget.halve_every)
        model.train()
        order = places["train"][torch.randperm(len(places["train"]))]
        for batch in order.split(budget.batch):
            if len(batch) < 2 <= len(order):
                continue  # batch norm needs two
            windows = data.at(batch)
            if budget.noise:
                windows = windows + budget.noise * torch.randn_like(windows)
            optimiser.zero_grad()
            model.loss(windows, data.labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), _LONGEST_STEP)
            optimiser.step()
        watched = _watch(model, data, places["validation"])
        if watched < best:
            best, best_epoch = watched, epoch
            best_state = copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= budget.patience:
            break
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        train = places["train"]
        model.finish(lambda some: data.at(train[some]), data.labels[train], seed)
        predictions = {
            name: torch.cat([model(data.at(part)) for part in where.split(_AT_ONCE)]).numpy()
            for name, where in places.items()
        }
    return Fitted(predictions, epoch, best_epoch)


def _watch(model: Regressor, data: WindowData, places: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        losses = [
            float(model.watch(data.at(part), data.labels[part])) * len(part)
            for part in places.split(_AT_ONCE)
        ]
    return sum(losses) / len(places)
