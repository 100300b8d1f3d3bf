"""The delay of the resampler."""

from __future__ import annotations

import functools
import math

import numpy as np

from realtime_mer.core.resample import StreamResampler


@functools.cache
def resample_delay(input_rate_hz: int, output_rate_hz: int) -> int:
    """Return the sample frames of input that must follow a moment to complete its output.

    The delay is measured, because soxr does not report it. It depends only on the rates.

    Args:
        input_rate_hz: 8,000 to 192,000.
        output_rate_hz: sample rate after resampling.
    """
    if input_rate_hz == output_rate_hz:
        return 0
    resampler = StreamResampler(input_rate_hz, 1, output_rate_hz)
    outputs = len(resampler.push(np.zeros(input_rate_hz, dtype=np.float32)))
    # One sample more, for rates whose ratio is not a whole number.
    return math.ceil((output_rate_hz - outputs + 1) * input_rate_hz / output_rate_hz)
