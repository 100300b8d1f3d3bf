"""A FLAC file that is readable at every moment, also after its program was killed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from mer_engine.draft import sync
from numpy.typing import NDArray

from realtime_mer.closable import Closable
from realtime_mer.core.resample import without_bad_samples
from realtime_mer.recording.part_file import is_gone

MAX_CHANNELS = 8
_MAX_ODD_RATE_HZ = 65_535  # higher rates are stated in units of 10 Hz
_FULL_SCALE = 2**23  # 24 bit
# A disk with less space is full: a block of libFLAC, 4,096 samples of eight channels, needs 98 kB.
_BLOCK_BYTES = 131_072
_BLOCK_AT, _TOTAL_AT = 8, 21  # bytes in the file: samples of a block, total of samples (36 bits)


def holds_rate(sample_rate_hz: int) -> bool:
    """Return whether FLAC can state a sample rate that a pipeline takes."""
    return sample_rate_hz <= _MAX_ODD_RATE_HZ or sample_rate_hz % 10 == 0


class AudioFile(Closable):
    """Writes audio with 24 bit at the rate and with the channels of its input.

    FLAC states the length in its first bytes, which libFLAC writes at the end only. `flush` states
    the whole blocks that are there, so that a file without an end has all but the last of them.

    Args:
        path: of a new file.
        sample_rate_hz, channels: of the audio.

    Raises:
        OSError: the file cannot be written, is there already, or the format is not possible.

    Attributes:
        path: of the file.
        frames: sample frames that were written.
    """

    def __init__(self, path: Path, sample_rate_hz: int, channels: int) -> None:
        self.path = path
        self.frames = 0
        # Beside libsndfile, which hides its file.
        self._file = path.open("x+b", buffering=0)
        try:
            with self._causes():
                self._sound = soundfile.SoundFile(
                    path, "w", sample_rate_hz, channels, subtype="PCM_24", format="FLAC"
                )
        except BaseException:
            self._file.close()
            raise

    def write(self, samples: NDArray[np.float32]) -> None:
        """Write a block.

        Args:
            samples: float32 [n, channels]. Beyond full scale it is clipped, and what is no number
                is silence.

        Raises:
            OSError: it cannot be written.
        """
        whole = np.rint(without_bad_samples(samples).astype(np.float64) * _FULL_SCALE)
        with self._causes():
            self._sound.write(np.clip(whole, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int32) << 8)
        self.frames += len(samples)

    def flush(self) -> bool:
        """Bring what was written to the disk, and return whether the path is still this file.

        Raises:
            OSError: it cannot be written.
        """
        with self._causes():
            self._sound.flush()
        self._file.seek(_BLOCK_AT)
        head = self._file.read(_TOTAL_AT + 1 - _BLOCK_AT)
        if block := int.from_bytes(head[:2], "big"):  # libFLAC has begun
            # It holds a block back until the first sample after it.
            total = max(0, self.frames - 1) // block * block
            self._file.seek(_TOTAL_AT)
            first = bytes([head[-1] & 0xF0 | total >> 32])
            self._file.write(first + (total & 0xFFFF_FFFF).to_bytes(4, "big"))
        sync(self._file.fileno())
        return not is_gone(self.path, self._file.fileno())

    def close(self) -> None:
        """Write the end.

        Raises:
            OSError: it cannot be written; the file is closed.
        """
        try:
            with self._causes():
                self._sound.close()
        finally:
            self._file.close()

    @contextlib.contextmanager
    def _causes(self) -> Iterator[None]:
        """Raise an OSError that names the cause: libsndfile says "System error." of each."""
        try:
            yield
        except soundfile.LibsndfileError as error:
            if shutil.disk_usage(self.path.parent).free < _BLOCK_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise OSError(error.error_string) from error
