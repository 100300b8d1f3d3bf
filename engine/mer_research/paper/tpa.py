"""TPA-BiLSTM: temporal pattern attention (Shih, Sun and Lee, Machine Learning 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_research.paper.regressor import Regressor


class TemporalPatternAttention(Regressor):
    """Attention over the rows of a recurrent network's states instead of over its steps.

    Theirs: the hidden states of the steps before the last are filtered along time, one value for
    each unit and filter; each unit's row is scored against the last state through a bilinear form
    and a sigmoid (several rows may matter at once); the weighted sum of the rows joins the last
    state, and a linear layer reads the value.
    Guessed: that BiLSTM means both directions' states side by side; 64 units, 32 filters; no
    autoregressive part, since the paper predicts a label, not the next input.
    """

    def __init__(self, columns: int, lag: int, hidden: int = 64, filters: int = 32) -> None:
        super().__init__()
        width = 2 * hidden
        self.lstm = nn.LSTM(columns, hidden, batch_first=True, bidirectional=True)
        # Of a window of one step there is nothing before the last: it is its own past.
        self.filter = nn.Linear(max(1, lag - 1), filters)
        self.match = nn.Linear(width, filters, bias=False)
        self.of_last = nn.Linear(width, width)
        self.of_rows = nn.Linear(filters, width, bias=False)
        self.out = nn.Linear(width, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Read [B, lag, columns]; gives [B]."""
        states, (last, _) = self.lstm(windows)
        last = last.transpose(0, 1).flatten(1)
        past = states[:, :-1] if states.shape[1] > 1 else states
        rows = self.filter(past.mT)  # [B, width, filters]
        weights = torch.sigmoid((rows @ self.match(last).unsqueeze(2)).squeeze(2))
        found = (weights.unsqueeze(1) @ rows).squeeze(1)
        return self.out(self.of_last(last) + self.of_rows(found)).squeeze(1)
