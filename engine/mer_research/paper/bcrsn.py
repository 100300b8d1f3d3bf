"""BCRSN: bidirectional convolutional recurrent sparse network (Dong et al., IEEE TMM 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Regressor

_L1_WEIGHT = 1e-4
_TARGET_SLOPE = 20.0


class SparseRecurrentNetwork(Regressor):
    """Convolutions within each step, a sparse layer, a BiLSTM and several binary classifiers.

    From the publication: convolutional and bidirectional recurrent layers over a time-frequency
    image, a Lasso that selects features, and the weighted hybrid binary representation, which turns
    regression into a weighted combination of binary classifications.
    Guessed, because only the abstract was available: the image is the table of descriptors,
    filtered along its columns; 8 filters of 9 columns; a sparse layer of 64 units with an L1
    penalty; 64 units per direction; ten classifiers "value above threshold?" with evenly spaced
    thresholds and soft targets; the output is their mean with learnt weights.
    """

    thresholds: Tensor

    def __init__(
        self, columns: int, filters: int = 8, width: int = 64, classifiers: int = 10
    ) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, filters, 9, stride=4, padding=4)
        positions = (columns - 1) // 4 + 1
        self.sparse = nn.Linear(filters * positions, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.classify = nn.Linear(2 * width, classifiers)
        self.weights = nn.Parameter(torch.zeros(classifiers))
        self.register_buffer("thresholds", (torch.arange(classifiers) + 0.5) / classifiers)

    def forward(self, windows: Tensor) -> Tensor:
        """Predict values [B] from windows [B, lag, columns]."""
        return self._combine(torch.sigmoid(self._logits(windows)))

    def loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Return classifier cross-entropy + squared error of the value + L1 penalty."""
        logits = self._logits(windows)
        targets = torch.sigmoid(_TARGET_SLOPE * (labels.unsqueeze(1) - self.thresholds))
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets)
        squared_error = functional.mse_loss(self._combine(torch.sigmoid(logits)), labels)
        return cross_entropy + squared_error + _L1_WEIGHT * self.sparse.weight.abs().sum()

    def _logits(self, windows: Tensor) -> Tensor:
        batch, lag, _ = windows.shape
        maps = functional.relu(self.filters(windows.flatten(0, 1).unsqueeze(1)))
        x = functional.relu(self.sparse(maps.flatten(1))).unflatten(0, (batch, lag))
        _, (last, _) = self.lstm(x)
        return self.classify(self.dropout(last.transpose(0, 1).flatten(1)))

    def _combine(self, probabilities: Tensor) -> Tensor:
        return probabilities @ torch.softmax(self.weights, dim=0)
