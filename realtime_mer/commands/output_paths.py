"""Where the tables and plots of `analyze` go."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from realtime_mer.audio.local_path import is_file, is_folder, local_path
from realtime_mer.commands.music_files import MusicFile
from realtime_mer.errors import UserError
from realtime_mer.outputs.table import FORMAT_OF_SUFFIX

# Suffixes of names that promise no other format.
_NEUTRAL = ("", ".txt")


def names_folder(text: str, *, several: bool) -> bool:
    """Return whether a path given for outputs is a folder.

    Raises:
        UserError: it is the name of one file, but several inputs need one each.
    """
    path = local_path(text)
    if text.endswith(("/", os.sep)) or is_folder(path):
        return True
    if several and (is_file(path) or re.fullmatch(r"\.\w+", path.suffix)):
        raise UserError(
            f"{path} is the name of one file, but several inputs need one each; name a folder "
            f"instead, for example {path.with_suffix('')}/"
        )
    return several


def row_format(text: str | None, chosen: str | None, *, several: bool) -> str:
    """Return the format of tables: the chosen one, or that of the suffix of the path.

    Raises:
        UserError: the suffix of the path promises another format.
    """
    if text is None or names_folder(text, several=several):
        return chosen or "csv"
    suffix = local_path(text).suffix.lower()
    promised = FORMAT_OF_SUFFIX.get(suffix)
    if promised is None and suffix not in _NEUTRAL:
        raise UserError(
            f"{text} ends in {suffix}, which is no format of tables; end it in "
            ".csv, or in .jsonl or .ndjson for one JSON object per line"
        )
    if promised is not None and chosen is not None and promised != chosen:
        raise UserError(f"{text} ends in {suffix}, but --format is {chosen}; change one of them")
    return promised or chosen or "csv"


def output_paths(
    files: Sequence[MusicFile], text: str | None, suffix: str, *, several: bool
) -> list[Path | None]:
    """Return the path of each file's output, with None where there is none.

    A folder of outputs repeats the folders inside a given folder. It is created.

    Args:
        files: the inputs.
        text: the path given for outputs; None for no outputs.
        suffix: `.csv`, `.jsonl` or `.png`.
        several: there are several inputs, or one that was found in a folder.

    Raises:
        UserError: the path is not suitable, or the folder cannot be created.
    """
    if text is None:
        return [None] * len(files)
    output = local_path(text)
    if not names_folder(text, several=several):
        return [output]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {output} cannot be created ({error.strerror})") from error
    if not os.access(output, os.W_OK | os.X_OK):  # before all files are analysed in vain
        raise UserError(f"the folder {output} cannot be written; check its permissions")
    taken: set[str] = set()
    return [None if f.error else _free_path(output / f.place, suffix, taken) for f in files]


def _free_path(place: Path, suffix: str, taken: set[str]) -> Path:
    """Return a path that no file before has: song.csv, then song.mp3.csv, then song.mp3-2.csv."""
    numbered = (f"{place.name}-{number}{suffix}" for number in itertools.count(2))
    for name in itertools.chain((f"{place.stem}{suffix}", f"{place.name}{suffix}"), numbered):
        path = place.parent / name
        if str(path).casefold() not in taken:  # macOS and Windows ignore case
            taken.add(str(path).casefold())
            return path
    raise AssertionError("there is always another number")


def refuse_overwriting(outputs: Iterable[Path], inputs: Iterable[str]) -> None:
    """Check that no output is one of the inputs.

    Raises:
        UserError: writing an output would destroy an input.
    """
    identities = {_identity(name) for name in inputs} - {None}
    for path in outputs:
        if _identity(path) in identities:
            raise UserError(f"{path} is an input file; writing there would destroy it")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return the identity of an existing file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of names that are no paths, too
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
