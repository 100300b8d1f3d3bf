"""ffmpeg as a decoder in a process of its own, for what we cannot read ourselves."""

from __future__ import annotations

import collections
import contextlib
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from realtime_mer.audio.pcm import PcmFormat
from realtime_mer.audio.pipe import PipeReader
from realtime_mer.audio.source import Block, EndOfStream, SourceLost
from realtime_mer.clock import SystemClock
from realtime_mer.errors import UserError

INSTALL_HINT = "install ffmpeg (Debian, Ubuntu: apt install ffmpeg; macOS: brew install ffmpeg)"

# Sun AU: the smallest header that tells rate and channels; samples follow as big-endian float32.
_AU_HEADER = struct.Struct(">4sIIIII")
_STDERR_LINES = 20
_COMPONENT = re.compile(r"^\[[^]]* @ 0x[0-9a-f]+\] ")
_VAGUE = {
    "Input/output error",
    "Invalid data found when processing input",
    "Error opening input files: Input/output error",
    "Error opening input files: Invalid data found when processing input",
}


def ffmpeg_path() -> str | None:
    """Where ffmpeg is, or None where it is not installed."""
    return shutil.which("ffmpeg")


class FfmpegDecoder:
    """Whatever ffmpeg can open, as float32 blocks at its own rate with its own channels.

    Args:
        address: file path or URL, passed to `-i`.
        options: options that stand before `-i`.
        what: how messages call the input.
        open_timeout_s: how long ffmpeg may take until the first audio.
        block_s: the longest block, in seconds.

    Raises:
        UserError: ffmpeg is missing, cannot open the input, or finds no audio in it.
    """

    def __init__(
        self,
        address: str,
        *,
        options: Sequence[str] = (),
        what: str,
        open_timeout_s: float = 20.0,
        block_s: float = 0.02,
    ) -> None:
        program = ffmpeg_path()
        if program is None:
            raise UserError(f"{what} needs ffmpeg, which is not installed; {INSTALL_HINT}")
        self._address = address
        self._what = what
        self._log: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        command = [program, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"]
        command += [*options, "-i", address]
        # flush_packets: a live stream must not wait in ffmpeg's output buffer.
        command += ["-map", "0:a:0", "-c:a", "pcm_f32be", "-flush_packets", "1", "-f", "au", "-"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C in the terminal is ours to handle; it reaches ffmpeg through close().
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._logger = threading.Thread(
            target=self._keep_log, args=(self._process.stderr,), name="ffmpeg log", daemon=True
        )
        self._logger.start()
        # Rate and channels are not known yet, so the first chunks are sized for 48 kHz stereo.
        self._pipe = PipeReader(self._process.stdout, max(1, round(block_s * 48_000)) * 8)
        self._rest = b""
        self._closed = False
        try:
            self._pcm = self._read_header(open_timeout_s)
        except BaseException:
            self.close()
            raise
        self._decoded_frames = 0

    @property
    def sample_rate_hz(self) -> int:
        return self._pcm.sample_rate_hz

    @property
    def channels(self) -> int:
        return self._pcm.channels

    def read(self, timeout_s: float) -> Block | None:
        """The next block, or None where none came in time.

        Raises:
            EndOfStream: ffmpeg came to a regular end.
            SourceLost: ffmpeg failed; the message ends with its last words.
        """
        if len(self._rest) < self._pcm.frame_bytes:
            chunk = self._pipe.read(timeout_s)
            if chunk is None:
                return None
            if not chunk:
                self._end()
            self._rest += chunk
        whole = len(self._rest) - len(self._rest) % self._pcm.frame_bytes
        if not whole:
            return None
        data, self._rest = self._rest[:whole], self._rest[whole:]
        samples = self._pcm.decode(data)
        self._decoded_frames += len(samples)
        return Block(samples)

    def close(self) -> None:
        """Stop ffmpeg and wait for it to be gone; safe to call twice."""
        self._closed = True
        self._pipe.close()
        if self._process.poll() is None:
            self._process.kill()  # it writes nothing that could be damaged
        self._process.wait()
        self._logger.join(timeout=5.0)
        assert self._process.stderr is not None
        assert self._process.stdout is not None
        self._pipe.join(timeout_s=5.0)
        self._process.stderr.close()
        self._process.stdout.close()

    def _read_header(self, timeout_s: float) -> PcmFormat:
        clock = SystemClock()
        deadline = clock.monotonic() + timeout_s
        data = b""
        while len(data) < _AU_HEADER.size or len(data) < struct.unpack_from(">I", data, 4)[0]:
            chunk = self._pipe.read(max(0.0, deadline - clock.monotonic()))
            if chunk is None:
                raise UserError(f"{self._what} gave no audio within {timeout_s:.0f} s")
            if not chunk:
                raise UserError(f"{self._what} cannot be played: {self._last_words()}")
            data += chunk
        magic, offset, _size, encoding, rate, channels = _AU_HEADER.unpack_from(data)
        if magic != b".snd" or encoding != 6:
            raise UserError(f"{self._what}: ffmpeg answered with something else than audio")
        self._rest = data[offset:]
        return PcmFormat(rate, channels, "f32be")

    def _end(self) -> None:
        if self._closed:
            raise EndOfStream(f"{self._what} was closed")
        code = self._process.wait()
        words = self._last_words()
        seconds = self._decoded_frames / self._pcm.sample_rate_hz
        if code != 0:
            raise SourceLost(
                f"{self._what} broke off at {seconds:.1f} s: {words}", recoverable=True
            )
        raise EndOfStream(f"{self._what} ended")

    def _last_words(self) -> str:
        """ffmpeg's last complaint that says something, without its prefixes and the address."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2.0)
        self._logger.join(timeout=2.0)
        lines = [
            # The address may hold a password, and the message names the input already.
            _COMPONENT.sub("", line)
            .removeprefix(f"{self._address}: ")
            .replace(self._address, self._what)
            for line in self._log
        ]
        if not lines:
            return f"ffmpeg left with code {self._process.poll()}"
        telling = [line for line in lines if line not in _VAGUE]
        return telling[-1] if telling else lines[-1]

    def _keep_log(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._log.append(text)
