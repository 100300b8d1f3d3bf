"""Simpler methods on the same songs, with the same audio.

    .venv/bin/pip install -e '.[train]'
    .venv/bin/python benchmarks/studies/baselines.py --data DIR

Needs scikit-learn, which is part of the `train` extra.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import soxr
from mer_engine import Engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_STEPS, FIRST_SCORED_STEP, STEP_S, Clip, Collection
from mer_engine.install_hint import install_hint
from mer_research.paper.descriptors import (
    FUNCTIONALS,
    SAMPLE_RATE_HZ,
    compute_descriptors,
    cumulative_functionals,
)
from numpy.typing import NDArray
from study import run_study, show_progress, study_parser

from realtime_mer.core.types import Estimate, Latency, State
from realtime_mer.evaluation.metrics import pooled_metrics
from realtime_mer.evaluation.predictions import (
    ClipEstimator,
    Progress,
    clips_of,
    estimate_clip,
    predict_each,
)

# Half seconds used for training; neighbouring steps are nearly equal.
FITTED_STEPS = (10, 15, 20)
TREES = 200
# Selected greedily from the 260 functionals and their logarithms, by cross-validation on every
# second training song. Features with a description that begins with "log" are logarithms.
SIX = (
    ("sharpness_mean", "log mean sharpness"),
    ("loudness_delta_sd", "log SD of the loudness slope"),
    ("loudness_sd", "SD of loudness"),
    ("shimmer_mean", "log mean shimmer"),
    ("energy_1000_4000_mean", "log mean energy from 1 to 4 kHz"),
    ("voicing_delta_sd", "log SD of the voicing slope"),
)
METHODS = {
    "mean": "the mean label of the training songs",
    "six features": f"least squares on {'; '.join(text for _, text in SIX)}",
    "random forest": f"{TREES} trees on mean and SD of 65 low-level descriptors and their deltas, "
    "similar to openSMILE's ComParE set",
    "network": "this model",
}

# float [steps, 260] -> float [steps, 2]
Predictor = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def measure_baselines(
    engine: Engine,
    collection: Collection,
    split: str,
    *,
    songs: int | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit the methods on training and validation songs, and measure them on a split.

    Args:
        engine: the model.
        collection: labelled songs.
        split: split to measure; if it is "validation", the methods are fitted on "train" only.
        songs: maximum number of songs of each split.
        seed: seed of the forest.
        workers: threads to fit the forest.
        progress: called with the number of clips done and the total.

    Returns:
        `songs`; `fitted_on`; `rows`, for each of `METHODS` its `name` and `what` and, by dimension,
        `r2`, `rmse`, `ccc`, `r`; `left_out`.

    Raises:
        DataError: there is nothing to fit on or nothing to measure.
    """
    fitted = [name for name in ("train", "validation") if name != split]
    fit_clips = [clip for name in fitted for clip in clips_of(collection, name, songs)]
    clips = clips_of(collection, split, songs)
    total = len(fit_clips) + len(clips)

    def progress_after(before: int) -> Progress:
        return lambda done, _: progress(before + done, total) if progress is not None else None

    inputs, labels, left_out = _examples(collection, fit_clips, progress_after(0))
    methods = {
        "mean": fit_mean(labels),
        "six features": fit_six(inputs, labels),
        "random forest": fit_forest(inputs, labels, seed=seed, workers=workers),
    }
    features = _CachedFunctionals()
    estimators: dict[str, ClipEstimator] = {
        name: partial(_estimates, features=features, predict=predict)
        for name, predict in methods.items()
    }
    estimators["network"] = partial(estimate_clip, engine)
    predictions = predict_each(
        collection, clips, estimators, progress=progress_after(len(fit_clips))
    )
    rows = [
        {
            "name": name,
            "what": METHODS[name],
            **{
                dimension: {key: getattr(row, key) for key in ("r2", "rmse", "ccc", "r")}
                for dimension, row in pooled_metrics(predictions[name].scored()).items()
            },
        }
        for name in METHODS
    ]
    return {
        "songs": len(set(predictions["network"].songs)),
        "fitted_on": {"splits": fitted, "clips": len(fit_clips) - len(left_out)},
        "rows": rows,
        "left_out": [*left_out, *predictions["network"].left_out],
    }


def fit_mean(labels: NDArray[np.float64]) -> Predictor:
    """Return a predictor of the mean of labels [n, 2]."""
    mean = labels.mean(axis=0)
    return lambda inputs: np.tile(mean, (len(inputs), 1))


def fit_six(inputs: NDArray[np.float64], labels: NDArray[np.float64]) -> Predictor:
    """Fit least squares from `six_features` of inputs [n, 260] to labels [n, 2]."""
    weights, *_ = np.linalg.lstsq(_with_intercept(six_features(inputs)), labels, rcond=None)
    return lambda new: np.asarray(_with_intercept(six_features(new)) @ weights)


