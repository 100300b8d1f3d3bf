"""`realtime-mer playlist`: playlists by mood from a library."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.clock import clock_text
from realtime_mer.commands.analysis_progress import files_text
from realtime_mer.core.mood import WORDS
from realtime_mer.errors import UserError, printable, printable_line

if TYPE_CHECKING:
    from realtime_mer.core.target import TargetTrajectory
    from realtime_mer.library.playlist import Playlist, Point, Song
    from realtime_mer.library.song_names import SongNames
    from realtime_mer.library.track import Track

HELP = "write playlists by mood from a library"
DESCRIPTION = f"""\
Chooses files of a library so that the music goes smoothly from one mood to
another, in about the given time, and writes them as a playlist (m3u8). The
library is a table of 'analyze --summary'.

A mood is a word ({", ".join(WORDS[:5])},
{", ".join(WORDS[5:])}) or valence,arousal, each from
-1 to 1. With --along, the way is the target of a file, as 'serve --target'
takes it. All of these are places within the spread of the library: -1 and 1
are its own ends, so that every library has a way.

With --moods, writes one playlist for each mood instead, and a table of all
files with their moods and colours (moods.csv).
"""
EXAMPLES = """\
  realtime-mer playlist library.sqlite --from calm --to joyful --minutes 45
  realtime-mer playlist library.csv --from=-0.5,0.8 --to sad --minutes 9
  realtime-mer playlist library.sqlite --along session.toml -o session.m3u8
  realtime-mer playlist library.sqlite --moods playlists/

exit code:
  0  the playlist was written
  2  an option or the library was wrong
"""
MAX_MINUTES = 24 * 60
SUFFIXES = (".m3u8", ".m3u")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "library", metavar="LIBRARY", type=local_path,
        help="a table of 'analyze --summary': .sqlite, .parquet, .csv or .jsonl",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="start", metavar="MOOD",
        help="where the playlist begins: a word, or --from=VALENCE,AROUSAL",
    )  # fmt: skip
    parser.add_argument("--to", dest="end", metavar="MOOD", help="where it ends")
    parser.add_argument(
        "--minutes", type=float, metavar="N",
        help="its duration, to half a file (default with --along: that of the target)",
    )  # fmt: skip
    parser.add_argument(
        "--along", metavar="TARGET", type=local_path,
        help="a TOML file of times and places on the plane, in place of --from and --to",
    )  # fmt: skip
    parser.add_argument(
        "--moods", metavar="FOLDER", type=local_path,
        help="write one playlist for each mood and the table moods.csv into this folder",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="PATH", type=local_path,
        help="the playlist, .m3u8 or .m3u, both in UTF-8 (default: standard output)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from realtime_mer.library.playlist import playable
    from realtime_mer.library.reading import read_library
    from realtime_mer.library.song_names import SongNames

    _check(args)
    asked = None if args.moods is not None else _asked(args)
    tracks = read_library(args.library)
    songs = playable(_present(tracks))
    if not songs:
        raise UserError(f"the library {args.library} has no file that is music and still there")
    names = SongNames()
    if asked is None:
        _write_moods(songs, names, args.moods)
        return 0
    playlist = _planned(asked, songs, names)
    # Nothing is told of a playlist that cannot be written.
    _write_playlist(playlist, names, args.output)
    _tell(playlist, asked.total_s, names)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Check which options are given together, and the numbers.

    Raises:
        UserError: they do not fit.
    """
    ends = [name for name, text in (("--from", args.start), ("--to", args.end)) if text is not None]
    if args.moods is not None:
        if ends or args.minutes is not None or args.along is not None or args.output is not None:
            raise UserError("--moods makes playlists of its own; leave the other options out")
        return
    if args.along is not None and ends:
        raise UserError(f"--along gives the whole way; leave {' and '.join(ends)} out")
    if args.along is None and (len(ends) < 2 or args.minutes is None):
        raise UserError("give --from, --to and --minutes, or --along, or --moods")
    if args.minutes is not None and not 0.0 < args.minutes <= MAX_MINUTES:
        raise UserError(f"--minutes is {args.minutes:g}; it must be above 0, at most {MAX_MINUTES}")
    if args.output is not None and args.output.suffix.lower() not in SUFFIXES:
        raise UserError(f"the playlist {args.output} must end in .m3u8 or .m3u")


