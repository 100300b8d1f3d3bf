"""Scan an Ogg file page by page: streams in a row, lengths by position, missing pages.

Source: RFC 3533 (Ogg), RFC 7845 (Opus), the Vorbis I specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from realtime_mer.audio.layout.types import Gap, Layout, Part

_CHUNK = 1 << 20
_PAGE = struct.Struct("<4sBBqIIIB")
_LONGEST_PAGE = 65_307  # bytes
_LEAST_BITS_PER_S, _MIN_START_S = 250.0, 60.0
_BEGINS = 2
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
# A stream that was cut out of a longer one starts at its position there.
_MAX_FIRST_PAGE_S = 3.0


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    stop: int
    begins: bool
    position: int  # granule position: sample frames at the end of the page
    serial: int
    number: int
    body: bytes  # its beginning


@dataclass(slots=True)
class _Stream:
    """One codec's pages."""

    sample_rate_hz: int  # of the positions; 0: not audio
    channels: int
    is_native: bool = False  # libsndfile decodes it
    decoded_rate_hz: int = 0  # by libsndfile, if it is another one
    skipped: int = 0  # sample frames that the decoder removes at the start
    first: int | None = None  # positions of pages with audio
    second: int = 0
    last: int = 0
    has_end: bool = True  # the last page has a position
    number: int | None = None  # of the last page
    gaps: list[Gap] = field(default_factory=list)
    hole_at: int | None = None  # position before pages that are missing

    def add(self, page: _Page) -> None:
        is_next = self.number is None or page.number == self.number + 1
        self.number = page.number
        if not is_next and self.first is not None and self.hole_at is None:
            self.hole_at = self.last
        self.has_end = page.position > 0
        if not self.has_end or not self.sample_rate_hz:
            return
        if self.first is None:
            self.first = page.position
        elif not self.second:
            self.second = page.position
        if self.hole_at is not None:
            missing = (page.position - self.hole_at) / self.sample_rate_hz
            self.gaps.append(Gap((self.hole_at - self.start) / self.sample_rate_hz, missing))
        self.hole_at = None
        self.last = page.position

    @property
    def start(self) -> int:
        """Position of the first sample frame, at the latest."""
        first = self.first or 0
        page = max(_MAX_FIRST_PAGE_S * self.sample_rate_hz, 2 * (self.second - first))
        is_from_middle = self.second > 0 and first > page
        return first if is_from_middle else self.skipped

    @property
    def duration_s(self) -> float:
        return max(0.0, (self.last - self.start) / self.sample_rate_hz)


@dataclass(slots=True)
class _Link:
    """A member of a chain: streams that start together."""

    start: int
    stop: int = 0
    streams: dict[int, _Stream] = field(default_factory=dict)
    has_data: bool = False


def scan(file: BinaryIO, start: int, stop: int) -> Layout | None:
    """Return the layout of Ogg with Vorbis, Opus, Speex or FLAC; None if it is something else.

    Args:
        file: open for reading, seekable.
        start, stop: the byte range to scan.
    """
    links: list[_Link] = []
    end = start
    is_cut = False
    for page in _pages(file, start, stop):
        if page.stop > stop:
            is_cut = True
            break
        if page.begins and (not links or links[-1].has_data):
            links.append(_Link(page.start))
        if not links:
            continue
        link = links[-1]
        if page.begins:
            link.streams[page.serial] = _stream(page.body)
        else:
            link.has_data = True
            if page.serial in link.streams:
                link.streams[page.serial].add(page)
        link.stop = end = page.stop
    parts: list[Part] = []
    gaps: list[Gap] = []
    seconds = 0.0
    needs_ffmpeg = False
    for link in links:
        stream = next((s for s in link.streams.values() if s.sample_rate_hz), None)
        if stream is None:
            return None
        needs_ffmpeg |= len(link.streams) > 1 or not stream.is_native or not stream.has_end
        gaps += [Gap(seconds + gap.at_s, gap.duration_s) for gap in stream.gaps]
        seconds += stream.duration_s
        parts.append(
            Part(
                ((link.start, link.stop),),
                sample_rate_hz=stream.decoded_rate_hz or stream.sample_rate_hz,
                channels=stream.channels,
                duration_s=stream.duration_s,
            )
        )
    # A position that cannot be right: fewer bits than any codec needs for that time.
    is_wrong = seconds > _MIN_START_S + 8 * (stop - start) / _LEAST_BITS_PER_S
    needs_ffmpeg |= is_wrong or len({(part.sample_rate_hz, part.channels) for part in parts}) > 1
    # A page that was begun, or nothing but the start of its header.
    is_cut = is_cut or (stop - end >= 4 and _ends_in_page(file, end, stop))
    if not parts:
        return None
    return Layout(
        tuple(parts), tuple(gaps), is_cut=is_cut, is_unfinished=is_wrong, needs_ffmpeg=needs_ffmpeg
    )


def _stream(body: bytes) -> _Stream:
    if body.startswith(b"\x01vorbis") and len(body) >= 16:
        return _Stream(int.from_bytes(body[12:16], "little"), body[11], is_native=True)
    if body.startswith(b"OpusHead") and len(body) >= 16:
        skipped, original = struct.unpack_from("<HI", body, 10)
        decoded = next((rate for rate in _OPUS_RATES if original <= rate), 48_000)
        return _Stream(
            48_000, body[9], is_native=True, decoded_rate_hz=decoded if original else 48_000,
            skipped=skipped,
        )  # fmt: skip
    if body.startswith(b"Speex   ") and len(body) >= 52:
        return _Stream(int.from_bytes(body[36:40], "little"), body[48])
    if body.startswith(b"\x7fFLAC") and len(body) >= 31:
        packed = int.from_bytes(body[27:31])
        return _Stream(packed >> 12, (packed >> 9 & 7) + 1)
    return _Stream(0, 0)


def _ends_in_page(file: BinaryIO, start: int, stop: int) -> bool:
    file.seek(start)
    rest = file.read(min(_PAGE.size, stop - start))
    return rest.startswith(b"OggS") and len(rest) < _PAGE.size


def _pages(file: BinaryIO, start: int, stop: int) -> Iterator[_Page]:
    """Yield the pages; bytes between them are skipped. The last one may end behind `stop`."""
    base = start
    data = b""
    at = 0
    while True:
        if at + _LONGEST_PAGE > len(data) and base + len(data) < stop:
            base += at
            at = 0
            file.seek(base)
            data = file.read(min(_CHUNK, stop - base))
        found = data.find(b"OggS", at)
        if found < 0:
            if base + len(data) >= stop:
                return
            at = max(at, len(data) - 3)
            continue
        if found + _LONGEST_PAGE > len(data) and base + len(data) < stop:
            at = found
            continue
        if found + _PAGE.size > len(data):
            return
        _, version, flags, position, serial, number, _, count = _PAGE.unpack_from(data, found)
        lengths = data[found + _PAGE.size : found + _PAGE.size + count]
        body = found + _PAGE.size + count
        end = body + sum(lengths) + (0 if len(lengths) == count else 1)
        # A page that was not written to its end may lie in front of another.
        if version != 0 or data.find(b"OggS", found + 4, end) >= 0:
            at = found + 4
            continue
        yield _Page(
            base + found, base + end, bool(flags & _BEGINS), position, serial, number,
            data[body : body + 64],
        )  # fmt: skip
        at = min(end, len(data))
