"""When the next beat comes."""

from __future__ import annotations

from typing import Protocol


class TempoClock(Protocol):
    """A source of beats."""

    def seconds_to_beat(self, now_s: float, beats: int = 1) -> float | None:
        """Return the seconds from a monotonic time to the next beat that is a multiple of `beats`.

        None while no tempo is known.
        """
        ...
