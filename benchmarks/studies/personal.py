"""What a person's map is worth, on simulated and on real listeners.

python benchmarks/studies/personal.py --deam DIR --fme24 DIR

How listeners differ is measured on the marks of FME-24, the only ones here with a name for each
listener: by maximum likelihood, for each axis, how far a listener's own shift and scale, what is
particular to a piece, and what is particular to a mark spread. The values that the marks are
compared with are held out: ridge regression on the shipped encoder's embeddings, fitted to DEAM's
train and validation songs alone, has seen no film music and none of these listeners. Their
intervals are the shipped model's around these values. `priors` are the constants of
realtime_mer/core/personal_map.py.

* `film`: listeners are drawn from what half of FME-24's listeners show, and their maps use the
  priors of the other half.
* `deam`: listeners are drawn around the songs of DEAM's test split, whose raters spread by their
  published deviation; FME-24 says which share of it is a listener's own shift and scale. The
  estimates are the shipped model's, which was not fitted to these songs, and the priors those of
  FME-24.
* `real`: FME-24's listeners themselves. Each excerpt is predicted by a map of the listener's other
  excerpts, with the priors of other listeners.

A simulated listener taps once in each piece. The error is the mean distance on the plane to taps in
other pieces.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from across_collections import RIDGES, Array, mean_embedding, ridges
from mer_engine import Engine, load_engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.table import read_table
from mer_engine.datasets.types import DIMENSIONS, Clip, Collection
from study import exit_code, provenance, show_progress, study_parser, write_result

from realtime_mer.core.personal_map import AxisPrior, PersonalMap, Tap, fit_personal_map
from realtime_mer.core.types import Estimate, State
from realtime_mer.evaluation.predictions import UngatedEngine, clips_of, estimate_clip, predict
from realtime_mer.evaluation.song_metrics import song_table

TAPS = (5, 10, 20, 40)
NEW_PIECES = 60
LISTENERS = 300
FOLDS = 5
DELAYS_S = (0.0, 1.0, 2.0, 3.0, 4.0)
SETTLED_S = 10.0
# Standard deviations that maximum likelihood chooses from.
_GRID = (0.0, *np.geomspace(0.03, 1.2, 26).tolist())
_SWEEPS = 4
_START = AxisPrior(0.1, 0.2, 0.3, 0.2, 1.0)


@dataclass(frozen=True)
class Mark:
    """A mark of a listener of FME-24: `place` float64 [2], at `t_s` of an excerpt."""

    listener: str
    clip: str
    t_s: float
    place: Array


@dataclass(frozen=True)
class Values:
    """Values of the model for a piece: `value`, `low`, `high`, each float64 [2]."""

    value: Array
    low: Array
    high: Array

    def tap(self, piece: int, place: Array) -> Tap:
        """Return a tap at a place [2] of the plane."""
        values = (
            self.value[0],
            self.value[1],
            self.low[0],
            self.high[0],
            self.low[1],
            self.high[1],
        )
        valence, arousal = np.clip(place, -1.0, 1.0).tolist()
        return Tap("", piece, valence, arousal, tuple(map(float, values)))


# -- How listeners differ -------------------------------------------------------------------------


def axis_prior(
    marks: Sequence[Mark], values: dict[str, Values], axis: int, *, own: bool
) -> AxisPrior:
    """Measure by maximum likelihood how listeners differ on an axis; `widen` is left at 1.

    Args:
        marks: of several listeners.
        values: of each clip.
        axis: 0 for valence, 1 for arousal.
        own: leave out what all these listeners have in common against the values, so that only
            what is a listener's own remains.
    """
    y = np.array([mark.place[axis] for mark in marks])
    x = np.array([values[mark.clip].value[axis] for mark in marks])
    if own:
        slope = np.mean((x - x.mean()) * (y - y.mean())) / max(float(x.var()), 1e-9)
        residual = y - y.mean() - slope * (x - x.mean())
    else:
        residual = y - x
    numbers = defaultdict(list)
    for number, mark in enumerate(marks):
        numbers[mark.listener].append(number)
    of_listener = []
    for chosen in numbers.values():
        clips = np.array([marks[each].clip for each in chosen])
        of_listener.append((residual[chosen], x[chosen], clips[:, None] == clips))

    def loss(deviations: Sequence[float]) -> float:
        shift, scale, piece, tap = np.square(deviations)
        total = 0.0
        for left, inputs, same in of_listener:
            spread = shift + scale * np.outer(inputs, inputs) + piece * same
            spread += (tap + 1e-6) * np.eye(len(left))
            _, volume = np.linalg.slogdet(spread)
            total += volume + left @ np.linalg.solve(spread, left)
        return float(total)

    found = list(astuple(_START))[:4]
    for _ in range(_SWEEPS):
        for which in range(4):
            trials = [[*found[:which], value, *found[which + 1 :]] for value in _GRID]
            found = min(trials, key=loss)
    # A deviation of 0 would forbid any change, which so few listeners do not show.
    least = [max(value, _GRID[1]) for value in found]
    return replace(_START, shift=least[0], scale=least[1], piece=least[2], tap=least[3])


def priors_of(
    marks: Sequence[Mark], values: dict[str, Values], coverage: float
) -> tuple[AxisPrior, AxisPrior]:
    """Measure the priors, with the widening that holds the marks of held-out excerpts."""
    narrow = [axis_prior(marks, values, axis, own=False) for axis in range(2)]
    scores: list[list[float]] = [[], []]
    for taps in taps_by_listener(marks, values).values():
        for piece in {tap.piece for tap in taps}:
            found = fit_personal_map(
                [tap for tap in taps if tap.piece != piece], coverage=coverage, priors=narrow
            )
            for tap in (tap for tap in taps if tap.piece == piece):
                for axis, place in enumerate((tap.valence, tap.arousal)):
                    raw, low, high = tap.values[axis], *tap.values[2 + 2 * axis : 4 + 2 * axis]
                    mapped = found.axes[axis].shift + found.axes[axis].scale * raw
                    half = high - raw if place > mapped else raw - low
                    scores[axis].append(abs(place - mapped) / max(half, 1e-6))
    valence, arousal = (
        replace(prior, widen=float(np.quantile(scores[axis], coverage)))
        for axis, prior in enumerate(narrow)
    )
    return valence, arousal


def taps_by_listener(marks: Sequence[Mark], values: dict[str, Values]) -> dict[str, list[Tap]]:
    """Return the marks of each listener as taps; each excerpt is a piece."""
    pieces: dict[str, dict[str, int]] = defaultdict(dict)
    taps: dict[str, list[Tap]] = defaultdict(list)
    for mark in marks:
        numbers = pieces[mark.listener]
        number = numbers.setdefault(mark.clip, len(numbers))
        taps[mark.listener].append(values[mark.clip].tap(number, mark.place))
    return taps


# -- What a map is worth --------------------------------------------------------------------------


class Score:
    """Distances and coverage over many taps, with the model alone and with a map.

    `used` follows the map only where it says that it is worth using.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Sequence[tuple[float, ...]]) -> None:
        """Add one listener: the mean over taps that the maps have not seen (`compared`)."""
        self._rows.append(tuple(np.mean(rows, axis=0).tolist()))

    def to_dict(self) -> dict[str, float | int]:
        """Return the means over listeners, and the standard error of the gain."""
        table = np.array(self._rows)
        names = (
            "distance_model", "distance_map", "distance_used", "covered_model", "covered_map",
            "worth_using",
        )  # fmt: skip
        gain = table[:, 0] - table[:, 1]
        return {
            "listeners": len(table),
            **{name: round(float(v), 4) for name, v in zip(names, table.mean(0), strict=True)},
            "gain_error": round(float(gain.std(ddof=1) / np.sqrt(len(table))), 4),
            "better_for": round(float((gain > 0).mean()), 3),
        }


