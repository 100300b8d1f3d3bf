"""`realtime-mer report`: a page about a recording, and other files made of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mer_engine.draft import draft_of

from realtime_mer.audio.local_path import is_folder, is_same_path, local_path
from realtime_mer.commands.output_paths import refuse_overwriting
from realtime_mer.commands.streams import announce, reason_of
from realtime_mer.commands.target_option import add_target_argument, chosen_target
from realtime_mer.errors import UserError, printable
from realtime_mer.outputs.table import CsvWriter
from realtime_mer.recording.parts import parts_of

if TYPE_CHECKING:
    from realtime_mer.report.session import Session

HELP = "make a page about a recording; CSV, labels, subtitles"
DESCRIPTION = """\
Makes one HTML page about a recording, which opens from disk and needs nothing
else: valence and arousal over time with their intervals, the way over the
plane, the time in each mood, peaks, changes, markers, what is missing, and what
the numbers mean. A second recording is compared with the first. With a target,
the page shows the distance to it.

The recording is a folder of '--record', or a table of 'analyze -o'. Without -o
the page goes into that folder, or beside the table; with --pdf or another file
alone, no page is written. An older file is replaced.
"""
EXAMPLES = """\
  realtime-mer report evening/
  realtime-mer report monday/ tuesday/ -o both.html
  realtime-mer report session/ --target calm-down.toml --pdf session.pdf
  realtime-mer report session/ --csv session.csv --labels session.txt
"""
PAGE_NAME = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recording", metavar="RECORDING", type=local_path,
        help="a folder of '--record', or a .csv or .jsonl file with estimates",
    )  # fmt: skip
    parser.add_argument(
        "other", metavar="OTHER", type=local_path, nargs="?",
        help="another recording to compare with; both begin at the same place",
    )  # fmt: skip
    add_target_argument(parser, " (default: that of the recording)")
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", type=local_path, metavar="FILE.html",
        help=f"the page (default: {PAGE_NAME} in the folder of the recording)",
    )  # fmt: skip
    group.add_argument(
        "--pdf", type=local_path, metavar="FILE", help="the page, printed by Chromium or Chrome"
    )
    group.add_argument(
        "--csv", type=local_path, metavar="FILE", help="the estimates, as of 'analyze -o'"
    )
    group.add_argument(
        "--labels", type=local_path, metavar="FILE",
        help="moods, changes and markers as labels for Audacity",
    )  # fmt: skip
    group.add_argument(
        "--srt", type=local_path, metavar="FILE", help="moods, values and markers as subtitles"
    )
    group.add_argument(
        "--xdf", type=local_path, metavar="FILE",
        help="estimates and markers for pyxdf and EEGLAB",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from realtime_mer.report.page import report_page
    from realtime_mer.report.pdf import require_browser, write_pdf
    from realtime_mer.report.session import read_session

    exports = [
        (path, write)
        for path, write in (
            (args.csv, _write_csv),
            (args.labels, _write_labels),
            (args.srt, _write_subtitles),
            (args.xdf, _write_xdf),
        )
        if path is not None
    ]
    page_path = args.output
    if page_path is None and args.pdf is None:
        if args.other is not None and exports:
            raise UserError(
                f"only the page compares {args.other} with {args.recording}; add -o or --pdf, or "
                "leave it out"
            )
        page_path = None if exports else _default_page(args.recording)
    outputs = [path for path in (page_path, args.pdf, *(path for path, _ in exports)) if path]
    _check_outputs(outputs, args)
    browser = "" if args.pdf is None else require_browser()
    target = chosen_target(args)
    session = read_session(args.recording)
    other = None if args.other is None else read_session(args.other)
    for each in filter(None, (session, other)):
        if each.remark:
            announce(each.remark)
    if page_path is not None or browser:
        page = report_page(session, other, target or session.target)
        if page_path is not None:
            with _writing(page_path) as draft:
                draft.write_text(page, encoding="utf-8")
        if browser:
            with _writing(args.pdf) as draft:
                write_pdf(page, draft, browser)
    for path, write in exports:
        with _writing(path) as draft:
            write(session, draft)
    return 0


def _default_page(recording: Path) -> Path:
    if is_folder(recording):
        return recording / PAGE_NAME
    return recording.with_suffix(".html")


def _check_outputs(outputs: list[Path], args: argparse.Namespace) -> None:
    """Check that writing destroys nothing that was recorded, and that each file is another one.

    Raises:
        UserError: it would, or two files are the same.
    """
    inputs: list[Path] = [] if args.target is None else [args.target]
    for recording in filter(None, (args.recording, args.other)):
        if is_folder(recording):
            inputs += [*parts_of(recording), *recording.glob("audio*.flac")]
        else:
            inputs.append(recording)
    refuse_overwriting(outputs, map(str, inputs))
    for number, path in enumerate(outputs):
        if any(is_same_path(path, before) for before in outputs[:number]):
            raise UserError(f"{path} is given for two different files; give each its own name")
        if is_folder(path):
            raise UserError(f"{path} is a folder; name a file in it")


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yield where to write a file that replaces an older one when it is whole, and say its name.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(path) as draft:
            yield draft
    except OSError as error:
        raise UserError(f"{path} cannot be written ({reason_of(error)})") from error
    print(printable(str(path)))


def _write_csv(session: Session, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = CsvWriter(file)
        for estimate in session.estimates:
            writer.write(estimate)


def _write_labels(session: Session, path: Path) -> None:
    from realtime_mer.report.labels import audacity_labels

    path.write_text(audacity_labels(session), encoding="utf-8")


def _write_subtitles(session: Session, path: Path) -> None:
    from realtime_mer.report.labels import subtitles

    path.write_text(subtitles(session), encoding="utf-8")


def _write_xdf(session: Session, path: Path) -> None:
    from realtime_mer.report.xdf import write_xdf

    with path.open("wb") as file:
        write_xdf(session, file)
