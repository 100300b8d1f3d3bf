"""Change events: how many changes are found, how soon, and how many are false.

python benchmarks/studies/events.py --data deam=DIR --data 4q=DIR --data vgmidi=DIR

Each stream is analysed at two estimates per second. DEAM and 4Q: clips of different songs, joined.
VGMIDI: pieces as a whole. Gaps: DEAM's clips with silence or noise between them. The demo. The
constants of the detector and of the baseline were chosen with --half choose; --half report has the
other songs. The half of a song depends on the name of its artist or game.
"""

from __future__ import annotations

import hashlib
import json
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from mer_engine import Engine, load_engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_STEPS, Clip, Collection
from numpy.typing import NDArray
from study import exit_code, provenance, show_progress, study_parser, write_result

from realtime_mer.audio import demo
from realtime_mer.audio.demo_piece import PASSAGES
from realtime_mer.core.change_detector import ChangeDetector
from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.types import Estimate
from realtime_mer.evaluation.predictions import estimate_clip
from realtime_mer.evaluation.report import trained_on

RATE_HZ = 16_000
TOLERANCE_S = 2.0
HALVES = ("choose", "report")
RISE, DROP, SECTION = EventKind.RISE, EventKind.DROP, EventKind.SECTION
# Joined clips: the clips of a stream; seconds of each that are used, from its first to its last.
CLIPS_PER_STREAM = {"deam": 6, "4q": 4}
# The previews of 4Q are faded in and out.
USED_S = {"deam": (0.0, 10.0), "4q": (3.0, 27.0)}
# Mean labels that differ by more make a rise or a drop; those that differ by less make none.
CLEAR_STEP = 0.3
NO_STEP = 0.1
# VGMIDI: the mean label of these seconds before and after a moment.
CURVE_S = 5.0
CURVE_STEP = 0.1
LONGEST_S = 180.0
GAP_S = (3.0, 8.0)
NOISE_S = 10.0
NOISE_DB = -40.0
# The baseline: the level of the last two seconds against that of the six seconds before. It was
# chosen as the detector was, by the mean of the F1 scores of joined clips.
LEVEL_STEP_DB = 5.0
LEVEL_HOLD_S = 6.0
LEVEL_S = (2.0, 6.0)
RANDOM_DRAWS = 20
_FADE_S = 0.01

Mono = NDArray[np.float32]
Times = dict[EventKind, list[float]]


@dataclass(frozen=True)
class Stream:
    """A stream whose changes are known.

    Attributes:
        source: the row of the table that it counts for.
        name: unique within the source.
        audio: returns the samples, float32 [n] at `RATE_HZ`.
        changes: for each kind that is measured, the stream times of its changes in seconds.
        unclear: times at which a rise or a drop is neither right nor wrong.
        moods: word, start and end of each passage whose mood is known.
    """

    source: str
    name: str
    audio: Callable[[], Mono]
    changes: Times
    unclear: Sequence[float] = ()
    moods: Sequence[tuple[str, float, float]] = ()


@dataclass
class Score:
    """Sums of one kind of event over the streams of a source."""

    hours: float = 0.0
    changes: int = 0
    events: int = 0
    hits: int = 0
    delays_s: list[float] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)

    def add(self, events: Sequence[tuple[float, float]], stream: Stream, kind: EventKind) -> None:
        """Match events, as times of change and detection, with the changes of a stream."""
        left = list(stream.changes[kind])
        unclear = stream.unclear if kind in (RISE, DROP) else ()
        self.changes += len(left)
        for t, detected_s in events:
            near = [change for change in left if abs(change - t) <= TOLERANCE_S + 1e-6]
            if near:
                change = min(near, key=lambda change: abs(change - t))
                left.remove(change)
                self.hits += 1
                self.delays_s.append(detected_s - change)
                self.lags_s.append(detected_s - t)
            elif any(abs(moment - t) <= TOLERANCE_S for moment in unclear):
                continue
            self.events += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and what follows from them; None where nothing can be said."""
        return {
            "hours": round(self.hours, 4),
            "changes": self.changes,
            "events": self.events,
            "hits": self.hits,
            "precision": round(self.hits / self.events, 4) if self.events else None,
            "recall": round(self.hits / self.changes, 4) if self.changes else None,
            "false_per_hour": round((self.events - self.hits) / self.hours, 2),
            "delay_s": _percentiles(self.delays_s),
            "lag_s": _percentiles(self.lags_s),
        }


def joined_clips(collection: Collection, split: str, half: str, seed: int) -> Iterator[Stream]:
    """Yield streams of clips in random order; DEAM's clips come in two orders."""
    first_s, last_s = USED_S[collection.name]
    files = {
        clip.path: clip for clip in collection.clips_of(split) if _half(collection, clip) == half
    }
    clips = [Clip(clip.song, clip.path, 0.0, first_s, last_s - first_s) for clip in files.values()]
    size = CLIPS_PER_STREAM[collection.name]
    rng = np.random.default_rng(seed)
    for order in range(2 if collection.name == "deam" else 1):
        shuffled = [clips[index] for index in rng.permutation(len(clips))]
        for start in range(0, len(shuffled) - size + 1, size):
            part = shuffled[start : start + size]
            yield _joined(collection, part, last_s - first_s, f"{half} {seed} {order} {start}")