def compared(found: PersonalMap, taps: Sequence[Tap]) -> list[tuple[float, ...]]:
    """Compare taps with the model and with a map: a row each, in the order of `Score`."""
    rows: list[tuple[float, ...]] = []
    for tap in taps:
        place = np.array((tap.valence, tap.arousal))
        raw = np.array(tap.values)
        mapped = np.array([
            axis.apply(raw[k], raw[2 + 2 * k], raw[3 + 2 * k])
            for k, axis in enumerate(found.axes)
        ])  # fmt: skip
        model = float(np.linalg.norm(place - raw[:2]))
        own = float(np.linalg.norm(place - mapped[:, 0]))
        inside = np.mean((raw[2::2] <= place) & (place <= raw[3::2]))
        held = np.mean((mapped[:, 1] <= place) & (place <= mapped[:, 2]))
        used = own if found.worth_using else model
        rows.append((model, own, used, float(inside), float(held), float(found.worth_using)))
    return rows


def simulate(
    pieces: Sequence[Values],
    listener: Any,
    priors: Sequence[AxisPrior],
    coverage: float,
    random: np.random.Generator,
) -> list[dict[str, Any]]:
    """Score maps of simulated listeners by the number of their taps.

    Args:
        pieces: values of the model for pieces of music.
        listener: draws a listener: returns a function from numbers of pieces to places [n, 2].
        priors: of the maps.
        coverage: of the intervals.
        random: of every choice.
    """
    scores = {count: Score() for count in TAPS}
    for _ in range(LISTENERS):
        order = random.permutation(len(pieces))[: max(TAPS) + NEW_PIECES]
        places = listener(order)
        taps = [pieces[number].tap(row, places[row]) for row, number in enumerate(order.tolist())]
        for count, score in scores.items():
            found = fit_personal_map(taps[:count], coverage=coverage, priors=priors)
            score.add(compared(found, taps[max(TAPS) :]))
    return [{"taps": count, **score.to_dict()} for count, score in scores.items()]


