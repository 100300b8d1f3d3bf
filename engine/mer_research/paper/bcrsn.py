"""BCRSN: bidirectional convolutional recurrent sparse network (Dong et al., IEEE TMM 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Regressor

_SPARSITY = 1e-4
_SHARPNESS = 20.0


class SparseRecurrentNetwork(Regressor):
    """Convolutions over each step, a sparse choice, both directions of time, many yes-no questions.

    Theirs: convolutional and recurrent layers in both directions over a time-frequency picture, a
    Lasso that chooses the features that matter, and the weighted hybrid binary representation,
    which turns regression into a weighted combination of binary classifications.
    Guessed, since its abstract alone was at hand: the picture is the table of descriptors, filtered
    along its columns in the order they have; 8 filters of 9 columns, a sparse layer of 64 units
    with an L1 penalty, 64 units a direction; ten questions "is the value above t?", evenly spaced,
    asked softly; the value is their weighted mean, with weights that are learnt.
    """

    thresholds: Tensor

    def __init__(
        self, columns: int, filters: int = 8, width: int = 64, questions: int = 10
    ) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, filters, 9, stride=4, padding=4)
        places = (columns - 1) // 4 + 1
        self.choose = nn.Linear(filters * places, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.ask = nn.Linear(2 * width, questions)
        self.weights = nn.Parameter(torch.zeros(questions))
        self.register_buffer("thresholds", (torch.arange(questions) + 0.5) / questions)

    def forward(self, windows: Tensor) -> Tensor:
        """Read [B, lag, columns]; gives [B]."""
        return self._combine(torch.sigmoid(self._answers(windows)))

    def loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the answers, squared error of the value, and the L1 penalty."""
        answers = self._answers(windows)
        wanted = torch.sigmoid(_SHARPNESS * (labels.unsqueeze(1) - self.thresholds))
        asked = functional.binary_cross_entropy_with_logits(answers, wanted)
        value = functional.mse_loss(self._combine(torch.sigmoid(answers)), labels)
        return asked + value + _SPARSITY * self.choose.weight.abs().sum()

    def _answers(self, windows: Tensor) -> Tensor:
        batch, lag, _ = windows.shape
        maps = functional.relu(self.filters(windows.flatten(0, 1).unsqueeze(1)))
        x = functional.relu(self.choose(maps.flatten(1))).unflatten(0, (batch, lag))
        _, (last, _) = self.lstm(x)
        return self.ask(self.dropout(last.transpose(0, 1).flatten(1)))

    def _combine(self, answers: Tensor) -> Tensor:
        return answers @ torch.softmax(self.weights, dim=0)
