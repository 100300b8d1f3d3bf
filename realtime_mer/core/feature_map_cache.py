"""What the network's filters made of the newest frames: kept, so that nothing is filtered twice."""

from __future__ import annotations

import numpy as np
from mer_engine.engine import silent_maps
from mer_engine.model_file import ModelInfo
from numpy.typing import NDArray


class FeatureMapCache:
    """The maps of the newest frames of a stream.

    Frames are counted from the start of the stream; before it is silence.

    Args:
        info: of the model.
        steps: how many steps back from the newest frame may have to be encoded again.

    Attributes:
        end: frames that the maps are known of.
    """

    def __init__(self, info: ModelInfo, steps: int) -> None:
        # One row for all of them, so that it costs a stream nothing.
        silence = silent_maps(info)[0]
        self._silence = np.broadcast_to(silence[:1].copy(), silence.shape)
        self._capacity = info.map_context + steps * info.frames_per_step
        self.begin(0)

    def begin(self, frame: int) -> None:
        """Goes to a frame that only silence came before."""
        self._maps: NDArray[np.float32] = self._silence
        self._begun = self.end = frame

    def append(self, maps: NDArray[np.float32]) -> None:
        """Takes the maps of the next frames.

        Args:
            maps: float32 [n, M].
        """
        old = max(0, len(self._maps) + min(len(maps), self._capacity) - self._capacity)
        self._maps = np.concatenate((self._maps[old:], maps[-self._capacity :]))
        self.end += len(maps)

    def before(self, frame: int, count: int) -> NDArray[np.float32]:
        """The maps of `count` frames before a frame: float32 [count, M].

        Args:
            frame: at most `end`.
            count: what lies before the beginning reads as silence.

        Raises:
            IndexError: frames whose maps are not known yet, or are not kept any more.
        """
        if frame > self.end:
            raise IndexError(f"maps before frame {frame} of a stream known to {self.end}")
        last = len(self._maps) - (self.end - frame)
        known: NDArray[np.float32] = self._maps[max(0, last - count) : last]
        missing = count - len(known)
        if missing == 0:
            return known
        if self.end - len(self._maps) > self._begun:
            raise IndexError(
                f"{count} maps before frame {frame} of a stream that keeps {len(self._maps)}"
            )
        return np.concatenate((np.tile(self._silence[:1], (missing, 1)), known))
