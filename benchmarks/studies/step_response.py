"""How soon the estimates follow when the mood of the music changes.

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
from mer_engine.datasets.types import DIMENSIONS, STEP_S, Clip, Collection
from numpy.typing import NDArray
from study import run_study, show_progress, study_parser

from realtime_mer.core.config import MIN_HOP_S
from realtime_mer.core.types import Estimate
from realtime_mer.evaluation.predictions import STEPS, Progress, clips_of, listen

LAG_ORDERS = (20, 10, 6, 4)
LEAST_LABEL_STEP = 0.5
# An estimate that moves less than this tells nothing about how soon it moves.
LEAST_STEP = 0.2
PART_S = STEPS * STEP_S
_FADE_S = 0.01
_LEVEL_S = 1.0
_SHARES = (0.5, 0.9)


@dataclass(frozen=True)
class Pair:
    """Two clips that are played one after the other.

    Attributes:
        dimension: "valence" or "arousal": where their labels differ.
        label_step: by how much, signed.
    """

    dimension: str
    first: Clip
    second: Clip
    label_step: float


def choose_pairs(
    collection: Collection, clips: Sequence[Clip], count: int, seed: int = 0
) -> list[Pair]:
    """Chooses pairs by labels alone, half of them upwards, each clip at most twice a dimension.

    Args:
        clips: of the length of a part, `PART_S`, or longer.
        count: at most so many pairs for each dimension.
    """
    labels = np.array([_mean_label(collection, clip) for clip in clips])
    rng = np.random.default_rng(seed)
    pairs = []
    for column, name in enumerate(DIMENSIONS):
        used = np.zeros(len(clips), dtype=int)
        for up in (True, False):
            wanted = math.ceil(count / 2) if up else count // 2
            steps = labels[None, :, column] - labels[:, None, column]
            possible = np.argwhere((steps if up else -steps) > LEAST_LABEL_STEP)
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
    """Plays each pair, ten seconds and ten seconds, with each lag order; ten estimates a second.

    A pair counts where the estimate itself goes the way of the labels by 0.2 or more; the others
    are told by number. The level before is the mean of the last second before the change, the level
    after that of the last second of the stream.

    Returns:
        `pairs` by dimension; `rows`, one for each lag order and dimension: `counted`, and for 50
        and 90 percent `half_s` and `ninety_s`, each with median and quartiles in seconds after the
        change, None where nothing counted; `curves`: the median way of the estimates from before
        (0) to after (1) by `seconds` after the change.

    Raises:
        DataError: there is no pair, or a file cannot be decoded.
    """
    if not pairs:
        raise DataError(
            f"no two clips have labels that differ by more than {LEAST_LABEL_STEP}; "
            "take more songs, or another split"
        )
    orders = [order for order in lag_orders if order <= engine.info.lag_order_max]
    tracks: dict[tuple[int, str], list[NDArray[np.float64]]] = {
        (order, name): [] for order in orders for name in DIMENSIONS
    }
    for number, pair in enumerate(pairs, start=1):
        samples, rate = join(pair)
        for order in orders:
            estimates = listen(engine, samples, rate, hop_s=MIN_HOP_S, lag_order=order)
            track = track_of(estimates, pair.dimension) * math.copysign(1.0, pair.label_step)
            tracks[order, pair.dimension].append(track)
        if progress is not None:
            progress(number, len(pairs))
    rows, curves = [], []
    for (order, name), all_tracks in tracks.items():
        ways = [way for way in map(way_of, all_tracks) if way is not None]
        times = {share: [time_to(way, share) for way in ways] for share in _SHARES}
        about = {"lag_order": order, "window_s": order * STEP_S, "dimension": name}
        rows.append(
            {
                **about,
                "pairs": len(all_tracks),
                "counted": len(ways),
                "half_s": _quartiles(times[0.5]),
                "ninety_s": _quartiles(times[0.9]),
            }
        )
        if ways:
            median = np.median(ways, axis=0)
            seconds = (MIN_HOP_S * np.arange(1, len(median) + 1)).round(1)
            curves.append({**about, "seconds": seconds.tolist(), "way": median.round(4).tolist()})
    return {
        "pairs": {name: sum(pair.dimension == name for pair in pairs) for name in DIMENSIONS},
        "rows": rows,
        "curves": curves,
    }


def join(pair: Pair) -> tuple[NDArray[np.float32], int]:
    """Ten seconds of the one, ten of the other, with a cross-fade of 10 ms: mono, and the rate.

    Where the two have different rates, the lower one is raised to the higher.

    Raises:
        DataError: a file cannot be decoded or is too short.
    """
    read = [read_channels(clip) for clip in (pair.first, pair.second)]
    common = max(rate for _, rate in read)
    parts = []
    for clip, (samples, rate) in zip((pair.first, pair.second), read, strict=True):
        mono = samples.mean(axis=1)[: round(PART_S * rate)]
        if len(mono) < round(PART_S * rate):
            raise DataError(f"{clip.path} ends before {PART_S:g} s of the clip")
        parts.append(mono if rate == common else soxr.resample(mono, rate, common))
    fade = round(_FADE_S * common)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    parts[0][-fade:] *= 1 - ramp
    parts[1][:fade] *= ramp
    return np.concatenate(parts).astype(np.float32), common


def track_of(estimates: Sequence[Estimate], dimension: str) -> NDArray[np.float64]:
    """The estimates of one dimension at 0.1, 0.2 ... 20.0 s; the newest one until then."""
    times = np.array([estimate.t for estimate in estimates])
    values = np.array([getattr(estimate, dimension) for estimate in estimates])
    ends = MIN_HOP_S * np.arange(1, round(2 * PART_S / MIN_HOP_S) + 1)
    newest = np.searchsorted(times, ends + 1e-6, side="right") - 1
    return np.where(newest >= 0, values[newest], np.nan)


def way_of(track: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The track after the change as a share of the step from the level before to that after.

    Returns:
        float64 [100]: 0 is the level before, 1 that after; None where the step is no rise of at
        least `LEAST_STEP`.
    """
    middle, second = len(track) // 2, round(_LEVEL_S / MIN_HOP_S)
    before, after = track[middle - second : middle].mean(), track[-second:].mean()
    if not after - before >= LEAST_STEP:
        return None
    return np.asarray((track[middle:] - before) / (after - before))


def time_to(way: NDArray[np.float64], share: float) -> float:
    """Seconds after the change until the way first reaches a share of the step."""
    return float(MIN_HOP_S * (1 + np.argmax(way >= share)))


def _mean_label(collection: Collection, clip: Clip) -> NDArray[np.float64]:
    """float64 [2]; NaN where the clip has no labels."""
    labels = collection.labels(clip, STEPS).astype(np.float64)
    known = np.isfinite(labels)
    total = np.where(known, labels, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(2, np.nan), where=count > 0))


def _quartiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    lower, median, upper = np.percentile(seconds, (25, 50, 75))
    return {"median": round(median, 2), "lower": round(lower, 2), "upper": round(upper, 2)}


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("step_response", __doc__ or "", split="test")
    parser.add_argument(
        "--pairs", type=int, default=60, metavar="N", help="pairs a dimension (default: 60)"
    )
    return run_study(parser.parse_args(arguments), _measure)


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


if __name__ == "__main__":
    raise SystemExit(main())
