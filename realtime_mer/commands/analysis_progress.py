"""The progress of `analyze` with many files, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from realtime_mer.clock import Clock, SystemClock, duration_text
from realtime_mer.closable import Closable
from realtime_mer.library.time_left import TimeLeft

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from realtime_mer.library.analysis import FileTask
    from realtime_mer.library.track import Track

# Where standard error is no terminal, lines come at most this often.
LINE_PERIOD_S = 10.0
MAX_REASONS = 10


class AnalysisProgress(Closable):
    """Shows files done, their rate and the time left: a bar on a terminal, elsewhere lines.

    Args:
        tasks: all that are to be done.
        quiet: show nothing.
        clock: for the rate.
    """

    def __init__(
        self, tasks: Sequence[FileTask], *, quiet: bool, clock: Clock | None = None
    ) -> None:
        self._count = len(tasks)
        self._done = self._skipped = 0
        self._time_left = TimeLeft(tasks)
        self._quiet = quiet
        self._clock = clock or SystemClock()
        self._start_s = self._line_s = self._clock.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (BarColumn(), TextColumn("{task.description}", markup=False))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.text(), total=self._count)
            self._bar.start()

    def finish(self, task: FileTask, track: Track) -> None:
        """Show that a file is done."""
        self._done += 1
        self._skipped += track.summary is None
        self._time_left.finish(task, track)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, description=self.text())
        elif not self._quiet and self._clock.monotonic() - self._line_s >= LINE_PERIOD_S:
            self._line_s = self._clock.monotonic()
            print(self.text(), file=sys.stderr, flush=True)

    def text(self) -> str:
        """Return the progress in one line."""
        elapsed_s = self._clock.monotonic() - self._start_s
        parts = [f"{self._done} of {files_text(self._count)}"]
        if self._done:
            parts.append(rate_text(self._done, elapsed_s))
            left_s = self._time_left.estimate_s(elapsed_s)
            if left_s is not None and self._done < self._count:
                parts.append(f"about {duration_text(left_s)} left")
        return ", ".join(parts)

    def summary(self) -> str:
        """Return what was done, in one line."""
        elapsed_s = self._clock.monotonic() - self._start_s
        parts = [f"{files_text(self._done - self._skipped)} analysed"]
        if self._done > self._skipped:
            parts[0] += (
                f" ({duration_text(self._time_left.done_s)} of audio) in "
                f"{duration_text(elapsed_s)}, {rate_text(self._done, elapsed_s)}"
            )
        if self._skipped:
            parts.append(f"{self._skipped} skipped")
        return "; ".join(parts)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def files_text(count: int) -> str:
    """Return a number of files in words."""
    return "1 file" if count == 1 else f"{count} files"


def first_reasons(reasons: Sequence[object], *, rest: str = "") -> str:
    """Return a line for each of the first ten reasons, and one on how many more there are.

    Args:
        reasons: sentences, or errors with them.
        rest: what to add to the last line, such as where all of them are.
    """
    listed = "".join(f"\n  {reason}" for reason in reasons[:MAX_REASONS])
    more = len(reasons) - MAX_REASONS
    return f"{listed}\n  and {more} more{rest}" if more > 0 else listed


def rate_text(files: int, elapsed_s: float) -> str:
    """Return how many files were done in a minute."""
    return f"{60.0 * files / max(elapsed_s, 1e-3):.3g} files/min"
