"""Scan FLAC: the number of samples by the last frame, where the header does not state it.

Source: RFC 9639.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

from realtime_mer.audio.layout.types import Layout, Part

_CHUNK = 1 << 20
_MARKER = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_TAIL = 1 << 18  # bytes; several of the longest usual frames
_STREAM_INFO_SIZE = 34
_FRAME_HEADER_BYTES = 16  # at most
_BLOCK_SIZES = {1: 192} | {n: 576 << n - 2 for n in range(2, 6)}
_BLOCK_SIZES |= {n: 256 << n - 8 for n in range(8, 16)}


def scan(file: BinaryIO, start: int, stop: int) -> Layout | None:
    """Return the layout of FLAC, or None if the bytes are something else.

    libsndfile loses the end of a file whose header states no number of samples, or too few. A patch
    states the number of the last frame. It cannot read a piece that was cut out of a longer file
    with its frames numbered as there; ffmpeg does.

    Args:
        file: open for reading, seekable.
        start, stop: the byte range to scan.
    """
    starts = [start, *_more_streams(file, start + 4, stop)]
    parts = [_part(file, *ends) for ends in pairwise([*starts, stop])]
    found = tuple(part for part in parts if part is not None)
    if len(found) < len(parts):
        return None
    is_piece = any(part.duration_s is not None and not part.is_exact for part in found)
    has_one_format = len({(part.sample_rate_hz, part.channels) for part in found}) == 1
    return Layout(found, needs_ffmpeg=is_piece or not has_one_format)


def _more_streams(file: BinaryIO, start: int, stop: int) -> Iterator[int]:
    """Yield where further files begin, in files that were joined."""
    base, data = start, b""
    while base + len(data) < stop:
        keep = data[-8:]
        base += len(data) - len(keep)
        file.seek(base)
        data = file.read(min(_CHUNK, stop - base))
        for match in _MARKER.finditer(data):
            yield base + match.start()
        if len(data) <= 8:
            return


def _part(file: BinaryIO, start: int, stop: int) -> Part | None:
    file.seek(start)
    head = file.read(8 + _STREAM_INFO_SIZE)
    if len(head) < 8 + _STREAM_INFO_SIZE or head[:4] != b"fLaC" or head[4] & 0x7F:
        return None
    block_frames = int.from_bytes(head[10:12])  # the largest; all equal with a fixed block size
    # 20 bits of rate, 3 of channels, 5 of sample size, 36 of samples
    packed = int.from_bytes(head[18:26])
    rate, channels, stated = packed >> 44, (packed >> 41 & 7) + 1, packed & 0xF_FFFF_FFFF
    counted = _last_sample(file, start + len(head), stop, block_frames)
    patches: tuple[tuple[int, bytes], ...] = ()
    if counted is not None and counted > stated:
        patches = ((start + 18, (packed >> 36 << 36 | counted).to_bytes(8)),)
    first = _first_sample(file, start + 4, block_frames)
    if first and rate:  # cut out of a longer file
        duration_s = (max(counted or 0, stated) - first) / rate
        return Part(((start, stop),), patches, rate, channels, duration_s)
    held_s = None if counted is None or rate == 0 else counted / rate
    return Part(((start, stop),), patches, rate, channels, held_s, is_exact=True)


def _first_sample(file: BinaryIO, at: int, block_frames: int) -> int:
    """Return the position of the first frame behind the metadata blocks; 0 if none is found."""
    is_last = False
    while not is_last:
        file.seek(at)
        header = file.read(4)
        if len(header) < 4:
            return 0
        is_last = header[0] >= 0x80
        at += 4 + int.from_bytes(header[1:])
    file.seek(at)
    frame = _frame(file.read(_FRAME_HEADER_BYTES), block_frames)
    return 0 if frame is None else frame[0]


def _last_sample(file: BinaryIO, start: int, stop: int, block_frames: int) -> int | None:
    """Return the number of sample frames at the end of the last frame; None if none is found."""
    base = max(start, stop - _TAIL)
    file.seek(base)
    data = file.read(stop - base)
    at = len(data)
    while (at := data.rfind(b"\xff", 0, at)) >= 0:
        frame = _frame(data[at : at + _FRAME_HEADER_BYTES], block_frames)
        if frame is not None:
            return frame[1]
    return None


def _frame(header: bytes, block_frames: int) -> tuple[int, int] | None:
    """Return where a frame begins and ends, in sample frames; None if this is not its header."""
    if len(header) < 6 or header[0] != 0xFF or header[1] not in (0xF8, 0xF9):
        return None
    size_code, rate_code = header[2] >> 4, header[2] & 15
    if size_code == 0 or rate_code == 15 or header[3] >> 4 > 10 or header[3] & 1:
        return None
    # The frame's or sample's number, coded like a long UTF-8 character.
    first = header[4]
    extra = 0 if first < 0x80 else 8 - (first ^ 0xFF).bit_length() - 1
    if not 0 <= extra <= 6 or (first >= 0x80 and extra == 0):
        return None
    number = first & (0x7F >> extra + 1 if extra else 0x7F)
    for byte in header[5 : 5 + extra]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    at = 5 + extra
    if size_code in (6, 7):
        width = size_code - 5
        size = int.from_bytes(header[at : at + width]) + 1
        at += width
    else:
        size = _BLOCK_SIZES[size_code]
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(header) or _crc8(header[:at]) != header[at]:
        return None
    is_variable = header[1] & 1
    begin = number if is_variable else number * block_frames
    return begin, begin + size


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc
