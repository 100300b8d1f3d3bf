"""Recognise encoded audio and other files by their first bytes; raw PCM is never taken for one."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from realtime_mer.audio.layout import mpeg

HEAD_BYTES = 16_384
"""How many first bytes are enough to recognise every format here."""


@dataclass(frozen=True, slots=True)
class EncodedFormat:
    """What the first bytes are.

    Attributes:
        name: with its article, for messages: "an MP3 file".
        is_audio: ffmpeg can decode it, if there is sound in it.
    """

    name: str
    is_audio: bool = True


# Offset and bytes that all have to be there.
_MAGIC: tuple[tuple[EncodedFormat, tuple[tuple[int, bytes], ...]], ...] = (
    (EncodedFormat("a WAV file"), ((0, b"RIFF"), (8, b"WAVE"))),
    (EncodedFormat("a WAV file"), ((0, b"RIFX"), (8, b"WAVE"))),
    (EncodedFormat("a WAV file (RF64)"), ((0, b"RF64"), (8, b"WAVE"))),
    (EncodedFormat("a WAV file (BW64)"), ((0, b"BW64"), (8, b"WAVE"))),
    (EncodedFormat("a W64 file"), ((0, b"riff\x2e\x91\xcf\x11"),)),
    (EncodedFormat("an AVI film"), ((0, b"RIFF"), (8, b"AVI "))),
    (EncodedFormat("an AIFF file"), ((0, b"FORM"), (8, b"AIF"))),
    (EncodedFormat("an AU file"), ((0, b".snd\0"),)),
    (EncodedFormat("a CAF file"), ((0, b"caff\0"),)),
    (EncodedFormat("a FLAC file"), ((0, b"fLaC"),)),
    (EncodedFormat("an Ogg file"), ((0, b"OggS\0"),)),
    (EncodedFormat("an MPEG-4 file (m4a, mp4)"), ((4, b"ftyp"),)),
    (EncodedFormat("a QuickTime file"), ((4, b"moov"),)),
    (EncodedFormat("a QuickTime file"), ((4, b"wide"), (12, b"mdat"))),
    (EncodedFormat("a Matroska or WebM file"), ((0, b"\x1a\x45\xdf\xa3"),)),
    (EncodedFormat("a Windows Media file"), ((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),)),
    (EncodedFormat("a WavPack file"), ((0, b"wvpk"),)),
    (EncodedFormat("a Monkey's Audio file"), ((0, b"MAC "),)),
    (EncodedFormat("a TTA file"), ((0, b"TTA1"),)),
    (EncodedFormat("a Musepack file"), ((0, b"MPCK"),)),
    (EncodedFormat("a Musepack file"), ((0, b"MP+\x07"),)),
    (EncodedFormat("a DSD file"), ((0, b"DSD \x1c\0\0\0"),)),
    (EncodedFormat("a DSD file"), ((0, b"FRM8"), (12, b"DSD "))),
    (EncodedFormat("an AMR file"), ((0, b"#!AMR"),)),
    (EncodedFormat("an AAC file"), ((0, b"ADIF"),)),
    (EncodedFormat("a RealMedia file"), ((0, b".RMF\0\0\0"),)),
    (EncodedFormat("an FLV film"), ((0, b"FLV\x01"),)),
    (EncodedFormat("an MPEG film"), ((0, b"\0\0\x01\xba"), (12, b"\0\0\x01\xbb"))),
    (EncodedFormat("an MPEG film"), ((0, b"\0\0\x01\xba"), (14, b"\0\0\x01\xbb"))),
    (EncodedFormat("a MIDI file (notes, not sound)", False), ((0, b"MThd\0\0\0\x06"),)),
    (EncodedFormat("a compressed file (gzip)", False), ((0, b"\x1f\x8b\x08"),)),
    (EncodedFormat("a compressed file (xz)", False), ((0, b"\xfd7zXZ\0"),)),
    (EncodedFormat("a compressed file (bzip2)", False), ((0, b"BZh"), (4, b"1AY&SY"))),
    (EncodedFormat("a compressed file (zstd)", False), ((0, b"\x28\xb5\x2f\xfd"),)),
    (EncodedFormat("a ZIP archive", False), ((0, b"PK\x03\x04"),)),
    (EncodedFormat("a PDF document", False), ((0, b"%PDF-"),)),
    (EncodedFormat("a picture (PNG)", False), ((0, b"\x89PNG\r\n\x1a\n"),)),
    (EncodedFormat("a picture (GIF)", False), ((0, b"GIF8"), (5, b"a"))),
    (EncodedFormat("a picture (JPEG)", False), ((0, b"\xff\xd8\xff\xe0"), (6, b"JFIF\0"))),
    (EncodedFormat("a picture (JPEG)", False), ((0, b"\xff\xd8\xff\xe1"), (6, b"Exif\0"))),
    (EncodedFormat("a picture (WebP)", False), ((0, b"RIFF"), (8, b"WEBP"))),
)
_MPEG_AUDIO = EncodedFormat("an MP3 file")
_WEB_PAGE = EncodedFormat("a web page", False)
TEXT = EncodedFormat("text", False)

_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)

_LONGEST_HEADER = 8
_MPEG_SYNC = re.compile(rb"\xff(?=[\xe0-\xff])")

_Frame = tuple[bytes, int]
"""Of a frame: the bits of its header that do not change within a stream, and its length."""


def encoded_format(head: bytes) -> EncodedFormat | None:
    """Return what a stream is whose first bytes are `head`; None if it can be raw PCM.

    A mark of four bytes or more is enough. Shorter ones, which raw samples contain by chance,
    count only if more frames follow at the distances that the headers state. Text is
    recognised from 64 bytes on. More bytes than `HEAD_BYTES` are not needed.
    """
    for kind, marks in _MAGIC:
        if all(head.startswith(mark, offset) for offset, mark in marks):
            return kind
    # ID3: version, revision, flags, then a size of four bytes of seven bits.
    if head.startswith(b"ID3") and len(head) >= 10 and head[3] < 0x10 and max(head[6:10]) < 0x80:
        return _MPEG_AUDIO
    syncs = [found.start() for found in _MPEG_SYNC.finditer(head)]
    # A stream may begin within a frame, of at most 2881 bytes. Clipped samples are full of syncs.
    starts = [at for at in syncs if at <= 2881] if len(syncs) < len(head) // 8 else []
    if _is_chained(head, _mpeg_frame, starts, 4, len(syncs)):
        return _MPEG_AUDIO
    if _is_chained(head, _adts_frame, starts, 4, len(syncs)):
        return EncodedFormat("AAC audio (ADTS)")
    if _is_chained(head, _ac3_frame, [0], 4):
        return EncodedFormat("AC-3 audio")
    if _is_chained(head, _dts_frame, [0], 2):  # long frames, but a long mark
        return EncodedFormat("DTS audio")
    if _is_transport_stream(head):
        return EncodedFormat("an MPEG transport stream")
    return _text_format(head)


class StartCheck:
    """Applies `encoded_format` to a stream that arrives in pieces, until enough has arrived."""

    def __init__(self) -> None:
        self._head: bytes | None = b""  # None when enough has arrived
        self._next_length = 1
        self.is_empty = True

    @property
    def is_complete(self) -> bool:
        """Whether enough has arrived for an answer that stays."""
        return self._head is None

    def add(self, chunk: bytes) -> EncodedFormat | None:
        """Take the next bytes of the stream, b"" at its end; return what it is, if known."""
        self.is_empty = self.is_empty and not chunk
        if self._head is None:
            return None
        # Digital silence tells nothing, but some marks begin with up to three zeros.
        head = self._head + chunk
        sound = head.lstrip(b"\0")
        self._head = head = head[max(0, len(head) - len(sound) - 3) :]
        if len(head) < self._next_length and chunk:
            return None
        self._next_length = min(2 * len(head), HEAD_BYTES + 3)
        if len(sound) >= HEAD_BYTES:
            self._head = None
        return encoded_format(head) or encoded_format(sound)


def _is_chained(
    head: bytes,
    frame: Callable[[bytes, int], _Frame | None],
    starts: Iterable[int],
    least: int,
    n_syncs: int = 0,
) -> bool:
    """Return whether `least` frames or more lead from one of `starts` to the end of `head`.

    `n_syncs` is how often the sync word occurs anywhere. Raw samples that vary slowly or repeat
    have it everywhere, or equal "frames".
    """
    for start in starts:
        headers: set[bytes] = set()
        bodies: set[bytes] = set()
        at, n_frames = start, 0
        while len(headers) <= 1 and (found := frame(head, at)) is not None:
            headers.add(found[0])
            bodies.add(head[at + 4 : at + 36])
            n_frames += 1
            at += found[1]
        if len(headers) != 1 or n_frames < least or at < len(head) - _LONGEST_HEADER:
            continue
        if len(bodies) == 1 or n_syncs > 4 * n_frames + len(head) // 512:
            continue
        # Within a stream, where chance has many tries, the frames are as dense as encoders make
        # them; tones are not.
        if start == 0 or len(zlib.compress(head)) > 0.8 * len(head):
            return True
    return False


def _mpeg_frame(data: bytes, at: int) -> _Frame | None:
    header = data[at : at + 4]
    size = mpeg.frame_size(header)
    if size is None or header[3] & 3 == 2:  # a reserved emphasis
        return None
    return bytes((header[1] & 0xFE, header[2] & 0x0C)), size


def _adts_frame(data: bytes, at: int) -> _Frame | None:
    header = data[at : at + 7]
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if header[2] >> 2 & 15 > 12 or length < 8:
        return None
    return bytes((header[1], header[2], header[3] & 0xC0)), length


def _ac3_frame(data: bytes, at: int) -> _Frame | None:
    header = data[at : at + 6]
    if len(header) < 6 or header[:2] != b"\x0b\x77":
        return None
    rate, size, stream_version = header[4] >> 6, header[4] & 63, header[5] >> 3
    if rate == 3 or size >= 2 * len(_AC3_KBPS) or stream_version > 10:
        return None
    rate_hz = (48_000, 44_100, 32_000)[rate]
    words = _AC3_KBPS[size >> 1] * 96_000 // rate_hz + (size & 1 if rate == 1 else 0)
    return bytes((header[4] & 0xFE, header[5])), 2 * words


def _dts_frame(data: bytes, at: int) -> _Frame | None:
    header = data[at : at + 8]
    if len(header) < 8 or header[:4] != b"\x7f\xfe\x80\x01":
        return None
    length = ((header[5] & 3) << 12 | header[6] << 4 | header[7] >> 4) + 1
    return (header[4:5], length) if length >= 96 else None


def _is_transport_stream(head: bytes) -> bool:
    """Return whether packets of 188 bytes begin with 0x47 and count up within their streams."""
    packets = [head[at : at + 188] for at in range(0, len(head) - 187, 188)]
    if len(packets) < 5 or head.count(b"\x47") > len(head) // 16:
        return False
    last: dict[int, int] = {}  # counter by stream
    n_counted = 0
    for packet in packets:
        stream, control = struct.unpack_from(">HB", packet, 1)
        if packet[0] != 0x47 or stream & 0x8000 or not control & 0x30:
            return False
        stream &= 0x1FFF
        if control & 0x10:
            if stream in last and control & 15 not in (last[stream], (last[stream] + 1) % 16):
                return False
            n_counted += stream in last and control & 15 != last[stream]
            last[stream] = control & 15
    return n_counted > 0


def _text_format(head: bytes) -> EncodedFormat | None:
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return _WEB_PAGE
    if start.startswith((b"<?xml", b"#extm3u", b"[playlist]")):
        return TEXT
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return None
        text = head[: error.start].decode("utf-8")
    # Quiet samples can all be printable characters, but few different ones, or in small steps.
    n = len(text)
    steps = sum(abs(ord(a) - ord(b)) <= 2 for a, b in pairwise(text))
    letters = sum(character.isalpha() for character in text)
    spaces = sum(character.isspace() for character in text)
    is_printable = all(character.isprintable() or character in "\t\r\n" for character in text)
    is_varied = n >= 64 and len(set(text)) >= 12 and 3 * steps < n
    is_text = is_varied and is_printable and 2 * letters > n and 20 * spaces > n
    return TEXT if is_text else None
