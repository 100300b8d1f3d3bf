"""The network of the paper's public code, and its ablations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Attention, Regressor

DILATIONS = (1, 2, 4)
# Kernel sizes of the two branches, by dimension.
KERNELS = {"arousal": (10, 5), "valence": (15, 6)}


@dataclass(frozen=True, slots=True)
class CodeNetworkConfig:
    """Layer sizes; the defaults are those of the public code.

    Attributes:
        kernels: kernel sizes of the two branches of a block, half seconds.
        channels: convolution channels.
        hidden: units per direction of both BiLSTM layers.
        heads, keys: self-attention heads, and key channels over all heads.
        dropout: dropout rate after each BiLSTM layer.
        cnn, lstm: whether the network has this part.
    """

    kernels: tuple[int, int] = KERNELS["arousal"]
    channels: int = 20
    hidden: int = 100
    heads: int = 3
    keys: int = 6
    dropout: float = 0.3
    cnn: bool = True
    lstm: bool = True


class CodeNetwork(Regressor):
    """Three residual blocks, two BiLSTM layers, self-attention, one linear unit, tanh.

    From the public code: the two branches of a block (convolution, batch norm, ELU, max pooling;
    two convolutions with layer norm and ELU), their concatenation added to the skip connection,
    dilations 1, 2 and 4, and all sizes. The second BiLSTM layer returns its last step only, so the
    attention after it sees one step and is a linear map.
    Guessed: causal padding, pooling over three steps with stride 1, and a 1 x 1 convolution that
    maps the two branches back to the number of channels. The public code has no ablations; here a
    part is removed without a replacement. Without the BiLSTM, the attention sees all steps and its
    output is averaged over them.
    """

    def __init__(self, columns: int, config: CodeNetworkConfig) -> None:
        super().__init__()
        self.config = config
        width = columns
        self.blocks = nn.Sequential()
        if config.cnn:
            for dilation in DILATIONS:
                self.blocks.append(ResidualBlock(width, config.channels, config.kernels, dilation))
                width = config.channels
        if config.lstm:
            self.first = nn.LSTM(width, config.hidden, batch_first=True, bidirectional=True)
            width = 2 * config.hidden
            self.second = nn.LSTM(width, config.hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.dropout)
        self.attention = Attention(width, config.heads, config.keys)
        self.out = nn.Linear(width, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Predict values [B] from windows [B, lag, columns]."""
        x = self.blocks(windows.mT).mT
        if self.config.lstm:
            x, _ = self.first(x)
            _, (last, _) = self.second(self.dropout(x))
            x = last.transpose(0, 1).flatten(1).unsqueeze(1)
        x = self.attention(self.dropout(x))
        return torch.tanh(self.out(x.mean(1))).squeeze(1)


class ResidualBlock(nn.Module):
    """Two parallel branches over time, concatenated and added to the skip connection."""

    def __init__(self, inputs: int, channels: int, kernels: tuple[int, int], dilation: int) -> None:
        super().__init__()
        long, short = kernels
        self.long = CausalConvolution(inputs, channels, long, dilation)
        self.long_norm = nn.BatchNorm1d(channels)
        self.short = CausalConvolution(inputs, channels, short, dilation)
        self.short_norm = nn.LayerNorm(channels)
        self.second = CausalConvolution(channels, channels, short, dilation)
        self.second_norm = nn.LayerNorm(channels)
        self.join = nn.Conv1d(2 * channels, channels, 1)
        self.skip = nn.Conv1d(inputs, channels, 1) if inputs != channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, inputs, L] to [B, channels, L]."""
        long = functional.elu(self.long_norm(self.long(x)))
        long = functional.max_pool1d(functional.pad(long, (2, 0), value=-1.0), 3, 1)
        short = functional.elu(self.short_norm(self.short(x).mT).mT)
        short = functional.elu(self.second_norm(self.second(short).mT).mT)
        return self.join(torch.cat([long, short], dim=1)) + self.skip(x)


class CausalConvolution(nn.Module):
    """A causal convolution over time, for inputs of any length."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, inputs, L] to [B, outputs, L]."""
        # Taps that reach before the window see only zero padding: skip them.
        taps = min(self.convolve.kernel_size[0], (x.shape[2] - 1) // self.dilation + 1)
        weight = self.convolve.weight[:, :, -taps:]
        padded = functional.pad(x, ((taps - 1) * self.dilation, 0))
        return functional.conv1d(padded, weight, self.convolve.bias, dilation=self.dilation)
