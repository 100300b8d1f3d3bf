"""Decode with an ffmpeg process what libsndfile cannot read."""

from __future__ import annotations

import collections
import contextlib
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO

from realtime_mer.audio.conversion import Conversion
from realtime_mer.audio.ffmpeg_messages import ffmpeg_reason
from realtime_mer.audio.pcm import PcmFormat
from realtime_mer.audio.pipe import PipeReader
from realtime_mer.audio.source import Block, EndOfStream, SourceLost
from realtime_mer.clock import SystemClock
from realtime_mer.errors import UserError

INSTALL_HINT = "install ffmpeg (Debian, Ubuntu: apt install ffmpeg; macOS: brew install ffmpeg)"

# Sun AU: a small header with rate and channels; then samples as big-endian float32.
_AU_HEADER = struct.Struct(">4sIIIII")
_STDERR_LINES = 20
_CANCEL_POLL_S = 0.2
_CUT = (
    "Error during demuxing",
    "File ended prematurely",
    "Input packet size too small",
    "partial file",
)
# ffmpeg's exit code does not tell them from the regular end. "Input/output error" may also be the
# end of a stream without a length.
_BREAK_OFFS = (
    "Connection timed out",
    "Operation timed out",
    "Connection reset by peer",
)


def ffmpeg_path() -> str | None:
    """Return the path of ffmpeg, or None if it is not installed."""
    return shutil.which("ffmpeg")


