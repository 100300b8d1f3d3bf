"""TNN+SVR: a triplet network before a support vector machine (Cheuk et al., IJCNN 2020)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Regressor

EMBEDDING = 26  # a tenth of the 260 descriptors
_MARGIN = 0.2
_MOST = 6000


class TripletRegressor(Regressor):
    """Learns a small space in which near means like labels; support vectors read the value there.

    Theirs: a triplet network made to serve regression by choosing, of two examples, the one with
    the nearer label as the positive one; a space of a tenth of the features; support vector
    regression in it.
    Guessed: the input (mean and standard deviation of the window's features, since theirs were of
    whole excerpts), one hidden layer of 256 units, a margin of 0.2, random triplets within the
    batch, and of the support vector machine a radial kernel, C = 1 and a tube of 0.03; it is fitted
    on 6,000 training windows at most.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(2 * columns, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, EMBEDDING)
        )
        self.reader: Any = None

    def forward(self, windows: Tensor) -> Tensor:
        """Read [B, lag, columns]; gives [B]; only after `finish`."""
        values = self.reader.predict(self._place(windows).detach().numpy())
        return torch.from_numpy(np.asarray(values, np.float32))

    def loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Triplet loss over random triplets of the batch."""
        return self._triplets(windows, labels, torch.randperm(len(labels)))

    def watch(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Triplet loss over triplets that stay the same."""
        still = torch.Generator().manual_seed(0)
        return self._triplets(windows, labels, torch.randperm(len(labels), generator=still))

    def finish(self, windows: Callable[[Tensor], Tensor], labels: Tensor, seed: int) -> None:
        """Fit the support vector machine."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        rows = np.random.default_rng(seed).permutation(len(labels))[:_MOST]
        points = self._place(windows(torch.from_numpy(rows))).detach().numpy()
        self.reader = make_pipeline(StandardScaler(), SVR(C=1.0, epsilon=0.03))
        self.reader.fit(points, labels.numpy()[rows])

    def _place(self, windows: Tensor) -> Tensor:
        parts = [windows.mean(1), windows.std(1, correction=0)]
        return self.embed(torch.cat(parts, dim=1))

    def _triplets(self, windows: Tensor, labels: Tensor, order: Tensor) -> Tensor:
        places = functional.normalize(self._place(windows), dim=1)
        other, third = order, order.roll(1)
        nearer = (labels[other] - labels).abs() <= (labels[third] - labels).abs()
        like = torch.where(nearer.unsqueeze(1), places[other], places[third])
        unlike = torch.where(nearer.unsqueeze(1), places[third], places[other])
        return functional.triplet_margin_loss(places, like, unlike, margin=_MARGIN)
