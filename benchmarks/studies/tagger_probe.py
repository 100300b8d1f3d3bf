"""What a plain probe of the tagger tells of emotion, and what it rests on: the level of the clips.

pip install '.[train]'; pip download musicnn --no-deps
python benchmarks/studies/tagger_probe.py --data DIR --teacher WHEEL

Fitted on the training and validation songs: the mean of MusiCNN's embeddings (three seconds each,
once a second) and ridge regression, whose strength is chosen in five parts by artist.

The mean of the tagger's embeddings so far and ridge regression, nothing else. Needs torch, and the
tagger's published weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mer_engine import Engine
from mer_engine.datasets.audio import read_clip
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, STEP_S, Clip, Collection
from mer_engine.frontend import FrontEndConfig
from mer_engine.training.cross_fit import FOLDS, fold_of
from mer_engine.training.examples import STEPS, Labels, read_labels
from mer_engine.training.fit import FIRST_SCORED, score_values
from mer_engine.training.teacher import (
    EMBEDDING_SIZE,
    HOP,
    PATCH_FRAMES,
    Teacher,
    tagger_features,
)
from mer_engine.training.train import read_teacher
from numpy.typing import NDArray
from study import run_study, show_progress, study_parser

from realtime_mer.evaluation.campaigns import of_2013
from realtime_mer.evaluation.predictions import Progress, clips_of

# Steps of half a second at whose ends three seconds are described: every second one.
DESCRIBED = tuple(range(6, STEPS + 1, 2))
RIDGES = (1e1, 1e2, 1e3, 1e4, 1e5)
# Root mean square that a clip as a whole is brought to.
_ONE_LEVEL = 0.1

Array = NDArray[np.float64]
# Means of the embeddings so far, float64 [n, 20, 200]; NaN before three seconds.
MeanEmbeddings = NDArray[np.float64]


def measure_probe(
    teacher: Teacher,
    collection: Collection,
    split: str,
    *,
    songs: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fits probes on training and validation songs and measures them.

    Args:
        teacher: the tagger at rest.
        split: measured; the rows about one campaign's songs are of the fitted songs.
        songs: at most so many of each split.
        seed: of the parts in which the ridge is chosen.
        progress: called with the number of clips described and of all.

    Returns:
        `songs`; `rows`, each with `name` and `what` and, by dimension, `r2`, `rmse`, `ccc`, `r`.

    Raises:
        DataError: there is nothing to fit on or nothing to measure.
    """
    fitted = [name for name in ("train", "validation") if name != split]
    fit_clips = [clip for name in fitted for clip in clips_of(collection, name, songs)]
    clips = clips_of(collection, split, songs)
    if not fit_clips or not clips:
        raise DataError(f"{collection.root} has no songs to fit on, or none of the split {split}")
    total = 2 * len(fit_clips) + 4 * len(clips)
    done = 0

    def heard(some: Sequence[Clip], change: Callable[[Array], Array]) -> MeanEmbeddings:
        nonlocal done
        rows = []
        for clip in some:
            rows.append(describe(teacher, change(read_clip(clip, _RATE_HZ).astype(np.float64))))
            done += 1
            if progress is not None:
                progress(done, total)
        return np.stack(rows)

    known = read_labels(collection, tuple(fit_clips))
    truth = read_labels(collection, tuple(clips))
    own, one = heard(fit_clips, _softer(0)), heard(fit_clips, _at_one_level)
    at_own, at_one = Probe(own, known, seed), Probe(one, known, seed)
    asked_own, asked_one = heard(clips, _softer(0)), heard(clips, _at_one_level)
    rows = [
        _row(name, what, [probe], probe(asked), truth)
        for name, what, probe, asked in (
            ("own level", "fitted and told at the clips' own levels", at_own, asked_own),
            (
                "own level, 6 dB softer",
                "the same probe, told softer clips",
                at_own,
                heard(clips, _softer(6)),
            ),
            ("own level, 12 dB softer", "the same", at_own, heard(clips, _softer(12))),
            ("one level", "every clip brought to one level", at_one, asked_one),
        )
    ]
    if collection.name == "deam":
        levels = {"own level": (own, asked_own), "one level": (one, asked_one)}
        rows += _campaigns_known(levels, known, truth, seed)
        rows += _campaigns(levels, known, seed)
    return {
        "songs": len(clips),
        "fitted_on": {"splits": fitted, "clips": len(fit_clips)},
        "rows": rows,
    }


def _campaigns_known(
    levels: dict[str, tuple[MeanEmbeddings, MeanEmbeddings]],
    known: Labels,
    truth: Labels,
    seed: int,
) -> list[dict[str, Any]]:
    """What a probe for each campaign, asked about its own songs, tells."""
    first, asked_first = of_2013(known.songs), of_2013(truth.songs)
    if first.all() or not first.any():
        return []
    rows = []
    for level, (heard, asked) in levels.items():
        probes = [
            Probe(heard[some], known.select(np.flatnonzero(some)), seed) for some in (first, ~first)
        ]
        told = np.where(asked_first[:, None, None], probes[0](asked), probes[1](asked))
        what = "a probe for each campaign, asked about its own songs"
        rows.append(_row(f"campaign known, {level}", what, probes, told, truth))
    return rows