def _joined(collection: Collection, clips: Sequence[Clip], length_s: float, name: str) -> Stream:
    joins = [length_s * index for index in range(1, len(clips))]
    steps = np.diff([_arousal(collection, clip) for clip in clips]).tolist()
    changes: Times = {SECTION: joins, RISE: [], DROP: []}
    unclear = []
    for join, step in zip(joins, steps, strict=True):
        if abs(step) > CLEAR_STEP:
            changes[RISE if step > 0 else DROP].append(join)
        elif abs(step) >= NO_STEP or collection.labelled == "quadrant":
            unclear.append(join)  # songs of the same half of the plane may differ

    def audio() -> Mono:
        return np.concatenate([_faded(_fitted(_mono(clip), length_s)) for clip in clips])

    return Stream(f"{collection.name}, joined", name, audio, changes, unclear)


def _arousal(collection: Collection, clip: Clip) -> float:
    """Return the mean arousal label of a clip, or the sign of its song's."""
    quadrant = collection.songs[clip.song].quadrant
    if collection.labelled == "quadrant":
        assert quadrant is not None
        return float(quadrant[1])
    labelled = next(other for other in collection.clips if other.path == clip.path)
    return float(np.nanmean(collection.labels(labelled, CLIP_STEPS)[:, 1]))


def whole_pieces(collection: Collection, half: str) -> Iterator[Stream]:
    """Yield the first three minutes of the pieces, one rendering of each."""
    seen: set[str] = set()
    for clip in collection.clips:
        if clip.song in seen or _half(collection, clip) != half:
            continue
        seen.add(clip.song)
        curve = collection.curves[clip.song][1]
        times = np.arange(0.5, min(float(curve.times_s[-1]), LONGEST_S) + 1e-6, 0.5)
        changes = curve_changes(times, np.interp(times, curve.times_s, curve.values))
        whole = Clip(clip.song, clip.path, 0.0, 0.0, float(times[-1]))
        yield Stream("vgmidi, curves", clip.song, partial(_mono, whole), changes)


def curve_changes(times_s: NDArray[np.float64], arousal: NDArray[np.float64]) -> Times:
    """Return the moments at which a label curve moves most.

    The mean over `CURVE_S` after such a moment differs by `CURVE_STEP` or more from that before,
    and by less at all moments within `CURVE_S`.

    Args:
        times_s, arousal: float64 [n], every half second.
    """
    changes: Times = {RISE: [], DROP: []}
    size = round(CURVE_S / 0.5)
    if len(arousal) < 2 * size:
        return changes
    windows = np.lib.stride_tricks.sliding_window_view(arousal, size).mean(axis=1)
    steps = windows[size:] - windows[:-size]
    taken: list[int] = []
    for index in np.argsort(-np.abs(steps), kind="stable").tolist():
        if abs(steps[index]) < CURVE_STEP:
            break
        if all(abs(index - other) > size for other in taken):
            taken.append(index)
            changes[RISE if steps[index] > 0 else DROP].append(float(times_s[index + size - 1]))
    return changes


def gaps(collection: Collection, split: str, half: str, seed: int) -> Iterator[Stream]:
    """Yield streams of clips with silence, or noise, between them."""
    clips = [clip for clip in collection.clips_of(split) if _half(collection, clip) == half]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(clips)).tolist()
    for what in ("silence", "noise"):
        for start in range(0, min(len(clips), 90) - 2, 3):
            three = [clips[index] for index in order[start : start + 3]]
            lengths_s = (
                rng.uniform(*GAP_S, 4).round(1) if what == "silence" else np.full(4, NOISE_S)
            )
            yield _with_gaps(three, lengths_s.tolist(), what, f"{half} {seed} {start}")


