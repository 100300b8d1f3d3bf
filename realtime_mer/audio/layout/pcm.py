"""Scan containers of samples of constant size: does the file hold what its header states?

Recorders that crash or write to a pipe leave placeholders for the size, which are no loss. Source:
the specifications of RIFF/WAVE, RF64 (EBU 3306), Wave64, AIFF-C, Sun AU and CAF.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from realtime_mer.audio.layout import mpeg
from realtime_mer.audio.layout.types import Layout, Part

_UNKNOWN = -1
# Programs that write to a pipe state 2^31 or 2^32 bytes, less their header or a block.
_PLACEHOLDERS = (1 << 31, 1 << 32)
_PLACEHOLDER_MARGIN = 1 << 20
_MP3_TAGS = (0x50, 0x55)  # of a WAVE format: MPEG layers I and II, layer III
_WAVE64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_HEADER_BYTES = 1 << 20  # a data chunk that begins later is not looked for


@dataclass(frozen=True, slots=True)
class _Data:
    """The samples of a file.

    Attributes:
        start: offset of the first byte.
        stated: number of bytes by the header, or `_UNKNOWN`.
        patch: makes the header say that the size is unknown, if the decoder needs that.
        codec: the WAVE format tag; 0 elsewhere.
    """

    start: int
    stated: int
    patch: tuple[int, bytes] | None = None
    codec: int = 0


def scan(file: BinaryIO, start: int, stop: int) -> Layout | None:
    """Return the layout of WAV, RF64, Wave64, AIFF, AU or CAF; None if it is something else.

    Args:
        file: open for reading, seekable.
        start, stop: the byte range to scan.
    """
    file.seek(start)
    head = file.read(16)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        size = int.from_bytes(head[4:8], "little")
        unfinished = size == 0 or _is_placeholder(size)
        is_cut = not unfinished and size + 8 > stop - start
        return Layout((Part(((start, stop),)),), is_cut=is_cut, is_unfinished=unfinished)
    find = next((find for magic, find in _FORMATS.items() if head.startswith(magic)), None)
    data = None if find is None else find(_Bytes(file, start, stop))
    if data is None:
        return None
    available = stop - start - data.start
    if data.codec in _MP3_TAGS:
        end = stop if data.stated == _UNKNOWN else min(stop, start + data.start + data.stated)
        if (layout := mpeg.scan(file, start + data.start, end)) is not None:
            return replace(layout, is_cut=data.stated > available)
    is_wrong = data.stated > available or _continues(file, start, stop, data)
    patches: tuple[tuple[int, bytes], ...] = ()
    if data.patch is not None and (data.stated == _UNKNOWN or is_wrong):
        patches = ((start + data.patch[0], data.patch[1]),)
    if data.stated > available > 0:
        return Layout((Part(((start, stop),), patches),), missing_share=1 - available / data.stated)
    if not patches and data.stated >= 0 and head[:4] == b"RIFF":
        name, next_at = _after(file, start, stop, data)
        if name == b"RIFF" and (more := scan(file, next_at, stop)) is not None:
            return Layout(
                (Part(((start, next_at),)), *more.parts), missing_share=more.missing_share
            )
        if name == b"data":
            return Layout((Part(((start, stop),)),), unread="a second data chunk")
    return Layout((Part(((start, stop),), patches),))


class _Bytes:
    """Reads at offsets of the range."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file = file
        self._start = start
        self.size = stop - start

    def __call__(self, at: int, count: int) -> bytes:
        self._file.seek(self._start + at)
        return self._file.read(min(count, max(0, self.size - at)))


def _riff(read: _Bytes) -> _Data | None:
    order: Literal["big", "little"] = "big" if read(0, 4) == b"RIFX" else "little"
    if read(8, 4) != b"WAVE":
        return None
    at, long_size, long_size_at, codec = 12, 0, 0, 0
    while len(head := read(at, 8)) == 8 and at < _HEADER_BYTES:
        size = int.from_bytes(head[4:], order)
        if head[:4] == b"ds64":
            long_size = int.from_bytes(read(at + 16, 8), "little")
            long_size_at = at + 16
        elif head[:4] == b"fmt ":
            codec = int.from_bytes(read(at + 8, 2), order)
        elif head[:4] == b"data":
            patch = (at + 4, b"\xff\xff\xff\xff")
            if read(0, 4) in (b"RF64", b"BW64"):
                known = size != 0xFFFFFFFF or 0 < long_size < 1 << 62
                if not known:
                    rest = (read.size - at - 8).to_bytes(8, "little")
                    return _Data(at + 8, _UNKNOWN, (long_size_at, rest), codec)
                return _Data(at + 8, long_size if size == 0xFFFFFFFF else size, None, codec)
            return _Data(at + 8, _UNKNOWN if _is_placeholder(size) else size, patch, codec)
        at += 8 + size + size % 2
    return None


