"""Raw PCM from standard input, for example from ffmpeg, arecord or SSH."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.pipe import PipeReader
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
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

# First bytes of files with a header, which would be decoded as noise.
_HEADERS = {
    b"RIFF": "a WAV file",
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"ID3\x03": "an MP3 file",
    b"ID3\x04": "an MP3 file",
    b".snd": "an AU file",
    b"FORM": "an AIFF file",
    b"caff": "a CAF file",
}


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
                f"{', '.join(PCM_FORMATS)} (--pcm-format)"
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
            flat = np.frombuffer(data, kind).astype(np.float32)
            if zero:
                flat -= np.float32(zero)
            if full != 1.0:
                flat /= np.float32(full)
        return flat.reshape(-1, self.channels)


class PcmSource(SourceBase):
    """Raw samples from a pipe.

    Nothing is dropped: a writer that is faster than the reader waits. The writer may be live
    (arecord, SSH) or as fast as possible (`cat`), so the source is both `live` and `paced`.

    Args:
        pcm: format of the samples.
        stream: a binary stream with a file descriptor; standard input where None.
        block_s: the longest block, in seconds.
        name: name of the input in messages.
        first_wait_s: how long to wait here for the first samples, which are checked for a file
            header. If they arrive later, `read` checks them.

    Raises:
        UserError: standard input is a terminal, closed or empty, or contains a file with a header.
    """

    def __init__(
        self,
        pcm: PcmFormat,
        *,
        stream: IO[bytes] | None = None,
        block_s: float = 0.02,
        name: str = "standard input",
        first_wait_s: float = 1.0,
    ) -> None:
        if stream is None:
            if sys.stdin is None:
                raise UserError("--input - needs standard input, which is closed")
            if sys.stdin.isatty():
                raise UserError(
                    "--input - reads raw PCM from a pipe, but standard input is a terminal; "
                    f"for example: {EXAMPLE}"
                )
            stream = sys.stdin.buffer
        self._pcm = pcm
        block_frames = max(1, round(block_s * pcm.sample_rate_hz))
        self._pipe = PipeReader(stream, block_frames * pcm.frame_bytes)
        self._incomplete = b""
        self._started = False
        self._closed = False
        self._name = name
        # Report a wrong start before anything else runs.
        self._first = self._pipe.read(first_wait_s)
        try:
            if self._first is not None:
                self._check_start(self._first)
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
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = self._pipe.read(timeout_s)
        if chunk is None:
            return None
        if not self._started:
            self._check_start(chunk)
            self._started = True
        if not chunk:
            self._end()
        data = self._incomplete + chunk
        complete = len(data) - len(data) % self._pcm.frame_bytes
        self._incomplete = data[complete:]
        return Block(self._pcm.decode(memoryview(data)[:complete])) if complete else None

    def close(self) -> None:
        self._closed = True
        self._pipe.close()

    def _check_start(self, chunk: bytes) -> None:
        """Raise SourceLost if the stream is empty or starts with the header of a file."""
        if not chunk and not self._closed:
            raise SourceLost(
                f"{self._name} ended before any audio arrived; check the program that writes to it",
                recoverable=False,
            )
        file_kind = _HEADERS.get(chunk[:4])
        if file_kind is not None:
            raise SourceLost(
                f"{self._name} contains {file_kind}, not raw PCM; give the file to --input, or "
                f"decode it first: {EXAMPLE}",
                recoverable=False,
            )

    def _end(self) -> None:
        if self._closed:
            raise EndOfStream(f"{self._name} was closed")
        if self._incomplete:
            raise EndOfStream(
                f"{self._name} ended within a sample frame: {len(self._incomplete)} of "
                f"{self._pcm.frame_bytes} bytes ignored"
            )
        raise EndOfStream(f"{self._name} ended")
