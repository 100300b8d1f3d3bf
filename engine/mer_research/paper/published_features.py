"""Reader of the 260 openSMILE features that the data sets ship.

    DEAM   a folder with <song>.csv: frameTime and 260 columns, separated by semicolons
    PMEmo  one file: musicId, frameTime and 260 columns, separated by commas

Assumption: a row belongs to the label of the same time. The tables of both data sets suggest it.
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
_MAX_LISTED = 3
_TIME_TOLERANCE_S = STEP_S / 4


def _column(name: str, part: str, functional: str) -> str:
    """Return openSMILE's name of a feature, with the smoothing before the number in brackets."""
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
    """Read the features of the songs of a collection.

    Args:
        collection: songs with labels.
        path: a folder with one file per song, or one file for all songs.
        progress: called with the number of songs done and the total.

    Returns:
        The table, and a sentence for each song that is left out.

    Raises:
        DataError: the file does not exist, or a file has unexpected columns.
    """
    if not path.exists():
        raise DataError(
            f"{path} does not exist; it should be the data set's features: a folder with one CSV "
            "per song (DEAM) or one CSV (PMEmo)"
        )
    by_song = None if path.is_dir() else _split_by_song(path)
    names = sorted({clip.song for clip in collection.clips}, key=lambda n: (len(n), n))
    songs, left_out = [], []
    for number, name in enumerate(names, start=1):
        if by_song is not None:
            table = by_song.get(name)
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
    """Return the half seconds from the first label to the last."""
    curves = [curve for curve in collection.curves[song] if len(curve)]
    first = max(curve.times_s[0] for curve in curves)
    last = min(curve.times_s[-1] for curve in curves)
    label_times_s = first + STEP_S * np.arange(round((last - first) / STEP_S) + 1)
    distance = np.abs(times_s[None, :] - label_times_s[:, None])
    found = distance.min(axis=1, initial=np.inf) < _TIME_TOLERANCE_S
    features = np.full((len(label_times_s), rows.shape[1]), np.nan, np.float32)
    if len(times_s):
        features[found] = rows[distance.argmin(axis=1)[found]]
    labels = np.stack([curve.at(label_times_s) for curve in collection.curves[song]], axis=1)
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
    """Return times [n], features [n, 260] in the order of `COLUMNS`, and the first key [n]."""
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
        problems = []
        if missing:
            problems.append(f"has no column {_list(missing)}")
        if unknown:
            problems.append(f"has an unknown column: {_list(unknown)}")
        raise DataError(
            f"{path} {' and '.join(problems)}; it should hold {', '.join((*keys, TIME))} and the "
            f"{len(COLUMNS)} features that DEAM and PMEmo ship"
        )
    try:
        values = table[wanted].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path} contains a value that is not a number ({error})") from error
    values[~np.isfinite(values)] = np.nan
    head = len(keys)
    return values[:, head], values[:, head + 1 :].astype(np.float32), values[:, 0]


def _plain_name(column: str) -> str:
    """Return a column name in lower case, with one spelling of the cepstral coefficients."""
    return column.strip().lower().replace("pcm_fftmag_mfcc", "mfcc")


def _list(columns: list[str]) -> str:
    more = len(columns) - _MAX_LISTED
    return ", ".join(columns[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
