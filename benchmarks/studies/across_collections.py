"""Models and a plain baseline on several collections of labelled music, side by side.

python benchmarks/studies/across_collections.py --model A.onnx --model B.onnx \\
    --data deam=DIR --data 4q=DIR --data fme24=DIR

All models are measured on the same songs: the test split of a collection that one of them was
trained on, where it has one, otherwise all songs. A model that was trained on all of them has the
figures of its training report instead: of heads that did not know a song's artist, and of heads
that did not know the collection. The baseline is ridge regression on the mean embedding of a song's
clips from the encoder of each model. It is fitted on four fifths of the measured songs and predicts
the fifth part; no artist is in two parts. Other parts of the fitted songs choose the ridge.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mer_engine import Engine, load_engine
from mer_engine.datasets.audio import read_clip
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.types import CLIP_STEPS, DIMENSIONS, Clip, Collection, song_parts
from mer_engine.engine import no_past, silent_maps
from mer_engine.frontend import features
from mer_engine.model_file import ModelInfo
from numpy.typing import NDArray
from study import exit_code, provenance, show_progress, study_parser, write_result

from realtime_mer.evaluation.predictions import clips_of
from realtime_mer.evaluation.report import Report, measure_accuracy, trained_on
from realtime_mer.evaluation.song_metrics import SongTable, quadrant_metrics, song_metrics

PARTS = 5
RIDGES = (1e0, 1e1, 1e2, 1e3, 1e4)

Array = NDArray[np.float64]


def measure_collection(
    engines: Sequence[Engine], collection: Collection, songs: int | None = None
) -> dict[str, Any]:
    """Measure models and their baselines on a collection.

    Args:
        engines: the models.
        collection: the songs, with the split "all".
        songs: maximum number of songs.

    Returns:
        `name`, `labelled`, `scale`, `split`, `songs`, `left_out`, and `rows`: for each model and
        baseline its `method`, `by_song`, `quadrants`, and for models also `coverage`, `mean_width`,
        `movement` and `model_was_trained_on_these_songs`, or `from_training_report`.

    Raises:
        DataError: no song can be measured.
    """
    split = _split(engines, collection)
    chosen = _limited(collection, split, songs)
    rows = []
    reports = []
    for engine, name in zip(engines, _names(engines), strict=True):
        report = measure_accuracy(
            engine, chosen, split, compare_widths=False, progress=show_progress
        )
        reports.append(report)
        reported = _reported_rows(name, engine.info, collection.name) if report.trained_on else []
        rows += reported or [_model_row(name, report)]
        baseline = ridge_baseline(engine, chosen, clips_of(chosen, split), report.song_table)
        if baseline is not None:
            rows.append({"method": f"ridge on the embedding of {name}", **_agreement(baseline)})
    first = reports[0]
    return {
        "name": first.name,
        "labelled": first.labelled,
        "scale": first.scale,
        "split": split,
        "songs": first.songs,
        "left_out": len(first.left_out),
        "rows": rows,
    }


def ridge_baseline(
    engine: Engine, collection: Collection, clips: Sequence[Clip], table: SongTable
) -> SongTable | None:
    """Predict each song by ridge regression that was fitted without its part of the songs.

    Args:
        engine: the model whose encoder is used.
        collection: the songs.
        clips: the clips of the songs.
        table: the songs with their labels or signs, which are the targets.

    Returns:
        The table with these predictions as values; None if there are fewer than `PARTS` groups.
    """
    of_song: dict[str, list[Array]] = {name: [] for name in table.songs}
    for clip in clips:
        if clip.song in of_song:
            of_song[clip.song].append(mean_embedding(engine, clip))
    inputs = np.stack([np.mean(of_song[name], axis=0) for name in table.songs])
    measured = replace(collection, clips=tuple(c for c in clips if c.song in of_song))
    by_name = song_parts(measured, PARTS)
    parts = np.array([by_name[name] for name in table.songs])
    if len(np.unique(parts)) < PARTS:
        return None
    known = np.isfinite(table.labels)
    signs = np.where(table.signs == 0, np.nan, table.signs)
    targets = np.where(known, table.labels, signs)
    values = np.full_like(table.values, np.nan)
    for part in range(PARTS):
        held_out = parts == part
        best = _best_ridge(inputs[~held_out], targets[~held_out], parts[~held_out])
        fitted = ridges(inputs[~held_out], targets[~held_out], inputs[held_out])
        values[held_out] = fitted[best]
    return replace(table, values=values)


def mean_embedding(engine: Engine, clip: Clip) -> Array:
    """Encode a clip, after silence, and average the embeddings of its steps: float64 [E].

    Raises:
        DataError: the audio cannot be read.
    """
    info = engine.info
    frames = features(read_clip(clip, info.frontend.sample_rate_hz), info.frontend)
    steps = min(CLIP_STEPS, info.lag_order_max, len(frames) // info.frames_per_step)
    frames = frames[None, : steps * info.frames_per_step]
    inference = engine.infer(frames, silent_maps(info), no_past(info))
    return np.asarray(inference.steps[0].mean(axis=0), np.float64)


def _split(engines: Sequence[Engine], collection: Collection) -> str:
    """Return "test" if a model was trained on other songs of the collection, else "all"."""
    if not any(trained_on(engine.info, collection, "train") for engine in engines):
        return "all"
    return "test" if collection.clips_of("test") else "all"


def _limited(collection: Collection, split: str, songs: int | None) -> Collection:
    """Keep only some of the usable songs of a split, evenly spaced."""
    if songs is None:
        return collection
    usable = {clip.song for clip in collection.clips}
    listed = [song for song in collection.splits[split] if song in usable]
    count = min(songs, len(listed))
    chosen = np.linspace(0, max(0, len(listed) - 1), count).round().astype(int)
    kept = tuple(listed[index] for index in chosen.tolist())
    return replace(collection, splits={**collection.splits, split: kept})


def _names(engines: Sequence[Engine]) -> list[str]:
    """Return the name of each model, with its hash where two have the same."""
    names = [engine.info.name for engine in engines]
    return [
        name if names.count(name) == 1 else f"{name} ({engine.info.sha256[:8]})"
        for name, engine in zip(names, engines, strict=True)
    ]


def _model_row(name: str, report: Report) -> dict[str, Any]:
    everything = report.to_dict()
    kept = ("by_song", "quadrants", "coverage", "mean_width", "movement")
    trained = {"model_was_trained_on_these_songs": report.trained_on}
    return {"method": name, **{key: everything[key] for key in kept}, **trained}


def _reported_rows(name: str, info: ModelInfo, collection: str) -> list[dict[str, Any]]:
    """Return the rows of a training report for songs that a head did not know."""
    validation = info.training.get("validation", {})
    rows = []
    for kind, method in (("known", name), ("unknown", f"{name}, unknown")):
        figures = validation.get(kind, {}).get(collection)
        if figures is None:
            continue
        found = {dimension: figures.get(dimension, {}) for dimension in DIMENSIONS}
        areas = figures.get("auc", {})
        rows.append(
            {
                "method": method,
                "by_song": {
                    dimension: {
                        "songs": figures["songs"],
                        **{key: one.get(key) for key in ("r2", "rmse", "ccc", "bias", "r")},
                        "auc": areas.get(dimension),
                    }
                    for dimension, one in found.items()
                    if one or dimension in areas
                },
                "quadrants": {
                    "songs": figures["songs"],
                    "share": figures["quadrants"],
                    "auc_valence_calm": areas["valence_calm"],
                    "auc_valence_excited": areas["valence_excited"],
                }
                if areas
                else None,
                "coverage": {dimension: one.get("coverage") for dimension, one in found.items()},
                "mean_width": {dimension: one.get("width") for dimension, one in found.items()},
                "from_training_report": kind,
            }
        )
    return rows


def _agreement(table: SongTable) -> dict[str, Any]:
    quadrants = quadrant_metrics(table)
    return {
        "by_song": {name: metrics.to_dict() for name, metrics in song_metrics(table).items()},
        "quadrants": None if quadrants is None else quadrants.to_dict(),
    }


def _best_ridge(inputs: Array, targets: Array, parts: NDArray[np.int64]) -> int:
    """Return the index of the ridge with the smallest error on parts it was not fitted on."""
    values = np.full((len(RIDGES), *targets.shape), np.nan)
    for part in np.unique(parts):
        held_out = parts == part
        values[:, held_out] = ridges(inputs[~held_out], targets[~held_out], inputs[held_out])
    return int(np.argmin(np.nanmean((values - targets) ** 2, axis=(1, 2))))


def ridges(inputs: Array, targets: Array, others: Array) -> Array:
    """Fit targets [n, 2] on standardised inputs [n, E]; predict others [m, E].

    Returns:
        Predictions of each ridge, float64 [ridges, m, 2].
    """
    values = np.full((len(RIDGES), len(others), targets.shape[1]), np.nan)
    for column in range(targets.shape[1]):
        known = np.isfinite(targets[:, column])
        if not known.any():
            continue
        x, y = inputs[known], targets[known, column]
        mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
        left, sizes, right = np.linalg.svd((x - mean) / scale, full_matrices=False)
        projected = (others - mean) / scale @ right.T
        for row, ridge in enumerate(RIDGES):
            weights = sizes / (sizes**2 + ridge) * (left.T @ (y - y.mean()))
            values[row, :, column] = projected @ weights + y.mean()
    return values


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("collections", __doc__ or "", split=None, models=True)
    parser.add_argument(
        "--data", action="append", required=True, metavar="KIND=DIR",
        help="labelled music, as for realtime-mer evaluate; repeatable",
    )  # fmt: skip
    args = parser.parse_args(arguments)

    def run() -> None:
        engines = [load_engine(path) for path in args.model or (None,)]
        collections = []
        for source in args.data:
            collection = load_collection(source).with_all()
            print(f"{source}: {len(collection.clips)} clips", file=sys.stderr)
            collections.append(measure_collection(engines, collection, args.songs))
        origins = [provenance(engine, args.seed) for engine in engines]
        names = ", ".join(f"{c['name']} ({c['split']})" for c in collections)
        result = {
            **origins[0],
            "models": [origin["model"] for origin in origins],
            "data": names,
            "collections": collections,
        }
        write_result(args.out, result)

    return exit_code(run)


if __name__ == "__main__":
    raise SystemExit(main())
