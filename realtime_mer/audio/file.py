"""Read music files in blocks; memory use does not grow with the length of the file."""

from __future__ import annotations

import io
import os
import re
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realtime_mer.audio.ffmpeg import INSTALL_HINT, FfmpegDecoder, ffmpeg_path
from realtime_mer.audio.quiet import without_library_noise
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    Samples,
    Source,
    SourceBase,
    SourceLost,
)
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    import soundfile

AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "mp2", "aiff", "aif", "aifc", "au"),
        *("snd", "caf", "w64", "rf64", "m4a", "m4b", "mp4", "aac", "webm", "mkv", "mka", "mov"),
        *("wma", "ape", "wv", "amr", "ac3", "dts", "ra", "3gp", "raw", "pcm"),
    )
)
"""File suffixes that make a name count as a music file, even if no such file exists."""

# Formats that need ffmpeg, detected by their first bytes because names can be wrong: format name,
# offset, bytes.
_FFMPEG_MAGIC = (
    ("MPEG-4 audio (m4a, mp4)", 4, b"ftyp"),
    ("Matroska or WebM", 0, b"\x1a\x45\xdf\xa3"),
    ("Windows Media audio", 0, b"\x30\x26\xb2\x75"),
    ("AAC audio", 0, b"\xff\xf1"),
    ("AAC audio", 0, b"\xff\xf9"),
    ("Monkey's Audio", 0, b"MAC "),
    ("WavPack", 0, b"wvpk"),
    ("AMR audio", 0, b"#!AMR"),
    ("AC-3 audio", 0, b"\x0b\x77"),
)
_MP3_LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")
_WAV_TRUNCATED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
_WAV_STREAMED = {0, 0xFFFFFFFF, 0x7FFFFFFF}  # placeholder sizes of programs that write to a pipe
_MP3_SIZE_FACTOR = 64
_SLICE_FRAMES = 16_384
_MP3_TOLERANCE_S = 0.1  # encoders count their padding differently


def open_file(path: Path, *, loop: bool = False, block_s: float = 0.02) -> Source:
    """Open a music file, through ffmpeg if libsndfile cannot read its format.

    Args:
        path: the file.
        loop: start again at the end, without a gap; the source never ends.
        block_s: length of a block in seconds.

    Raises:
        UserError: the file is missing, not a regular file, not readable, empty, not audio,
            damaged or without samples, or it needs ffmpeg, which is not installed.
    """
    head = _read_head(path)
    needs_ffmpeg = next(
        (name for name, offset, magic in _FFMPEG_MAGIC if head[offset:].startswith(magic)), None
    )
    if needs_ffmpeg is None:
        return FileSource(path, loop=loop, block_s=block_s)
    if ffmpeg_path() is None:
        raise UserError(
            f"'{path}' is {needs_ffmpeg}, which needs ffmpeg; {INSTALL_HINT}, or convert the file "
            "to flac"
        )
    return FfmpegFileSource(path, loop=loop, block_s=block_s)


