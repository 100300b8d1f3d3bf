"""Read playlists: m3u, m3u8, pls and xspf. Nothing is opened, neither files nor addresses."""

from __future__ import annotations

import os
import re
import string
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urljoin
from xml.etree import ElementTree

from realtime_mer.errors import UserError

MAX_BYTES = 1_000_000
MAX_ENTRIES = 10_000

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")  # not `C:`
_WEB_ADDRESS = re.compile(r"(https?|icy|icecast|mms|rtsp)://\S+$", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file:(//[^/]*)?", re.IGNORECASE)
_PLS_ENTRY = re.compile(r"^[ \t]*file([0-9]{1,9})[ \t]*=(.*)$", re.IGNORECASE | re.MULTILINE)
_XSPF_ROOT = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE\s+playlist\b|<playlist[\s>])", re.DOTALL
)
_BINARY = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_WINDOWS_ENCODINGS = ("cp1252", "latin-1")


class Playlist(StrEnum):
    """Formats of playlists."""

    M3U = "m3u"
    PLS = "pls"
    XSPF = "xspf"
    HLS = "HLS"
    """Not a list of songs, but a stream in pieces, which ffmpeg plays."""


_SUFFIXES = {
    ".m3u": Playlist.M3U,
    ".m3u8": Playlist.M3U,
    ".pls": Playlist.PLS,
    ".xspf": Playlist.XSPF,
}
PLAYLIST_SUFFIXES = frozenset(_SUFFIXES)
_CONTENT_TYPES = {
    "audio/mpegurl": Playlist.M3U,
    "audio/x-mpegurl": Playlist.M3U,
    "application/mpegurl": Playlist.M3U,
    "application/x-mpegurl": Playlist.M3U,
    "application/vnd.apple.mpegurl": Playlist.M3U,
    "audio/scpls": Playlist.PLS,
    "audio/x-scpls": Playlist.PLS,
    "application/pls+xml": Playlist.PLS,
    "application/xspf+xml": Playlist.XSPF,
}


def recognise_playlist(head: bytes, *, suffix: str = "", content_type: str = "") -> Playlist | None:
    """Return the format of a playlist, or None if this is none.

    The content decides. A plain list of names has no mark, so its suffix or type is needed too.

    Args:
        head: the first bytes, 4 KiB or more where the file has them.
        suffix: of the file or address, for example `.m3u`.
        content_type: of the server's answer.
    """
    text = _decode(head)
    start = text.lstrip()
    if not start or _BINARY.search(text):
        return None
    if start[:7].upper() == "#EXTM3U":
        return Playlist.HLS if re.search(r"^\s*#EXT-X-", text, re.MULTILINE) else Playlist.M3U
    if start[:10].lower() == "[playlist]":
        return Playlist.PLS
    if _XSPF_ROOT.match(text):
        return Playlist.XSPF
    if start.startswith("<"):  # a web page under the name of a playlist
        return None
    stated = _CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower())
    stated = stated or _SUFFIXES.get(suffix.lower())
    if stated is None and (lines := _m3u_entries(text)) and all(map(_WEB_ADDRESS.match, lines)):
        return Playlist.M3U
    if stated == Playlist.PLS and not _PLS_ENTRY.search(text):
        return Playlist.M3U
    return stated


def playlist_entries(data: bytes, playlist: Playlist, *, label: str) -> list[str]:
    """Return the files and addresses of a playlist, in its order, as they are written there.

    Args:
        data: the whole playlist.
        playlist: its format; an HLS playlist has no entries.
        label: its name in messages.

    Raises:
        UserError: the playlist is damaged, or longer than `MAX_BYTES` or `MAX_ENTRIES`.
    """
    if len(data) > MAX_BYTES:
        raise UserError(
            f"{label} is longer than a playlist may be ({MAX_BYTES:,} bytes); give its entries "
            "to --input"
        )
    match playlist:
        case Playlist.M3U:
            entries = _m3u_entries(_decode(data))
        case Playlist.PLS:
            entries = _pls_entries(_decode(data))
        case Playlist.XSPF:
            entries = _xspf_entries(data, label)
        case Playlist.HLS:
            raise ValueError("an HLS playlist is a stream, not a list")
    if len(entries) > MAX_ENTRIES:
        raise UserError(
            f"{label} has {len(entries):,} entries; at most {MAX_ENTRIES:,} are read; split it"
        )
    return entries


def resolve_in_folder(entry: str, folder: Path) -> str:
    """Return the path or address that an entry of a playlist in `folder` stands for.

    Of the ways in which programs write a path, the one that exists is taken: as it is,
    percent-encoded, with backslashes, or with the bytes of a Windows encoding.
    """
    if mark := _FILE_ADDRESS.match(entry):
        return _unquote(entry[mark.end() :])
    if _ADDRESS.match(entry) and not _exists(str(folder / entry)):
        return entry
    names = [entry, _unquote(entry)]
    names += [name.replace("\\", "/") for name in names]
    for encoding in _WINDOWS_ENCODINGS:
        try:
            names += [os.fsdecode(name.encode(encoding)) for name in names[:4]]
        except UnicodeEncodeError:
            continue
    paths = [str(folder / name) for name in names]
    return next(filter(_exists, paths), paths[0])


def resolve_at_address(entry: str, address: str) -> str:
    """Return the address that an entry of a playlist at `address` stands for, percent-encoded.

    Raises:
        UserError: the entry is not a valid address.
    """
    try:
        resolved = entry if _ADDRESS.match(entry) else urljoin(address, entry.replace("\\", "/"))
    except ValueError:
        raise UserError(f"'{entry}' in a playlist is not a valid address; correct it") from None
    return quote(resolved, safe=string.punctuation)


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", *_WINDOWS_ENCODINGS):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def _m3u_entries(text: str) -> list[str]:
    lines = (line.strip() for line in re.split(r"[\r\n]+", text))
    return [line for line in lines if line and not line.startswith("#")]


def _pls_entries(text: str) -> list[str]:
    found = _PLS_ENTRY.findall(re.sub(r"\r\n?", "\n", text))
    ordered = sorted(found, key=lambda numbered: int(numbered[0]))
    return [entry.strip() for _, entry in ordered if entry.strip()]


class _NoDoctype(ElementTree.TreeBuilder):
    """Ends at a document type, whose entities could expand without bounds or name files."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise UserError("holds a document type (<!DOCTYPE>), which no xspf playlist needs")


def _xspf_entries(data: bytes, label: str) -> list[str]:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(data)
        root = parser.close()
    except UserError as error:
        raise UserError(f"{label} {error}; remove it") from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"{label} is not a valid xspf playlist ({error}); save it again") from None
    # A track's further locations are the same song elsewhere.
    locations = (track.findtext("{*}location", "") for track in root.iterfind(".//{*}track"))
    return [location.strip() for location in locations if location.strip()]


def _exists(path: str) -> bool:
    # Path.exists raises for names that are too long or hold a null character.
    return os.path.exists(path)  # noqa: PTH110


def _unquote(name: str) -> str:
    return unquote(name, errors="surrogateescape")