class FfmpegDecoder:
    """Decodes any input of ffmpeg to float32 blocks, with its own sample rate and channels.

    Args:
        address: file path or URL, passed to `-i`.
        options: input options of ffmpeg, passed before `-i`.
        label: the name of the input in messages.
        open_timeout_s: how long to wait for the first audio, in seconds.
        block_s: the longest block, in seconds.
        output_rate_hz: resample to this rate in Hz; None keeps the input's own.
        output_channels: mix to this number; None keeps the input's own.
        stdin: a file descriptor for the address `pipe:0`; the caller closes it.
        is_cancelled: asked again and again until there is audio; where it is true, ffmpeg is
            stopped and a UserError raised.

    Raises:
        UserError: ffmpeg is missing, cannot open the input, or finds no audio in it.
    """

    def __init__(
        self,
        address: str,
        *,
        options: Sequence[str] = (),
        label: str,
        open_timeout_s: float = 20.0,
        block_s: float = 0.02,
        output_rate_hz: int | None = None,
        output_channels: int | None = None,
        stdin: int = subprocess.DEVNULL,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        program = ffmpeg_path()
        if program is None:
            raise UserError(f"{label} needs ffmpeg, which is not installed; {INSTALL_HINT}")
        self._address = address
        self._label = label
        self._log: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        command = [program, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"]
        command += [*options, "-i", address]
        # flush_packets: do not let a live stream wait in ffmpeg's output buffer.
        command += ["-map", "0:a:0", "-c:a", "pcm_f32be", "-flush_packets", "1"]
        command += [] if output_rate_hz is None else ["-ar", str(output_rate_hz)]
        command += ["-f", "au", "-"]
        self._process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Keep Ctrl-C of the terminal from ffmpeg; close() stops it.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._logger = threading.Thread(
            target=self._keep_log, args=(self._process.stderr,), name="ffmpeg log", daemon=True
        )
        self._logger.start()
        # Rate and channels are not known yet: size the chunks for 48 kHz stereo.
        self._pipe = PipeReader(self._process.stdout, max(1, round(block_s * 48_000)) * 8)
        self._undecoded = b""
        self._closed = False
        self._conversion: Conversion | None = None
        try:
            self._pcm = self._read_header(open_timeout_s, is_cancelled)
            rate, channels = self._pcm.sample_rate_hz, self._pcm.channels
            self._channels = output_channels or channels
            if channels != self._channels:
                # ffmpeg would play one channel in stereo at 0.7 of its level.
                self._conversion = Conversion(
                    rate, channels, to_rate_hz=rate, to_channels=self._channels
                )
        except BaseException:
            self.close()
            raise
        self._decoded_frames = 0

    @property
    def sample_rate_hz(self) -> int:
        return self._pcm.sample_rate_hz

    @property
    def decoded_s(self) -> float:
        """Seconds of audio decoded so far."""
        return self._decoded_frames / self._pcm.sample_rate_hz

    @property
    def is_open(self) -> bool:
        """Whether `close` was not called yet."""
        return not self._closed

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def is_cut(self) -> bool:
        """Whether ffmpeg has reported that the input ended too early."""
        marks = (f"{self._address}: Input/output error", *_CUT)
        is_cut = any(mark in line for line in self._log for mark in marks)
        return is_cut or self.break_off is not None

    @property
    def break_off(self) -> str | None:
        """Why the connection failed, in a few words without advice; None if it did not."""
        marks = tuple(f"{self._address}: {reason}" for reason in _BREAK_OFFS)
        lines = [line for line in self._log if line.startswith(marks)]
        return ffmpeg_reason(lines, address=self._address).partition(";")[0] if lines else None

    def read(self, timeout_s: float) -> Block | None:
        """Return the next block, or None if none arrived within `timeout_s` seconds.

        Raises:
            EndOfStream: the input ended regularly.
            SourceLost: ffmpeg failed; the message ends with its error.
        """
        # None means that nothing came in all this time: a part of a sample, or a first block that
        # the conversion keeps, is followed by another attempt.
        while True:
            if len(self._undecoded) < self._pcm.frame_bytes:
                chunk = self._pipe.read(timeout_s)
                if chunk is None:
                    return None
                if not chunk:
                    self._end()
                self._undecoded += chunk
            complete = len(self._undecoded) - len(self._undecoded) % self._pcm.frame_bytes
            data, self._undecoded = self._undecoded[:complete], self._undecoded[complete:]
            samples = self._pcm.decode(data)
            self._decoded_frames += len(samples)
            if self._conversion is not None:
                samples = self._conversion.convert(samples)
            if len(samples):
                return Block(samples)

    def close(self) -> None:
        """Stop ffmpeg and wait for its end; safe to call twice."""
        self._closed = True
        self._pipe.close()
        if self._process.poll() is None:
            self._process.kill()  # it writes no files
        self._process.wait()
        self._logger.join(timeout=5.0)
        assert self._process.stderr is not None
        assert self._process.stdout is not None
        self._pipe.join(timeout_s=5.0)
        self._process.stderr.close()
        self._process.stdout.close()

    def _read_header(self, timeout_s: float, is_cancelled: Callable[[], bool]) -> PcmFormat:
        clock = SystemClock()
        deadline = clock.monotonic() + timeout_s
        data = b""
        while len(data) < _AU_HEADER.size or len(data) < struct.unpack_from(">I", data, 4)[0]:
            left = deadline - clock.monotonic()
            chunk = self._pipe.read(min(max(0.0, left), _CANCEL_POLL_S))
            if is_cancelled():
                raise UserError(f"{self._label} was closed")
            if chunk is None and left > _CANCEL_POLL_S:
                continue
            if chunk is None:
                raise UserError(f"{self._label} delivered no audio within {timeout_s:.0f} s")
            if not chunk:
                raise UserError(f"{self._label} cannot be played: {self._last_error()}")
            data += chunk
        magic, offset, _size, encoding, rate, channels = _AU_HEADER.unpack_from(data)
        if magic != b".snd" or encoding != 6:
            raise UserError(f"{self._label}: ffmpeg delivered something other than audio")
        self._undecoded = data[offset:]
        return PcmFormat(rate, channels, "f32be")

    def _end(self) -> None:
        if self._closed:
            raise EndOfStream(f"{self._label} was closed")
        code = self._process.wait()
        error = self._last_error()
        if code != 0:
            raise SourceLost(
                f"{self._label} broke off at {self.decoded_s:.1f} s: {error}", recoverable=True
            )
        raise EndOfStream(f"{self._label} ended")

    def _last_error(self) -> str:
        """Return why ffmpeg failed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2.0)
        self._logger.join(timeout=2.0)
        return ffmpeg_reason(list(self._log), address=self._address)

    def _keep_log(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._log.append(text)
