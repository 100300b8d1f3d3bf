"""The encoder's feature maps of the newest frames, so that no frame is filtered twice."""

from __future__ import annotations

import numpy as np
from mer_engine.engine import silent_maps
from mer_engine.model_file import ModelInfo
from numpy.typing import NDArray


class FeatureMapCache:
    """Feature maps of the newest frames of a stream.

    Frames are numbered from the start of the stream. Silence precedes the first frame.

    Args:
        info: description of the model.
        steps: number of steps before the newest frame that may have to be encoded again.

    Attributes:
        end: number of the first frame without a map.
    """

    def __init__(self, info: ModelInfo, steps: int) -> None:
        # A single row, broadcast: the silence before a stream takes no memory.
        silence = silent_maps(info)[0]
        self._silence = np.broadcast_to(silence[:1].copy(), silence.shape)
        self._capacity = info.map_context + steps * info.frames_per_step
        self.restart(0)

    def restart(self, frame: int) -> None:
        """Clear the cache and continue at `frame`, as if only silence preceded it."""
        self._maps: NDArray[np.float32] = self._silence
        self._start = self.end = frame

    def append(self, maps: NDArray[np.float32]) -> None:
        """Append the maps of the next frames.

        Args:
            maps: float32 [n, M].
        """
        excess = max(0, len(self._maps) + min(len(maps), self._capacity) - self._capacity)
        self._maps = np.concatenate((self._maps[excess:], maps[-self._capacity :]))
        self.end += len(maps)

    def before(self, frame: int, count: int) -> NDArray[np.float32]:
        """Return the maps of the `count` frames before `frame`: float32 [count, M].

        Args:
            frame: at most `end`.
            count: frames before the start of the stream are maps of silence.

        Raises:
            IndexError: the cache does not hold all of these maps.
        """
        if frame > self.end:
            raise IndexError(f"maps before frame {frame} of a cache that ends at {self.end}")
        last = len(self._maps) - (self.end - frame)
        cached: NDArray[np.float32] = self._maps[max(0, last - count) : last]
        missing = count - len(cached)
        if missing == 0:
            return cached
        if self.end - len(self._maps) > self._start:
            raise IndexError(
                f"{count} maps before frame {frame} of a cache that holds {len(self._maps)}"
            )
        return np.concatenate((np.tile(self._silence[:1], (missing, 1)), cached))
