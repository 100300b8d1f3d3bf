"""The network that the paper's text describes. It differs from the paper's public code."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Attention, Regressor

HIDDEN = 128


class DescribedNetwork(Regressor):
    """Multi-scale convolutions in residual blocks, BiLSTM, attention, softmax over scores.

    From the text: a first convolution; residual blocks H1 to H4 of convolution, batch norm and ReLU
    at several scales, with max pooling and a transition layer; a BiLSTM of 128 units; a fully
    connected layer; multi-head attention; feature weights from a small network; a softmax over
    sentiment scores, whose expectation is the output; noise on the input (see `Budget`).
    Guessed: two scales of 3 and 5 steps with 32 channels each; pooling with stride 1, so that short
    windows keep their steps; 128 units in the fully connected layer; 4 heads; the mean over the
    steps; 21 scores from 0 to 1; the squared error of the expectation as loss.
    """

    centres: Tensor

    def __init__(self, columns: int, channels: int = 32, scores: int = 21) -> None:
        super().__init__()
        width = 2 * channels
        self.stem = nn.Sequential(
            nn.Conv1d(columns, width, 3, padding=1), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(_ScaleBlock(width, channels) for _ in range(4)))
        self.transition = nn.Sequential(
            nn.Conv1d(width, width, 1), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(3, 1, 1)
        )
        self.lstm = nn.LSTM(width, HIDDEN, batch_first=True, bidirectional=True)
        self.full = nn.Linear(2 * HIDDEN, HIDDEN)
        self.attention = Attention(HIDDEN, 4, HIDDEN)
        self.feature_weights = nn.Sequential(
            nn.Linear(HIDDEN, 32), nn.Tanh(), nn.Linear(32, HIDDEN)
        )
        self.scores = nn.Linear(HIDDEN, scores)
        self.register_buffer("centres", torch.linspace(0, 1, scores))

    def forward(self, windows: Tensor) -> Tensor:
        """Predict values [B] from windows [B, lag, columns]."""
        x = self.transition(self.blocks(self.stem(windows.mT))).mT
        x, _ = self.lstm(x)
        x = functional.relu(self.full(x))
        x = (x + self.attention(x)).mean(1)
        x = x * torch.softmax(self.feature_weights(x), dim=1) * HIDDEN
        return torch.softmax(self.scores(x), dim=1) @ self.centres


class _ScaleBlock(nn.Module):
    """Parallel convolutions of two scales, with a residual connection."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Conv1d(width, channels, kernel, padding=kernel // 2) for kernel in (3, 5)
        )
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        parallel = torch.cat([scale(x) for scale in self.scales], dim=1)
        return functional.relu(x + self.norm(parallel))
