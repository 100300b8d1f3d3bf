"""The settings of a pipeline and the audio formats that it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from realtime_mer.core.ticks import TICKS_PER_SECOND
from realtime_mer.errors import UserError

MIN_HOP_S = 0.1
MAX_HOP_S = 1.0
# Levels are at least this; digital silence has it too.
MIN_LEVEL_DB = -120.0
MIN_SAMPLE_RATE_HZ = 8_000
MAX_SAMPLE_RATE_HZ = 192_000
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Settings of a pipeline.

    Attributes:
        hop_s: seconds between estimates, 0.1 to 1.0 in steps of 0.1.
        lag_order: length of the lag window in steps of 0.5 s; None for the model's default.
        silence_db: RMS level (dBFS) below which a second of audio counts as silence, -120 to 0.

    Raises:
        UserError: a value is out of range.
    """

    hop_s: float = 1.0
    lag_order: int | None = None
    silence_db: float = -60.0

    def __post_init__(self) -> None:
        ticks = self.hop_s * TICKS_PER_SECOND
        if not (MIN_HOP_S - 1e-9 <= self.hop_s <= MAX_HOP_S + 1e-9):
            raise UserError(
                f"the hop is {self.hop_s} s; it must be between {MIN_HOP_S} and {MAX_HOP_S} s"
            )
        if abs(ticks - round(ticks)) > 1e-6:
            lower, upper = math.floor(ticks), math.ceil(ticks)
            raise UserError(
                f"the hop is {self.hop_s} s; it must be a multiple of 0.1 s: "
                f"use {lower / TICKS_PER_SECOND:.1f} or {upper / TICKS_PER_SECOND:.1f}"
            )
        if self.lag_order is not None and self.lag_order < 1:
            raise UserError(
                f"the lag order is {self.lag_order}; it must be at least 1 step of 0.5 s"
            )
        if not MIN_LEVEL_DB <= self.silence_db <= 0.0:
            raise UserError(
                f"the silence level is {self.silence_db} dB; it must be between -120 and 0 dBFS"
            )

    @property
    def hop_ticks(self) -> int:
        """The hop in ticks of 0.1 s."""
        return round(self.hop_s * TICKS_PER_SECOND)


def check_format(sample_rate_hz: int, channels: int) -> None:
    """Check that a pipeline takes an audio format.

    Raises:
        UserError: the sample rate or the number of channels is out of range.
    """
    if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise UserError(
            f"the sample rate is {sample_rate_hz} Hz; it must be between "
            f"{MIN_SAMPLE_RATE_HZ} and {MAX_SAMPLE_RATE_HZ} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise UserError(
            f"the input has {channels} channels; the number must be between 1 and {MAX_CHANNELS}"
        )
