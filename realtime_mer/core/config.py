"""Settings of a pipeline, refused with a sentence where they cannot work."""

from __future__ import annotations

import math
from dataclasses import dataclass

from realtime_mer.errors import UserError

MIN_HOP_S = 0.1
MAX_HOP_S = 1.0
HOP_STEP_S = 0.1
MIN_SAMPLE_RATE_HZ = 8_000
MAX_SAMPLE_RATE_HZ = 192_000
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """How a pipeline listens.

    Attributes:
        hop_s: seconds between estimates, 0.1 to 1.0 in tenths.
        lag_order: length of the lag window in steps of 0.5 s; the model's own default where None.
        silence_db: a second that stays below this RMS level (dBFS) counts as silence, -120 to 0.

    Raises:
        UserError: a value lies outside its range.
    """

    hop_s: float = 1.0
    lag_order: int | None = None
    silence_db: float = -60.0

    def __post_init__(self) -> None:
        tenths = self.hop_s / HOP_STEP_S
        if not (MIN_HOP_S - 1e-9 <= self.hop_s <= MAX_HOP_S + 1e-9):
            raise UserError(
                f"the hop is {self.hop_s} s; it must lie between {MIN_HOP_S} and {MAX_HOP_S} s"
            )
        if abs(tenths - round(tenths)) > 1e-6:
            lower = math.floor(tenths) / 10
            raise UserError(
                f"the hop is {self.hop_s} s; it must be a whole number of tenths of a second: "
                f"take {max(lower, MIN_HOP_S):.1f} or {lower + HOP_STEP_S:.1f}"
            )
        if self.lag_order is not None and self.lag_order < 1:
            raise UserError(
                f"the lag order is {self.lag_order}; it must be at least 1 step of 0.5 s"
            )
        if not -120.0 <= self.silence_db <= 0.0:
            raise UserError(
                f"the silence level is {self.silence_db} dB; it must lie between -120 and 0 dBFS"
            )

    @property
    def hop_tenths(self) -> int:
        """The hop as a whole number of tenths of a second."""
        return round(self.hop_s / HOP_STEP_S)


def check_format(sample_rate_hz: int, channels: int) -> None:
    """Refuses an audio format that no pipeline can take.

    Raises:
        UserError: the rate or the channel count lies outside its range.
    """
    if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise UserError(
            f"the sample rate is {sample_rate_hz} Hz; it must lie between "
            f"{MIN_SAMPLE_RATE_HZ} and {MAX_SAMPLE_RATE_HZ} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise UserError(f"the input has {channels} channels; 1 to {MAX_CHANNELS} can be taken")
