"""Base class of the methods that are trained on windows, and a shared attention layer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional


class Regressor(nn.Module):
    """Predicts a value from a window.

    `forward` maps float32 [B, lag, columns] to float32 [B], 0 to 1.
    """

    def loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss; by default the mean squared error."""
        return functional.mse_loss(self(windows), labels)

    def validation_loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Return the loss for early stopping; by default the mean squared error."""
        return functional.mse_loss(self(windows), labels)

    def finish(self, windows: Callable[[Tensor], Tensor], labels: Tensor, seed: int) -> None:
        """Run once after training; does nothing by default.

        Args:
            windows: returns training windows by index.
            labels: float32 [n], of all training windows.
            seed: random seed.
        """


class Attention(nn.Module):
    """Multi-head self-attention with few key channels, projected back to the input width."""

    def __init__(self, width: int, heads: int, channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.keys = nn.Linear(width, 3 * channels)
        self.out = nn.Linear(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the steps of [B, L, width]; return the same shape."""
        parts = self.keys(x).chunk(3, dim=2)
        queries, keys, values = (p.unflatten(2, (self.heads, -1)).transpose(1, 2) for p in parts)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        return self.out(attended.transpose(1, 2).flatten(2))