def film_listener(
    pieces: Sequence[Values], spread: Sequence[AxisPrior], random: np.random.Generator
) -> Any:
    """Return a function that draws listeners from what real ones show."""
    raw = np.stack([piece.value for piece in pieces])
    shift, scale, piece, tap = np.array([astuple(axis)[:4] for axis in spread]).T

    def draw(order: np.ndarray[Any, Any]) -> Array:
        size = (len(order), 2)
        own = shift * random.standard_normal(2)
        factor = 1.0 + scale * random.standard_normal(2)
        rest = np.hypot(piece, tap) * random.standard_normal(size)
        places: Array = own + factor * raw[order] + rest
        return places

    return draw


def deam_listener(
    labels: Array, deviations: Array, shares: Sequence[AxisPrior], random: np.random.Generator
) -> Any:
    """Return a function that draws listeners around the mean ratings of songs.

    Args:
        labels: float64 [n, 2], mean ratings.
        deviations: float64 [n, 2], standard deviations of the ratings of each song.
        shares: how listeners differ in what is their own; only the ratio of shift and scale to the
            whole is used.
        random: of every choice.
    """
    parts = np.array([astuple(axis)[:4] for axis in shares])  # [2, 4]
    whole = np.sqrt((parts[:, [0, 2]] ** 2).sum(1))
    typical = np.sqrt((deviations**2).mean(0))
    shift = parts[:, 0] / whole * typical
    scale = parts[:, 1] / whole * typical
    explained = shift**2 + (scale * labels) ** 2
    rest = np.sqrt(np.maximum(deviations**2 - explained, 0.0))

    def draw(order: np.ndarray[Any, Any]) -> Array:
        own = shift * random.standard_normal(2)
        factor = 1.0 + scale * random.standard_normal(2)
        noise = rest[order] * random.standard_normal((len(order), 2))
        places: Array = own + factor * labels[order] + noise
        return places

    return draw


def real_listeners(
    marks: Sequence[Mark], values: dict[str, Values], coverage: float, random: np.random.Generator
) -> list[dict[str, Any]]:
    """Score maps of real listeners by the number of their other excerpts."""
    names = sorted({mark.listener for mark in marks})
    fold = dict(zip(names, random.permutation(len(names)) % FOLDS, strict=True))
    scores: dict[str, Score] = {"1 or 2": Score(), "3 to 5": Score(), "6 to 8": Score()}
    for held_out in range(FOLDS):
        others = [mark for mark in marks if fold[mark.listener] != held_out]
        priors = priors_of(others, values, coverage)
        own = [mark for mark in marks if fold[mark.listener] == held_out]
        for taps in taps_by_listener(own, values).values():
            pieces = sorted({tap.piece for tap in taps})
            if len(pieces) < 2:
                continue
            number = len(pieces) - 1
            name = "1 or 2" if number < 3 else "3 to 5" if number < 6 else "6 to 8"
            rows: list[tuple[float, ...]] = []
            for piece in pieces:
                rest = [tap for tap in taps if tap.piece != piece]
                found = fit_personal_map(rest, coverage=coverage, priors=priors)
                rows += compared(found, [tap for tap in taps if tap.piece == piece])
            scores[name].add(rows)
    return [
        {"other_excerpts": name, **score.to_dict()}
        for name, score in scores.items()
        if len(score) > 1
    ]


