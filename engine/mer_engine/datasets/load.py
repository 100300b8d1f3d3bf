"""Load a collection by its kind and folder."""

from __future__ import annotations

from pathlib import Path

from mer_engine.datasets.csv_folder import load_own_data
from mer_engine.datasets.deam import load_deam_collection
from mer_engine.datasets.pmemo import load_pmemo
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection
from mer_engine.datasets.vgmidi import load_vgmidi


def load_collection(source: str | Path) -> Collection:
    """Read a collection's tables and list its audio.

    Args:
        source: "deam=DIR", "pmemo=DIR", "vgmidi=DIR" or "csv=DIR"; a plain folder is DEAM, or holds
            it.

    Raises:
        DataError: the folder or a table cannot be used, or no song of it can.
    """
    kind, folder = parse_source(source)
    load = {
        "deam": load_deam_collection,
        "pmemo": load_pmemo,
        "vgmidi": load_vgmidi,
        "csv": load_own_data,
    }[kind]
    collection = load(folder)
    if not collection.clips:
        told = "; ".join(collection.left_out[:3])
        raise DataError(
            f"no song in {collection.root} can be used"
            + (f": {collection.summary} ({told})" if told else "")
        )
    return collection


def parse_source(source: str | Path) -> tuple[str, Path]:
    """Split "KIND=DIR" into the kind of data and the folder; a plain folder is DEAM.

    Raises:
        DataError: the kind is unknown, or there is no folder.
    """
    text = str(source)
    kind, sign, folder = text.partition("=")
    if not sign or Path(text).exists() or not kind.isalnum():
        return "deam", Path(text)
    if kind not in KINDS:
        raise DataError(
            f"there is no kind of data {kind!r}; give one of {', '.join(f'{k}=DIR' for k in KINDS)}"
        )
    if not folder:
        raise DataError(f"{text!r} names no folder; give {kind}=DIR")
    return kind, Path(folder)


KINDS = ("deam", "pmemo", "vgmidi", "csv")
