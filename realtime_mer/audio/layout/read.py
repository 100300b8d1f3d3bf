"""Read the layout of a file."""

from __future__ import annotations

from pathlib import Path

from realtime_mer.audio.layout import asf, flac, mpeg, ogg, pcm
from realtime_mer.audio.layout.types import Layout, Part

# Containers whose data may look like MPEG audio in a row.
_OTHER = (
    b"\x1a\x45\xdf\xa3", b"FLV", b"wvpk", b"TTA", b"tBaK", b"MAC ", b"MPCK",
    b"MP+", b"#!AMR", b".RMF", b"PK", b"\x89PNG", b"\xff\xd8\xff", b"GIF8",
)  # fmt: skip
_MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def read_layout(path: Path) -> Layout:
    """Return the layout of a file; one part with all bytes where no scan knows the format.

    Reads the headers, and MP3 and Ogg as a whole, in constant memory.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        stop = file.seek(0, 2)
        start = 0
        file.seek(0)
        while size := mpeg.id3_size(file.read(10)):
            if start + size >= stop:
                break
            start += size
            file.seek(start)
        file.seek(start)
        head = file.read(16)
        layout = None
        if head.startswith(b"OggS"):
            layout = ogg.scan(file, start, stop)
        elif head.startswith(b"fLaC"):
            layout = flac.scan(file, start, stop)
        elif head.startswith(b"\x30\x26\xb2\x75"):
            layout = asf.scan(file, start, stop)
        elif not head.startswith(_OTHER) and head[4:8] not in _MP4_ATOMS:
            layout = pcm.scan(file, start, stop) or mpeg.scan(file, start, stop)
        return layout or Layout((Part(((start, stop),)),))
