"""The settings of a pipeline and the audio formats that it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from mer_engine import ModelInfo

from realtime_mer.core.ticks import TICKS_PER_SECOND
from realtime_mer.errors import UserError

MIN_HOP_S = 0.1
MAX_HOP_S = 1.0
# Levels are at least this; digital silence has it too.
MIN_LEVEL_DB = -120.0
MIN_SAMPLE_RATE_HZ = 8_000
MAX_SAMPLE_RATE_HZ = 192_000
MAX_CHANNELS = 64
# Values beyond this are no audio: 24 dB above full scale, which hot mixes and peaks between samples
# stay far below, and integers that were taken for floating-point numbers reach at once.
MAX_SAMPLE = 16.0


class Range(StrEnum):
    """The range of values that moods and displays use."""

    RAW = "raw"  # the model's own
    MUSIC = "music"  # from the calmest to the most excited twentieth of music at large


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Settings of a pipeline.

    Attributes:
        hop_s: seconds between estimates, 0.1 to 1.0 in steps of 0.1.
        lag_order: length of the lag window in steps of 0.5 s; None for the model's default.
        silence_db: RMS level (dBFS) below which a second of audio counts as silence, -120 to 0.
        value_range: of the mood and of `scaled`; None for `music` where the model has a
            distribution, else `raw`.
        adapt: move the range `music` slowly towards the stream's own values.

    Raises:
        UserError: a value is out of range.
    """

    hop_s: float = 1.0
    lag_order: int | None = None
    silence_db: float = -60.0
    value_range: Range | None = None
    adapt: bool = False

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
        if self.adapt and self.value_range is Range.RAW:
            raise UserError("raw values do not adapt; use the range music, or leave out adapt")

    @property
    def hop_ticks(self) -> int:
        """The hop in ticks of 0.1 s."""
        return round(self.hop_s * TICKS_PER_SECOND)

    def range_of(self, info: ModelInfo) -> Range:
        """Return the range with a model.

        Raises:
            UserError: the settings need a distribution, which the model file has not.
        """
        if info.distribution:
            return self.value_range or Range.MUSIC
        if self.value_range is Range.MUSIC or self.adapt:
            wish = "the range music" if self.value_range is Range.MUSIC else "adapt"
            raise UserError(
                f"the model {info.name} has no distribution of its values over music, which "
                f"{wish} needs; use the range raw without adapt, or another model"
            )
        return Range.RAW


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
