"""A linear probe of the tagger: how well its embeddings predict emotion, and how the level matters.

    .venv/bin/pip install -e '.[train]'
    .venv/bin/pip download musicnn --no-deps
    .venv/bin/python benchmarks/studies/tagger_probe.py --data DIR --teacher WHEEL

The probe is ridge regression on the running mean of MusiCNN's embeddings (three seconds each, once
per second). It is fitted on the training and validation songs; five folds by artist choose the
ridge. Needs torch, and the published weights of the tagger in the package musicnn.
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
from mer_engine.datasets.types import (
    CLIP_STEPS,
    DIMENSIONS,
    FIRST_SCORED_STEP,
    STEP_S,
    Clip,
    Collection,
)
from mer_engine.frontend import FrontEndConfig
from mer_engine.training.examples import Labels, read_labels
from mer_engine.training.folds import FOLDS, group_folds
from mer_engine.training.predict import score_values
from mer_engine.training.teacher import (
    EMBEDDING_SIZE,
    HOP,
    PATCH_FRAMES,
    Teacher,
    read_teacher,
    tagger_features,
)
from numpy.typing import NDArray
from study import of_2013, run_study, show_progress, study_parser

from realtime_mer.evaluation.predictions import Progress, clips_of

# Steps after which the embedding of the last three seconds is computed: every second one.
EMBEDDED_STEPS = tuple(range(6, CLIP_STEPS + 1, 2))
RIDGES = (1e1, 1e2, 1e3, 1e4, 1e5)
_NORMALISED_RMS = 0.1
_RATE_HZ = FrontEndConfig().sample_rate_hz

Array = NDArray[np.float64]
# Running means of the embeddings, float64 [n, 20, 200]; NaN before three seconds.
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
    """Fit probes on training and validation songs, and measure them.

    Args:
        teacher: the tagger.
        collection: labelled songs.
        split: split to measure; the rows about one campaign measure the training songs instead.
        songs: maximum number of songs of each split.
        seed: seed of the folds in which the ridge is chosen.
        progress: called with the number of clips done and the total.

    Returns:
        `songs`; `fitted_on`; `rows`, each with `name`, `what` and `ridges` and, by dimension, `r2`,
        `rmse`, `ccc`, `r`.

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

    def embed(chosen: Sequence[Clip], change: Callable[[Array], Array]) -> MeanEmbeddings:
        nonlocal done
        rows = []
        for clip in chosen:
            samples = read_clip(clip, _RATE_HZ).astype(np.float64)
            rows.append(mean_embeddings(teacher, change(samples)))
            done += 1
            if progress is not None:
                progress(done, total)
        return np.stack(rows)

    labels = read_labels(collection, tuple(fit_clips))
    test_labels = read_labels(collection, tuple(clips))
    own, normalised = embed(fit_clips, _softer(0)), embed(fit_clips, _normalised)
    own_probe, normalised_probe = Probe(own, labels, seed), Probe(normalised, labels, seed)
    test_own, test_normalised = embed(clips, _softer(0)), embed(clips, _normalised)
    softer = "the same probe, tested on softer clips"
    rows = [
        _row(name, what, [probe], probe(embeddings), test_labels)
        for name, what, probe, embeddings in (
            ("own level", "trained and tested at the clips' own levels", own_probe, test_own),
            ("own level, 6 dB softer", softer, own_probe, embed(clips, _softer(6))),
            ("own level, 12 dB softer", softer, own_probe, embed(clips, _softer(12))),
            (
                "normalised level",
                "every clip normalised to the same RMS level",
                normalised_probe,
                test_normalised,
            ),
        )
    ]
    if collection.name == "deam":
        levels = {"own level": (own, test_own), "normalised level": (normalised, test_normalised)}
        rows += _known_campaign_rows(levels, labels, test_labels, seed)
        rows += _other_campaign_rows(levels, labels, seed)
    return {
        "songs": len(clips),
        "fitted_on": {"splits": fitted, "clips": len(fit_clips)},
        "rows": rows,
    }


def _known_campaign_rows(
    levels: dict[str, tuple[MeanEmbeddings, MeanEmbeddings]],
    labels: Labels,
    test_labels: Labels,
    seed: int,
) -> list[dict[str, Any]]:
    """Measure one probe per campaign, each on its own test songs."""
    first, test_first = of_2013(labels.songs), of_2013(test_labels.songs)
    if first.all() or not first.any():
        return []
    rows = []
    for level, (embeddings, test_embeddings) in levels.items():
        probes = [
            Probe(embeddings[mask], labels.select(np.flatnonzero(mask)), seed)
            for mask in (first, ~first)
        ]
        by_campaign = [probe(test_embeddings) for probe in probes]
        values = np.where(test_first[:, None, None], *by_campaign)
        what = "one probe per campaign, for its own songs"
        rows.append(_row(f"campaign known, {level}", what, probes, values, test_labels))
    return rows


