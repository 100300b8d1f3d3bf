"""Step response: how fast the estimates follow a change of the music.

python benchmarks/studies/step_response.py --data DIR
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from mer_engine import Engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_S, CLIP_STEPS, DIMENSIONS, STEP_S, Clip, Collection
from numpy.typing import NDArray
from study import run_study, show_progress, study_parser

from realtime_mer.core.config import MIN_HOP_S
from realtime_mer.core.types import Estimate
from realtime_mer.evaluation.predictions import Progress, clips_of, estimate_clip

LAG_ORDERS = (20, 10, 6, 4)
MIN_LABEL_STEP = 0.5
# A smaller step of the estimate has no meaningful rise time.
MIN_STEP = 0.2
_FADE_S = 0.01
_LEVEL_S = 1.0
_SHARES = (0.5, 0.9)
_TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class Pair:
    """Two clips to play one after the other.

    Attributes:
        dimension: "valence" or "arousal", the dimension in which their labels differ.
        first, second: the clips.
        label_step: signed difference of their mean labels.
    """

    dimension: str
    first: Clip
    second: Clip
    label_step: float


def choose_pairs(
    collection: Collection, clips: Sequence[Clip], count: int, seed: int = 0
) -> list[Pair]:
    """Choose pairs by their labels, half of them upwards, each clip at most twice per dimension.

    Args:
        collection: labelled songs.
        clips: clips of at least `CLIP_S` seconds.
        count: maximum number of pairs per dimension.
        seed: random seed.
    """
    labels = np.array([_mean_label(collection, clip) for clip in clips])
    rng = np.random.default_rng(seed)
    pairs = []
    for column, name in enumerate(DIMENSIONS):
        used = np.zeros(len(clips), dtype=int)
        for up in (True, False):
            wanted = math.ceil(count / 2) if up else count // 2
            steps = labels[None, :, column] - labels[:, None, column]
            possible = np.argwhere((steps if up else -steps) > MIN_LABEL_STEP)
            for first, second in rng.permutation(possible):
                if wanted == 0:
                    break
                if used[first] >= 2 or used[second] >= 2 or clips[first].song == clips[second].song:
                    continue
                used[[first, second]] += 1
                wanted -= 1
                step = float(steps[first, second])
                pairs.append(Pair(name, clips[first], clips[second], step))
    return pairs


def measure_step_response(
    engine: Engine,
    pairs: Sequence[Pair],
    *,
    lag_orders: Sequence[int] = LAG_ORDERS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Play each pair, ten seconds each, with each lag order, at ten estimates per second.

    A pair counts if the estimate moves by 0.2 or more in the direction of the labels; the result
    also has the number of all pairs. The level before is the mean over the last second before the
    change; the level after is the mean over the last second of the stream.

    Returns:
        `pairs` by dimension; `rows`, one for each lag order and dimension: `counted`, and `half_s`
        and `ninety_s`, the seconds after the change until 50 % and 90 % of the step, with median
        and quartiles, None where no pair counts; `curves`: the median of the normalised steps, 0
        before and 1 after the change, over `seconds` after the change.

    Raises:
        DataError: there is no pair, or a file cannot be decoded.
    """
    if not pairs:
        raise DataError(
            f"no two clips have labels that differ by more than {MIN_LABEL_STEP}; "
            "take more songs, or another split"
        )
    orders = [order for order in lag_orders if order <= engine.info.lag_order_max]
    tracks: dict[tuple[int, str], list[NDArray[np.float64]]] = {
        (order, name): [] for order in orders for name in DIMENSIONS
    }
    for number, pair in enumerate(pairs, start=1):
        samples, rate = join(pair)
        for order in orders:
            estimates = estimate_clip(engine, samples, rate, hop_s=MIN_HOP_S, lag_order=order)
            values = values_over_time(estimates, pair.dimension)
            tracks[order, pair.dimension].append(values * math.copysign(1.0, pair.label_step))
        if progress is not None:
            progress(number, len(pairs))
    rows, curves = [], []
    for (order, name), all_tracks in tracks.items():
        steps = [step for step in map(normalised_step, all_tracks) if step is not None]
        times = {share: [time_to_reach(step, share) for step in steps] for share in _SHARES}
        key = {"lag_order": order, "window_s": order * STEP_S, "dimension": name}
        rows.append(
            {
                **key,
                "pairs": len(all_tracks),
                "counted": len(steps),
                "half_s": _quartiles(times[0.5]),
                "ninety_s": _quartiles(times[0.9]),
            }
        )
        if steps:
            median = np.median(steps, axis=0)
            seconds = (MIN_HOP_S * np.arange(1, len(median) + 1)).round(1)
            curves.append({**key, "seconds": seconds.tolist(), "way": median.round(4).tolist()})
    return {
        "pairs": {name: sum(pair.dimension == name for pair in pairs) for name in DIMENSIONS},
        "rows": rows,
        "curves": curves,
    }


