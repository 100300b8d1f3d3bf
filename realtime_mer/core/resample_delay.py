"""How long the resampler keeps a sample."""

from __future__ import annotations

import functools
import math

import numpy as np

from realtime_mer.core.resample import StreamResampler


@functools.cache
def resample_delay(input_rate_hz: int, output_rate_hz: int) -> int:
    """Sample frames of input that must follow a moment before all of it has come out.

    Measured, because the library does not tell; it is the same for all streams of a rate.

    Args:
        input_rate_hz: 8,000 to 192,000.
        output_rate_hz: what the resampler makes of it.
    """
    if input_rate_hz == output_rate_hz:
        return 0
    resampler = StreamResampler(input_rate_hz, 1, output_rate_hz)
    out = len(resampler.push(np.zeros(input_rate_hz, dtype=np.float32)))
    # One sample more, for the rates whose ratio is no whole number.
    return math.ceil((output_rate_hz - out + 1) * input_rate_hz / output_rate_hz)
