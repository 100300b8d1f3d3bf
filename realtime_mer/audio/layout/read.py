"""Read the layout of a file."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from realtime_mer.audio.layout import asf, flac, mp4, mpeg, ogg, pcm
from realtime_mer.audio.layout.types import Layout, Part

# Containers whose data may look like MPEG audio in a row.
_OTHER = (
    b"\x1a\x45\xdf\xa3", b"FLV", b"wvpk", b"TTA", b"tBaK", b"MAC ", b"MPCK",
    b"MP+", b"#!AMR", b".RMF", b"PK", b"\x89PNG", b"\xff\xd8\xff", b"GIF8",
)  # fmt: skip
_CHUNK = 1 << 16
_MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def read_layout(path: Path) -> Layout:
    """Return the layout of a file; one part with all bytes where no scan knows the format.

    Reads the headers, and MP3, Ogg and FLAC as a whole, in constant memory.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return layout_of(file)


def layout_of(file: BinaryIO) -> Layout:
    """Return the layout of an open, seekable file; otherwise as `read_layout`."""
    stop = file.seek(0, 2)
    start = _first_byte(file, stop)
    file.seek(start)
    head = file.read(16)
    layout = None
    if head.startswith(b"OggS"):
        layout = ogg.scan(file, start, stop)
    elif head.startswith(b"fLaC"):
        layout = flac.scan(file, start, stop)
    elif head.startswith(b"\x30\x26\xb2\x75"):
        layout = asf.scan(file, start, stop)
    elif head[4:8] in _MP4_ATOMS:
        layout = mp4.scan(file, start, stop)
    elif not head.startswith(_OTHER):
        layout = pcm.scan(file, start, stop) or mpeg.scan(file, start, stop)
    return layout or Layout((Part(((start, stop),)),))


def _first_byte(file: BinaryIO, stop: int) -> int:
    """Return where a file begins behind ID3v2 tags and zeros."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(_CHUNK)
        zeros = len(head) - len(head.lstrip(b"\0"))
        # The size of the first atom of an MPEG-4 file begins with zeros.
        size = mpeg.id3_size(head) or (zeros if zeros > 64 else 0)
        if size == 0 or start + size >= stop:
            return start
        start += size