class FileSource(SourceBase):
    """A file that libsndfile reads: wav, flac, ogg, opus, mp3, aiff, au, caf and more.

    A damaged or incomplete file is played up to the damage; then `read` raises `SourceLost` with
    the position. The same applies to a float file with NaN or infinite samples.

    Args:
        path: the file.
        loop: start again at the end, without a gap; the source never ends.
        block_s: length of a block in seconds; the last one may be shorter.

    Raises:
        UserError: the file is missing, empty, not audio, damaged or without samples.
    """

    def __init__(self, path: Path, *, loop: bool = False, block_s: float = 0.02) -> None:
        head = _read_head(path)
        self._name = path.name
        self._loop = loop
        # libsndfile must not be closed while another thread reads.
        self._lock = threading.Lock()
        # Without a length tag libsndfile guesses the length of an MP3 from its first frame and
        # stops there, which cuts a song with variable bit rate.
        is_guess = _is_mp3_without_length(path, head)
        self._file = _open_soundfile(path, head, _OversizedFile(path) if is_guess else str(path))
        rate = int(self._file.samplerate)
        if self._file.frames == 0:
            self._file.close()
            raise UserError(f"'{path}' holds no samples: its length is zero")
        # Only the MP3 decoder prints; suppressing that costs more than reading a block.
        self._suppress_prints = without_library_noise if self._file.format == "MP3" else nullcontext
        self._is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        self._position = 0  # of the decoder, in sample frames
        self._pending = np.empty((0, self._file.channels), np.float32)  # decoded, not yet returned
        self._error: str | None = None  # why decoding stopped
        self._is_truncated = _is_truncated_ogg(path, head)
        self._expected_frames = None if is_guess else _expected_frames(self._file)
        self._tolerance = round(_MP3_TOLERANCE_S * rate) if self._file.format == "MP3" else 0
        self._block_frames = max(1, round(block_s * rate))
        end = None if loop or self._is_truncated else self._expected_frames
        self._info = Input(
            kind=InputKind.FILE,
            name=self._name,
            sample_rate_hz=rate,
            channels=int(self._file.channels),
            paced=True,
            live=False,
            duration_s=None if end is None else end / rate,
        )

    def read(self, timeout_s: float) -> Block | None:
        with self._lock:
            return self._read()

    def _read(self) -> Block:
        samples = self._decode(self._block_frames)
        if len(samples) == self._block_frames:
            return Block(samples)
        if not self._loop or self._ends_early():
            if len(samples):
                return Block(samples)
            self._end()
        # The loop is seamless: fill the block with the first samples of the file.
        parts = [samples]
        missing = self._block_frames - len(samples)
        while missing:
            with self._suppress_prints():
                self._file.seek(0)
            self._position = 0
            samples = self._decode(missing)
            if not len(samples):
                raise SourceLost(f"{self._name} could not be read again", recoverable=False)
            parts.append(samples)
            missing -= len(samples)
        return Block(np.concatenate(parts))

    def close(self) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.close()

    def _decode(self, n_frames: int) -> Samples:
        """Return up to `n_frames` sample frames from the current position; none at the end."""
        if self._file.closed:
            raise EndOfStream(f"{self._name} was closed")
        parts: list[Samples] = []
        missing = n_frames
        while missing:
            if not len(self._pending):
                self._pending = self._next_slice()
                if not len(self._pending):
                    break
            parts.append(self._pending[:missing])
            self._pending = self._pending[missing:]
            missing -= len(parts[-1])
        if not parts and self._error is not None:
            raise SourceLost(self._error, recoverable=False)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self._info.channels), np.float32)

    def _next_slice(self) -> Samples:
        """Decode the next slice, which always has the same length.

        The output of the MP3 and Opus decoders depends slightly on the size of a read. With a
        fixed size, blocks of all lengths hold the same samples. A small slice loses little audio
        before damage.
        """
        import soundfile

        samples: Samples = np.empty((_SLICE_FRAMES, self._info.channels), np.float32)
        if self._error is not None:
            return samples[:0]
        try:
            with self._suppress_prints():
                samples = self._file.read(out=samples)
        except soundfile.LibsndfileError as error:
            self._error = self._damage_message(_reason(error))
            return samples[:0]
        if self._is_float:
            samples = samples[: self._good_frames(samples)]
        self._position += len(samples)
        return samples

    def _good_frames(self, samples: Samples) -> int:
        """Return the number of frames before the first value that is not finite; keep the error."""
        if np.isfinite(samples).all():
            return len(samples)
        row, channel = np.argwhere(~np.isfinite(samples))[0].tolist()
        frame = self._position + row
        self._error = (
            f"{self._name} holds {samples[row, channel]} at {self._time(frame)} (sample frame "
            f"{frame}, channel {channel + 1}), which is not a finite number; export the file "
            "again"
        )
        return int(row)

    def _ends_early(self) -> bool:
        """Return whether the audio ended before the length that the file states."""
        if self._error is not None:
            return True
        expected = self._expected_frames
        too_short = expected is not None and self._position < expected - self._tolerance
        return too_short or self._is_truncated

    def _end(self) -> None:
        if self._ends_early():
            raise SourceLost(
                self._damage_message("the file is damaged or was not copied completely"),
                recoverable=False,
            )
        raise EndOfStream(f"{self._name} ended")

    def _damage_message(self, reason: str) -> str:
        expected = self._expected_frames
        length = "" if expected is None or self._is_truncated else f" of {self._time(expected)}"
        return (
            f"{self._name} breaks off at {self._time(self._position)}{length}: {reason}; "
            "the audio before that was read"
        )

    def _time(self, frame: int) -> str:
        return f"{frame / self._info.sample_rate_hz:.2f} s"


class FfmpegFileSource(SourceBase):
    """A file that only ffmpeg reads (m4a, aac, webm, wma ...); arguments as for `FileSource`."""

    def __init__(self, path: Path, *, loop: bool = False, block_s: float = 0.02) -> None:
        self._decoder = FfmpegDecoder(
            str(path.absolute()),
            # Local files only: a playlist in disguise must not open network addresses.
            options=["-protocol_whitelist", "file", *(["-stream_loop", "-1"] if loop else [])],
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
        )

    def read(self, timeout_s: float) -> Block | None:
        try:
            return self._decoder.read(timeout_s)
        except SourceLost as lost:
            raise SourceLost(str(lost), recoverable=False) from None

    def close(self) -> None:
        self._decoder.close()


