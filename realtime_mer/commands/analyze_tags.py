"""The options of `analyze` that write a library's moods into the tags of its files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Iterator

from realtime_mer.commands.analysis_progress import files_text, first_reasons
from realtime_mer.commands.streams import announce
from realtime_mer.errors import UserError, printable_line
from realtime_mer.library.tables import LibraryTable
from realtime_mer.library.tags import Tagging, check_mutagen, tag_tracks
from realtime_mer.library.track import Track


def add_tag_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--write-tags`, `--remove-tags` and `--dry-run`."""
    group = parser.add_argument_group("tags of the files, with --summary")
    group.add_argument(
        "--write-tags", action="store_true",
        help="also write mood and values into the files (extra 'library'): MER_VALENCE, "
        "MER_AROUSAL, MER_MOOD, and MOOD where a file has none of its own",
    )  # fmt: skip
    group.add_argument(
        "--remove-tags", action="store_true",
        help="remove what --write-tags wrote from the files of the library; analyses nothing",
    )  # fmt: skip
    group.add_argument(
        "--dry-run", action="store_true",
        help="with --write-tags or --remove-tags: print what would change in which file, and "
        "change no file",
    )  # fmt: skip


def check_tag_options(args: argparse.Namespace) -> None:
    """Refuse options that do not fit, before hours of analysis.

    Raises:
        UserError: they do not fit, or the package for tags is missing.
    """
    chosen = [name for name in ("write_tags", "remove_tags") if getattr(args, name)]
    if args.dry_run and not chosen:
        raise UserError("--dry-run is for --write-tags and --remove-tags; add one of them")
    if not chosen:
        return
    option = f"--{chosen[0].replace('_', '-')}"
    if len(chosen) > 1:
        raise UserError("--write-tags and --remove-tags contradict each other; leave one out")
    if not args.summary:
        raise UserError(f"{option} needs a library; add --summary -o library.sqlite")
    check_mutagen()


def tag_files(args: argparse.Namespace, table: LibraryTable, places: Collection[str]) -> int:
    """Write or remove the tags of files that have a row; return how many had a problem.

    Rows hold afterwards as before. What was done is told on standard error; of a dry run, each
    change is told on standard output.

    Args:
        args: with the options of `add_tag_arguments`.
        table: the library.
        places: the paths in its rows.
    """
    done = unchanged = 0
    problems: list[str] = []
    rows = _rows(table, _with_progress(args, places))
    for tagging in tag_tracks(rows, remove=args.remove_tags, dry_run=args.dry_run):
        if tagging.problem:
            problems.append(tagging.problem)
        elif tagging.changes:
            done += 1
            if args.dry_run:
                print(_shown(tagging))
            else:
                table.add(tagging.track)
        else:
            unchanged += 1
    what = "would change" if args.dry_run else "changed"
    announce(f"tags: {files_text(done)} {what}, {unchanged} unchanged")
    if problems:
        listed = first_reasons(problems)
        announce(f"the tags of {files_text(len(problems))} stay as they are:{listed}")
    return len(problems)


def _with_progress(args: argparse.Namespace, places: Collection[str]) -> Iterable[str]:
    """Yield the paths, and show on a terminal how many are done."""
    from rich.console import Console
    from rich.progress import track

    return track(
        places,
        "tags",
        console=Console(stderr=True),
        transient=True,
        disable=args.quiet or args.dry_run or not sys.stderr.isatty(),
    )


def _rows(table: LibraryTable, places: Iterable[str]) -> Iterator[Track]:
    for place in places:
        if (track := table.track(place)) is not None:
            yield track


def _shown(tagging: Tagging) -> str:
    """Return the changes of a file in one line."""
    changes = [
        f"{name} {before or '-'} -> {after or '-'}"
        for name, (before, after) in tagging.changes.items()
    ]
    return printable_line(f"{tagging.track.path}: {', '.join(changes)}")
