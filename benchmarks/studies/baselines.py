"""What simpler methods reach on the same songs, heard for the same time.

pip install '.[train]'
python benchmarks/studies/baselines.py --data DIR

Needs scikit-learn, which the `train` extra brings.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import soxr
from mer_engine import Engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import STEP_S, Clip, Collection
from mer_engine.install_hint import install_hint
from mer_research.paper.descriptors import FUNCTIONALS, SAMPLE_RATE_HZ, describe, heard_so_far
from numpy.typing import NDArray
from study import run_study, show_progress, study_parser

from realtime_mer.core.types import Estimate, Latency, State
from realtime_mer.evaluation.metrics import figures
from realtime_mer.evaluation.predictions import (
    FIRST_SCORED_STEP,
    STEPS,
    ClipEstimator,
    Progress,
    clips_of,
    listen,
    predict_each,
)

# Steps of half a second after which the methods are fitted; neighbours differ too little to matter.
FITTED_STEPS = (10, 15, 20)
TREES = 200
# Chosen from the 260 functionals and their logarithms, one after the other, by cross-validation on
# every second training song: a strong simple method, not a weak one.
SIX = (
    ("sharpness_mean", "log mean sharpness"),
    ("loudness_delta_sd", "log spread of the changes of loudness"),
    ("loudness_sd", "spread of loudness"),
    ("shimmer_mean", "log mean shimmer"),
    ("energy_1000_4000_mean", "log mean energy from 1 to 4 kHz"),
    ("voicing_delta_sd", "log spread of the changes of voicing"),
)
METHODS = {
    "mean": "the mean label of the fitted songs, whatever is heard",
    "six features": f"least squares on {'; '.join(text for _, text in SIX)}",
    "random forest": f"{TREES} trees on mean and standard deviation of 65 low-level descriptors "
    "and their deltas, in the manner of openSMILE's ComParE set",
    "network": "the model",
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
    """Fits the methods on training and validation songs and measures them on a split.

    Args:
        split: measured; where it is "validation", the training songs alone are fitted.
        songs: at most so many of each split.
        workers: threads of the forest's fitting.
        progress: called with the number of clips described and heard, and of all.

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

    def tell(before: int) -> Progress:
        return lambda done, _: progress(before + done, total) if progress is not None else None

    inputs, labels, left_out = _examples(collection, fit_clips, tell(0))
    methods = {
        "mean": fit_mean(labels),
        "six features": fit_six(inputs, labels),
        "random forest": fit_forest(inputs, labels, seed=seed, workers=workers),
    }
    features = _Remembering()
    listeners: dict[str, ClipEstimator] = {
        name: partial(_listen, features=features, predict=predict)
        for name, predict in methods.items()
    }
    listeners["network"] = partial(listen, engine)
    heard = predict_each(collection, clips, listeners, progress=tell(len(fit_clips)))
    rows = [
        {
            "name": name,
            "what": METHODS[name],
            **{
                dimension: {key: getattr(row, key) for key in ("r2", "rmse", "ccc", "r")}
                for dimension, row in figures(heard[name].scored()).items()
            },
        }
        for name in METHODS
    ]
    return {
        "songs": len(set(heard["network"].songs)),
        "fitted_on": {"splits": fitted, "clips": len(fit_clips) - len(left_out)},
        "rows": rows,
        "left_out": [*left_out, *heard["network"].left_out],
    }


def fit_mean(labels: NDArray[np.float64]) -> Predictor:
    """The mean of labels [n, 2], whatever comes in."""
    mean = labels.mean(axis=0)
    return lambda inputs: np.tile(mean, (len(inputs), 1))


def fit_six(inputs: NDArray[np.float64], labels: NDArray[np.float64]) -> Predictor:
    """Least squares from `six_features` of inputs [n, 260] to labels [n, 2]."""
    weights, *_ = np.linalg.lstsq(_with_one(six_features(inputs)), labels, rcond=None)
    return lambda new: np.asarray(_with_one(six_features(new)) @ weights)


def fit_forest(
    inputs: NDArray[np.float64], labels: NDArray[np.float64], *, seed: int = 0, workers: int = 1
) -> Predictor:
    """A random forest for each dimension, from inputs [n, 260] to labels [n, 2]."""
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
        forest.n_jobs = 1  # a clip is too little to share out
        forests.append(forest)
    return lambda new: np.column_stack([forest.predict(new) for forest in forests])


def six_features(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The six of `SIX` from functionals [n, 260]: float64 [n, 6]."""
    columns = []
    for name, text in SIX:
        column = inputs[:, FUNCTIONALS.index(name)]
        columns.append(np.log10(np.abs(column) + 1e-4) if text.startswith("log") else column)
    return np.column_stack(columns)


def functionals(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """What was heard until the end of each half second.

    Args:
        samples: float32 [n, channels].

    Returns:
        float64 [steps, 260].
    """
    mono = samples.mean(axis=1)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    return heard_so_far(describe(mono)).astype(np.float64)


class _Remembering:
    """`functionals`, which several methods ask of the same samples one after the other."""

    def __init__(self) -> None:
        self._samples: NDArray[np.float32] | None = None
        self._result: NDArray[np.float64] = np.empty((0, len(FUNCTIONALS)))

    def __call__(self, samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
        if samples is not self._samples:
            self._samples, self._result = samples, functionals(samples, rate_hz)
        return self._result


def _listen(
    samples: NDArray[np.float32], rate_hz: int, *, features: _Remembering, predict: Predictor
) -> list[Estimate]:
    """A method's values in the shape of the pipeline's, without intervals."""
    nothing = float("nan")
    return [
        Estimate(
            seq=step, t=(step + 1) * STEP_S, utc="", valence=float(valence), arousal=float(arousal),
            valence_low=nothing, valence_high=nothing, arousal_low=nothing, arousal_high=nothing,
            mood="", state=State.SETTLING, level_db=nothing, latency=Latency(0.0, 0.0, 0.0, 0.0),
        )
        for step, (valence, arousal) in enumerate(predict(features(samples, rate_hz))[:STEPS])
    ]  # fmt: skip


def _examples(
    collection: Collection, clips: Sequence[Clip], progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Inputs [n, 260] and labels [n, 2] of the fitted moments, and who gave none."""
    inputs, labels, left_out = [], [], []
    for number, clip in enumerate(clips, start=1):
        progress(number, len(clips))
        try:
            table = functionals(*read_channels(clip))
        except DataError as error:
            left_out.append(f"song {clip.song}: {error}")
            continue
        truth = collection.labels(clip, STEPS)
        steps = [s - 1 for s in FITTED_STEPS if s <= len(table) and np.isfinite(truth[s - 1]).all()]
        if not steps:
            left_out.append(
                f"song {clip.song}: no label after {FIRST_SCORED_STEP * STEP_S:g} s or more"
            )
            continue
        inputs.append(table[steps])
        labels.append(truth[steps])
    if not inputs:
        raise DataError(f"no song of {collection.root} can be fitted on")
    return np.concatenate(inputs), np.concatenate(labels).astype(np.float64), left_out


def _with_one(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([np.ones(len(inputs)), inputs])


def main(arguments: list[str] | None = None) -> int:
    args = study_parser("baselines", __doc__ or "", split="test").parse_args(arguments)
    if importlib.util.find_spec("sklearn") is None:
        print(f"scikit-learn is not installed; {install_hint('train')}", file=sys.stderr)
        return 2
    return run_study(args, _measure)


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    from importlib.metadata import version

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


if __name__ == "__main__":
    raise SystemExit(main())
