"""Records a running session in a folder."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mer_engine.draft import sync

from realtime_mer.audio.source import Input
from realtime_mer.clock import iso_utc
from realtime_mer.closable import Closable
from realtime_mer.core.events import Event, Marker
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Hub, Item, Notice
from realtime_mer.live.stats import Stats
from realtime_mer.outputs.table import FORMAT_OF_SUFFIX
from realtime_mer.recording.audio_recorder import AudioRecorder
from realtime_mer.recording.header import RecordingHeader
from realtime_mer.recording.lines import Losses, RecordedEnd, RecordedItem, RecordedNotice
from realtime_mer.recording.part_file import FolderLock, PartFile
from realtime_mer.recording.parts import audio_name, last_number, part_name

# While the folder cannot be written, this much is kept in memory; then the oldest lines are
# dropped.
BACKLOG_S = 600.0
# A drive that takes longer for a write is reported.
HANG_S = 5.0
# A part that is larger is ended, and the next one begun.
PART_BYTES = 32_000_000
_POLL_S = 0.5
_SYNC_PERIOD_S = 1.0
# A drive that takes long to sync is synced less often: a twentieth of the time at most.
_SYNC_SHARE = 20.0


@dataclass(frozen=True, slots=True)
class _Line:
    data: bytes
    is_estimate: bool


class Recorder(Closable):
    """Subscribes to a session and appends a line per item to a file, in a thread of its own.

    Each run begins a new part, `estimates.jsonl`, `estimates-002.jsonl` and so on, with a header.
    Lines reach the disk within about a second. While the folder cannot be written (a full disk, a
    drive that was removed or does not answer), a notice says so, the newest ten minutes wait in
    memory, and the recording goes on when it can, with another notice. A folder or part that is
    moved or deleted is begun again.

    Args:
        hub: the session's hub.
        folder: is made if it is not there. What is in it is not changed.
        header: of this run; `part` and `audio` are set here.
        stats: of the session; its losses are recorded when they change.
        audio: the input whose audio `audio_recorder` records as well; None for no audio.

    Raises:
        UserError: the folder cannot be written, another program records into it, or FLAC cannot
            hold the audio.

    Attributes:
        folder: where the recording is.
        remark: a sentence on an earlier recording in the folder; empty for a new one.
        estimates: those in the recording since the start.
        audio_recorder: takes the audio; None if none is recorded.
    """

    def __init__(
        self,
        hub: Hub,
        folder: Path,
        header: RecordingHeader,
        *,
        stats: Stats,
        audio: Input | None = None,
    ) -> None:
        self.folder = folder
        self.remark = ""
        self.estimates = 0
        self._header = header
        self._hop_s = header.hop_s
        self._capacity = max(1, math.ceil(BACKLOG_S / header.hop_s))
        self._hub = hub
        self._stats = stats
        self._counters: Mapping[str, int] = {}  # of the newest line of losses
        self._t = 0.0  # of the newest estimate
        self._waiting: deque[_Line] = deque()
        self._waiting_estimates = 0
        self._dropped = 0
        self._said_dropped = 0
        self._failure = ""  # why nothing can be written at present
        self._busy_since = math.inf
        self._sync_at = 0.0
        self._number = 0  # of the part
        self._lock: FolderLock | None = None
        self._part: PartFile | None = None
        self._last: PartFile | None = None  # the part of before, closed
        self._closing = threading.Event()
        self.audio_recorder = None if audio is None else AudioRecorder(hub, audio)
        try:
            _make(folder)
            self._part = self._new_part()
        except OSError as error:
            self._release()
            raise UserError(
                f"the recording {folder} cannot be written ({error.strerror})"
            ) from error
        except BaseException:
            self._release()
            raise
        if self._number > 1:
            name = self._part.path.name
            self.remark = f"{folder} holds a recording already; it goes on in {name}"
        # In case a write does not return.
        self._subscription = hub.subscribe_bounded(self._capacity)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def missing(self) -> int:
        """Estimates that are not in the recording, and will not be after `close`."""
        waiting = self._waiting_estimates if self._closing.is_set() else 0
        return self._dropped + self._subscription.lost + waiting

    @property
    def summary(self) -> str:
        """A sentence on what was recorded."""
        missing = self.missing
        reason = f" ({self._failure})" if self._failure else ""
        rest = f"; {self._count_and_seconds(missing)} missing{reason}" if missing else ""
        audio = "" if self.audio_recorder is None else f"; {self.audio_recorder.summary}"
        noun = "estimate" if self.estimates == 1 else "estimates"
        return f"{self.estimates} {noun} recorded in {self.folder}{rest}{audio}"

    def watch(self) -> None:
        """Publish a notice if the drive does not answer. Call it regularly; it never waits."""
        if not self._failure and time.monotonic() - self._busy_since > HANG_S:
            self._fail(f"the drive has not answered for {HANG_S:.0f} s")

    def close(self, timeout_s: float = HANG_S) -> None:
        """Write what was published and close the files; safe to call more than once.

        Args:
            timeout_s: how long to wait for the drive.
        """
        self._hub.unsubscribe(self._subscription)
        self._closing.set()
        self._subscription.poke()
        self._thread.join(timeout_s)
        if self.audio_recorder is not None:
            self.audio_recorder.close(timeout_s)
        if self._thread.is_alive():
            self._failure = self._failure or "the drive does not answer"
            self._dropped += sum(isinstance(item, Estimate) for item in self._subscription.take())

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.is_set()
            self._take(self._subscription.take() if closing else self._subscription.wait(_POLL_S))
            self._busy_since = time.monotonic()
            try:
                self._write(last=closing)
            except (OSError, UserError) as error:
                self._close_part()
                # Without the name of the folder, which may be that of a patient: viewers read it.
                reason = "another program uses its folder"
                if isinstance(error, OSError):
                    reason = error.strerror or str(error)
                if not self._failure:
                    self._fail(reason)
            finally:
                self._busy_since = math.inf
        self._release()

    def _take(self, items: list[Item]) -> None:
        """Add items to the lines that wait."""
        for item in items:
            if isinstance(item, Estimate):
                self._t = item.t
            if (recorded := self._recorded(item)) is not None:
                self._add(recorded)
        counters = self._stats.losses()
        if counters != self._counters and any(counters.values()):
            self._counters = counters
            self._add(self._losses())
        while self._waiting_estimates > self._capacity:
            is_estimate = self._waiting.popleft().is_estimate
            self._waiting_estimates -= is_estimate
            self._dropped += is_estimate

    def _losses(self) -> Losses:
        return Losses(self._t, iso_utc(datetime.now(UTC)), self._counters)

    def _recorded(self, item: Item) -> RecordedItem | None:
        utc = iso_utc(datetime.now(UTC))
        if isinstance(item, Estimate | Event | Marker):
            return item
        if isinstance(item, Notice):
            return RecordedNotice(self._t, utc, item.code, item.message)
        if isinstance(item, End):
            return RecordedEnd(self._t, utc, item.reason)
        return None

    def _add(self, item: RecordedItem) -> None:
        is_estimate = isinstance(item, Estimate)
        self._waiting.append(_Line(_data(item.to_dict()), is_estimate))
        self._waiting_estimates += is_estimate

    def _write(self, *, last: bool) -> None:
        """Write the lines that wait, into a new part if the old one is full or gone.

        Raises:
            OSError, UserError: this is not possible at present.
        """
        begun_again = self._part is not None and self._part.moved
        wants_audio = (
            self.audio_recorder is not None and self.audio_recorder.wants_file and not last
        )
        is_full = self._part is not None and self._part.size >= PART_BYTES and self._waiting
        if begun_again or wants_audio or is_full:
            self._close_part()
            self._last = None
        if self._part is None:
            self._part = self._reopened() or self._new_part()
        before = self._part.lines
        try:
            self._part.write(b"".join(line.data for line in self._waiting))
        finally:
            for _ in range(self._part.lines - before):
                is_estimate = self._waiting.popleft().is_estimate
                self.estimates += is_estimate
                self._waiting_estimates -= is_estimate
        if last or time.monotonic() >= self._sync_at:
            self._sync(self._part)
        if self._failure or begun_again:
            self._resume(begun_again=begun_again)

    def _reopened(self) -> PartFile | None:
        """Return the part of before, if it is still what it was."""
        before, self._last = self._last, None
        if before is None:
            return None
        try:
            return PartFile(before.path, None, before)
        except OSError:
            return None

    def _new_part(self) -> PartFile:
        """Begin the next part, and with it the audio if none is being written.

        Raises:
            OSError, UserError: this is not possible at present.
        """
        if self._lock is not None and not self._lock.holds:
            self._lock.close()
            self._lock = None
        if self._lock is None:
            self.folder.mkdir(exist_ok=True)  # a drive that is gone leaves nothing to make it in
            self._lock = FolderLock(self.folder)
        number = max(self._number, last_number(self.folder)) + 1
        header = replace(self._header, part=number)
        if self.audio_recorder is not None and self.audio_recorder.wants_file:
            name = audio_name(number)
            start_s = self.audio_recorder.begin(self.folder / name)
            header = replace(header, audio=name, audio_start_s=start_s)
        beginning = _data(header.to_dict())
        if any(self._counters.values()):
            beginning += _data(self._losses().to_dict())
        part = PartFile(self.folder / part_name(number), beginning)
        self._lock.sync()
        self._number = number
        return part

    def _sync(self, part: PartFile) -> None:
        started = time.monotonic()
        sync(part.fileno())
        now = time.monotonic()
        self._sync_at = now + max(_SYNC_PERIOD_S, _SYNC_SHARE * (now - started))

    def _close_part(self) -> None:
        if self._part is not None:
            self._last, self._part = self._part, None
            with contextlib.suppress(OSError):
                self._last.close()

    def _release(self) -> None:
        """Close everything; what holds nothing, because the program could not start, is removed."""
        self._close_part()
        if self.audio_recorder is not None:
            self.audio_recorder.close()
        with contextlib.suppress(OSError):
            if self._last is not None and self._last.lines == 1:
                self._last.path.unlink()
                self.folder.rmdir()
        if self._lock is not None:
            self._lock.close()

    def _fail(self, reason: str) -> None:
        self._failure = reason
        sentence = (
            f"the recording stopped after {self.estimates} estimates ({reason}); it goes on when "
            f"that is mended, and the last {BACKLOG_S / 60:.0f} minutes are kept until then"
        )
        self._hub.publish(Notice("recording_stopped", sentence))

    def _resume(self, *, begun_again: bool) -> None:
        self._failure = ""
        missing = self.missing - self._said_dropped
        self._said_dropped += missing
        again = ": the file was moved or emptied and a new one is begun" if begun_again else ""
        rest = self._count_and_seconds(missing) if missing else "no estimate is"
        sentence = f"the recording goes on{again}; {rest} missing"
        self._hub.publish(Notice("recording_resumed", sentence))

    def _count_and_seconds(self, estimates: int) -> str:
        noun, verb = ("estimate", "is") if estimates == 1 else ("estimates", "are")
        return f"{estimates} {noun} ({estimates * self._hop_s:g} s) {verb}"


def _make(folder: Path) -> None:
    """Make the folder of a recording.

    Raises:
        OSError: this is not possible.
        UserError: it is the name of a file.
    """
    is_table = folder.suffix.lower() in FORMAT_OF_SUFFIX and not folder.is_dir()
    if is_table or (folder.exists() and not folder.is_dir()):
        raise UserError(
            f"--record {folder} names a file, and a recording is a folder: name a folder, for "
            f"example {folder.with_suffix('') if is_table else f'{folder}-recording'}; "
            "'realtime-mer report' makes CSV of it"
        )
    folder.mkdir(parents=True, exist_ok=True)


def _data(line: Mapping[str, object]) -> bytes:
    return json.dumps(line, allow_nan=False).encode() + b"\n"