def _with_gaps(clips: Sequence[Clip], lengths_s: Sequence[float], what: str, name: str) -> Stream:
    t = 0.0
    changes: Times = {EventKind.MUSIC: [], EventKind.SILENCE: []}
    for length_s in lengths_s[:-1]:
        changes[EventKind.MUSIC].append(t + length_s)
        t += length_s + USED_S["deam"][1]
        changes[EventKind.SILENCE].append(t)

    def audio() -> Mono:
        parts = []
        for number, length_s in enumerate(lengths_s):
            parts.append(_gap(what, length_s, number))
            if number < len(clips):
                parts.append(_faded(_fitted(_mono(clips[number]), USED_S["deam"][1])))
        return np.concatenate(parts)

    return Stream(f"gaps, {what}", name, audio, changes)


def _gap(what: str, length_s: float, seed: int) -> Mono:
    """Return digital silence, or noise with the same power in every octave."""
    size = round(length_s * RATE_HZ)
    if what == "silence":
        return np.zeros(size, np.float32)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(size, 1 / RATE_HZ), 40.0))
    noise = np.fft.irfft(spectrum, size)
    return np.asarray(noise * 10 ** (NOISE_DB / 20) / np.sqrt((noise**2).mean()), np.float32)


def demo_twice() -> Stream:
    """Return the demo, played twice."""
    starts = [
        passage.start_s + round_s for round_s in (0.0, demo.DURATION_S) for passage in PASSAGES
    ]
    passages = PASSAGES * 2
    changes: Times = {SECTION: starts[1:], RISE: [], DROP: [], EventKind.MOOD_ENTER: starts}
    for before, after, start in zip(passages, passages[1:], starts[1:], strict=False):
        if before.arousal != after.arousal:
            changes[RISE if after.arousal > 0 else DROP].append(start)
    moods = [
        (passage.name, start, start + passage.end_s - passage.start_s)
        for passage, start in zip(passages, starts, strict=True)
    ]

    def audio() -> Mono:
        mono = demo.render_demo().astype(np.float32).mean(axis=1) / 32768
        return np.asarray(soxr.resample(np.tile(mono, 2), demo.SAMPLE_RATE_HZ, RATE_HZ), np.float32)

    return Stream("demo", "twice", audio, changes, moods=moods)


