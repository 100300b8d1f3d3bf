"""The layout of a music file: its parts, its length, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a file that a decoder reads as one stream.

    Attributes:
        ranges: byte ranges [start, stop) of the file that make up the stream, in order.
        patches: (offset in the file, bytes) that replace wrong values of a header.
        sample_rate_hz, channels: format of the stream; 0 where only the decoder knows it.
        duration_s: length of the audio by the scan; None if the scan does not know it.
        is_exact: whether the header states the length, so that libsndfile's own, without the
            encoder's padding, is better.
        is_guessed: whether libsndfile would guess the length and stop there.
    """

    ranges: tuple[tuple[int, int], ...]
    patches: tuple[tuple[int, bytes], ...] = ()
    sample_rate_hz: int = 0
    channels: int = 0
    duration_s: float | None = None
    is_exact: bool = False
    is_guessed: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Audio that is missing within a file.

    Attributes:
        at_s: where it is missing, in seconds of the audio that is there.
        duration_s: how much is missing, in seconds.
    """

    at_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file holds.

    Attributes:
        parts: at least one; more for streams that were joined.
        gaps: audio that is missing in the middle.
        is_cut: the file ends within a packet, as only an incomplete copy does.
        is_unfinished: the header was not completed; the lengths in it mean nothing.
        needs_ffmpeg: libsndfile would read a part of it only.
        missing_share: share (0 to below 1) of the stated data that the file does not have.
        unread: what the file holds that no decoder here reads; empty if there is nothing.
    """

    parts: tuple[Part, ...]
    gaps: tuple[Gap, ...] = ()
    is_cut: bool = False
    is_unfinished: bool = False
    needs_ffmpeg: bool = False
    missing_share: float = 0.0
    unread: str = ""

    @property
    def start(self) -> int:
        """Offset of the first byte that is read."""
        return self.parts[0].ranges[0][0]

    @property
    def duration_s(self) -> float | None:
        """Length of the audio by the scan, or None."""
        lengths = [part.duration_s for part in self.parts]
        return None if None in lengths else sum(s for s in lengths if s is not None)


def tolerance_s(duration_s: float) -> float:
    """Return how much of a file may be missing without a word, in seconds.

    Encoders count their padding differently, and decoders lose a few milliseconds at the end. More
    than half a second, or 2 % of a short file, is a loss.
    """
    return min(0.5, max(0.1, 0.02 * duration_s))
