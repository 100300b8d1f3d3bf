"""Files that only ffmpeg reads: m4a, webm, wma, wavpack and many more."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from realtime_mer.audio.ffmpeg import FfmpegDecoder
from realtime_mer.audio.layout.types import Layout, tolerance_s
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.core.config import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from realtime_mer.errors import UserError

DAMAGED = "the file is damaged or was not copied completely"
"""Why a file breaks off, for `break_off_message`."""

_OPTIONS = (
    # Local files only: a playlist in disguise must not open network addresses.
    *("-protocol_whitelist", "file,subfile"),
    # The sound of a film may start later than ffmpeg usually looks; microseconds and bytes.
    *("-analyzeduration", "60000000", "-probesize", "50000000"),
)
_PROBE_TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 1_000_000
_ENTRIES = (
    "format=format_name,duration,start_time,probe_score:"
    "stream=index,codec_type,duration,start_time,sample_rate:stream_tags=DURATION"
)
# By the name alone; the bytes say nothing.
_MIN_SCORE = 5
# A lower rate is a damaged header; ffmpeg would fill hours with samples that are not there.
_MIN_RATE_HZ = 500
# ffmpeg then knows the length only from the size of the file.
_IS_ESTIMATE = "Estimating duration from bitrate"


@dataclass(frozen=True, slots=True)
class _Probe:
    """What ffprobe says of a file.

    Attributes:
        problem: why the file is not music, or None.
        duration_s: the stated length of the audio in seconds, or None.
        sample_rate_hz: the audio's, 0 if unknown.
        container_s: the stated length of audio and video together in seconds, or None.
        index: of the audio among the streams.
        late_s: how much later than the film the audio starts, in seconds.
    """

    problem: str | None = None
    duration_s: float | None = None
    sample_rate_hz: int = 0
    container_s: float | None = None
    index: int = 0
    late_s: float = 0.0


class FfmpegFileSource(SourceBase):
    """A file that ffmpeg decodes.

    ffmpeg ends without an error where an incomplete file ends. So the decoded length is compared
    with the length that the container states.

    Args:
        path: the file.
        layout: what the file holds.
        reason: why libsndfile does not read it, for the message if ffmpeg does not either.
        block_s: length of a block in seconds; the last one may be shorter.

    Raises:
        UserError: ffmpeg is missing, or finds no audio in the file.
    """

    def __init__(self, path: Path, layout: Layout, *, reason: str, block_s: float = 0.02) -> None:
        # What is in front of a file, such as an ID3v2 tag, hides its format from ffmpeg.
        self._address = str(path.absolute())
        if layout.start:
            self._address = f"subfile,,start,{layout.start},end,0,,:{self._address}"
        self._layout = layout
        probe = _probe(self._address)
        if probe.problem is not None:
            detail = f" ({reason})" if reason and probe.problem is _NOT_AUDIO else ""
            raise UserError(f"'{path}' cannot be read as music: {probe.problem}{detail}")
        self._expected_s = layout.duration_s or probe.duration_s
        self._container_s = probe.container_s
        self._late_s = probe.late_s
        self._stream_index = probe.index
        if layout.is_unfinished:
            self._expected_s = self._container_s = None
        # ffmpeg resamples what the pipeline does not take.
        rate = min(max(probe.sample_rate_hz, MIN_SAMPLE_RATE_HZ), MAX_SAMPLE_RATE_HZ)
        self._decoder = FfmpegDecoder(
            self._address,
            options=_OPTIONS,
            output_rate_hz=None if probe.sample_rate_hz in (0, rate) else rate,
            label=f"'{path}'",
            block_s=block_s,
        )
        self._info = Input(
            kind=InputKind.FILE,
            name=path.name,
            sample_rate_hz=self._decoder.sample_rate_hz,
            channels=self._decoder.channels,
            paced=True,
            live=False,
            duration_s=self._expected_s,
        )

    def read(self, timeout_s: float) -> Block | None:
        try:
            return self._decoder.read(timeout_s)
        except (EndOfStream, SourceLost) as end:
            if not self._decoder.is_open:
                raise
            self._check(end)
        raise EndOfStream(f"{self._info.name} ended")

    def close(self) -> None:
        self._decoder.close()

    def _check(self, end: EndOfStream | SourceLost) -> None:
        """Raise SourceLost if less was decoded than the file should hold."""
        decoded_s, expected_s = self._decoder.decoded_s, self._expected_s
        is_short = expected_s is not None and expected_s - decoded_s > tolerance_s(expected_s)
        if is_short and expected_s is not None and not (self._layout.is_cut or self._layout.gaps):
            is_short = not self._is_whole(expected_s)
        is_cut = self._layout.is_cut or self._layout.missing_share > 0
        if expected_s is None:
            is_cut |= isinstance(end, SourceLost) or self._decoder.is_cut
            is_cut = is_cut or self._film_is_cut()
        if is_short or is_cut:
            of_s = expected_s if is_short else None
            raise SourceLost(
                break_off_message(self._info.name, decoded_s, of_s, DAMAGED),
                recoverable=False,
            ) from None
        if self._layout.unread:
            message = unread_message(self._info.name, self._layout.unread)
            raise SourceLost(message, recoverable=False) from None

    def _film_is_cut(self) -> bool:
        """Return whether sound and picture both end before the length of the film."""
        stated_s = self._container_s
        if stated_s is None or stated_s - self._decoder.decoded_s <= tolerance_s(stated_s):
            return False
        end_s, _ = _packet_times(self._address, self._stream_index)
        return 0.0 < end_s < stated_s - tolerance_s(stated_s)

    def _is_whole(self, expected_s: float) -> bool:
        """Return whether the file reaches its stated end, and all sound in it was decoded.

        So does a recording that was paused, and a film with a part that has no sound: the length
        that ffprobe states may be that of the film.
        """
        end_s, held_s = _packet_times(self._address, self._stream_index)
        is_decoded = self._decoder.decoded_s > held_s - tolerance_s(held_s)
        return is_decoded and end_s > self._late_s + expected_s - tolerance_s(expected_s)


def break_off_message(name: str, at_s: float, of_s: float | None, reason: str) -> str:
    """Return the sentence on a file that ends before its end.

    Args:
        name: the file's name.
        at_s: seconds of audio that were read.
        of_s: length of the whole in seconds, or None.
        reason: why.
    """
    length = "" if of_s is None else f" of {of_s:.2f} s"
    return f"{name} breaks off at {at_s:.2f} s{length}: {reason}; the audio before that was read"


def unread_message(name: str, what: str) -> str:
    """Return the sentence on a file of which a part cannot be read."""
    return f"{name} also holds {what}, which was not read; split the file to read both"


def _probe(address: str) -> _Probe:
    """Ask ffprobe; without it nothing is known."""
    program = shutil.which("ffprobe")
    if program is None:
        return _Probe()
    command = [program, "-v", "warning", *_OPTIONS, "-show_entries", _ENTRIES, "-of", "json"]
    try:
        answer, messages = _outputs([*command, address])
        found = json.loads(answer or b"{}")
    except (OSError, ValueError, RecursionError):
        return _Probe()
    if not isinstance(found, dict):
        return _Probe()
    container = found.get("format", {})
    streams = found.get("streams", [])
    kinds = [stream.get("codec_type") for stream in streams]
    if "audio" not in kinds:
        return _Probe(problem=_without_audio(str(container.get("format_name", "")), kinds))
    if int(container.get("probe_score", 100)) < _MIN_SCORE:
        return _Probe(problem=_NOT_AUDIO)
    audio = streams[kinds.index("audio")]
    index, rate = int(audio.get("index", 0)), int(audio.get("sample_rate", 0))
    if rate < _MIN_RATE_HZ:
        return _Probe(problem=f"its sample rate is {rate} Hz; the file is damaged or not music")
    if _IS_ESTIMATE in messages.decode("utf-8", "replace"):
        return _Probe(sample_rate_hz=rate, index=index)
    start_s = _seconds(audio.get("start_time")) or 0.0
    late_s = max(0.0, start_s - (_seconds(container.get("start_time")) or 0.0))
    duration_s = _seconds(audio.get("duration"))
    # These count from the start of the container, and the audio may start later.
    end_s = _seconds(audio.get("tags", {}).get("DURATION"))
    if container.get("format_name") == "asf":
        duration_s, end_s = None, duration_s
    if end_s is None and "video" not in kinds:
        end_s = _seconds(container.get("duration"))
    if duration_s is None and end_s is not None:
        duration_s = end_s - start_s
    return _Probe(None, duration_s, rate, _seconds(container.get("duration")), index, late_s)


def _outputs(command: Sequence[str]) -> tuple[bytes, bytes]:
    """Return what a program writes to standard output and error.

    It is killed when it takes too long or writes more than `_MAX_ANSWER_BYTES`: the tags of a file
    may be as long as the file.
    """
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None

        def read(stream: IO[bytes]) -> bytes:
            data = stream.read(_MAX_ANSWER_BYTES)
            if len(data) == _MAX_ANSWER_BYTES:
                process.kill()
            return data

        timer = threading.Timer(_PROBE_TIMEOUT_S, process.kill)
        timer.start()
        try:
            with ThreadPoolExecutor(2) as pool:
                answer, messages = pool.map(read, (process.stdout, process.stderr))
        finally:
            timer.cancel()
    return answer, messages


def _packet_times(address: str, stream_index: int) -> tuple[float, float]:
    """Return the time from the first packet to the end of the last, and the length of the sound.

    In seconds; both are 0 if ffprobe finds nothing, or finds damage.

    Args:
        address: of the file.
        stream_index: of the sound.
    """
    program = shutil.which("ffprobe")
    if program is None:
        return 0.0, 0.0
    command = [program, "-v", "error", *_OPTIONS, "-of", "csv=p=0"]
    process = subprocess.Popen(
        [*command, "-show_entries", "packet=stream_index,pts_time,duration_time", address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    first_s, end_s, held_s, is_damaged = math.inf, -math.inf, 0.0, False
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            index, start, length, *_ = (*line.strip().split(","), "", "")
            if not index.isdigit():
                is_damaged |= bool(index)  # a message; side data leave empty lines
                continue
            length_s = _seconds(length) or 0.0
            held_s += length_s if index == str(stream_index) else 0.0
            with contextlib.suppress(ValueError):  # not every packet has a time
                first_s, end_s = min(first_s, float(start)), max(end_s, float(start) + length_s)
    return (0.0, 0.0) if is_damaged else (max(0.0, end_s - first_s), held_s)


_NOT_AUDIO = "it is damaged, cut short or not audio"


def _without_audio(container: str, kinds: list[str]) -> str:
    if "video" in kinds:
        is_picture = container.endswith("_pipe") or container in ("image2", "gif", "apng", "ico")
        return "it is a picture" if is_picture else "it is video without sound"
    return _NOT_AUDIO


def _seconds(text: str | None) -> float | None:
    """Parse seconds, or hours:minutes:seconds as in Matroska's tags."""
    try:
        total = 0.0
        for part in str(text).split(":"):
            total = 60.0 * total + float(part)
    except ValueError:
        return None
    return total if 0.0 < total < 1e9 else None