def _other_campaign_rows(
    levels: dict[str, tuple[MeanEmbeddings, MeanEmbeddings]], labels: Labels, seed: int
) -> list[dict[str, Any]]:
    """Measure probes on the songs of campaigns that they were not trained on."""
    first = of_2013(labels.songs)
    rows = []
    for name, what, tested in (
        ("songs of 2013", "trained on the later songs, no shared artists", first),
        ("songs of 2014 and 2015", "trained on the songs of 2013, no shared artists", ~first),
    ):
        training = labels.outside_groups_of(tested)
        if not training.any() or not tested.any():
            continue
        of_training = labels.select(np.flatnonzero(training))
        of_tested = labels.select(np.flatnonzero(tested))
        for level, (embeddings, _) in levels.items():
            probe = Probe(embeddings[training], of_training, seed)
            rows.append(
                _row(f"{name}, {level}", what, [probe], probe(embeddings[tested]), of_tested)
            )
    return rows


class Probe:
    """Ridge regression from mean embeddings to valence and arousal.

    Args:
        embeddings: float64 [n, 20, 200].
        labels: labels of the same clips.
        seed: seed of the folds by artist in which the ridge is chosen.

    Attributes:
        ridge: the chosen ridge, one of `RIDGES`.
    """

    def __init__(self, embeddings: MeanEmbeddings, labels: Labels, seed: int) -> None:
        folds = group_folds(labels.groups, FOLDS, seed)
        errors = []
        for ridge in RIDGES:
            values = np.zeros((*embeddings.shape[:2], len(DIMENSIONS)))
            for fold in range(int(folds.max()) + 1):
                held_out = folds == fold
                weights = _fit(embeddings[~held_out], labels.values[~held_out], ridge)
                values[held_out] = _predict(weights, embeddings[held_out])
            scored = (values - labels.values)[:, FIRST_SCORED_STEP - 1 :]
            errors.append(np.nanmean(scored**2))
        self.ridge = RIDGES[int(np.argmin(errors))]
        self._weights = _fit(embeddings, labels.values, self.ridge)

    def __call__(self, embeddings: MeanEmbeddings) -> Array:
        """Predict values [n, 20, 2]."""
        return _predict(self._weights, embeddings)


@torch.inference_mode()
def mean_embeddings(teacher: Teacher, samples: Array) -> Array:
    """Compute the running mean of the embeddings of three seconds of audio, once per second.

    Args:
        teacher: the tagger.
        samples: float [n], 16 kHz.

    Returns:
        float64 [20, 200] at the end of each half second; NaN before three seconds. Causal: no
        embedding uses audio after its step.
    """
    frames = tagger_features(samples.astype(np.float32))
    half = FrontEndConfig().fft_size // 2
    ends = [int((step * STEP_S * _RATE_HZ - half) // HOP) + 1 for step in EMBEDDED_STEPS]
    complete = [end for end in ends if end <= len(frames)]
    result = np.full((CLIP_STEPS, EMBEDDING_SIZE), np.nan)
    if not complete:
        return result
    patches = np.stack([frames[end - PATCH_FRAMES : end] for end in complete])
    embeddings = teacher(torch.from_numpy(patches))[0].numpy().astype(np.float64)
    means = np.cumsum(embeddings, axis=0) / np.arange(1, len(complete) + 1)[:, None]
    for step, mean in zip(EMBEDDED_STEPS, means, strict=False):
        result[step - 1 :] = mean
    return result


def _softer(by_db: float) -> Callable[[Array], Array]:
    return lambda samples: samples * 10 ** (-by_db / 20)


def _normalised(samples: Array) -> Array:
    return samples * (_NORMALISED_RMS / max(float(np.sqrt(np.mean(samples**2))), 1e-6))


def _fit(
    embeddings: MeanEmbeddings, values: NDArray[np.float32], ridge: float
) -> tuple[Array, Array, Array, Array]:
    """Return mean and scale of the inputs, weights, and mean of the labels."""
    x = embeddings[:, FIRST_SCORED_STEP - 1 :].reshape(-1, embeddings.shape[2])
    y = values[:, FIRST_SCORED_STEP - 1 :].reshape(-1, len(DIMENSIONS)).astype(np.float64)
    known = np.isfinite(x).all(1) & np.isfinite(y).all(1)
    x, y = x[known], y[known]
    mean, scale, centre = x.mean(0), x.std(0) + 1e-6, y.mean(0)
    z = (x - mean) / scale
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (y - centre))
    return mean, scale, weights, centre


def _predict(fitted: tuple[Array, Array, Array, Array], embeddings: MeanEmbeddings) -> Array:
    mean, scale, weights, centre = fitted
    return np.asarray(((embeddings - mean) / scale) @ weights + centre)


def _row(
    name: str, what: str, probes: Sequence[Probe], values: Array, labels: Labels
) -> dict[str, Any]:
    valence, arousal = score_values(np.nan_to_num(values), labels.values)
    return {
        "name": name,
        "what": what,
        "ridges": [probe.ridge for probe in probes],
        "arousal": arousal.to_dict(),
        "valence": valence.to_dict(),
    }


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    torch.set_flush_denormal(True)  # the tagger has dead weights of about 1e-30
    result = measure_probe(
        Teacher(read_teacher(args.teacher)),
        collection,
        args.split,
        songs=args.songs,
        seed=args.seed,
        progress=show_progress,
    )
    for row in result["rows"]:
        print(f"{row['name']:<42}{row['arousal']['r2']:8.3f}{row['valence']['r2']:8.3f}")
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("tagger_probe", __doc__ or "", split="test")
    parser.add_argument(
        "--teacher", type=Path, required=True, metavar="PATH",
        help="the wheel of the package musicnn, or its unpacked folder",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    return run_study(args, _measure)


if __name__ == "__main__":
    raise SystemExit(main())