def _present(tracks: list[Track]) -> list[Track]:
    """Return the files that are still there and that a playlist can name; tell of the others."""
    from realtime_mer.library.exports import fits_into_m3u, place_of

    present, gone, changed, unfit = [], [], [], []
    for track in tracks:
        if track.summary is None:
            continue
        try:
            place = place_of(track.path)
            status = None if place is None else place.stat()
        except (OSError, ValueError, UserError):  # also of another computer
            gone.append(track)
            continue
        if not fits_into_m3u(track.path):
            unfit.append(track)
            continue
        version = (track.size_bytes, track.modified_ns)
        if status is not None and (status.st_size, status.st_mtime_ns) != version:
            changed.append(track)
        present.append(track)
    _tell_files(gone, "left out, because not there any more")
    _tell_files(unfit, "left out, because of a line break in the name")
    _tell_files(changed, "changed since the analysis, run analyze again")
    return present


def _tell_files(tracks: list[Track], what: str) -> None:
    if tracks:
        example = printable_line(tracks[0].path)
        print(f"{what}: {files_text(len(tracks))}, for example {example}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The way that was asked for.

    Attributes:
        ends: where it begins and ends; None where it has a target.
        target: the way itself; None where it has ends.
        total_s: the duration.
    """

    ends: tuple[Point, Point] | None
    target: TargetTrajectory | None
    total_s: float


def _asked(args: argparse.Namespace) -> _Asked:
    """Return what the options ask for, before the library is read."""
    from realtime_mer.core.target import TargetTrajectory
    from realtime_mer.library.playlist import place_of_mood

    if args.along is None:
        ends = place_of_mood(args.start), place_of_mood(args.end)
        return _Asked(ends, None, args.minutes * 60)
    target = TargetTrajectory.from_toml(args.along)
    total_s = target.points[-1].t_s if args.minutes is None else args.minutes * 60
    if total_s <= 0.0:
        raise UserError(f"the target {args.along} has no duration; give --minutes")
    return _Asked(None, target, total_s)


def _planned(asked: _Asked, songs: list[Song], names: SongNames) -> Playlist:
    from realtime_mer.library.playlist import Spread, Way, plan, straight_way

    total_s = asked.total_s
    way: Way
    if asked.target is not None:
        way = asked.target.at
    else:
        assert asked.ends is not None
        song_s = sum(song.summary.duration_s for song in songs) / len(songs)
        way = straight_way(*asked.ends, total_s=total_s, song_s=song_s)
    playlist = plan(songs, Spread(songs), way, total_s=total_s, names=names)
    if not playlist.songs:
        shortest_s = min(song.summary.duration_s for song in songs)
        raise UserError(
            f"no file fits into {total_s / 60:g} minutes; the shortest takes "
            f"{clock_text(shortest_s)}"
        )
    return playlist


def _tell(playlist: Playlist, total_s: float, names: SongNames) -> None:
    """Print the playlist and how smooth it is on standard error."""
    t_s = 0.0
    for song in playlist.songs:
        values = f"{song.valence:+.2f} {song.arousal:+.2f}"
        name = names.shown(song.track.path)
        print(f"{clock_text(t_s):>7}  {song.summary.mood:<8} {values}  {name}", file=sys.stderr)
        t_s += song.summary.duration_s
    print(
        f"{files_text(len(playlist.songs))}, {clock_text(playlist.duration_s)}; mean step "
        f"{playlist.step:.2f} (in random order {playlist.random_step:.2f}), mean distance from the "
        f"way {playlist.off_way:.2f}, where 2 is the spread of the library",
        file=sys.stderr,
    )
    longest_s = max(song.summary.duration_s for song in playlist.songs)
    if playlist.duration_s < total_s - longest_s / 2:
        print(
            f"the library has no more music for the {total_s / 60:g} minutes that were asked",
            file=sys.stderr,
        )


def _write_playlist(playlist: Playlist, names: SongNames, output: Path | None) -> None:
    from realtime_mer.library.exports import m3u8

    data = m3u8(playlist.songs, names)
    if output is not None:
        _write(output, data)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def _write_moods(songs: list[Song], names: SongNames, folder: Path) -> None:
    """Write a playlist for each mood, from low to high arousal, and the table of all files."""
    from realtime_mer.library.exports import m3u8, mood_table

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be created ({error.strerror})") from error
    for word in WORDS:
        chosen = sorted(
            (song for song in songs if song.summary.mood == word), key=lambda song: song.arousal
        )
        path = folder / f"{word}.m3u8"
        if chosen or path.exists():  # an old list would name files of another mood now
            _write(path, m3u8(chosen, names))
        if chosen:
            print(f"{len(chosen):>6} {printable(str(path))}", file=sys.stderr)
    _write(folder / "moods.csv", mood_table(songs, names))
    print(f"{len(songs):>6} {printable(str(folder / 'moods.csv'))}", file=sys.stderr)


def _write(path: Path, data: bytes) -> None:
    from mer_engine.draft import draft_of

    try:
        with draft_of(path) as draft:
            draft.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error
