"""Records every estimate of a running session in a file."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from pathlib import Path

from mer_engine.draft import sync

from realtime_mer.closable import Closable
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import STOPPED, End, Hub, Notice
from realtime_mer.outputs.recording_file import RecordingFile
from realtime_mer.outputs.table import FORMAT_OF_SUFFIX, RowFormat

# While the file cannot be written, this much is kept in memory; then the oldest rows are dropped.
BACKLOG_S = 600.0
# A drive that takes longer for a write is reported.
HANG_S = 5.0
_POLL_S = 0.5
_SYNC_PERIOD_S = 1.0
# A drive that takes long to sync is synced less often: a twentieth of the time at most.
_SYNC_SHARE = 20.0


class Recorder(Closable):
    """Subscribes to a session and appends a row per estimate, in a thread of its own.

    Rows reach the disk within about a second. While the file cannot be written (a full disk, a
    drive that was removed or does not answer), a notice says so, the newest ten minutes wait in
    memory, and the recording goes on when it can, with another notice. A file that is moved or
    deleted is begun again.

    Args:
        hub: the session's hub.
        path: ends in `.csv`, `.jsonl` or `.ndjson`. An earlier recording is continued; no other
            file is changed.
        hop_s: seconds between estimates.

    Raises:
        UserError: the path has another ending, is another file or cannot be written.

    Attributes:
        path: the file.
        remark: a sentence on an earlier recording that is continued; empty for a new file.
        rows: estimates in the file since the start.
    """

    def __init__(self, hub: Hub, path: Path, *, hop_s: float = 1.0) -> None:
        name = FORMAT_OF_SUFFIX.get(path.suffix.lower())
        if name is None:
            *first, last = FORMAT_OF_SUFFIX
            raise UserError(f"the recording {path} must end in {', '.join(first)} or {last}")
        self._format = RowFormat(name)
        try:
            file = RecordingFile(path, self._format)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error
        self.path = path
        self.remark = file.remark
        self.rows = 0
        self._file: RecordingFile | None = file
        self._hop_s = hop_s
        self._capacity = max(1, math.ceil(BACKLOG_S / hop_s))
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._said_dropped = 0
        self._failure = ""  # why nothing can be written at present
        self._busy_since = math.inf
        self._sync_at = 0.0
        self._closing = threading.Event()
        self._hub = hub
        # In case a write does not return.
        self._subscription = hub.subscribe_bounded(self._capacity)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def missing(self) -> int:
        """Estimates that are not in the file, and will not be after `close`."""
        waiting = len(self._waiting) if self._closing.is_set() else 0
        return self._dropped + self._subscription.lost + waiting

    @property
    def summary(self) -> str:
        """A sentence on what was recorded."""
        missing = self.missing
        reason = f" ({self._failure})" if self._failure else ""
        rest = f"; {self._rows_and_seconds(missing)} missing{reason}" if missing else ""
        return f"{self.rows} estimates recorded in {self.path}{rest}"

    def watch(self) -> None:
        """Publish a notice if the drive does not answer. Call it regularly; it never waits."""
        if not self._failure and time.monotonic() - self._busy_since > HANG_S:
            self._fail(f"the drive has not answered for {HANG_S:.0f} s")

    def close(self, timeout_s: float = HANG_S) -> None:
        """Write what was published and close the file; safe to call more than once.

        Args:
            timeout_s: how long to wait for the drive.
        """
        self._hub.unsubscribe(self._subscription)
        self._closing.set()
        self._subscription.offer(End(STOPPED))  # wakes the thread
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._failure = self._failure or "the drive does not answer"
            self._dropped += sum(isinstance(item, Estimate) for item in self._subscription.take())

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.is_set()
            for item in self._subscription.take() if closing else self._subscription.wait(_POLL_S):
                if isinstance(item, Estimate):
                    self._waiting.append(self._format.line(item))
            while len(self._waiting) > self._capacity:
                self._waiting.popleft()
                self._dropped += 1
            self._busy_since = time.monotonic()
            try:
                self._write(last=closing)
            except (OSError, UserError) as error:
                self._close_file()
                if not self._failure:
                    self._fail(getattr(error, "strerror", None) or str(error))
            finally:
                self._busy_since = math.inf
        self._close_file()

    def _write(self, *, last: bool) -> None:
        """Write the rows that wait, into a new file if the old one is gone.

        Raises:
            OSError, UserError: this is not possible at present.
        """
        begun_again = self._file is not None and self._file.moved
        if begun_again:
            self._close_file()
        if self._file is None:
            self._file = RecordingFile(self.path, self._format)
        before = self._file.lines
        try:
            self._file.write(b"".join(self._waiting))
        finally:
            for _ in range(self._file.lines - before):
                self._waiting.popleft()
                self.rows += 1
        if last or time.monotonic() >= self._sync_at:
            self._sync(self._file)
        if self._failure or begun_again:
            self._resume(begun_again=begun_again)

    def _sync(self, file: RecordingFile) -> None:
        started = time.monotonic()
        sync(file.fileno())
        now = time.monotonic()
        self._sync_at = now + max(_SYNC_PERIOD_S, _SYNC_SHARE * (now - started))

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _fail(self, reason: str) -> None:
        self._failure = reason
        sentence = (
            f"recording to {self.path} stopped after {self.rows} rows ({reason}); it goes on when "
            f"that is mended, and the last {BACKLOG_S / 60:.0f} minutes are kept until then"
        )
        self._hub.publish(Notice("recording_stopped", sentence))

    def _resume(self, *, begun_again: bool) -> None:
        self._failure = ""
        missing = self.missing - self._said_dropped
        self._said_dropped += missing
        again = ": the file was moved or emptied and is begun again" if begun_again else ""
        rest = self._rows_and_seconds(missing) if missing else "no row is"
        sentence = f"recording to {self.path} goes on{again}; {rest} missing"
        self._hub.publish(Notice("recording_resumed", sentence))

    def _rows_and_seconds(self, rows: int) -> str:
        verb = "row is" if rows == 1 else "rows are"
        seconds = rows * self._hop_s
        return f"{rows} {verb.replace(' ', f' ({seconds:g} s) ', 1)}"
