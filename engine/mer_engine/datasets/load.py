"""Load a collection, given its kind and folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mer_engine.datasets.csv_folder import load_csv_folder
from mer_engine.datasets.deam import load_deam
from mer_engine.datasets.emopia import load_emopia
from mer_engine.datasets.emotify import load_emotify
from mer_engine.datasets.fme24 import load_fme24
from mer_engine.datasets.four_quadrants import load_four_quadrants
from mer_engine.datasets.pmemo import load_pmemo
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection
from mer_engine.datasets.vgmidi import load_vgmidi

LOADERS: Mapping[str, Callable[[Path], Collection]] = {
    "deam": load_deam,
    "pmemo": load_pmemo,
    "vgmidi": load_vgmidi,
    "4q": load_four_quadrants,
    "fme24": load_fme24,
    "emopia": load_emopia,
    "emotify": load_emotify,
    "csv": load_csv_folder,
}


def load_collection(source: str | Path) -> Collection:
    """Read the tables of a collection and list its audio.

    Args:
        source: KIND=DIR, with a KIND of `LOADERS`. A plain folder is DEAM, or contains it.

    Raises:
        DataError: the folder or a table cannot be used, or no song in it can.
    """
    kind, folder = parse_source(source)
    collection = LOADERS[kind](folder)
    if not collection.clips:
        examples = "; ".join(collection.left_out[:3])
        raise DataError(
            f"no song in {collection.root} can be used"
            + (f": {collection.summary} ({examples})" if examples else "")
        )
    return collection


def parse_source(source: str | Path) -> tuple[str, Path]:
    """Split "KIND=DIR" into the kind of data and the folder. A plain folder is DEAM.

    Raises:
        DataError: the kind is unknown, or the folder is missing.
    """
    text = str(source)
    kind, sign, folder = text.partition("=")
    if not sign or Path(text).exists() or not kind.isalnum():
        return "deam", Path(text)
    if kind not in LOADERS:
        raise DataError(
            f"there is no kind of data {kind!r}; "
            f"give one of {', '.join(f'{name}=DIR' for name in LOADERS)}"
        )
    if not folder:
        raise DataError(f"{text!r} names no folder; give {kind}=DIR")
    return kind, Path(folder)
