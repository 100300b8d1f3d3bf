"""Music files, in blocks: the memory needed does not grow with the file."""

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
    InputInfo,
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
"""Endings by which a name is taken for a music file even where no such file exists."""

# What soundfile cannot read and ffmpeg can, known by the first bytes (never by the name, which
# may lie): name, offset, bytes.
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
_MP3_LENGTH_MARKS = (b"Xing", b"Info", b"VBRI")
_WAV_SHORT = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
_WAV_STREAMED = {0, 0xFFFFFFFF, 0x7FFFFFFF}  # sizes that a program writes into a pipe
_MP3_STRETCH = 64
_SLICE_FRAMES = 16_384
_MP3_TOLERANCE_S = 0.1  # encoders count their own padding differently


def open_file(path: Path, *, loop: bool = False, block_s: float = 0.02) -> Source:
    """Open a music file, with ffmpeg's help where we cannot read it ourselves.

    Args:
        path: the file.
        loop: start again at the end, without a gap and without an end.
        block_s: length of a block in seconds.

    Raises:
        UserError: the file is missing, not a file, not readable, empty, not audio, damaged, holds
            no samples, or needs ffmpeg where that is not installed.
    """
    head = _read_head(path)
    foreign = next((name for name, at, mark in _FFMPEG_MAGIC if head[at:].startswith(mark)), None)
    if foreign is None:
        return FileSource(path, loop=loop, block_s=block_s)
    if ffmpeg_path() is None:
        raise UserError(
            f"'{path}' is {foreign}, which only ffmpeg can read here; {INSTALL_HINT}, or convert "
            "the file to flac"
        )
    return FfmpegFileSource(path, loop=loop, block_s=block_s)


class FileSource(SourceBase):
    """A file that libsndfile reads: wav, flac, ogg, opus, mp3, aiff, au, caf and more.

    A file that breaks off in the middle is played as far as it goes; then `read` raises
    `SourceLost` with the place. So what was analysed up to there is kept, and nobody takes half a
    song for a whole one. The same holds for a float file with NaN or infinite samples.

    Args:
        path: the file.
        loop: start again at the end, without a gap and without an end.
        block_s: length of a block in seconds; the last one may be shorter.

    Raises:
        UserError: the file is missing, empty, not audio, damaged, or holds no samples.
    """

    def __init__(self, path: Path, *, loop: bool = False, block_s: float = 0.02) -> None:
        head = _read_head(path)
        self._name = path.name
        self._loop = loop
        # libsndfile must not be closed on one thread while another reads.
        self._lock = threading.Lock()
        # Without a length mark libsndfile guesses the length of an MP3 from its first frame and
        # would stop there, in the middle of a song with variable bit rate.
        guessed = _is_mp3_without_length(path, head)
        self._file = _open_soundfile(path, head, _StretchedFile(path) if guessed else str(path))
        rate = int(self._file.samplerate)
        if self._file.frames == 0:
            self._file.close()
            raise UserError(f"'{path}' holds no samples: it is an audio file of length zero")
        # Only the MP3 decoder prints, and keeping it quiet costs more than reading a block.
        self._quietly = without_library_noise if self._file.format == "MP3" else nullcontext
        self._is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        self._position = 0  # of the decoder, in sample frames
        self._pending = np.empty((0, self._file.channels), np.float32)  # decoded, not yet given
        self._fault: str | None = None  # why decoding stopped, once it did
        self._is_cut = _is_cut_ogg(path, head)
        self._expected_frames = None if guessed else _expected_frames(self._file)
        self._tolerance = round(_MP3_TOLERANCE_S * rate) if self._file.format == "MP3" else 0
        self._block_frames = max(1, round(block_s * rate))
        ends_at = None if loop or self._is_cut else self._expected_frames
        self._info = InputInfo(
            kind=InputKind.FILE,
            name=self._name,
            sample_rate_hz=rate,
            channels=int(self._file.channels),
            paced=True,
            live=False,
            duration_s=None if ends_at is None else ends_at / rate,
        )

    def read(self, timeout_s: float) -> Block | None:
        with self._lock:
            return self._read()

    def _read(self) -> Block:
        samples = self._decode(self._block_frames)
        if len(samples) == self._block_frames:
            return Block(samples)
        if not self._loop or self._breaks_off():
            if len(samples):
                return Block(samples)
            self._end()
        # The loop is seamless: the block goes on with the first samples of the file.
        parts = [samples]
        missing = self._block_frames - len(samples)
        while missing:
            with self._quietly():
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
        """Up to `n_frames` sample frames from where we are; none at the end."""
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
        if not parts and self._fault is not None:
            raise SourceLost(self._fault, recoverable=False)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self._info.channels), np.float32)

    def _next_slice(self) -> Samples:
        """The next frames of the decoder, always as many at once.

        What the MP3 and Opus decoders give depends a little on how much they are asked for; like
        this, blocks of all sizes hold the same samples, and damage costs little of what is good.
        """
        import soundfile

        samples: Samples = np.empty((_SLICE_FRAMES, self._info.channels), np.float32)
        if self._fault is not None:
            return samples[:0]
        try:
            with self._quietly():
                samples = self._file.read(out=samples)
        except soundfile.LibsndfileError as error:
            self._fault = self._broken(_reason(error))
            return samples[:0]
        if self._is_float:
            samples = samples[: self._good_frames(samples)]
        self._position += len(samples)
        return samples

    def _good_frames(self, samples: Samples) -> int:
        """How many frames there are before one that is not of numbers, which becomes the fault."""
        if np.isfinite(samples).all():
            return len(samples)
        row, channel = np.argwhere(~np.isfinite(samples))[0].tolist()
        frame = self._position + row
        self._fault = (
            f"{self._name} holds {samples[row, channel]} at {self._time(frame)} (sample frame "
            f"{frame}, channel {channel + 1}), where only finite numbers are audio; export the "
            "file again"
        )
        return int(row)

    def _breaks_off(self) -> bool:
        """Whether the end we came to is not where the file said it would be."""
        if self._fault is not None:
            return True
        expected = self._expected_frames
        short = expected is not None and self._position < expected - self._tolerance
        return short or self._is_cut

    def _end(self) -> None:
        if self._breaks_off():
            raise SourceLost(
                self._broken("the file is damaged or was not copied completely"), recoverable=False
            )
        raise EndOfStream(f"{self._name} ended")

    def _broken(self, reason: str) -> str:
        expected = self._expected_frames
        length = "" if expected is None or self._is_cut else f" of {self._time(expected)}"
        return (
            f"{self._name} breaks off at {self._time(self._position)}{length}: {reason}; "
            "what came before was read"
        )

    def _time(self, frame: int) -> str:
        return f"{frame / self._info.sample_rate_hz:.2f} s"


