"""The built-in demo as an array."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.demo import DemoSource
from realtime_mer.audio.source import EndOfStream


def demo_audio(seconds: float, rate_hz: int) -> NDArray[np.float32]:
    """Return the demo from its beginning, mono, resampled and repeated as needed.

    Args:
        seconds: length of the result.
        rate_hz: sample rate of the result.

    Returns:
        float32 [seconds * rate_hz], in [-1, 1].
    """
    import soxr

    parts: list[NDArray[np.float32]] = []
    with DemoSource(block_s=1.0) as source:
        demo_rate_hz = source.info.sample_rate_hz
        samples = 0
        with contextlib.suppress(EndOfStream):
            while samples < seconds * demo_rate_hz:
                block = source.read(1.0)
                if block is not None:
                    parts.append(block.samples.mean(axis=1))
                    samples += len(block.samples)
    signal = soxr.resample(np.concatenate(parts), demo_rate_hz, rate_hz)
    return np.resize(signal, int(seconds * rate_hz)).astype(np.float32)
