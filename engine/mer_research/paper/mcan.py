"""MCAN: modularized composite attention network (Zhang et al., Multimedia Tools Appl. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Attention, Regressor


class CompositeAttention(Regressor):
    """Modules of feature gates, convolutions and self-attention.

    From its title and the works that cite it: a modular network for continuous emotion that
    combines several kinds of attention.
    Guessed, because its text was not available: everything else. Each of two modules has a feature
    gate (squeeze and excitation), a convolution over neighbouring steps in parallel with
    self-attention over all steps, and a residual connection. Attention over time pools the steps.
    """

    def __init__(self, columns: int, width: int = 64) -> None:
        super().__init__()
        self.project = nn.Linear(columns, width)
        self.blocks = nn.Sequential(_Module(width), _Module(width))
        self.time_attention = nn.Linear(width, 1)
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, windows: Tensor) -> Tensor:
        """Predict values [B] from windows [B, lag, columns]."""
        x = self.blocks(functional.relu(self.project(windows)))
        weights = torch.softmax(self.time_attention(x), dim=1)
        return self.out((weights * x).sum(1)).squeeze(1)


class _Module(nn.Module):
    """One module; maps [B, L, width] to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid()
        )
        self.convolution = nn.Conv1d(width, width, 3, padding=1)
        self.attention = Attention(width, 4, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        gated = x * self.gate(x.mean(1, keepdim=True))
        local = functional.relu(self.convolution(gated.mT).mT)
        return self.norm(x + local + self.attention(gated))
