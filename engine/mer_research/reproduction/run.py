"""A run of the command: from a data folder to the files of each experiment."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import STEP_S, Collection
from mer_engine.draft import draft_of
from mer_engine.strict_json import to_json

from mer_research.paper.published_features import read_published
from mer_research.paper.step_table import StepTable, describe_collection
from mer_research.paper.store import Store
from mer_research.reproduction.effort import FULL, QUICK, QUICK_SONGS
from mer_research.reproduction.experiments import EXPERIMENTS, Experiments
from mer_research.reproduction.figures import draw
from mer_research.reproduction.report import csv_text, markdown
from mer_research.reproduction.runner import Runner, progress_bar

FROM_AUDIO = "computed from the audio"
FROM_TABLES = "the data set's own (openSMILE)"


@dataclass(frozen=True)
class Settings:
    """Settings of the command.

    Attributes:
        names: names from `EXPERIMENTS`, in the order to run.
        data: "deam=DIR", "pmemo=DIR", "csv=DIR", or a folder with DEAM.
        features: the features that the data set ships; None to compute them.
        out: folder for the results.
        cache: folder for descriptors and task results.
        quick: small budgets on few songs.
        seed: random seed.
        lag: lag order; None to derive it from the data.
        workers: number of processes.
        machine: description of the machine, for the results.
    """

    names: Sequence[str]
    data: str
    features: Path | None
    out: Path
    cache: Path
    quick: bool
    seed: int
    lag: int | None
    workers: int
    machine: Mapping[str, object]


def reproduce(settings: Settings, log: Callable[[str], None]) -> None:
    """Run experiments; print their tables and write their files.

    Raises:
        DataError: the data cannot be used, or a folder cannot be written.
    """
    for folder in (settings.out, settings.cache):
        _make_folder(folder)
    table = _read(settings, log)
    effort = QUICK if settings.quick else FULL
    path = settings.cache / f"steps-{table.fingerprint}.npz"
    if not path.is_file():
        table.save(path)
    log(
        f"{len(table.songs)} songs, {int(table.offsets[-1])} half seconds, the longest song "
        f"{table.longest * STEP_S:g} s"
    )
    runner = Runner(table, path, Store(settings.cache / "units"), settings.workers)
    try:
        experiments = Experiments(runner, effort, settings.seed, settings.lag)
        for name in settings.names:
            begin, spent = time.monotonic(), runner.seconds
            result = EXPERIMENTS[name](experiments)
            provenance = _provenance(settings, table)
            provenance["budgets"] = asdict(effort)
            provenance["compute_s"] = round(runner.seconds - spent, 1)
            _write({**result, **provenance}, settings.out, log)
            print(markdown(result), end="\n\n", flush=True)
            log(f"{name}: {time.monotonic() - begin:.0f} s")
    finally:
        runner.close()


def _read(settings: Settings, log: Callable[[str], None]) -> StepTable:
    collection = load_collection(settings.data)
    if collection.labelled != "curve":
        raise DataError(
            f"{settings.data} has no labels over time, which the experiments need; give deam=DIR, "
            "pmemo=DIR, vgmidi=DIR or csv=DIR"
        )
    for sentence in (*collection.remarks, collection.summary):
        if sentence:
            log(sentence)
    if settings.quick:
        collection = _fewer(collection)
    songs = len({clip.song for clip in collection.clips})
    title = "descriptors" if settings.features is None else "features"
    with progress_bar(title, songs) as update:

        def progress(done: int, total: int) -> None:
            # A bar on a terminal; otherwise a line for every tenth of the songs.
            tenth = done == total or done % max(1, total // 10) == 0
            update(done, "songs" if tenth else "")

        if settings.features is None:
            cache = settings.cache / "descriptors"
            table, left_out = describe_collection(collection, cache, progress)
        else:
            table, left_out = read_published(collection, settings.features, progress)
    for sentence in left_out:
        log(f"left out: {sentence}")
    return table


def _fewer(collection: Collection) -> Collection:
    """Return a collection with evenly spaced songs of each split."""
    usable = {clip.song for clip in collection.clips}
    step = -(-len(usable) // QUICK_SONGS)
    kept = {
        song
        for ids in collection.splits.values()
        for song in [name for name in ids if name in usable][::step]
    }
    return replace(collection, clips=tuple(c for c in collection.clips if c.song in kept))


def _provenance(settings: Settings, table: StepTable) -> dict[str, Any]:
    return {
        "data": {
            "name": table.name,
            "songs": len(table.songs),
            "splits": {name: len(ids) for name, ids in table.splits.items()},
            "half_seconds": int(table.offsets[-1]),
            "longest_s": table.longest * STEP_S,
            "features": FROM_AUDIO if settings.features is None else FROM_TABLES,
            "label_range": table.label_range,
            "fingerprint": table.fingerprint,
        },
        "seed": settings.seed,
        "quick": settings.quick,
        "workers": settings.workers,
        "machine": {
            **settings.machine,
            "torch": metadata.version("torch"),
            "scikit-learn": metadata.version("scikit-learn"),
        },
    }


def _write(result: dict[str, Any], folder: Path, log: Callable[[str], None]) -> None:
    name = result["experiment"].replace("-", "_")
    try:
        for suffix, text in (
            ("json", to_json(result, indent=1) + "\n"),
            ("csv", csv_text(result)),
            ("md", markdown(result) + "\n"),
        ):
            with draft_of(folder / f"{name}.{suffix}") as draft:
                draft.write_text(text, encoding="utf-8")
        figures = draw(result, folder)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be written ({error.strerror})") from error
    written = [f"{name}.json, .csv, .md", *(path.name for path in figures)]
    log(f"wrote {', '.join(written)} to {folder}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be created ({error.strerror}); give another"
        ) from error


def log_with_time(sentence: str) -> None:
    """Print a sentence with the time of day on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)
