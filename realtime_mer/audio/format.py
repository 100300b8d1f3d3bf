"""The format of decoded audio."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Sample rate and number of channels of float32 blocks.

    Attributes:
        sample_rate_hz: sample frames per second.
        channels: columns of every block.
    """

    sample_rate_hz: int
    channels: int