def by_delay(marks: Sequence[Mark], estimates: dict[str, list[Estimate]]) -> list[dict[str, Any]]:
    """Compare marks with the estimates of some seconds before.

    Only marks so late that all of these estimates are settled count. What an excerpt and a
    listener have in common is no matter of time, so it is taken off: the error is that of a
    listener's marks of an excerpt against each other.
    """
    rows = []
    for delay_s in DELAYS_S:
        pairs: dict[tuple[str, str], list[Array]] = defaultdict(list)
        for mark in marks:
            if mark.t_s < SETTLED_S / 2 + max(DELAYS_S):
                continue
            known = [each for each in estimates[mark.clip] if each.t <= mark.t_s - delay_s]
            if known:
                value = np.array((known[-1].valence, known[-1].arousal))
                pairs[mark.listener, mark.clip].append(np.stack((mark.place, value)))
        several = [np.stack(each) for each in pairs.values() if len(each) > 1]
        if not several:
            continue
        moved = np.concatenate([each - each.mean(0) for each in several])
        error = np.sqrt(((moved[:, 0] - moved[:, 1]) ** 2).sum(1).mean())
        rows.append({"delay_s": delay_s, "marks": len(moved), "rmse": round(float(error), 4)})
    return rows


# -- Data -----------------------------------------------------------------------------------------


def read_marks(folder: Path, clips: set[str]) -> list[Mark]:
    """Read the marks of FME-24 in the excerpts that can be used."""
    columns = ("clip", "participant", "t_s", *DIMENSIONS)
    table = read_table(folder / "marks.csv", "the marks of the listeners", columns)
    return [
        Mark(
            row.cells["participant"],
            row.cells["clip"],
            float(row.cells["t_s"]),
            np.array([float(row.cells[name]) for name in DIMENSIONS]),
        )
        for row in table.rows
        if row.cells["clip"] in clips
    ]


def held_out_values(engine: Engine, deam: Collection, film: Collection) -> dict[str, Array]:
    """Predict the excerpts of FME-24 by ridge regression fitted to DEAM alone: [2] each."""
    splits = {name: clips_of(deam, name) for name in ("train", "validation")}
    clips = [*splits["train"], *splits["validation"], *clips_of(film, "train")]
    rows = []
    for number, clip in enumerate(clips, start=1):
        rows.append(mean_embedding(engine, clip))
        show_progress(number, len(clips))
    inputs = np.stack(rows)
    first, last = len(splits["train"]), len(splits["train"]) + len(splits["validation"])
    targets = np.stack([np.nanmean(deam.labels(clip, 20), axis=0) for clip in clips[:last]])
    errors = (ridges(inputs[:first], targets[:first], inputs[first:last]) - targets[first:]) ** 2
    best = int(np.argmin(np.nanmean(errors, axis=(1, 2))))
    print(f"ridge {RIDGES[best]:g}", file=sys.stderr)
    predicted = ridges(inputs[:last], targets, inputs[last:])[best]
    of_song: dict[str, list[Array]] = defaultdict(list)
    for clip, value in zip(clips[last:], predicted, strict=True):
        of_song[clip.song].append(value)
    return {song: np.mean(values, axis=0) for song, values in of_song.items()}


def deam_deviations(folder: Path) -> dict[str, Array]:
    """Read the standard deviation of DEAM's raters of each song: [2], in units of the plane."""
    deviations = {}
    for path in sorted(folder.rglob("static_annotations*.csv")):
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file, skipinitialspace=True):
                spread = [float(row[f"{name}_std"]) / 4 for name in DIMENSIONS]
                deviations[row["song_id"].strip()] = np.array(spread)
    return deviations


