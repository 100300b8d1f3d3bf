"""What every method that is fitted on windows has in common."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional


class Regressor(nn.Module):
    """Reads a value from a window.

    `forward` takes float32 [B, lag, columns] and gives float32 [B], 0 to 1.
    """

    def loss(self, windows: Tensor, labels: Tensor) -> Tensor:
        """What the fitting makes small: here the mean squared error."""
        return functional.mse_loss(self(windows), labels)

    def watch(self, windows: Tensor, labels: Tensor) -> Tensor:
        """What decides on the validation part when to stop: here the mean squared error."""
        return functional.mse_loss(self(windows), labels)

    def finish(self, windows: Callable[[Tensor], Tensor], labels: Tensor, seed: int) -> None:
        """Called once when the fitting is over; here nothing is left to do.

        Args:
            windows: gives some of the training windows, by their places among them.
            labels: float32 [n], of all of them.
            seed: of everything left to chance.
        """


class Attention(nn.Module):
    """Multi-head self-attention with few key channels, and back to the width it came from."""

    def __init__(self, width: int, heads: int, channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.keys = nn.Linear(width, 3 * channels)
        self.out = nn.Linear(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within [B, L, width]; gives the same shape."""
        parts = self.keys(x).chunk(3, dim=2)
        queries, keys, values = (p.unflatten(2, (self.heads, -1)).transpose(1, 2) for p in parts)
        found = functional.scaled_dot_product_attention(queries, keys, values)
        return self.out(found.transpose(1, 2).flatten(2))
