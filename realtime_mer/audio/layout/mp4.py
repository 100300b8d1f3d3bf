"""Scan MPEG-4 and QuickTime files: is the last atom whole, and is it one file?

Source: ISO 14496-12.
"""

from __future__ import annotations

from typing import BinaryIO

from realtime_mer.audio.layout.types import Layout, Part


def scan(file: BinaryIO, start: int, stop: int) -> Layout:
    """Return the layout of a file of atoms.

    Args:
        file: open for reading, seekable.
        start, stop: the byte range to scan.
    """
    part = Part(((start, stop),))
    at = start
    movies = 0
    while at + 8 <= stop:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4])
        if not head[4:8].isalnum():
            break  # something else behind the last atom
        if size == 1:
            size = int.from_bytes(head[8:16])
        if size == 0:  # up to the end
            size = stop - at
        movies += head[4:8] == b"moov"
        at += max(8, size)
    return Layout(
        (part,), is_cut=at > stop, unread="a second file behind the first" if movies > 1 else ""
    )
