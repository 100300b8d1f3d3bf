"""The option `--person`: whose taps and map a session keeps."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_person_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--person`."""
    parser.add_argument(
        "--person",
        metavar="NAME_OR_FILE",
        help="take this person's taps at /calibrate and show their map; the file is in your "
        "configuration folder, or where you say (docs/calibration.md)",
    )


def chosen_person_file(args: argparse.Namespace) -> Path | None:
    """Return the file of `--person`; None without the option.

    Raises:
        UserError: it is no name of a person.
    """
    from realtime_mer.live.person import person_file

    return None if args.person is None else person_file(args.person)