class _OversizedFile(io.RawIOBase):
    """A file that reports a larger size than it has; reading ends at its real end.

    libsndfile derives the length of an MP3 from the file size and the bit rate of the first frame.
    The mean bit rate may be lower by up to `_MP3_SIZE_FACTOR`.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size * _MP3_SIZE_FACTOR
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._offset = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._size}[
            whence
        ] + offset
        return self._file.seek(self._offset)

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: Any) -> int:
        # The decoder looks for a tag in the last 128 bytes and fails if it cannot read them.
        if self._offset >= self._size - 128:
            count = min(len(buffer), self._size - self._offset)
            buffer[:count] = bytes(count)
        else:
            count = int(self._file.readinto(buffer))
        self._offset += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _read_head(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        UserError: the file is missing, not a regular file, not readable or empty.
    """
    try:
        if path.is_dir():
            raise UserError(f"'{path}' is a folder; give a music file in it")
        if path.exists() and not path.is_file():
            raise UserError(
                f"'{path}' is not a regular file; raw PCM is read from standard input, "
                "the input '-'"
            )
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise UserError(f"there is no file '{path}'; check the name and the folder") from None
    except PermissionError:
        raise UserError(f"'{path}' cannot be read; check its permissions") from None
    except ValueError as error:  # a null character
        raise UserError(f"{str(path)!r} is not a path ({error})") from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be opened: {error.strerror}") from None
    if not head:
        raise UserError(f"'{path}' is empty (0 bytes); copy or record it again")
    return head


def _open_soundfile(path: Path, head: bytes, file: str | io.RawIOBase) -> soundfile.SoundFile:
    import soundfile

    try:
        with without_library_noise():
            return soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        problem = _looks_like(head) or f"it is damaged, cut short or not audio ({_reason(error)})"
    except TypeError:  # *.raw: soundfile needs rate and channels
        problem = (
            "a file without a header has no sample rate; convert it to wav, or pipe its samples "
            "into standard input, the input '-'"
        )
    if isinstance(file, io.RawIOBase):
        file.close()
    raise UserError(f"'{path}' cannot be read as music: {problem}")


def _looks_like(head: bytes) -> str | None:
    """Return what a file that is not audio seems to be, or None."""
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a web page (a download that failed?)"
    if start.startswith((b"#extm3u", b"[playlist]")):
        return "it is a playlist; give one of the files or addresses in it"
    text = head.decode("utf-8", "ignore")
    printable = sum(character.isprintable() or character.isspace() for character in text)
    if b"\0" not in head and len(text.encode()) > 0.95 * len(head) and printable > 0.98 * len(text):
        return "it is text"
    return None


def _reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's reason without its prefix."""
    text = str(error.error_string).removeprefix("Error : ").strip().rstrip(".")
    # Its messages for everything that mpg123 rejects; the file does exist.
    if not text or "does not exist" in text or "internal error" in text:
        return "no valid audio frames"
    return text[0].lower() + text[1:]


def _expected_frames(file: soundfile.SoundFile) -> int:
    """Return the number of sample frames that the header states."""
    sizes = _WAV_TRUNCATED.search(file.extra_info)  # stated, actual
    if sizes and int(sizes[2]) > 0 and int(sizes[1]) not in _WAV_STREAMED:
        expected: int = round(file.frames * int(sizes[1]) / int(sizes[2]))
        return expected
    return int(file.frames)


def _is_mp3_without_length(path: Path, head: bytes) -> bool:
    """Return whether this is an MP3 whose first frame does not state its length."""
    start = 0
    if head.startswith(b"ID3") and len(head) >= 10:
        # The tag's size: four bytes of seven bits.
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    elif not (head[0] == 0xFF and len(head) > 1 and head[1] & 0xE0 == 0xE0):
        return False
    with path.open("rb") as file:
        file.seek(start)
        first = file.read(1024)
    return bool(first) and not any(tag in first for tag in _MP3_LENGTH_TAGS)


def _is_truncated_ogg(path: Path, head: bytes) -> bool:
    """Return whether an Ogg file ends within a page, as only an incomplete copy does."""
    if not head.startswith(b"OggS"):
        return False
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * 65_307))  # the longest page is 65,307 bytes
        tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27:
        return True
    segments = tail[page + 26]
    lengths = tail[page + 27 : page + 27 + segments]
    return len(lengths) < segments or page + 27 + segments + sum(lengths) > len(tail)