def join(pair: Pair) -> tuple[NDArray[np.float32], int]:
    """Join ten seconds of each clip, with fades of 10 ms; return mono samples and their rate.

    If the rates differ, the clip with the lower rate is resampled to the higher one.

    Raises:
        DataError: a file cannot be decoded or is too short.
    """
    read = [read_channels(clip) for clip in (pair.first, pair.second)]
    common = max(rate for _, rate in read)
    parts = []
    for clip, (samples, rate) in zip((pair.first, pair.second), read, strict=True):
        mono = samples.mean(axis=1)[: round(CLIP_S * rate)]
        if len(mono) < round(CLIP_S * rate):
            raise DataError(f"{clip.path} ends before {CLIP_S:g} s of the clip")
        parts.append(mono if rate == common else soxr.resample(mono, rate, common))
    fade = round(_FADE_S * common)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    parts[0][-fade:] *= 1 - ramp
    parts[1][:fade] *= ramp
    return np.concatenate(parts).astype(np.float32), common


def values_over_time(estimates: Sequence[Estimate], dimension: str) -> NDArray[np.float64]:
    """Return the newest estimate of one dimension at 0.1, 0.2 ... 20.0 s, float64 [200]."""
    times = np.array([estimate.t for estimate in estimates])
    values = np.array([getattr(estimate, dimension) for estimate in estimates])
    ends = MIN_HOP_S * np.arange(1, round(2 * CLIP_S / MIN_HOP_S) + 1)
    newest = np.searchsorted(times, ends + _TOLERANCE_S, side="right") - 1
    return np.where(newest >= 0, values[newest], np.nan)


def normalised_step(track: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Scale the values after the change so that the level before is 0 and the level after is 1.

    Returns:
        float64 [100]; None if the values do not rise by `MIN_STEP` or more.
    """
    middle, second = len(track) // 2, round(_LEVEL_S / MIN_HOP_S)
    before, after = track[middle - second : middle].mean(), track[-second:].mean()
    if not after - before >= MIN_STEP:
        return None
    return np.asarray((track[middle:] - before) / (after - before))


def time_to_reach(step: NDArray[np.float64], share: float) -> float:
    """Return the seconds after the change until a normalised step first reaches a share."""
    return float(MIN_HOP_S * (1 + np.argmax(step >= share)))


def _mean_label(collection: Collection, clip: Clip) -> NDArray[np.float64]:
    """Return mean valence and arousal of a clip, float64 [2]; NaN without labels."""
    labels = collection.labels(clip, CLIP_STEPS).astype(np.float64)
    known = np.isfinite(labels)
    total = np.where(known, labels, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(2, np.nan), where=count > 0))


def _quartiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    lower, median, upper = np.percentile(seconds, (25, 50, 75))
    return {"median": round(median, 2), "lower": round(lower, 2), "upper": round(upper, 2)}


def _measure(engine: Engine, collection: Collection, args: argparse.Namespace) -> dict[str, Any]:
    clips = clips_of(collection, args.split, args.songs)
    pairs = choose_pairs(collection, clips, args.pairs, args.seed)
    result = measure_step_response(engine, pairs, progress=show_progress)
    print(f"{'window':<8}{'dimension':<12}{'counted':>10}{'50 %':>18}{'90 %':>18}")
    for row in result["rows"]:
        times = "".join(f"{_text(row[key]):>18}" for key in ("half_s", "ninety_s"))
        counted = f"{row['counted']} of {row['pairs']}"
        print(f"{row['window_s']:<8g}{row['dimension']:<12}{counted:>10}{times}")
    return result


def _text(times: dict[str, float] | None) -> str:
    if times is None:
        return "-"
    return f"{times['median']:.1f} s ({times['lower']:.1f}-{times['upper']:.1f})"


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("step_response", __doc__ or "", split="test")
    parser.add_argument(
        "--pairs", type=int, default=60, metavar="N", help="pairs per dimension (default: 60)"
    )
    return run_study(parser.parse_args(arguments), _measure)


if __name__ == "__main__":
    raise SystemExit(main())
