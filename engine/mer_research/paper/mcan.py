"""MCAN: modularized composite attention network (Zhang et al., Multimedia Tools Appl. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Attention, Regressor


class CompositeAttention(Regressor):
    """Attention over features, within and between steps, in modules.

    Theirs, as far as its title and the works that cite it tell: a network for continuous emotion
    made of modules, with several kinds of attention composed.
    Guessed, since its text was not at hand: everything else. Each of two modules has a gate over
    features (squeeze and excitation), a convolution over neighbouring steps and self-attention over
    all steps beside each other, and a residual connection; attention over time reads the value.
    """

    def __init__(self, columns: int, width: int = 64) -> None:
        super().__init__()
        self.enter = nn.Linear(columns, width)
        self.modules_in_turn = nn.Sequential(_Module(width), _Module(width))
        self.when = nn.Linear(width, 1)
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, windows: Tensor) -> Tensor:
        """Read [B, lag, columns]; gives [B]."""
        x = self.modules_in_turn(functional.relu(self.enter(windows)))
        weights = torch.softmax(self.when(x), dim=1)
        return self.out((weights * x).sum(1)).squeeze(1)


class _Module(nn.Module):
    """One module, [B, L, width] to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid()
        )
        self.near = nn.Conv1d(width, width, 3, padding=1)
        self.far = Attention(width, 4, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        gated = x * self.gate(x.mean(1, keepdim=True))
        return self.norm(x + functional.relu(self.near(gated.mT).mT) + self.far(gated))
