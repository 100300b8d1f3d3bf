"""Scan MPEG audio (MP3, MP2, MP1): walk from frame to frame and count them.

A file may hold several streams in a row, begin within a frame or behind zeros, and state a wrong
number of frames. Source: ISO 11172-3 and 13818-3; the Xing, Info and VBRI tags as encoders write
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from realtime_mer.audio.layout.types import Gap, Layout, Part, tolerance_s

_CHUNK = 1 << 20
_LONGEST_FRAME = 2881  # bytes; MPEG-2.5 layer II at 160 kbit/s and 8 kHz
_CONFIRM_FRAMES = 4  # in a row; fewer may be chance
_FIRST_BYTES = 1 << 17  # a file whose first frame is behind more than this is something else
_MAYBE_FRAME = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")
_ID3 = re.compile(rb"ID3[\x02-\x04][\x00-\xfe].[\x00-\x7f]{4}", re.DOTALL)
_TAG = re.compile(rb"Xing|Info|VBRI")
_MIN_SHARE = 0.5  # of the bytes that are frames in a file of MPEG audio
_CERTAIN_FRAMES, _MIN_SHARE_OF_MUSIC = 100, 0.05  # after so many frames in a row
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBITS = {  # (is version 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """Format of a frame; all frames of a stream have the same."""

    version: int
    layer: int
    sample_rate_hz: int
    channels: int

    @property
    def frame_s(self) -> float:
        long_frame = 576 if self.layer == 3 and self.version != 3 else 1152
        return (384 if self.layer == 1 else long_frame) / self.sample_rate_hz


@dataclass(slots=True)
class _Stream:
    """Frames of one kind in a row, from one encoder."""

    kind: _Kind
    runs: list[list[int]] = field(default_factory=list)  # [start, stop) of frames without a break
    frames: int = 0
    stated_frames: int | None = None
    stated_bytes: int | None = None
    is_known_tag: bool = False  # libsndfile reads the statement
    tag_bytes: int = 0  # length of the frame with the statement, which is the first
    gaps: list[tuple[int, int]] = field(default_factory=list)  # (frames before it, bytes)

    @property
    def data_bytes(self) -> int:
        return sum(stop - start for start, stop in self.runs)

    @property
    def duration_s(self) -> float:
        return self.frames * self.kind.frame_s


def scan(file: BinaryIO, start: int, stop: int) -> Layout | None:
    """Return the layout of MPEG audio, or None if the bytes are something else.

    Args:
        file: open for reading, seekable.
        start, stop: the byte range to scan.
    """
    reader = _Reader(file, stop)
    streams = list(_streams(reader, reader.first_frame(start)))
    if not streams:
        return None
    data = sum(stream.data_bytes for stream in streams)
    first, last = streams[0].runs[0][0], streams[-1].runs[-1][1]
    rest = 0 if reader.is_empty(last) else stop - last
    min_share = _MIN_SHARE_OF_MUSIC if streams[0].frames > _CERTAIN_FRAMES else _MIN_SHARE
    if data < min_share * (last - first + rest - reader.tag_bytes):
        return None
    counted = sum(stream.frames for stream in streams)
    parts = tuple(_part(stream, counted) for stream in streams if stream.frames)
    if not parts:
        return None
    gaps = tuple(
        Gap(at_s=before + frames * stream.kind.frame_s, duration_s=_seconds(stream, size))
        for before, stream in zip(_starts(streams), streams, strict=True)
        for frames, size in stream.gaps
    )
    has_one_format = len({(part.sample_rate_hz, part.channels) for part in parts}) == 1
    return Layout(parts, gaps, needs_ffmpeg=not has_one_format)


def frame_size(header: bytes) -> int | None:
    """Return the length in bytes of the frame with a header of four bytes; None if it is none."""
    if len(header) < 4 or header[0] != 0xFF:
        return None
    entry = _FRAMES.get(header[1] << 8 | header[2])
    return None if entry is None else entry[3]


def _part(stream: _Stream, counted: int) -> Part:
    """Return the part that makes libsndfile read all frames of a stream."""
    kind = stream.kind
    stated = stream.stated_frames
    is_right = stated is not None and (
        abs(stated - stream.frames) * kind.frame_s <= tolerance_s(stream.duration_s)
        # Right about what the file has lost.
        or (stated > counted and _is_cut(stream))
    )
    frames = stated if stated is not None and is_right else stream.frames
    # With the tag the decoder removes the encoder's padding.
    is_exact = is_right and stream.is_known_tag
    ranges = stream.runs
    if not is_exact:
        first, *others = stream.runs
        ranges = [[first[0] + stream.tag_bytes, first[1]], *others]
    return Part(
        tuple((start, stop) for start, stop in ranges if stop > start),
        sample_rate_hz=kind.sample_rate_hz,
        channels=kind.channels,
        duration_s=frames * kind.frame_s,
        is_exact=is_exact,
        is_guessed=not is_exact,
    )


def _is_cut(stream: _Stream) -> bool:
    """Return whether the file holds fewer bytes than the encoder wrote."""
    return stream.stated_bytes is None or stream.stated_bytes > 1.01 * stream.data_bytes


def _starts(streams: list[_Stream]) -> list[float]:
    starts = [0.0]
    for stream in streams:
        starts.append(starts[-1] + stream.duration_s)
    return starts[:-1]


def _seconds(stream: _Stream, size: int) -> float:
    return size / stream.data_bytes * stream.duration_s


def _streams(reader: _Reader, start: int) -> Iterator[_Stream]:
    """Walk over the frames; a change of format or a new length tag begins a new stream."""
    stream: _Stream | None = None
    position = start
    while True:
        frame = reader.frame(position)
        if frame is None or (
            (stream is None or frame[0] != stream.kind) and not reader.is_confirmed(position)
        ):
            lost_at = position
            position = reader.skip_tags(position)
            if position == lost_at and stream is not None:
                position = reader.skip_overlapping_tag(position)
            if position == lost_at:
                found = reader.next_frame(position, reader.stop)
                if found is None:
                    break
                # Only bytes that break a stream are a gap; those in front of it are not.
                if stream is not None and reader.kind(found) == stream.kind:
                    stream.gaps.append((stream.frames, found - lost_at))
                position = found
            continue
        kind, size = frame
        stated = reader.statement(position, size)
        if stream is None or kind != stream.kind or stated is not None:
            if stream is not None:
                yield stream
            stream = _Stream(kind)
            if stated is not None:
                stream.stated_frames, stream.stated_bytes, stream.is_known_tag = stated
                stream.tag_bytes = size
                stream.frames = -1  # the frame of the statement holds no audio
        if stream.runs and stream.runs[-1][1] == position:
            stream.runs[-1][1] = position + size
        else:
            stream.runs.append([position, position + size])
        more, end = reader.run(position + size, kind)
        stream.frames += 1 + more
        stream.runs[-1][1] = position = end
    if stream is not None:
        yield stream


def _frame_table() -> dict[int, tuple[int, int, int, int]]:
    """Return (version, layer, rate in Hz, frame length in bytes) by header bytes 1 and 2."""
    table = {}
    for head in range(0xE000, 0x10000):
        version, layer = head >> 11 & 3, 4 - (head >> 9 & 3)
        kbit_index, rate_index, padding = head >> 4 & 15, head >> 2 & 3, head >> 1 & 1
        if version == 1 or layer == 4 or kbit_index in (0, 15) or rate_index == 3:
            continue
        rate = _RATES[version][rate_index]
        bits = 1000 * _KBITS[version == 3, layer][kbit_index - 1]
        if layer == 1:
            size = (12 * bits // rate + padding) * 4
        else:
            size = (72 if layer == 3 and version != 3 else 144) * bits // rate + padding
        table[head] = (version, layer, rate, size)
    return table


_FRAMES = _frame_table()
_NO_FRAME = (0, 0, 0, 0)
_KINDS = {
    (version, layer, rate, channels): _Kind(version, layer, rate, channels)
    for version, layer, rate, _ in _FRAMES.values()
    for channels in (1, 2)
}


class _Reader:
    """Reads a file forwards in chunks, so that memory does not grow with it."""

    def __init__(self, file: BinaryIO, stop: int) -> None:
        self._file = file
        self.stop = stop
        self._base = 0  # offset of the buffer in the file
        self._data = b""
        self.tag_bytes = 0  # skipped so far

    def _bytes(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes from a position."""
        at = position - self._base
        if at < 0 or at + size > len(self._data):
            self._file.seek(position)
            self._data = self._file.read(min(max(_CHUNK, size), max(0, self.stop - position)))
            self._base = position
            at = 0
        return self._data[at : at + size]

    def frame(self, position: int) -> tuple[_Kind, int] | None:
        """Return the kind and the length in bytes of the whole frame at a position, or None."""
        head = self._bytes(position, 4)
        if len(head) < 4 or head[0] != 0xFF:
            return None
        entry = _FRAMES.get(head[1] << 8 | head[2])
        if entry is None or position + entry[3] > self.stop:
            return None
        return _KINDS[(*entry[:3], 1 if head[3] >> 6 == 3 else 2)], entry[3]

    def run(self, position: int, kind: _Kind) -> tuple[int, int]:
        """Return the number of frames of one kind in a row from a position, and where they end.

        Stops before a frame with a length tag, and may stop early.
        """
        data, at, count = self._data, position - self._base, 0
        channels, last = kind.channels, len(data) - _LONGEST_FRAME
        while 0 <= at < last and data[at] == 0xFF:
            version, layer, rate, size = _FRAMES.get(data[at + 1] << 8 | data[at + 2], _NO_FRAME)
            if (version, layer, rate) != (kind.version, kind.layer, kind.sample_rate_hz):
                break
            if (data[at + 3] >> 6 == 3) is (channels == 2) or _TAG.search(data, at + 13, at + 48):
                break
            at += size
            count += 1
        return count, position if count == 0 else self._base + at

    def kind(self, position: int) -> _Kind | None:
        frame = self.frame(position)
        return None if frame is None else frame[0]

    def is_confirmed(self, position: int) -> bool:
        """Return whether frames of one kind follow each other from a position on."""
        first = self.frame(position)
        if first is None:
            return False
        for count in range(_CONFIRM_FRAMES):
            frame = self.frame(position)
            if frame is None or frame[0] != first[0]:
                at_end = position >= self.stop or self._tag_size(position) > 0
                return count > 1 and at_end
            position += frame[1]
        return True

    def first_frame(self, position: int) -> int:
        """Return the position of the first confirmed frame, or of the end of the file.

        Tags and zeros in front of it are skipped, as is what is left of a frame.
        """
        while position < self.stop:
            behind_tags = self.skip_tags(position)
            window = self._bytes(behind_tags, _CHUNK)
            zeros = len(window) - len(window.lstrip(b"\0"))
            if behind_tags + zeros == position:
                break
            position = behind_tags + zeros
        if self.is_confirmed(position):
            return position
        found = self.next_frame(position, min(self.stop, position + _FIRST_BYTES))
        return self.stop if found is None else found

    def next_frame(self, position: int, limit: int) -> int | None:
        """Return the position of the next confirmed frame behind a position, before a limit."""
        while position < limit - 4:
            window = self._bytes(position, min(_CHUNK, limit - position))
            match = _MAYBE_FRAME.search(window, 1)
            if match is None:
                position += max(1, len(window) - 2)
                continue
            position += match.start()
            if self.is_confirmed(position):
                return position
        return None

    def statement(self, position: int, size: int) -> tuple[int | None, int | None, bool] | None:
        """Return what a length tag states, or None without one.

        The numbers of frames and bytes, and whether libsndfile reads this kind of tag.
        """
        data = self._bytes(position, min(size, 200))
        for tag in (b"Xing", b"Info"):
            at = data.find(tag, 4, 48)
            if at >= 0:
                flags = int.from_bytes(data[at + 4 : at + 8])
                frames = int.from_bytes(data[at + 8 : at + 12]) if flags & 1 else None
                at += 12 if flags & 1 else 8
                return frames, int.from_bytes(data[at : at + 4]) if flags & 2 else None, True
        if data[36:40] == b"VBRI":
            return int.from_bytes(data[50:54]), int.from_bytes(data[46:50]), False
        return None

    def skip_tags(self, position: int) -> int:
        """Return the position behind the tags at a position."""
        # A tag that is longer than the file has a wrong length.
        while (size := self._tag_size(position)) and position + size <= self.stop:
            self.tag_bytes += size
            position += size
        return position

    def skip_overlapping_tag(self, position: int) -> int:
        """Return the position behind an ID3v2 tag that begins within the frame before."""
        start = max(0, position - _LONGEST_FRAME)
        for match in _ID3.finditer(self._bytes(start, position - start + 10)):
            end = start + match.start() + id3_size(match[0])
            if position < end <= self.stop:
                self.tag_bytes += end - position
                return end
        return position

    def is_empty(self, position: int) -> bool:
        """Return whether only zeros follow."""
        while data := self._bytes(position, min(_CHUNK, max(0, self.stop - position))):
            if data.strip(b"\0"):
                return False
            position += len(data)
        return True

    def _tag_size(self, position: int) -> int:
        head = self._bytes(position, 32)
        if head[:3] == b"ID3":
            return id3_size(head)
        if head[:8] == b"APETAGEX":
            items = int.from_bytes(head[12:16], "little") if head[23] & 0x20 else 0
            return 32 + items
        if head[:3] == b"TAG":
            return 227 if head[3:4] == b"+" else 128
        if head[:11] == b"LYRICSBEGIN":
            text = self._bytes(position, _CHUNK // 2)
            end = text.find(b"LYRICS200")
            return end + 9 if end >= 0 else 0
        return 0


def id3_size(head: bytes) -> int:
    """Return the length in bytes of the ID3v2 tag that starts with these bytes; 0 without one."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    footer = 10 if head[5] & 0x10 else 0
    # Four bytes of seven bits.
    return 10 + footer + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
