"""Records the audio of a session as it was heard."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.source import Input
from realtime_mer.closable import Closable
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub, Notice
from realtime_mer.recording.audio_file import MAX_CHANNELS, AudioFile, holds_rate

# While the drive is slow, this much waits in memory; then silence takes the place of the audio.
BACKLOG_S = 30.0
_FLUSH_PERIOD_S = 1.0
_RETRY_S, _MAX_RETRY_S = 2.0, 60.0
# A disk with less space is not tried again: it would be full at once.
_SPACE_S = 10.0
_SAMPLE_BYTES = 3


class AudioRecorder(Closable):
    """Takes the audio of a `LiveStream` and writes it, in a thread of its own.

    It never waits: audio that the drive does not take in time becomes silence of the same length,
    as does lost input. When the file cannot be written, a notice says so, and `wants_file` asks for
    another one.

    Args:
        hub: for notices.
        source: the input.

    Raises:
        UserError: it has more channels than FLAC holds, or a rate that FLAC cannot state.
    """

    def __init__(self, hub: Hub, source: Input) -> None:
        if source.channels > MAX_CHANNELS:
            raise UserError(
                f"the input has {source.channels} channels, and the FLAC of --record-audio holds "
                f"at most {MAX_CHANNELS}; choose another input, or leave out --record-audio"
            )
        if not holds_rate(source.sample_rate_hz):
            raise UserError(
                f"the input has {source.sample_rate_hz} Hz, and the FLAC of --record-audio states "
                "rates above 65535 Hz in steps of 10 Hz; choose another rate, or leave out "
                "--record-audio"
            )
        self._hub = hub
        self._rate_hz = source.sample_rate_hz
        self._channels = source.channels
        self._changed = threading.Condition()
        self._waiting: deque[NDArray[np.float32] | int] = deque()  # audio, or samples of silence
        self._waiting_samples = 0  # of audio
        self._closing = False
        self._writing = threading.Lock()  # of the file and the position
        self._file: AudioFile | None = None
        self._position = 0  # in the session, samples
        self._written = 0  # samples in all files
        self._missing = 0  # samples that no file has
        self._replaced = 0  # samples that are silence in a file because the drive was slow
        self._failure = ""
        self._failed_once = False
        self._pause_s = _RETRY_S
        self._retry_at = 0.0
        self._folder = Path()
        self._flush_at = 0.0
        self._thread = threading.Thread(target=self._run, name="audio recorder", daemon=True)
        self._thread.start()

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take the next block, float32 [n] or [n, channels], which is not changed afterwards."""
        block = samples.reshape(len(samples), -1)
        with self._changed:
            if self._waiting_samples > BACKLOG_S * self._rate_hz:
                self._replaced += len(block)
                self._add_silence(len(block))
            else:
                self._waiting_samples += len(block)
                self._waiting.append(block)
            self._changed.notify_all()

    def skip(self, samples: int) -> None:
        """Take a loss of input, in sample frames: silence."""
        with self._changed:
            self._add_silence(samples)
            self._changed.notify_all()

    def _add_silence(self, samples: int) -> None:
        if self._waiting and isinstance(last := self._waiting[-1], int):
            self._waiting[-1] = last + samples
        else:
            self._waiting.append(samples)

    @property
    def wants_file(self) -> bool:
        """Whether `begin` should be called: nothing is written, and it is time to try again."""
        if self._file is not None or time.monotonic() < self._retry_at:
            return False
        if not self._failed_once:
            return True
        try:
            free_bytes = shutil.disk_usage(self._folder).free
        except OSError:
            return False
        return free_bytes > _SPACE_S * self._rate_hz * self._channels * _SAMPLE_BYTES

    def begin(self, path: Path) -> float:
        """Write from now on into a new file; return the stream time of its first sample, seconds.

        Raises:
            OSError: it cannot be made.
        """
        self._folder = path.parent
        with self._writing:
            self._file = AudioFile(path, self._rate_hz, self._channels)
            start_s = self._position / self._rate_hz
        if self._failure:
            self._failure = ""
            missing_s = self._missing / self._rate_hz
            self._hub.publish(
                Notice(
                    "audio_recording_resumed",
                    f"the audio is recorded again; {missing_s:.1f} s of it are missing",
                )
            )
        return start_s

    @property
    def summary(self) -> str:
        """A sentence on what was recorded."""
        parts = [f"{self._written / self._rate_hz:.1f} s of audio"]
        if self._missing:
            reason = f" ({self._failure})" if self._failure else ""
            parts.append(f"{self._missing / self._rate_hz:.1f} s missing{reason}")
        if self._replaced:
            parts.append(f"{self._replaced / self._rate_hz:.1f} s silent, the drive was slow")
        return ", ".join(parts)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what was taken and close the file; safe to call more than once.

        Args:
            timeout_s: how long to wait for the drive.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, _FLUSH_PERIOD_S)
                closing = self._closing
                items = list(self._waiting)
                self._waiting.clear()
                self._waiting_samples = 0
            with self._writing:
                for item in items:
                    self._write(item)
                if time.monotonic() >= self._flush_at:
                    self._flush()
        with self._writing:
            self._end()

    def _write(self, item: NDArray[np.float32] | int) -> None:
        silent = isinstance(item, int)
        left = item if isinstance(item, int) else len(item)
        while left:
            count = min(left, self._rate_hz) if silent else left
            left -= count
            self._position += count
            if self._file is None:
                self._missing += count
                continue
            block = np.zeros((count, self._channels), np.float32) if silent else item
            assert isinstance(block, np.ndarray)
            try:
                self._file.write(block)
            except OSError as error:
                self._missing += count
                self._fail(error.strerror or str(error))
            else:
                self._written += count

    def _flush(self) -> None:
        self._flush_at = time.monotonic() + _FLUSH_PERIOD_S
        if self._file is None:
            return
        try:
            if not self._file.flush():
                self._fail("the file was moved or deleted")
        except OSError as error:
            self._fail(error.strerror or str(error))
        else:
            self._pause_s = _RETRY_S

    def _fail(self, reason: str) -> None:
        """Give the file up: an encoder that failed once does not go on."""
        self._end()
        self._failure, self._failed_once = reason, True
        self._retry_at = time.monotonic() + self._pause_s
        self._pause_s = min(2.0 * self._pause_s, _MAX_RETRY_S)
        self._hub.publish(
            Notice(
                "audio_recording_stopped",
                f"the recording of the audio stopped after {self._written / self._rate_hz:.1f} s "
                f"({reason}); it goes on in another file when that is mended",
            )
        )

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
            if file.frames == 0:
                with contextlib.suppress(OSError):
                    file.path.unlink()