def measure(
    engine: Engine, streams: Sequence[Stream], *, cache: Path | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Measure detector and baselines.

    Args:
        engine: the model.
        streams: the streams, in any order.
        cache: folder for the estimates of each stream; None to keep none.
        seed: of the random times.

    Returns:
        A row for each source, kind and method (`detector`, `level`, `random`), see `Score.to_dict`.
        The events of `random` are as many as those of the detector, at random times of the stream.
    """
    rng = np.random.default_rng(seed)
    scores: dict[tuple[str, EventKind, str], Score] = {}
    for number, stream in enumerate(streams, start=1):
        estimates = _estimates(engine, stream, cache)
        hours = estimates[-1].t / 3600
        detector = ChangeDetector()
        found = [event for estimate in estimates for event in detector.add(estimate)]
        level = level_events(estimates)
        for kind in stream.changes:
            own = [event for event in found if event.kind is kind]
            if kind is EventKind.MOOD_ENTER:
                score = scores.setdefault((stream.source, kind, "detector"), Score())
                score.hours += hours
                _add_moods(score, own, stream)
                continue
            times = [(event.t, event.detected_t) for event in own]
            draws = {"detector": [times]}
            if kind in level:
                draws["level"] = [level[kind]]
            draws["random"] = [
                [(t, t) for t in np.sort(rng.uniform(0, estimates[-1].t, len(own))).tolist()]
                for _ in range(RANDOM_DRAWS)
            ]
            for method, lists in draws.items():
                score = scores.setdefault((stream.source, kind, method), Score())
                for events in lists:
                    score.hours += hours
                    score.add(events, stream, kind)
        show_progress(number, len(streams))
    return [
        {"source": source, "kind": str(kind), "method": method, **score.to_dict()}
        for (source, kind, method), score in scores.items()
    ]


def level_events(estimates: Sequence[Estimate]) -> dict[EventKind, list[tuple[float, float]]]:
    """Find rises, drops and sections from the level alone, as a meter with a threshold would."""
    events: dict[EventKind, list[tuple[float, float]]] = {RISE: [], DROP: [], SECTION: []}
    powers = np.array([10 ** (estimate.level_db / 10) for estimate in estimates])
    new, before = (round(seconds / 0.5) for seconds in LEVEL_S)
    held_until_s = 0.0
    for index in range(new + before, len(estimates)):
        t = estimates[index].t
        parts = powers[index - new - before + 1 : index + 1]
        step_db = 10 * np.log10(parts[before:].mean() / parts[:before].mean())
        if abs(step_db) >= LEVEL_STEP_DB and t >= held_until_s:
            held_until_s = t + LEVEL_HOLD_S
            for kind in (RISE if step_db > 0 else DROP, SECTION):
                events[kind].append((t - 1.0, t))
    return events


def _add_moods(score: Score, events: Sequence[Event], stream: Stream) -> None:
    """Count a passage as found where its word begins within it."""
    score.changes += len(stream.moods)
    score.events += len(events)
    for word, start, end in stream.moods:
        times = [event.detected_t for event in events if event.mood == word]
        inside = [t for t in times if start < t <= end]
        if inside:
            score.hits += 1
            score.delays_s.append(inside[0] - start)
            score.lags_s.append(0.0)


def _estimates(engine: Engine, stream: Stream, cache: Path | None) -> list[Estimate]:
    path = None
    if cache is not None:
        key = f"{engine.info.sha256} {stream.source} {stream.name}"
        path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.jsonl"
        if path.is_file():
            return [Estimate.from_dict(json.loads(line)) for line in path.read_text().splitlines()]
    estimates = estimate_clip(engine, stream.audio(), RATE_HZ)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(estimate.to_dict()) + "\n" for estimate in estimates]
        path.write_text("".join(lines))
    return estimates


def _half(collection: Collection, clip: Clip) -> str:
    name = collection.songs[clip.song].artist or clip.song
    return HALVES[hashlib.sha256(name.encode()).digest()[0] % 2]


def _mono(clip: Clip) -> Mono:
    samples, rate = read_channels(clip)
    mono = samples.mean(axis=1)
    return np.asarray(soxr.resample(mono, rate, RATE_HZ) if rate != RATE_HZ else mono, np.float32)


def _fitted(mono: Mono, length_s: float) -> Mono:
    """Cut or repeat a clip to a length."""
    return np.resize(mono, round(length_s * RATE_HZ))


def _faded(mono: Mono) -> Mono:
    fade = round(_FADE_S * RATE_HZ)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    mono[:fade] *= ramp
    mono[-fade:] *= ramp[::-1]
    return mono


def _percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    median, p90 = np.percentile(seconds, (50, 90))
    return {"median": round(float(median), 2), "p90": round(float(p90), 2)}


def _split(collection: Collection) -> str:
    """Return the split to measure: songs that the model was not fitted to, where there are some."""
    return "test" if collection.name == "deam" else "all"


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("events", __doc__ or "", split=None)
    parser.add_argument(
        "--data", required=True, action="append", type=_source, metavar="DATA",
        help="deam=DIR, 4q=DIR or vgmidi=DIR; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--half", choices=HALVES, default="report",
        help="the songs that the constants were chosen on, or the others (default: report)",
    )  # fmt: skip
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the estimates here")
    args = parser.parse_args(arguments)

    def run() -> None:
        engine = load_engine(args.model)
        streams, data = _streams(engine, args)
        result = {
            **provenance(engine, args.seed),
            "half": args.half,
            "tolerance_s": TOLERANCE_S,
            "data": ", ".join(entry["name"] for entry in data),
            "collections": data,
            "rows": measure(engine, streams, cache=args.cache, seed=args.seed),
        }
        write_result(args.out, result)
        for row in result["rows"]:
            print(*(f"{row[key]!s:>18}" for key in _SHOWN))

    return exit_code(run)


_SHOWN = (
    "source", "kind", "method", "changes", "events", "precision", "recall", "false_per_hour",
)  # fmt: skip


def _streams(engine: Engine, args: Namespace) -> tuple[list[Stream], list[dict[str, Any]]]:
    streams: list[Stream] = []
    data = []
    for source in args.data:
        collection = load_collection(source).with_all()
        if collection.name == "vgmidi":
            found = list(whole_pieces(collection, args.half))
        elif collection.name in CLIPS_PER_STREAM:
            split = _split(collection)
            found = list(joined_clips(collection, split, args.half, args.seed))
            if collection.name == "deam":
                found += gaps(collection, split, args.half, args.seed)
        else:
            raise DataError(f"{source}: give deam=DIR, 4q=DIR or vgmidi=DIR")
        if not found:
            raise DataError(f"{source} has too few songs for one stream")
        streams += found[: args.songs]
        data.append(
            {
                "name": collection.name,
                "split": _split(collection),
                "songs": len(collection.songs),
                "streams": len(found),
                "model_was_trained_on_these_songs": trained_on(
                    engine.info, collection, _split(collection)
                ),
            }
        )
    return [*streams, demo_twice()], data


def _source(text: str) -> str:
    if "=" not in text:
        raise ArgumentTypeError(f"{text!r} names no collection; write, for example, deam={text}")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
