"""What other programs take: playlists (m3u8), and a table of moods and colours (CSV)."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from realtime_mer.audio.local_path import is_file_address, local_path
from realtime_mer.audio.url import looks_like_url
from realtime_mer.core.colour import hex_colour
from realtime_mer.errors import printable
from realtime_mer.library.playlist import Song
from realtime_mer.library.song_names import SongNames
from realtime_mer.outputs.table import disarmed

CSV_COLUMNS = ("path", "artist", "title", "duration_s", "mood", "valence", "arousal", "colour")


def place_of(path: str) -> Path | None:
    """Return where a file of a library is on this computer; None for a network address."""
    return None if looks_like_url(path) and not is_file_address(path) else local_path(path)


def fits_into_m3u(path: str) -> bool:
    """Return whether a playlist, which has one file a line, can name a file."""
    return not any(sign in str(place_of(path) or path) for sign in "\n\r")


def m3u8(songs: Iterable[Song], names: SongNames) -> bytes:
    """Return an extended M3U playlist in UTF-8 with absolute paths.

    Bytes of a name that are no UTF-8 stay as they are: programs look for exactly these.

    Args:
        songs: whose paths `fits_into_m3u`.
        names: artists and titles.
    """
    lines = [b"#EXTM3U"]
    for song in songs:
        path = song.track.path
        seconds = round(song.summary.duration_s)
        lines.append(f"#EXTINF:{seconds},{names.shown(path)}".encode("utf-8", "replace"))
        lines.append(os.fsencode(place_of(path) or path))
    return b"\n".join(lines) + b"\n"


def mood_table(songs: Sequence[Song], names: SongNames) -> bytes:
    """Return a CSV table in UTF-8 with one row a file, and the colour of its mood as #rrggbb."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for song in songs:
        artist, title = names.of(song.track.path)
        row = (
            *(printable(str(place_of(song.track.path) or song.track.path)), artist, title),
            *(song.summary.duration_s, song.summary.mood, song.valence, song.arousal),
            hex_colour(song.valence, song.arousal),
        )
        writer.writerow([disarmed(value) for value in row])
    return text.getvalue().encode("utf-8", "replace")
