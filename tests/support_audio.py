"""Read sources to their end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.source import EndOfStream, Source, SourceLost


def read_all(source: Source) -> tuple[NDArray[np.float32], EndOfStream | SourceLost]:
    """Return the remaining samples, float32 [n, channels], and the exception at the end."""
    parts = [np.empty((0, source.info.channels), np.float32)]
    while True:
        try:
            block = source.read(30)
        except (EndOfStream, SourceLost) as end:
            return np.concatenate(parts), end
        if block is not None:
            parts.append(block.samples)