def measure(engine: Engine, deam: Collection, film: Collection, seed: int) -> dict[str, Any]:
    """Measure everything; see the text of this module."""
    random = np.random.default_rng(seed)
    coverage = engine.info.coverage
    estimates = whole_excerpts(engine, film)
    held_out = held_out_values(engine, deam, film)
    values = {name: around(held_out[name], rows[-1]) for name, rows in estimates.items()}
    marks = read_marks(film.root, set(values))
    names = random.permutation(sorted({mark.listener for mark in marks})).tolist()
    half = set(names[: len(names) // 2])
    first = [mark for mark in marks if mark.listener in half]
    second = [mark for mark in marks if mark.listener not in half]
    priors = priors_of(marks, values, coverage)
    pieces = list(values.values())
    shown = [axis_prior(second, values, axis, own=False) for axis in range(2)]
    film_rows = simulate(
        pieces,
        film_listener(pieces, shown, random),
        priors_of(first, values, coverage),
        coverage,
        random,
    )
    own = [axis_prior(marks, values, axis, own=True) for axis in range(2)]
    songs, labels, deviations = deam_test(engine, deam)
    deam_rows = simulate(
        songs, deam_listener(labels, deviations, own, random), priors, coverage, random
    )
    return {
        "listeners_of_fme24": len(names),
        "marks": len(marks),
        "held_out": agreement(held_out, film),
        "priors": dict(zip(DIMENSIONS, map(_prior_dict, priors), strict=True)),
        "own_part": dict(zip(DIMENSIONS, map(_prior_dict, own), strict=True)),
        "film": film_rows,
        "deam": deam_rows,
        "deam_songs": len(songs),
        "real": real_listeners(marks, values, coverage, random),
        "delay": by_delay(marks, estimates),
    }


def agreement(held_out: dict[str, Array], film: Collection) -> dict[str, dict[str, float]]:
    """Compare held-out values with the mean ratings of the excerpts."""
    labels = np.array([film.songs[song].static for song in held_out], float)
    values = np.stack(list(held_out.values()))
    return {
        name: {
            "r": round(float(np.corrcoef(labels[:, k], values[:, k])[0, 1]), 3),
            "bias": round(float((values - labels)[:, k].mean()), 3),
        }
        for k, name in enumerate(DIMENSIONS)
    }


def whole_excerpts(engine: Engine, film: Collection) -> dict[str, list[Estimate]]:
    """Estimate every excerpt of FME-24 as one stream."""
    paths = {clip.song: clip.path for clip in film.clips}
    rows: dict[str, list[Estimate]] = {}
    for number, (song, path) in enumerate(paths.items(), start=1):
        samples, rate = read_channels(Clip(song, path, 0.0))
        found = estimate_clip(UngatedEngine(engine), samples, rate)
        heard = [each for each in found if each.state is not State.SILENCE]
        if heard:
            rows[song] = heard
        show_progress(number, len(paths))
    return rows


def around(value: Array, estimate: Estimate) -> Values:
    """Return a value [2] with an estimate's interval around it."""
    found = np.array((estimate.valence, estimate.arousal))
    low = np.array((estimate.valence_low, estimate.arousal_low)) - found
    high = np.array((estimate.valence_high, estimate.arousal_high)) - found
    return Values(*(np.clip(each, -1.0, 1.0) for each in (value, value + low, value + high)))


def deam_test(engine: Engine, deam: Collection) -> tuple[list[Values], Array, Array]:
    """Return values, mean ratings [n, 2] and deviations [n, 2] of the songs of the test split."""
    estimator = partial(estimate_clip, UngatedEngine(engine))
    found = predict(deam, clips_of(deam, "test"), estimator, progress=show_progress).scored()
    table, deviations = song_table(deam, found), deam_deviations(deam.root)
    rows: dict[str, tuple[Values, Array, Array]] = {}
    for number, song in enumerate(found.songs):
        label = table.labels[table.songs.index(song)]
        if song in deviations and np.isfinite(label).all():
            parts = (np.nanmean(each[number], 0) for each in (found.values, found.low, found.high))
            rows[song] = (Values(*parts), label, deviations[song])
    pieces, labels, spreads = zip(*rows.values(), strict=True)
    return list(pieces), np.stack(labels), np.stack(spreads)


def _prior_dict(prior: AxisPrior) -> dict[str, float]:
    names = ("shift", "scale", "piece", "tap", "widen")
    return {name: round(value, 3) for name, value in zip(names, astuple(prior), strict=True)}


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("personal", __doc__ or "", split=None)
    parser.add_argument("--deam", type=Path, required=True, metavar="DIR", help="folder of DEAM")
    parser.add_argument("--fme24", type=Path, required=True, metavar="DIR", help="of FME-24")
    args = parser.parse_args(arguments)

    def run() -> None:
        engine = load_engine(args.model)
        deam = load_collection(f"deam={args.deam}")
        film = load_collection(f"fme24={args.fme24}")
        result = measure(engine, deam, film, args.seed)
        write_result(args.out, {**provenance(engine, args.seed, deam, "test"), **result})

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
