"""Scan ASF (Windows Media): the length and the size that the header states.

Source: Microsoft, Advanced Systems Format Specification.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from realtime_mer.audio.layout.types import Layout, Part

_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Size of the file, creation date, packets, play and send duration in 100 ns, preroll in ms, flags.
_FIELDS = struct.Struct("<QQQQQQI")
_HEADER_BYTES = 1 << 16
_IS_BROADCAST = 1  # the other fields then say nothing


def scan(file: BinaryIO, start: int, stop: int) -> Layout | None:
    """Return the layout of ASF, or None if the header states no length.

    Args:
        file: open for reading, seekable.
        start, stop: the byte range to scan.
    """
    file.seek(start)
    header = file.read(_HEADER_BYTES)
    at = header.find(_FILE_PROPERTIES) + 40  # behind the GUIDs and the size of the object
    if at < 40 or at + _FIELDS.size > len(header):
        return None
    size, _, _, play, _, preroll_ms, flags = _FIELDS.unpack_from(header, at)
    duration_s = play / 1e7 - preroll_ms / 1e3
    if flags & _IS_BROADCAST or duration_s <= 0.0 or size <= stop - start:
        return None
    return Layout((Part(((start, stop),), duration_s=duration_s),))