class FfmpegFileSource(SourceBase):
    """A file that only ffmpeg reads (m4a, aac, webm, wma ...); arguments as for `FileSource`."""

    def __init__(self, path: Path, *, loop: bool = False, block_s: float = 0.02) -> None:
        self._decoder = FfmpegDecoder(
            str(path.absolute()),
            # Only this file: a playlist with a familiar name must not send us to other places.
            options=["-protocol_whitelist", "file", *(["-stream_loop", "-1"] if loop else [])],
            what=f"'{path}'",
            block_s=block_s,
        )
        self._info = InputInfo(
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


class _StretchedFile(io.RawIOBase):
    """A file that claims to be much longer than it is; reading ends where it really ends.

    libsndfile believes the length that it derives from the size, and the true bit rate may lie
    this many times below the one of the first frame.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = path.stat().st_size * _MP3_STRETCH
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._file.seek(self._at)

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        # The decoder looks for a tag in the last 128 bytes and gives up where it reads none.
        if self._at >= self._size - 128:
            count = min(len(buffer), self._size - self._at)
            buffer[:count] = bytes(count)
        else:
            count = int(self._file.readinto(buffer))
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _read_head(path: Path) -> bytes:
    """The first bytes of a file that is there and not empty."""
    try:
        if path.is_dir():
            raise UserError(f"'{path}' is a folder; give a music file in it")
        if path.exists() and not path.is_file():
            raise UserError(f"'{path}' is no regular file; for raw PCM from a pipe use --input -")
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise UserError(f"there is no file '{path}'; check the name and the folder") from None
    except PermissionError:
        raise UserError(f"'{path}' may not be read; check its permissions") from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be opened: {error.strerror}") from None
    if not head:
        raise UserError(f"'{path}' is empty (0 bytes); it was perhaps not copied or recorded")
    return head


def _open_soundfile(path: Path, head: bytes, file: str | io.RawIOBase) -> soundfile.SoundFile:
    import soundfile

    try:
        with without_library_noise():
            return soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        problem = _looks_like(head) or f"it is damaged, cut short or not audio ({_reason(error)})"
    except TypeError:  # soundfile on *.raw: it wants rate and channels
        problem = "a headerless file does not say its rate; pipe it into --input - with --pcm-rate"
    if isinstance(file, io.RawIOBase):
        file.close()
    raise UserError(f"'{path}' cannot be read as music: {problem}")


def _looks_like(head: bytes) -> str | None:
    """What a file that is no audio seems to be."""
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
    """libsndfile's reason without its own decoration."""
    text = str(error.error_string).removeprefix("Error : ").strip().rstrip(".")
    # Its words for anything that mpg123 refuses; the file was there a moment ago.
    if not text or "does not exist" in text or "internal error" in text:
        return "no valid audio frames"
    return text[0].lower() + text[1:]


def _expected_frames(file: soundfile.SoundFile) -> int:
    """Sample frames that the file should hold by its own header."""
    short = _WAV_SHORT.search(file.extra_info)
    if short and int(short[2]) > 0 and int(short[1]) not in _WAV_STREAMED:
        expected: int = round(file.frames * int(short[1]) / int(short[2]))
        return expected
    return int(file.frames)


def _is_mp3_without_length(path: Path, head: bytes) -> bool:
    """Whether this is an MP3 whose first frame does not tell its length."""
    start = 0
    if head.startswith(b"ID3") and len(head) >= 10:
        # The tag's size: four bytes of seven bits.
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    elif not (head[0] == 0xFF and len(head) > 1 and head[1] & 0xE0 == 0xE0):
        return False
    with path.open("rb") as file:
        file.seek(start)
        first = file.read(1024)
    return bool(first) and not any(mark in first for mark in _MP3_LENGTH_MARKS)


def _is_cut_ogg(path: Path, head: bytes) -> bool:
    """Whether an Ogg file ends within a page, which only a broken copy does."""
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
