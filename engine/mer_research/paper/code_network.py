"""The network as the paper's public code has it, and its ablations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_research.paper.regressor import Attention, Regressor

DILATIONS = (1, 2, 4)
# By dimension, the kernels of the two branches.
KERNELS = {"arousal": (10, 5), "valence": (15, 6)}


@dataclass(frozen=True, slots=True)
class CodeNetworkConfig:
    """Sizes, as in the public code unless an experiment changes them.

    Attributes:
        kernels: of the two branches of a block, half seconds.
        channels: of the convolutions.
        hidden: units of each direction of both BiLSTM layers.
        heads, keys: of the self-attention; all heads together have `keys` channels.
        dropout: after each BiLSTM layer.
        cnn, lstm: False leaves the part out.
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

    From the public code: the blocks' two branches (convolution, batch norm, ELU, max pooling; two
    convolutions with layer norm and ELU), their concatenation added to the skip connection,
    dilations 1, 2 and 4, all sizes, and that the second BiLSTM layer keeps its last step alone, so
    that the attention after it has one step to attend to and is a linear map.
    Guessed: causal padding, pooling over three steps with stride 1, a 1 x 1 convolution that brings
    the two branches back to the number of channels; for the ablations, which the code does not
    hold, that each part is left out and nothing put in its place: without BiLSTM the attention
    sees all steps and their mean is read.
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
        """Read [B, lag, columns]; gives [B]."""
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
        self.again = CausalConvolution(channels, channels, short, dilation)
        self.again_norm = nn.LayerNorm(channels)
        self.join = nn.Conv1d(2 * channels, channels, 1)
        self.skip = nn.Conv1d(inputs, channels, 1) if inputs != channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, inputs, L] to [B, channels, L]."""
        long = functional.elu(self.long_norm(self.long(x)))
        long = functional.max_pool1d(functional.pad(long, (2, 0), value=-1.0), 3, 1)
        short = functional.elu(self.short_norm(self.short(x).mT).mT)
        short = functional.elu(self.again_norm(self.again(short).mT).mT)
        return self.join(torch.cat([long, short], dim=1)) + self.skip(x)


class CausalConvolution(nn.Module):
    """A convolution over time that looks back only, of any length of input."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, inputs, L] to [B, outputs, L]."""
        # Taps that reach before the window meet nothing but padding: they are not computed.
        taps = min(self.convolve.kernel_size[0], (x.shape[2] - 1) // self.dilation + 1)
        weight = self.convolve.weight[:, :, -taps:]
        padded = functional.pad(x, ((taps - 1) * self.dilation, 0))
        return functional.conv1d(padded, weight, self.convolve.bias, dilation=self.dilation)