def _campaigns(
    levels: dict[str, tuple[MeanEmbeddings, MeanEmbeddings]], known: Labels, seed: int
) -> list[dict[str, Any]]:
    """What who knows the songs of some of DEAM's campaigns tells of the others'."""
    first = of_2013(known.songs)
    rows = []
    for name, what, out in (
        ("songs of 2013", "fitted to the later songs, none of them by the same artists", first),
        ("songs of 2014 and 2015", "fitted to the songs of 2013, likewise", ~first),
    ):
        strangers = known.strangers(out)
        if not strangers.any() or not out.any():
            continue
        for level, (heard, _) in levels.items():
            probe = Probe(heard[strangers], known.select(np.flatnonzero(strangers)), seed)
            told = known.select(np.flatnonzero(out))
            rows.append(_row(f"{name}, {level}", what, [probe], probe(heard[out]), told))
    return rows


class Probe:
    """Ridge regression from the mean embedding to valence and arousal.

    Args:
        heard: float64 [n, 20, 200].
        labels: of the same clips.
        seed: of the parts by artist in which the ridge is chosen.
    """

    def __init__(self, heard: MeanEmbeddings, labels: Labels, seed: int) -> None:
        parts = fold_of(labels.groups, FOLDS, seed)
        misses = []
        for ridge in RIDGES:
            told = np.zeros((*heard.shape[:2], len(DIMENSIONS)))
            for part in range(int(parts.max()) + 1):
                out = parts == part
                told[out] = _tell(_fit(heard[~out], labels.values[~out], ridge), heard[out])
            misses.append(np.nanmean((told - labels.values)[:, FIRST_SCORED - 1 :] ** 2))
        self.ridge = RIDGES[int(np.argmin(misses))]
        self._fitted = _fit(heard, labels.values, self.ridge)

    def __call__(self, heard: MeanEmbeddings) -> Array:
        """Values [n, 20, 2]."""
        return _tell(self._fitted, heard)


@torch.inference_mode()
def describe(teacher: Teacher, samples: Array) -> Array:
    """Mean of the embeddings of the three seconds before each moment, of those so far.

    Args:
        teacher: the tagger.
        samples: float [n], 16 kHz.

    Returns:
        float64 [20, 200] at the end of each half second; NaN before three seconds were heard. No
        patch reaches beyond its moment.
    """
    frames = tagger_features(samples.astype(np.float32))
    half = FrontEndConfig().fft_size // 2
    ends = [int((step * STEP_S * _RATE_HZ - half) // HOP) + 1 for step in DESCRIBED]
    whole = [end for end in ends if end <= len(frames)]
    result = np.full((STEPS, EMBEDDING_SIZE), np.nan)
    if not whole:
        return result
    patches = np.stack([frames[end - PATCH_FRAMES : end] for end in whole])
    embeddings = teacher(torch.from_numpy(patches))[0].numpy().astype(np.float64)
    means = np.cumsum(embeddings, axis=0) / np.arange(1, len(whole) + 1)[:, None]
    for step, mean in zip(DESCRIBED, means, strict=False):
        result[step - 1 :] = mean
    return result


_RATE_HZ = FrontEndConfig().sample_rate_hz


def _softer(by_db: float) -> Callable[[Array], Array]:
    return lambda samples: samples * 10 ** (-by_db / 20)


def _at_one_level(samples: Array) -> Array:
    return samples * (_ONE_LEVEL / max(float(np.sqrt(np.mean(samples**2))), 1e-6))


def _fit(
    heard: MeanEmbeddings, values: NDArray[np.float32], ridge: float
) -> tuple[Array, Array, Array, Array]:
    x = heard[:, FIRST_SCORED - 1 :].reshape(-1, heard.shape[2])
    y = values[:, FIRST_SCORED - 1 :].reshape(-1, len(DIMENSIONS)).astype(np.float64)
    known = np.isfinite(x).all(1) & np.isfinite(y).all(1)
    x, y = x[known], y[known]
    mean, scale, centre = x.mean(0), x.std(0) + 1e-6, y.mean(0)
    z = (x - mean) / scale
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (y - centre))
    return mean, scale, weights, centre


def _tell(fitted: tuple[Array, Array, Array, Array], heard: MeanEmbeddings) -> Array:
    mean, scale, weights, centre = fitted
    return np.asarray(((heard - mean) / scale) @ weights + centre)


def _row(
    name: str, what: str, probes: Sequence[Probe], told: Array, labels: Labels
) -> dict[str, Any]:
    valence, arousal = score_values(np.nan_to_num(told), labels.values)
    return {
        "name": name,
        "what": what,
        "ridges": [probe.ridge for probe in probes],
        "arousal": arousal.to_dict(),
        "valence": valence.to_dict(),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("tagger_probe", __doc__ or "", split="test")
    parser.add_argument(
        "--teacher", type=Path, required=True, metavar="PATH",
        help="the wheel of the package musicnn, or the folder it was unpacked into",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    return run_study(args, _measure)


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    torch.set_flush_denormal(True)  # the tagger's dead weights lie at 1e-30
    result = measure_probe(
        Teacher(read_teacher(args.teacher)),
        collection,
        args.split,
        songs=args.songs,
        seed=args.seed,
        progress=show_progress,
    )
    for row in result["rows"]:
        print(f"{row['name']:<28}{row['arousal']['r2']:8.3f}{row['valence']['r2']:8.3f}")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
