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
_MAX_ROWS = 6000


class TripletRegressor(Regressor):
    """An embedding trained with a triplet loss, and support vector regression on it.

    From the publication: a triplet network for regression, in which the positive example is the one
    with the closer label; an embedding of a tenth of the features; support vector regression.
    Guessed: the input (mean and standard deviation of the features of a window; the original uses
    features of whole excerpts), one hidden layer of 256 units, a margin of 0.2, random triplets
    within the batch, and the settings of the support vector machine: a radial kernel, C = 1, an
    epsilon of 0.03, and at most 6,000 training windows.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(2 * columns, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, EMBEDDING)
        )
        self.svr: Any = None

    def forward(self, windows: Tensor) -> Tensor:
        """Predict values [B] from windows [B, lag, columns]; only after `finish`."""
        values = self.svr.predict(self._embed(windows).detach().numpy())
        return torch.from_numpy(np.asarray(values, np.float32))

    def loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Return the triplet loss over random triplets of the batch."""
        return self._triplets(windows, labels, torch.randperm(len(labels)))

    def validation_loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Return the triplet loss over the same triplets in each call."""
        generator = torch.Generator().manual_seed(0)
        return self._triplets(windows, labels, torch.randperm(len(labels), generator=generator))

    def finish(self, windows: Callable[[Tensor], Tensor], labels: Tensor, seed: int) -> None:
        """Fit the support vector machine."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        rows = np.random.default_rng(seed).permutation(len(labels))[:_MAX_ROWS]
        embeddings = self._embed(windows(torch.from_numpy(rows))).detach().numpy()
        self.svr = make_pipeline(StandardScaler(), SVR(C=1.0, epsilon=0.03))
        self.svr.fit(embeddings, labels.numpy()[rows])

    def _embed(self, windows: Tensor) -> Tensor:
        parts = [windows.mean(1), windows.std(1, correction=0)]
        return self.embed(torch.cat(parts, dim=1))

    def _triplets(self, windows: Tensor, labels: Tensor, order: Tensor) -> Tensor:
        anchor = functional.normalize(self._embed(windows), dim=1)
        first, second = order, order.roll(1)
        closer = ((labels[first] - labels).abs() <= (labels[second] - labels).abs()).unsqueeze(1)
        positive = torch.where(closer, anchor[first], anchor[second])
        negative = torch.where(closer, anchor[second], anchor[first])
        return functional.triplet_margin_loss(anchor, positive, negative, margin=_MARGIN)
