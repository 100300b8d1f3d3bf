"""Raw PCM from standard input or a FIFO, for example from ffmpeg, arecord, SSH, mpd or snapcast."""

from __future__ import annotations

import collections
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.encoded_format import StartCheck
from realtime_mer.audio.pipe import PipeReader
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.clock import SystemClock
from realtime_mer.core.config import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE_HZ,
    MIN_SAMPLE_RATE_HZ,
)
from realtime_mer.errors import UserError

# For each format: numpy type of a sample, value of digital silence, value of full scale.
_FORMATS: dict[str, tuple[str, float, float]] = {
    "u8": ("u1", 128.0, 128.0),
    "s8": ("i1", 0.0, 128.0),
    "s16le": ("<i2", 0.0, 32768.0),
    "s16be": (">i2", 0.0, 32768.0),
    "s24le": ("s24le", 0.0, 8388608.0),
    "s24be": ("s24be", 0.0, 8388608.0),
    "s32le": ("<i4", 0.0, 2147483648.0),
    "s32be": (">i4", 0.0, 2147483648.0),
    "f32le": ("<f4", 0.0, 1.0),
    "f32be": (">f4", 0.0, 1.0),
    "f64le": ("<f8", 0.0, 1.0),
    "f64be": (">f8", 0.0, 1.0),
}
PCM_FORMATS = tuple(_FORMATS)

EXAMPLE = (
    "ffmpeg -loglevel error -i music.flac -f s16le -ac 2 -ar 44100 - | "
    "realtime-mer listen --input - --pcm-rate 44100 --pcm-channels 2 --pcm-format s16le"
)

AutoFormat = Literal["auto"]
AUTO: AutoFormat = "auto"
"""Instead of a `PcmFormat`: encoded audio with a header, which ffmpeg decodes."""

