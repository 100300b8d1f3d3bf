"""Encoded audio from standard input or a FIFO, for example from curl, through ffmpeg."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import IO

from realtime_mer.audio.encoded_format import StartCheck
from realtime_mer.audio.ffmpeg import FfmpegDecoder
from realtime_mer.audio.ffmpeg_file import break_off_message
from realtime_mer.audio.file import open_file, stated_duration_s
from realtime_mer.audio.layout.types import tolerance_s
from realtime_mer.audio.pcm import PCM_FORMATS, open_pipe, standard_input_path
from realtime_mer.audio.pipe import PipeReader
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    Source,
    SourceBase,
    SourceLost,
)
from realtime_mer.clock import SystemClock
from realtime_mer.errors import UserError

_CHUNK_BYTES = 16_384
_REOPEN_TIMEOUT_S = 1.0
_STOP_POLL_S = 0.2
_MAX_SILENCE_BYTES = 1_000_000  # zeros tell nothing


def open_encoded_pipe(
    stream: IO[bytes] | Path,
    *,
    loop: bool = False,
    block_s: float = 0.02,
    name: str = "standard input",
) -> Source:
    """Open encoded audio on a stream or FIFO; a file that standard input reads is opened itself.

    Raises:
        UserError: as `EncodedPipeSource`, or as `open_file`.
    """
    if not isinstance(stream, Path):
        path = standard_input_path()
        if path is not None and path.is_file() and stream.tell() == 0:
            return open_file(path, loop=loop, block_s=block_s)
    return EncodedPipeSource(stream, loop=loop, block_s=block_s, name=name)


class EncodedPipeSource(SourceBase):
    """Encoded audio from a pipe; like `PcmSource` both `live` and `paced`.

    Args:
        stream: a binary stream with a file descriptor, or the path of a FIFO.
        loop: when a FIFO's writer is gone, `read` raises a recoverable `SourceLost`, and `reopen`
            goes on with the next writer.
        block_s: the longest block, in seconds.
        name: name of the input in messages.
        open_timeout_s: how long to wait for the first audio, in seconds.

    Raises:
        UserError: no audio arrives in time, it is not encoded audio or not recognised, or ffmpeg is
            missing or cannot decode it.
    """

    def __init__(
        self,
        stream: IO[bytes] | Path,
        *,
        loop: bool = False,
        block_s: float = 0.02,
        name: str = "standard input",
        open_timeout_s: float = 20.0,
    ) -> None:
        self._loop = loop and isinstance(stream, Path)
        self._block_s = block_s
        self._name = name
        self._closed = False
        self._has_audio = False  # since the decoder was started
        self._decoder: FfmpegDecoder
        # Rate in Hz and channels, once the first writer has decided them.
        self._output: tuple[int | None, int | None] = (None, None)
        # It stays open between the writers of a FIFO, so that none of them meets a closed end.
        self._pipe = open_pipe(stream, _CHUNK_BYTES, follow=self._loop)
        try:
            self._open(open_timeout_s)
        except BaseException:
            self._pipe.close()
            raise

    def read(self, timeout_s: float) -> Block | None:
        try:
            block = self._decoder.read(timeout_s)
        except EndOfStream as end:
            reason = str(end)
            if self._closed or (self._has_audio and not self._loop):
                stated_s, decoded_s = self._stated_s, self._decoder.decoded_s
                is_short = stated_s is not None and stated_s - decoded_s > tolerance_s(stated_s)
                if self._closed or not (self._decoder.is_cut or is_short):
                    raise
                reason = break_off_message(
                    self._name,
                    decoded_s,
                    stated_s if is_short else None,
                    "what arrived was cut short",
                )
                raise SourceLost(reason, recoverable=False) from None
            if not self._has_audio:
                reason += " and holds no audio that can be read from a pipe; give a file to --input"
            raise SourceLost(reason, recoverable=self._loop) from None
        except SourceLost as lost:
            raise SourceLost(str(lost), recoverable=self._loop) from None
        self._has_audio = self._has_audio or block is not None
        return block

    def reopen(self) -> None:
        self._decoder.close()
        self._copier.stop()
        try:
            self._open(_REOPEN_TIMEOUT_S)
        except UserError as error:
            raise SourceLost(str(error), recoverable=self._loop and not self._closed) from None
        if self._closed:  # meanwhile, by another thread
            self._decoder.close()

    def close(self) -> None:
        self._closed = True
        self._pipe.close()
        self._decoder.close()

    def _open(self, timeout_s: float) -> None:
        """Recognise what arrives, and start ffmpeg for it."""
        self._has_audio = False
        head = self._recognised_head(timeout_s)
        self._stated_s = stated_duration_s(head)
        reading, writing = os.pipe()
        self._copier = _Copier(head, self._pipe, writing)
        try:
            self._decoder = FfmpegDecoder(
                "pipe:0",
                options=["-protocol_whitelist", "pipe"],
                label=self._name,
                open_timeout_s=timeout_s,
                block_s=self._block_s,
                output_rate_hz=self._output[0],
                output_channels=self._output[1],
                stdin=reading,
            )
        except BaseException:
            os.close(reading)  # before the copier is stopped, which may wait for a reader
            self._copier.stop()
            raise
        os.close(reading)
        self._info = Input(
            kind=InputKind.PCM,
            name=self._name,
            sample_rate_hz=self._decoder.sample_rate_hz,
            channels=self._decoder.channels,
            paced=True,
            live=True,
        )
        # The next writer's format may differ; ffmpeg converts it to the first one.
        self._output = (self._info.sample_rate_hz, self._info.channels)

    def _recognised_head(self, timeout_s: float) -> bytes:
        """Return the first bytes once they are recognised as encoded audio."""
        check = StartCheck()
        clock = SystemClock()
        deadline = clock.monotonic() + timeout_s
        head = b""
        while True:
            chunk = self._pipe.read(max(0.0, deadline - clock.monotonic()))
            if chunk is None and not head:
                raise UserError(f"{self._name} delivered no audio within {timeout_s:.0f} s")
            found = check.add(chunk or b"")
            head += chunk or b""
            if found is not None and found.is_audio:
                return head
            if found is not None:
                raise UserError(f"{self._name} contains {found.name}, not audio")
            if not head and self._loop and not self._closed:
                continue  # the end of a writer whose audio ffmpeg refused
            if not head:
                raise UserError(
                    f"{self._name} ended before any audio arrived; check the program that writes "
                    "to it"
                )
            if not chunk or check.is_complete or len(head) > _MAX_SILENCE_BYTES:
                raise UserError(
                    f"{self._name} has no header that tells its format; if it is raw PCM, give "
                    f"--pcm-rate, --pcm-channels and --pcm-format ({', '.join(PCM_FORMATS)})"
                )


class _Copier:
    """Writes first bytes and the rest of a pipe to a descriptor, and closes it at the end."""

    def __init__(self, head: bytes, pipe: PipeReader, descriptor: int) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(head, pipe, descriptor), name="pipe copier", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more from the pipe."""
        self._stopped.set()
        self._thread.join()

    def _run(self, head: bytes, pipe: PipeReader, descriptor: int) -> None:
        # The reader may end first.
        with contextlib.suppress(OSError), os.fdopen(descriptor, "wb", buffering=0) as writer:
            chunk: bytes | None = head
            while (chunk is None or chunk) and not self._stopped.is_set():
                remaining = memoryview(chunk or b"")
                while remaining:
                    remaining = remaining[writer.write(remaining) :]
                chunk = pipe.read(_STOP_POLL_S)