def _wave64(read: _Bytes) -> _Data | None:
    at = 40
    while len(head := read(at, 24)) == 24 and at < _HEADER_BYTES:
        size = int.from_bytes(head[16:], "little")
        if head[:16] == _WAVE64_DATA:
            # libsndfile jumps by the size, which may lead back to the start.
            patch = (at + 16, (read.size - at).to_bytes(8, "little"))
            stated = _UNKNOWN if size <= 24 or size >= 1 << 62 else size - 24
            return _Data(at + 24, stated, patch)
        at += max(24, size + -size % 8)
    return None


def _aiff(read: _Bytes) -> _Data | None:
    at = 12
    while len(head := read(at, 8)) == 8 and at < _HEADER_BYTES:
        size = int.from_bytes(head[4:])
        if head[:4] == b"SSND":
            stated = _UNKNOWN if _is_placeholder(size) else size - 8
            return _Data(at + 16, stated, (at + 4, b"\xff\xff\xff\xff"))
        at += 8 + size + size % 2
    return None


def _au(read: _Bytes) -> _Data | None:
    head = read(0, 12)
    order: Literal["big", "little"] = "big" if head[:4] == b".snd" else "little"
    size = int.from_bytes(head[8:12], order)
    stated = _UNKNOWN if _is_placeholder(size) else size
    return _Data(int.from_bytes(head[4:8], order), stated, (8, b"\xff\xff\xff\xff"))


def _caf(read: _Bytes) -> _Data | None:
    at = 8
    while len(head := read(at, 12)) == 12 and at < _HEADER_BYTES:
        size = int.from_bytes(head[4:], signed=True)
        if head[:4] == b"data":
            available = read.size - at - 12
            # libsndfile refuses a size beyond the end of the file.
            patch = (at + 4, (available).to_bytes(8)) if size < 0 or size > available else None
            return _Data(at + 16, _UNKNOWN if size < 0 else size - 4, patch)
        at += 12 + max(0, size)
    return None


_FORMATS: dict[bytes, Callable[[_Bytes], _Data | None]] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"BW64": _riff,
    b"riff\x2e\x91\xcf\x11": _wave64,
    b"FORM": _aiff,
    b".snd": _au,
    b"dns.": _au,
    b"caff": _caf,
}


def _is_placeholder(size: int) -> bool:
    return any(abs(size - value) <= _PLACEHOLDER_MARGIN for value in _PLACEHOLDERS)


def _after(file: BinaryIO, start: int, stop: int, data: _Data) -> tuple[bytes, int]:
    """Return the name and the offset of the next chunk of samples, or of the next file."""
    read = _Bytes(file, start, stop)
    at = data.start + data.stated + data.stated % 2
    while len(head := read(at, 8)) == 8:
        if head[:4] in (b"RIFF", b"data"):
            return head[:4], start + at
        size = int.from_bytes(head[4:], "little")
        at += 8 + size + size % 2
    return b"", stop


def _continues(file: BinaryIO, start: int, stop: int, data: _Data) -> bool:
    """Return whether the samples go on behind their stated end, where a chunk would begin.

    A recorder that crashes leaves a size that is too small, and more than 4 GB do not fit in it.
    """
    if data.stated == _UNKNOWN:
        return False
    end = data.start + data.stated
    end += end % 2
    read = _Bytes(file, start, stop)
    if read.size - end < _HEADER_BYTES // 16:
        return False
    name, size = (head := read(end, 8))[:4], int.from_bytes(head[4:], "little")
    if not read(end, _HEADER_BYTES // 16).strip(b"\0"):
        return False  # padding
    is_chunk = all(0x20 <= byte < 0x7F for byte in name) and size <= read.size - end
    return not is_chunk
