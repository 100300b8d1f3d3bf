"""How long an analysis of many files still takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePath

from realtime_mer.library.analysis import FileTask
from realtime_mer.library.track import Track


class TimeLeft:
    """Estimates the time left from the length of the audio.

    The length of a file that has not been opened follows from its size and from the files of the
    same suffix so far.

    Args:
        tasks: all that are to be done.
    """

    def __init__(self, tasks: Iterable[FileTask]) -> None:
        self._left_bytes: defaultdict[str, int] = defaultdict(int)
        for task in tasks:
            self._left_bytes[_suffix(task)] += task.size_bytes
        self._done_bytes: defaultdict[str, int] = defaultdict(int)
        self._done_s: defaultdict[str, float] = defaultdict(float)

    def finish(self, task: FileTask, track: Track) -> None:
        """Take a file as done."""
        self._left_bytes[_suffix(task)] -= task.size_bytes
        if track.summary is not None:
            self._done_bytes[_suffix(task)] += task.size_bytes
            self._done_s[_suffix(task)] += track.summary.duration_s

    @property
    def done_s(self) -> float:
        """Seconds of audio that were analysed."""
        return sum(self._done_s.values())

    def estimate_s(self, elapsed_s: float) -> float | None:
        """Return the seconds left; None before the first file of music.

        Args:
            elapsed_s: since the start of the work.
        """
        done_s = self.done_s
        if not done_s:
            return None
        mean = done_s / max(1, sum(self._done_bytes.values()))
        left_s = 0.0
        for suffix, left_bytes in self._left_bytes.items():
            known = self._done_bytes.get(suffix)
            left_s += left_bytes * (self._done_s[suffix] / known if known else mean)
        return elapsed_s * left_s / done_s


def _suffix(task: FileTask) -> str:
    return PurePath(task.name).suffix.lower()
