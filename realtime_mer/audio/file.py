"""Read music files in blocks; memory use does not grow with the length of the file."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realtime_mer.audio.conversion import Conversion
from realtime_mer.audio.encoded_format import TEXT, encoded_format
from realtime_mer.audio.ffmpeg import INSTALL_HINT, FfmpegDecoder, ffmpeg_path
from realtime_mer.audio.ffmpeg_file import (
    DAMAGED,
    FfmpegFileSource,
    break_off_message,
    unread_message,
)
from realtime_mer.audio.layout.read import layout_of, read_layout
from realtime_mer.audio.layout.types import Layout, Part, tolerance_s
from realtime_mer.audio.layout.view import FileView
from realtime_mer.audio.playlist import recognise_playlist
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
from realtime_mer.core.config import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from realtime_mer.errors import UserError
from realtime_mer.interruption import raise_lost_interruption

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

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HEADERLESS_SUFFIXES = (".raw", ".pcm")
_SLICE_FRAMES = 16_384
_SMALL_SLICE_FRAMES = 256  # in front of damage
_EXACT_TOLERANCE_S = 0.05
_REST_TIMEOUT_S = 30.0
_UNKNOWN_FRAMES = 1 << 62  # libsndfile states more if it does not know the length


def open_file(path: Path, *, loop: bool = False, block_s: float = 0.02) -> Source:
    """Open a music file, through ffmpeg if libsndfile cannot read all of it.

    Args:
        path: the file.
        loop: start again at the end, without a gap; the source never ends.
        block_s: length of a block in seconds; the last one may be shorter.

    Raises:
        UserError: the file is missing, not a regular file, not readable, empty, not audio,
            damaged or without samples, or it needs ffmpeg, which is not installed.
    """
    if loop:
        return LoopedFileSource(path, block_s=block_s)
    head = _read_head(path)
    try:
        layout = read_layout(path)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}") from None
    reason = ""
    # libsndfile takes the mark at the start of text in UTF-16 for a frame of MPEG audio.
    if head.startswith(_UTF16_MARKS) and (what := _looks_like(head, path)) is not None:
        raise UserError(f"'{path}' cannot be read as music: {what}")
    if not layout.needs_ffmpeg or ffmpeg_path() is None:
        try:
            return FileSource(path, layout, block_s=block_s)
        except UnreadableError as error:
            reason = str(error)
    if (what := _looks_like(head, path)) is not None:
        raise UserError(f"'{path}' cannot be read as music: {what}")
    if ffmpeg_path() is None:
        kind = encoded_format(head)
        problem = (
            "cannot be read as music without ffmpeg"
            if kind is None
            else f"is {kind.name}, which needs ffmpeg"
        )
        raise UserError(
            f"'{path}' {problem} ({reason}); {INSTALL_HINT}, or convert the file to flac"
        )
    return FfmpegFileSource(path, layout, reason=reason, block_s=block_s)


class LoopedFileSource(SourceBase):
    """A file that starts again at its end, without lost samples.

    A file that was replaced plays from the next start on, in the first sample rate and channels. If
    it is gone, or cannot be read because it was changed meanwhile, `read` raises a recoverable
    `SourceLost`, and `reopen` opens it again.

    Args:
        path: the file.
        block_s: length of a block in seconds; the last one before the end may be shorter.

    Raises:
        UserError: as `open_file`.
    """

    def __init__(self, path: Path, *, block_s: float) -> None:
        self._path = path
        self._block_s = block_s
        self._lock = threading.Lock()
        self._is_closed = False
        self._stamp = _stamp(path)
        self._source = open_file(path, block_s=block_s)
        self._info = replace(self._source.info, duration_s=None)
        self._conversion: Conversion | None = None  # where the file was replaced by another format

    def read(self, timeout_s: float) -> Block | None:
        try:
            try:
                block = self._source.read(timeout_s)
            except EndOfStream:
                if self._is_closed:
                    raise
                self.reopen()
                block = self._source.read(timeout_s)
        except SourceLost as lost:
            is_changed = _stamp(self._path) != self._stamp
            raise SourceLost(str(lost), recoverable=lost.recoverable or is_changed) from None
        if block is None or self._conversion is None:
            return block
        samples = self._conversion.convert(block.samples)
        return replace(block, samples=samples) if len(samples) else None

    def reopen(self) -> None:
        stamp = _stamp(self._path)
        try:
            source = open_file(self._path, block_s=self._block_s)
        except UserError as error:
            raise SourceLost(str(error), recoverable=True) from None
        with self._lock:
            self._source.close()
            self._source, self._stamp = source, stamp
            if self._is_closed:
                source.close()
        new, info = source.info, self._info
        self._conversion = None
        if (new.sample_rate_hz, new.channels) != (info.sample_rate_hz, info.channels):
            self._conversion = Conversion(
                new.sample_rate_hz,
                new.channels,
                to_rate_hz=info.sample_rate_hz,
                to_channels=info.channels,
            )

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._source.close()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what differs after a file was changed; None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def stated_duration_s(head: bytes) -> float | None:
    """Return the length in seconds that the first bytes of a file state; None where they do not.

    For WAV and its kin, FLAC, and MP3 with a length tag.
    """
    import soundfile

    layout = layout_of(io.BytesIO(head))
    is_flac = head.startswith(b"fLaC")
    if layout.parts[0].is_exact and not is_flac:
        return layout.duration_s
    if layout.needs_ffmpeg or not (layout.missing_share or is_flac):
        return None
    try:
        with soundfile.SoundFile(io.BytesIO(head)) as file:
            frames = int(file.frames)
            duration_s = frames / int(file.samplerate) / (1.0 - layout.missing_share)
    except soundfile.LibsndfileError:
        return None
    return duration_s if frames < _UNKNOWN_FRAMES else None


class UnreadableError(Exception):
    """libsndfile cannot read a file."""


class FileSource(SourceBase):
    """A file that libsndfile reads: wav, flac, ogg, opus, mp3, aiff, au, caf and more.

    A damaged or incomplete file is played up to the damage; then `read` raises `SourceLost` with
    the position. The same applies to a float file with NaN or infinite samples. Where only a piece
    in the middle is missing, the rest is played first.

    Args:
        path: the file.
        layout: what the file holds.
        block_s: length of a block in seconds; the last one may be shorter.

    Raises:
        UnreadableError: libsndfile cannot read the file, or its sample rate is out of range.
        UserError: the file holds no samples.
    """

    def __init__(self, path: Path, layout: Layout, *, block_s: float = 0.02) -> None:
        self._path = path
        self._layout = layout
        # libsndfile must not be closed while another thread reads.
        self._lock = threading.Lock()
        self._rest: FfmpegDecoder | None = None  # reads what follows damage
        self._damage_s = 0.0  # where it begins
        lengths = [self._length_s(part) for part in layout.parts]
        self._expected_s = None if None in lengths else sum(s for s in lengths if s is not None)
        self._part = 0
        self._open_part()
        rate = int(self._file.samplerate)
        if not MIN_SAMPLE_RATE_HZ <= rate <= MAX_SAMPLE_RATE_HZ:
            self.close()
            raise UnreadableError(f"its sample rate is {rate} Hz")
        if self._expected_s == 0.0:
            self.close()
            raise UserError(f"'{path}' holds no samples: its length is zero")
        # Only the MP3 decoder prints; suppressing that costs more than reading a block.
        self._suppress_prints = without_library_noise if self._file.format == "MP3" else nullcontext
        self._is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        self._position = 0  # decoded sample frames since the start of the file
        self._pending = np.empty((0, self._file.channels), np.float32)  # decoded, not yet returned
        self._error: str | None = None  # why decoding stopped
        self._block_frames = max(1, round(block_s * rate))
        self._info = Input(
            kind=InputKind.FILE,
            name=path.name,
            sample_rate_hz=rate,
            channels=int(self._file.channels),
            paced=True,
            live=False,
            duration_s=None if layout.is_cut else self._expected_s,
        )

    def read(self, timeout_s: float) -> Block | None:
        with self._lock:
            samples = self._decode(self._block_frames)
            if not len(samples):
                self._end()
            return Block(samples)

    def close(self) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.close()
            self._view.close()
            if self._rest is not None:
                self._rest.close()

    def _length_s(self, part: Part) -> float | None:
        """Return the length of a part in seconds, None if it is unknown."""
        if part.duration_s is not None and not part.is_exact:
            return part.duration_s
        view, file = _open_soundfile(self._path, part)
        with view, file:
            frames = int(file.frames)
            if frames >= _UNKNOWN_FRAMES:
                return None
            return frames / int(file.samplerate) / (1.0 - self._layout.missing_share)

    def _open_part(self) -> None:
        self._view, self._file = _open_soundfile(self._path, self._layout.parts[self._part])
        self._part_position = 0  # decoded sample frames of the part
        self._slice_frames = _SLICE_FRAMES

    def _decode(self, n_frames: int) -> Samples:
        """Return up to `n_frames` sample frames from the current position; none at the end."""
        if self._file.closed:
            raise EndOfStream(f"{self._info.name} was closed")
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
        """Decode the next slice; it is shorter only at the end of a part.

        The output of the MP3 and Opus decoders depends slightly on the size of a read. With a
        fixed size, blocks of all lengths hold the same samples. A small slice loses little audio
        before damage.
        """
        import soundfile

        if self._rest is not None:
            return self._next_of_rest(self._rest)
        # Beyond the end a decoder may take what follows there for damage.
        count = min(self._slice_frames, int(self._file.frames) - self._part_position)
        samples: Samples = np.empty((max(0, count), self._info.channels), np.float32)
        if self._error is not None:
            return samples[:0]
        decoded = samples
        try:
            if count > 0:
                with self._suppress_prints():
                    decoded = self._read_into(samples)
        except soundfile.LibsndfileError:
            if self._slice_frames > _SMALL_SLICE_FRAMES and self._retry():
                return self._next_slice()
            if self._is_short(self._position):
                if self._go_on_with_ffmpeg():
                    return self._next_slice()
                self._error = self._damage_message(DAMAGED)
            decoded = samples[:0]
        if self._view.error is not None:
            self._error = self._damage_message(
                f"it cannot be read any further ({self._view.error.strerror})"
            )
        if not len(decoded):
            return self._next_slice() if self._open_next_part() else samples[:0]
        if self._is_float:
            decoded = decoded[: self._good_frames(decoded)]
        self._position += len(decoded)
        self._part_position += len(decoded)
        return decoded

    def _read_into(self, samples: Samples) -> Samples:
        try:
            decoded: Samples = self._file.read(out=samples)
        finally:
            raise_lost_interruption()
        return decoded

    def _go_on_with_ffmpeg(self) -> bool:
        """Read what follows damage with ffmpeg; return False where it cannot.

        libsndfile does not find its way behind a damaged frame of FLAC.
        """
        if ffmpeg_path() is None or self._layout.is_cut:
            return False
        self._damage_s = self._position / self._info.sample_rate_hz
        try:
            self._rest = FfmpegDecoder(
                str(self._path.absolute()),
                options=["-protocol_whitelist", "file", "-ss", f"{self._damage_s:.3f}"],
                label=f"'{self._path}'",
                output_rate_hz=self._info.sample_rate_hz,
                output_channels=self._info.channels,
            )
        except UserError:
            return False
        return True

    def _next_of_rest(self, rest: FfmpegDecoder) -> Samples:
        try:
            block = rest.read(_REST_TIMEOUT_S)
        except (EndOfStream, SourceLost):
            block = None
        samples = np.empty((0, self._info.channels), np.float32) if block is None else block.samples
        self._position += len(samples)
        return samples

    def _retry(self) -> bool:
        """Go back to the start of a slice with damage, to read what is in front of it."""
        import soundfile

        self._slice_frames = _SMALL_SLICE_FRAMES
        try:
            with self._suppress_prints():
                return bool(self._file.seek(self._part_position) == self._part_position)
        except soundfile.LibsndfileError:
            return False

    def _open_next_part(self) -> bool:
        """Go on to the next part; return False at the end or if it cannot be decoded."""
        if self._error is not None or self._part + 1 == len(self._layout.parts):
            return False
        before = self._file
        before.close()
        self._part += 1
        self._open_part()
        if (before.samplerate, before.channels) == (self._file.samplerate, self._file.channels):
            return True
        self._error = (
            f"{self._info.name} changes from {before.samplerate} Hz and {before.channels} "
            f"channel(s) to {self._file.samplerate} Hz and {self._file.channels} at "
            f"{self._time(self._position)}; {INSTALL_HINT}, which reads such files"
        )
        return False

    def _good_frames(self, samples: Samples) -> int:
        """Return the number of frames before the first value that is not finite; keep the error."""
        if np.isfinite(samples).all():
            return len(samples)
        row, channel = np.argwhere(~np.isfinite(samples))[0].tolist()
        frame = self._position + row
        self._error = (
            f"{self._info.name} holds {samples[row, channel]} at {self._time(frame)} (sample frame "
            f"{frame}, channel {channel + 1}), which is not a finite number; export the file "
            "again"
        )
        return int(row)

    def _problem(self) -> str | None:
        """Return what is wrong with the audio that was decoded to its end, or None."""
        if self._error is not None:
            return self._error
        if (gap := self._gap()) is not None:
            at_s, missing_s, more = gap
            missing = f" for about {missing_s:.2f} s" if missing_s > _EXACT_TOLERANCE_S else ""
            return (
                f"{self._info.name} breaks off at {at_s:.2f} s{more}{missing}: {DAMAGED}; the "
                "rest was read"
            )
        if self._layout.is_cut or (self._expected_s is not None and self._is_short(self._position)):
            return self._damage_message(DAMAGED)
        if self._layout.unread:
            return unread_message(self._info.name, self._layout.unread)
        return None

    def _gap(self) -> tuple[float, float, str] | None:
        """Return where audio is missing in the middle, how much, and a remark; None if none is."""
        expected_s, held_s = self._expected_s, self._layout.duration_s
        position_s = self._position / self._info.sample_rate_hz
        missing_s = 0.0 if expected_s is None else expected_s - position_s
        has_rest = self._rest is not None and position_s - self._damage_s > _EXACT_TOLERANCE_S
        is_cut = expected_s is not None and (held_s or expected_s) < expected_s - _EXACT_TOLERANCE_S
        if has_rest and not is_cut:
            return self._damage_s, missing_s, ""
        gaps = self._layout.gaps
        if expected_s is None or not gaps:
            return None
        limit = self._tolerance_s(expected_s)
        if missing_s <= limit:
            # What an MP3 lacks does not count in its length.
            missing_s = sum(gap.duration_s for gap in gaps)
        more = f" and at {len(gaps) - 1} more places" if len(gaps) > 1 else ""
        return (gaps[0].at_s, missing_s, more) if missing_s > limit else None

    def _is_short(self, position: int) -> bool:
        """Return whether more than a little is missing behind a position."""
        expected = self._expected_s
        if expected is None:
            return True
        return expected - position / self._info.sample_rate_hz > self._tolerance_s(expected)

    def _tolerance_s(self, expected_s: float) -> float:
        """Return how much may be missing without a word; only MP3 has no exact length."""
        return tolerance_s(expected_s) if self._file.format == "MP3" else _EXACT_TOLERANCE_S

    def _end(self) -> None:
        if (problem := self._problem()) is not None:
            raise SourceLost(problem, recoverable=False)
        raise EndOfStream(f"{self._info.name} ended")

    def _damage_message(self, reason: str) -> str:
        expected = None if self._layout.is_cut else self._expected_s
        return break_off_message(
            self._info.name, self._position / self._info.sample_rate_hz, expected, reason
        )

    def _time(self, frame: int) -> str:
        return f"{frame / self._info.sample_rate_hz:.2f} s"


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


def _open_soundfile(path: Path, part: Part) -> tuple[FileView, soundfile.SoundFile]:
    """Open a part of a file with libsndfile.

    Raises:
        UnreadableError: libsndfile refuses it; the message is its reason.
    """
    import soundfile

    view = FileView(path, part)
    try:
        with without_library_noise():
            return view, soundfile.SoundFile(view)
    except soundfile.LibsndfileError as error:
        view.close()
        raise_lost_interruption()
        raise UnreadableError(_reason(error)) from None


def _looks_like(head: bytes, path: Path) -> str | None:
    """Return what a file that is not audio seems to be, or None."""
    if head.startswith(_UTF16_MARKS):
        head = head[: len(head) // 2 * 2].decode("utf-16", "ignore").replace("\ufeff", "").encode()
    if path.suffix.lower() in _HEADERLESS_SUFFIXES:
        return (
            "a file without a header has no sample rate; convert it to wav, or pipe its samples "
            "into standard input, the input '-'"
        )
    if recognise_playlist(head, suffix=path.suffix.lower()) is not None:
        return "it is a playlist; give one of the files or addresses in it"
    kind = encoded_format(head)
    if kind is not None and not kind.is_audio and kind is not TEXT:
        return f"it is {kind.name}"
    text = head.decode("utf-8", "ignore")
    printable_count = sum(character.isprintable() or character.isspace() for character in text)
    is_text = len(text.encode()) > 0.95 * len(head) and printable_count > 0.98 * len(text)
    return "it is text" if is_text and b"\0" not in head else None


def _reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's reason without its prefix."""
    text = str(error.error_string).removeprefix("Error : ").strip().rstrip(".")
    # Its messages for everything that mpg123 rejects; the file does exist.
    if not text or "does not exist" in text or "internal error" in text:
        return "no valid audio frames"
    return text[0].lower() + text[1:]