_CHECKED_EARLY_BYTES = 8192  # 46 ms at 44.1 kHz in stereo


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Format of raw interleaved samples without a header.

    Attributes:
        sample_rate_hz: 8,000 to 192,000.
        channels: 1 to 64.
        encoding: one of `PCM_FORMATS`.

    Raises:
        UserError: a value is out of range or unknown.
    """

    sample_rate_hz: int = 44_100
    channels: int = 2
    encoding: str = "s16le"

    def __post_init__(self) -> None:
        if not MIN_SAMPLE_RATE_HZ <= self.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise UserError(
                f"the PCM sample rate is {self.sample_rate_hz} Hz; it must lie between "
                f"{MIN_SAMPLE_RATE_HZ} and {MAX_SAMPLE_RATE_HZ} Hz (--pcm-rate)"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise UserError(
                f"the number of PCM channels is {self.channels}; it must lie between 1 and "
                f"{MAX_CHANNELS} (--pcm-channels)"
            )
        if self.encoding not in _FORMATS:
            raise UserError(
                f"the PCM format '{self.encoding}' is unknown; use one of "
                f"{', '.join(PCM_FORMATS)}, or '{AUTO}' for encoded audio (--pcm-format)"
            )

    @property
    def sample_bytes(self) -> int:
        """Bytes per sample of one channel."""
        kind = _FORMATS[self.encoding][0]
        return 3 if kind.startswith("s24") else np.dtype(kind).itemsize

    @property
    def frame_bytes(self) -> int:
        """Bytes per sample frame: one sample of every channel."""
        return self.sample_bytes * self.channels

    def decode(self, data: bytes | bytearray | memoryview) -> NDArray[np.float32]:
        """Return float32 [n, channels]: integers scaled to [-1, 1), floats unchanged.

        Raises:
            ValueError: `data` is not a whole number of sample frames.
        """
        if len(data) % self.frame_bytes:
            raise ValueError(
                f"{len(data)} bytes are not a whole number of frames of {self.frame_bytes} bytes"
            )
        kind, zero, full = _FORMATS[self.encoding]
        if kind.startswith("s24"):
            # Use the three bytes as the upper bytes of an int32, which keeps the sign.
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            triples = np.frombuffer(data, np.uint8).reshape(-1, 3)
            wide[:, 1:] = triples if kind == "s24le" else triples[:, ::-1]
            flat = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(full * 256.0)
        else:
            with np.errstate(over="ignore"):  # 64-bit values that become infinite
                flat = np.frombuffer(data, kind).astype(np.float32)
            if zero:
                flat -= np.float32(zero)
            if full != 1.0:
                flat /= np.float32(full)
        return flat.reshape(-1, self.channels)


def standard_input() -> IO[bytes] | Path:
    """Return standard input, or its path if it is a FIFO, whose writers may change.

    Raises:
        UserError: it is closed or a terminal.
    """
    try:
        stream = sys.stdin.buffer
        kind = os.fstat(stream.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        raise UserError("--input - needs standard input, which is closed") from None
    if stream.isatty():
        raise UserError(
            "--input - reads audio from a pipe, but standard input is a terminal; "
            f"for example: {EXAMPLE}"
        )
    path = standard_input_path()
    return path if stat.S_ISFIFO(kind) and path is not None else stream


def standard_input_path() -> Path | None:
    """Return the path of the file or FIFO that is standard input, or None."""
    try:
        path = Path("/dev/stdin").resolve()
        return path if os.path.samestat(path.stat(), os.fstat(0)) else None
    except OSError:
        return None


class PcmSource(SourceBase):
    """Raw samples from a pipe.

    Nothing is dropped: a writer that is faster than the reader waits. The writer may be live
    (arecord, SSH) or as fast as possible (`cat`), so the source is both `live` and `paced`.

    Args:
        pcm: format of the samples.
        stream: a binary stream with a file descriptor, or the path of a FIFO.
        loop: wait for the next writer of a FIFO when the last one is gone.
        block_s: the longest block, in seconds.
        name: name of the input in messages.
        first_wait_s: how long to wait here for the first samples, which are checked for a file
            header. If they arrive later, `read` checks them.

    Raises:
        UserError: the FIFO cannot be opened, or the stream is empty or contains encoded audio.
    """

    def __init__(
        self,
        pcm: PcmFormat,
        *,
        stream: IO[bytes] | Path,
        loop: bool = False,
        block_s: float = 0.02,
        name: str = "standard input",
        first_wait_s: float = 1.0,
    ) -> None:
        self._pcm = pcm
        self._loop = loop and isinstance(stream, Path)
        block_frames = max(1, round(block_s * pcm.sample_rate_hz))
        self._pipe = open_pipe(stream, block_frames * pcm.frame_bytes, follow=self._loop)
        self._waiting: collections.deque[bytes] = collections.deque()  # read, not yet returned
        self._check = StartCheck()
        self._incomplete = b""
        self._closed = False
        self._name = name
        # Report a wrong start before anything else runs.
        try:
            self._read_start(first_wait_s)
        except SourceLost as error:
            self._pipe.close()
            raise UserError(str(error)) from None
        self._info = Input(
            kind=InputKind.PCM,
            name=name,
            sample_rate_hz=pcm.sample_rate_hz,
            channels=pcm.channels,
            paced=True,
            live=True,
        )

    def read(self, timeout_s: float) -> Block | None:
        chunk = self._waiting.popleft() if self._waiting else self._next_chunk(timeout_s)
        if chunk is None:
            return None
        if not chunk:
            self._end()
            return None
        data = self._incomplete + chunk
        complete = len(data) - len(data) % self._pcm.frame_bytes
        self._incomplete = data[complete:]
        return Block(self._pcm.decode(memoryview(data)[:complete])) if complete else None

    def close(self) -> None:
        self._closed = True
        self._pipe.close()

    def _read_start(self, wait_s: float) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + wait_s
        n_bytes = 0
        while n_bytes < _CHECKED_EARLY_BYTES:
            chunk = self._next_chunk(max(0.0, deadline - clock.monotonic()))
            if chunk is None:
                return
            self._waiting.append(chunk)
            if not chunk:
                return
            n_bytes += len(chunk)

    def _next_chunk(self, timeout_s: float) -> bytes | None:
        """Return the next chunk as `PipeReader.read`.

        Raises:
            SourceLost: the stream is empty or encoded.
        """
        chunk = self._pipe.read(timeout_s)
        if chunk is None or self._closed:
            return chunk
        if not chunk and self._check.is_empty:
            raise SourceLost(
                f"{self._name} ended before any audio arrived; check the program that writes to it",
                recoverable=False,
            )
        found = self._check.add(chunk)
        if found is not None:
            what_to_do = (
                f"give --pcm-format {AUTO}, which decodes it, or give the file to --input"
                if found.is_audio
                else "check the program that writes to it"
            )
            raise SourceLost(
                f"{self._name} contains {found.name}, not raw PCM; {what_to_do}", recoverable=False
            )
        return chunk

    def _end(self) -> None:
        """Raise EndOfStream, or get ready for the next writer."""
        if self._closed:
            raise EndOfStream(f"{self._name} was closed")
        if self._loop:
            self._incomplete = b""
            self._check = StartCheck()
            return
        if self._incomplete:
            raise EndOfStream(
                f"{self._name} ended within a sample frame: {len(self._incomplete)} of "
                f"{self._pcm.frame_bytes} bytes ignored"
            )
        raise EndOfStream(f"{self._name} ended")


def open_pipe(stream: IO[bytes] | Path, chunk_bytes: int, *, follow: bool = False) -> PipeReader:
    """Return the reader of a stream or FIFO.

    Raises:
        UserError: the FIFO cannot be opened.
    """
    try:
        return PipeReader(stream, chunk_bytes, follow=follow)
    except OSError as error:
        raise UserError(f"'{stream}' cannot be opened: {error.strerror}") from None
