"""TPA-BiLSTM: temporal pattern attention (Shih, Sun and Lee, Machine Learning 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_research.paper.regressor import Regressor


class TemporalPatternAttention(Regressor):
    """Attention over the units of a recurrent network instead of over its steps.

    From the publication: the hidden states before the last step are filtered along time, which
    gives one row per unit with one value per filter. A bilinear form and a sigmoid score each row
    against the last state. The weighted sum of the rows is added to the last state, and a linear
    layer maps the sum to the value.
    Guessed: the states of both directions are concatenated; 64 units, 32 filters; no
    autoregressive part, because the paper predicts a label and not the next input.
    """

    def __init__(self, columns: int, lag: int, hidden: int = 64, filters: int = 32) -> None:
        super().__init__()
        width = 2 * hidden
        self.lstm = nn.LSTM(columns, hidden, batch_first=True, bidirectional=True)
        # A window of one step has no earlier states: the last state replaces them.
        self.filter = nn.Linear(max(1, lag - 1), filters)
        self.score = nn.Linear(width, filters, bias=False)
        self.project_last = nn.Linear(width, width)
        self.project_context = nn.Linear(filters, width, bias=False)
        self.out = nn.Linear(width, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Predict values [B] from windows [B, lag, columns]."""
        states, (last, _) = self.lstm(windows)
        last = last.transpose(0, 1).flatten(1)
        past = states[:, :-1] if states.shape[1] > 1 else states
        rows = self.filter(past.mT)  # [B, width, filters]
        weights = torch.sigmoid((rows @ self.score(last).unsqueeze(2)).squeeze(2))
        context = (weights.unsqueeze(1) @ rows).squeeze(1)
        return self.out(self.project_last(last) + self.project_context(context)).squeeze(1)
