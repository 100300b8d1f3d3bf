"""The 260 features that the data sets themselves ship, computed with openSMILE.

    DEAM   a folder with <song>.csv: frameTime and 260 columns, separated by semicolons
    PMEmo  one file: musicId, frameTime and 260 columns, separated by commas

Presumed: that a row belongs to the label of the same time, which both data sets' tables suggest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import STEP_S, Collection
from numpy.typing import NDArray

from mer_research.paper.step_table import Progress, SongSteps, StepTable, forward_fill, make_table

_LOW_LEVEL = (
    "F0final", "voicingFinalUnclipped", "jitterLocal", "jitterDDP", "shimmerLocal", "logHNR",
    "audspec_lengthL1norm", "audspecRasta_lengthL1norm", "pcm_RMSenergy", "pcm_zcr",
    *(f"audSpec_Rfilt[{band}]" for band in range(26)),
    "pcm_fftMag_fband250-650", "pcm_fftMag_fband1000-4000",
    *(f"pcm_fftMag_spectralRollOff{share}" for share in ("25.0", "50.0", "75.0", "90.0")),
    *(
        f"pcm_fftMag_{name}"
        for name in (
            "spectralFlux", "spectralCentroid", "spectralEntropy", "spectralVariance",
            "spectralSkewness", "spectralKurtosis", "spectralSlope", "psySharpness",
            "spectralHarmonicity",
        )
    ),
    *(f"pcm_fftMag_mfcc[{number}]" for number in range(1, 15)),
)  # fmt: skip
TIME, SONG = "frametime", "musicid"
_SHOWN = 3
_SAME_MOMENT_S = STEP_S / 4


def _column(name: str, part: str, functional: str) -> str:
    """openSMILE's name: the smoothing stands before the number in brackets."""
    stem, bracket, number = name.partition("[")
    return f"{stem}_{part}{bracket}{number}_{functional}"


COLUMNS = tuple(
    _column(name, part, functional)
    for part in ("sma", "sma_de")
    for name in _LOW_LEVEL
    for functional in ("stddev", "amean")
)


def read_published(
    collection: Collection, path: Path, progress: Progress | None = None
) -> tuple[StepTable, list[str]]:
    """Read the features of a collection's songs.

    Args:
        collection: songs with labels.
        path: a folder with a file a song, or one file for all.
        progress: called with the number of songs done and of all.

    Returns:
        The table, and a sentence for each song that is left out.

    Raises:
        DataError: there is no such file, or one of them has other columns.
    """
    if not path.exists():
        raise DataError(
            f"{path} does not exist; it should be the data set's features: a folder with a CSV a "
            "song (DEAM) or one CSV (PMEmo)"
        )
    whole = None if path.is_dir() else _split_by_song(path)
    names = sorted({clip.song for clip in collection.clips}, key=lambda n: (len(n), n))
    songs, left_out = [], []
    for number, name in enumerate(names, start=1):
        if whole is not None:
            table = whole.get(name)
        else:
            file = path / f"{name}.csv"
            table = _read(file, ()) if file.is_file() else None
        if table is None:
            left_out.append(f"song {name}: no features in {path}")
        else:
            songs.append(_steps(collection, name, *table))
        if progress is not None:
            progress(number, len(names))
    return make_table(collection, COLUMNS, songs), left_out


def _steps(
    collection: Collection, song: str, times_s: NDArray[np.float64], rows: NDArray[np.float32]
) -> SongSteps:
    """The rows from the first label to the last."""
    curves = [curve for curve in collection.curves[song] if len(curve)]
    first = max(curve.times_s[0] for curve in curves)
    last = min(curve.times_s[-1] for curve in curves)
    moments = first + STEP_S * np.arange(round((last - first) / STEP_S) + 1)
    near = np.abs(times_s[None, :] - moments[:, None])
    found = near.min(axis=1, initial=np.inf) < _SAME_MOMENT_S
    features = np.full((len(moments), rows.shape[1]), np.nan, np.float32)
    if len(times_s):
        features[found] = rows[near.argmin(axis=1)[found]]
    labels = np.stack([curve.at(moments) for curve in collection.curves[song]], axis=1)
    return SongSteps(song, forward_fill(features), forward_fill(labels.astype(np.float32)))


def _split_by_song(path: Path) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
    times, rows, songs = _read_columns(path, (SONG,))
    return {
        str(int(song)): (times[songs == song], rows[songs == song])
        for song in np.unique(songs[np.isfinite(songs)])
    }


def _read(path: Path, keys: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    times, rows, _ = _read_columns(path, keys)
    return times, rows


def _read_columns(path: Path, keys: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Times [n], features [n, 260] in the order of `COLUMNS`, and the first key [n]."""
    import pandas

    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(";,\t", key=header.count)
        table = pandas.read_csv(path, sep=separator, encoding="utf-8-sig")
    except (OSError, UnicodeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table of features ({error})") from error
    table.columns = [_plain_name(str(column)) for column in table.columns]
    wanted = [*keys, TIME, *(_plain_name(column) for column in COLUMNS)]
    missing = [column for column in wanted if column not in table.columns]
    unknown = [column for column in table.columns if column not in wanted]
    if missing or unknown:
        told = []
        if missing:
            told.append(f"has no column {_list(missing)}")
        if unknown:
            told.append(f"has a column that is not known: {_list(unknown)}")
        raise DataError(
            f"{path} {' and '.join(told)}; it should hold {', '.join((*keys, TIME))} and the "
            f"{len(COLUMNS)} features that DEAM and PMEmo ship"
        )
    try:
        values = table[wanted].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path} holds something that is not a number ({error})") from error
    values[~np.isfinite(values)] = np.nan
    head = len(keys)
    return values[:, head], values[:, head + 1 :].astype(np.float32), values[:, 0]


def _plain_name(column: str) -> str:
    """Small letters; the cepstral coefficients are named in two ways."""
    return column.strip().lower().replace("pcm_fftmag_mfcc", "mfcc")


def _list(columns: list[str]) -> str:
    more = len(columns) - _SHOWN
    return ", ".join(columns[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