def fit_forest(
    inputs: NDArray[np.float64], labels: NDArray[np.float64], *, seed: int = 0, workers: int = 1
) -> Predictor:
    """Fit a random forest for each dimension, from inputs [n, 260] to labels [n, 2]."""
    from sklearn.ensemble import RandomForestRegressor

    forests = []
    for column in range(labels.shape[1]):
        forest = RandomForestRegressor(
            n_estimators=TREES,
            max_features=1 / 3,
            min_samples_leaf=5,
            random_state=seed,
            n_jobs=workers,
        )
        forest.fit(inputs, labels[:, column])
        forest.n_jobs = 1  # a clip is too small for several threads
        forests.append(forest)
    return lambda new: np.column_stack([forest.predict(new) for forest in forests])


def six_features(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Select the features of `SIX` from functionals [n, 260]; return float64 [n, 6]."""
    columns = []
    for name, text in SIX:
        column = inputs[:, FUNCTIONALS.index(name)]
        columns.append(np.log10(np.abs(column) + 1e-4) if text.startswith("log") else column)
    return np.column_stack(columns)


def functionals(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """Compute functionals from the start to the end of each half second.

    Args:
        samples: float32 [n, channels].
        rate_hz: sample rate.

    Returns:
        float64 [steps, 260].
    """
    mono = samples.mean(axis=1)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    return cumulative_functionals(compute_descriptors(mono)).astype(np.float64)


class _CachedFunctionals:
    """Caches the last result of `functionals`, since several methods use the same samples."""

    def __init__(self) -> None:
        self._samples: NDArray[np.float32] | None = None
        self._result: NDArray[np.float64] = np.empty((0, len(FUNCTIONALS)))

    def __call__(self, samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
        if samples is not self._samples:
            self._samples, self._result = samples, functionals(samples, rate_hz)
        return self._result


def _estimates(
    samples: NDArray[np.float32], rate_hz: int, *, features: _CachedFunctionals, predict: Predictor
) -> list[Estimate]:
    """Return the predictions of a method as estimates; their intervals have no width."""
    predictions = predict(features(samples, rate_hz))[:CLIP_STEPS].tolist()
    return [
        Estimate(
            seq=step, t=(step + 1) * STEP_S, utc="", valence=valence, arousal=arousal,
            valence_low=valence, valence_high=valence, arousal_low=arousal, arousal_high=arousal,
            mood="", state=State.SETTLING, level_db=0.0, latency=Latency(0.0, 0.0, 0.0, 0.0),
        )
        for step, (valence, arousal) in enumerate(predictions)
    ]  # fmt: skip


def _examples(
    collection: Collection, clips: Sequence[Clip], progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return inputs [n, 260] and labels [n, 2] to fit on, and a sentence for each unused clip."""
    inputs, labels, left_out = [], [], []
    for number, clip in enumerate(clips, start=1):
        progress(number, len(clips))
        try:
            table = functionals(*read_channels(clip))
        except DataError as error:
            left_out.append(f"song {clip.song}: {error}")
            continue
        truth = collection.labels(clip, CLIP_STEPS)
        steps = [s - 1 for s in FITTED_STEPS if s <= len(table) and np.isfinite(truth[s - 1]).all()]
        if not steps:
            left_out.append(
                f"song {clip.song}: no label after {FIRST_SCORED_STEP * STEP_S:g} s or more"
            )
            continue
        inputs.append(table[steps])
        labels.append(truth[steps])
    if not inputs:
        raise DataError(f"no song of {collection.root} can be used for training")
    return np.concatenate(inputs), np.concatenate(labels).astype(np.float64), left_out


def _with_intercept(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([np.ones(len(inputs)), inputs])


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:

    result = measure_baselines(
        engine,
        collection,
        args.split,
        songs=args.songs,
        seed=args.seed,
        workers=args.workers,
        progress=show_progress,
    )
    print(f"{'':<16}{'arousal R2':>12}{'RMSE':>8}{'valence R2':>12}{'RMSE':>8}")
    for row in result["rows"]:
        numbers = "".join(
            f"{row[name]['r2']:12.3f}{row[name]['rmse']:8.3f}" for name in ("arousal", "valence")
        )
        print(f"{row['name']:<16}{numbers}")
    return {**result, "versions": {"scikit-learn": version("scikit-learn")}}


def main(arguments: list[str] | None = None) -> int:
    args = study_parser("baselines", __doc__ or "", split="test").parse_args(arguments)
    if importlib.util.find_spec("sklearn") is None:
        print(f"scikit-learn is not installed; {install_hint('train')}", file=sys.stderr)
        return 2
    return run_study(args, _measure)


if __name__ == "__main__":
    raise SystemExit(main())
