"""Measure onsets, beats and tempo on sounds whose times are known.

python benchmarks/beats.py --vgmidi DIR --emopia DIR

Metronomes, alone and in noise; the built-in demo; and the MIDI files of VGMIDI (game scores on a
piano: onsets, beats and tempo) and EMOPIA (pop piano as played: onsets alone), rendered with
fluidsynth. The constants of the tracker were chosen with the files whose name has an even SHA-256;
measured are the others. Needs mido (the extra `midi`) and fluidsynth.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

from realtime_mer.audio.demo_piece import PASSAGE_S, RENDERERS
from realtime_mer.bench.machine import describe_machine
from realtime_mer.core.beat_tracker import BeatTracker
from realtime_mer.core.events import RhythmKind
from realtime_mer.core.onset_detector import OnsetDetector

RATE_HZ = 44_100
BLOCK = 441  # 10 ms
PIECE_S = 40.0
# Beats and tempo count from here on: before, the tracker has heard too little.
SETTLED_S = 5.0
ONSET_S = 0.05
BEAT_S = 0.07
TEMPO_SHARE = 0.04
# Notes that begin this soon after another one are part of the same onset.
CHORD_S = 0.03
METRONOME_BPM = range(60, 181, 10)
DEMO_BPM = {"calm": 64.0, "joyful": 128.0, "tense": 160.0, "sad": 48.0}
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
RESULT = Path("benchmarks") / "results" / "beats.json"

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """A sound and what is true of it.

    Attributes:
        samples: float32 [n] at `RATE_HZ`.
        onsets: times in seconds; None if they are not known.
        beats: times in seconds; None if they are not known.
    """

    samples: NDArray[np.float32]
    onsets: Times | None
    beats: Times | None


@dataclass
class Counts:
    """Times of one kind: found, true, and both at once."""

    found: int = 0
    true: int = 0
    both: int = 0

    def add(self, found: Times, true: Times, within_s: float) -> Times:
        """Count one piece; return by how much the found times are late, of those that are true."""
        late = matches(found, true, within_s)
        self.found += len(found)
        self.true += len(true)
        self.both += len(late)
        return late

    def to_dict(self) -> dict[str, float]:
        return {
            "precision": self.both / max(1, self.found),
            "recall": self.both / max(1, self.true),
            "f1": 2 * self.both / max(1, self.found + self.true),
        }


@dataclass
class Row:
    """The sums of a set of pieces.

    Attributes:
        metrical_f1: for each piece the best F1 of its beats if off-beats, the double and the half
            tempo are allowed.
        tempo: for each second of each piece, whether the tempo is right, and up to octaves.
        onset_delays_s, beat_delays_s: from the sound to the end of the block with which it is told.
    """

    name: str
    pieces: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    onsets: Counts = field(default_factory=Counts)
    beats: Counts = field(default_factory=Counts)
    metrical_f1: list[float] = field(default_factory=list)
    tempo: list[tuple[bool, bool]] = field(default_factory=list)
    onset_delays_s: list[float] = field(default_factory=list)
    beat_delays_s: list[float] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Let the tracker hear a piece, block by block, and count."""
        detector, tracker = OnsetDetector(RATE_HZ), BeatTracker()
        told: dict[RhythmKind, list[tuple[float, float]]] = {kind: [] for kind in RhythmKind}
        tempi = []
        began = time.process_time()
        for start in range(0, len(piece.samples), BLOCK):
            block = piece.samples[start : start + BLOCK]
            for event in tracker.follow(detector.feed(block)):
                told[event.kind].append((event.t, (start + len(block)) / RATE_HZ))
            tempi.append(tracker.bpm or 0.0)
        self.cpu_s += time.process_time() - began
        self.pieces += 1
        self.seconds += len(piece.samples) / RATE_HZ
        onsets, beats = (np.array(told[kind]).reshape(-1, 2) for kind in RhythmKind)
        if piece.onsets is not None:
            self.onsets.add(onsets[:, 0], piece.onsets, ONSET_S)
            self.onset_delays_s += list(matches(onsets[:, 1], piece.onsets, 2 * ONSET_S))
        if piece.beats is not None:
            self._add_beats(beats[beats[:, 0] >= SETTLED_S], piece.beats, np.array(tempi))

    def _add_beats(self, found: Times, true: Times, tempi: Times) -> None:
        end = true[-1]
        settled = true[true >= SETTLED_S]
        found = found[found[:, 0] <= end + BEAT_S]
        self.beats.add(found[:, 0], settled, BEAT_S)
        self.beat_delays_s += list(matches(found[:, 1], settled, BEAT_S))
        between = (settled[1:] + settled[:-1]) / 2
        levels = [settled, between, np.sort(np.concatenate((settled, between)))]
        levels += [settled[::2], settled[1::2]]
        self.metrical_f1.append(max(f1(found[:, 0], level) for level in levels))
        moments = np.arange(SETTLED_S, end)
        periods = np.interp(moments, (true[1:] + true[:-1]) / 2, np.diff(true))
        for moment, period_s in zip(moments, periods, strict=True):
            ratio = tempi[int(moment * RATE_HZ / BLOCK) - 1] * period_s / 60.0
            right = [abs(ratio / octave - 1.0) <= TEMPO_SHARE for octave in (1, 2, 3, 1 / 2, 1 / 3)]
            self.tempo.append((right[0], any(right)))

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": self.name,
            "pieces": self.pieces,
            "seconds": self.seconds,
            "core_share": self.cpu_s / self.seconds,
        }
        if self.onsets.true:
            row["onsets"] = self.onsets.to_dict()
            row["onset_delay_ms"] = percentiles_ms(self.onset_delays_s)
        if self.beats.true:
            row["beats"] = self.beats.to_dict()
            row["beat_delay_ms"] = percentiles_ms(self.beat_delays_s)
            row["metrical_f1"] = float(np.mean(self.metrical_f1))
            accuracy = np.mean(self.tempo, axis=0)
            row["tempo"] = {"accuracy_1": float(accuracy[0]), "accuracy_2": float(accuracy[1])}
        return row


def matches(found: Times, true: Times, within_s: float) -> Times:
    """Return found less true time of each pair; each time is in at most one pair."""
    late, i, j = [], 0, 0
    while i < len(found) and j < len(true):
        difference = found[i] - true[j]
        if abs(difference) <= within_s:
            late.append(difference)
        i += difference <= within_s
        j += difference >= -within_s
    return np.array(late)


def f1(found: Times, true: Times) -> float:
    """Return the F1 of the beats of one piece."""
    both = len(matches(found, true, BEAT_S))
    return 2 * both / max(1, len(found) + len(true))


def percentiles_ms(delays_s: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds."""
    if not delays_s:
        return {}
    p50, p95 = np.percentile(delays_s, (50, 95))
    return {"p50": 1e3 * float(p50), "p95": 1e3 * float(p95)}


def metronome(bpm: float, noise_db: float | None, rng: np.random.Generator) -> Piece:
    """Return 20 s of clicks; the noise is relative to the mean power of a click of 50 ms."""
    beats = np.arange(0.5, 19.8, 60.0 / bpm)
    samples = np.zeros(20 * RATE_HZ, dtype=np.float32)
    t = np.arange(RATE_HZ // 20) / RATE_HZ
    click = (0.5 * np.sin(2 * np.pi * 1000.0 * t) * np.exp(-t / 0.01)).astype(np.float32)
    for beat in beats:
        start = round(beat * RATE_HZ)
        samples[start : start + len(click)] += click
    if noise_db is not None:
        level = float(np.sqrt(np.mean(click**2))) * 10.0 ** (noise_db / 20.0)
        samples += (level * rng.standard_normal(len(samples))).astype(np.float32)
    return Piece(samples, beats, beats)


def demo(name: str) -> Piece:
    """Return a passage of the demo."""
    samples = RENDERERS[name]().mean(axis=0)[: round(PASSAGE_S * RATE_HZ)]
    return Piece(samples, None, np.arange(0.0, PASSAGE_S, 60.0 / DEMO_BPM[name]))


def held_out(folder: Path, most: int | None) -> list[Path]:
    """Return the MIDI files that the tracker was not tuned with, evenly spaced if there are more.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = sorted(folder.rglob("*.mid"))
    paths = [p for p in paths if int(hashlib.sha256(p.name.encode()).hexdigest()[:8], 16) % 2]
    if not paths:
        raise FileNotFoundError(f"{folder} has no MIDI files to measure")
    return paths if most is None else paths[:: -(-len(paths) // most)]


def score(path: Path) -> tuple[Times, Times]:
    """Return the times of the onsets and of the quarter notes of a MIDI file, in seconds."""
    file = mido.MidiFile(path)
    onsets: list[float] = []
    beats: list[float] = []
    seconds, ticks, tempo = 0.0, 0, 500_000
    for message in mido.merge_tracks(file.tracks):
        while len(beats) * file.ticks_per_beat <= ticks + message.time:
            ahead = len(beats) * file.ticks_per_beat - ticks
            beats.append(seconds + mido.tick2second(ahead, file.ticks_per_beat, tempo))
        seconds += mido.tick2second(message.time, file.ticks_per_beat, tempo)
        ticks += message.time
        if message.type == "set_tempo":
            tempo = message.tempo
        starts = message.type == "note_on" and message.velocity > 0
        if starts and (not onsets or seconds - onsets[-1] > CHORD_S):
            onsets.append(seconds)
    return np.array(onsets), np.array(beats)


def rendered(paths: Iterable[Path], soundfont: Path, *, with_beats: bool) -> Iterator[Piece]:
    """Yield the first seconds of MIDI files as a synthesizer plays them."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        for path in paths:
            subprocess.run(
                ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(RATE_HZ), "-O", "s16",
                 "-T", "wav", "-F", sound, soundfont, path],
                check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            samples, _ = soundfile.read(sound, dtype="float32", always_2d=True)
            samples = samples[: round(PIECE_S * RATE_HZ)].mean(axis=1)
            onsets, beats = score(path)
            onsets = onsets[onsets < len(samples) / RATE_HZ - 0.1]
            beats = beats[(beats >= onsets[0]) & (beats <= onsets[-1])]
            if len(beats) and beats[-1] > 2 * SETTLED_S:
                yield Piece(samples, onsets, beats if with_beats else None)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vgmidi", type=Path, metavar="DIR", help="folder with VGMIDI's files")
    parser.add_argument("--emopia", type=Path, metavar="DIR", help="folder with EMOPIA's files")
    parser.add_argument("--pieces", type=int, metavar="N", help="of each at most (default: all)")
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE")
    args = parser.parse_args(arguments)

    rng = np.random.default_rng(args.seed)
    sets: dict[str, Iterable[Piece]] = {
        "metronome, 60 to 180": (metronome(bpm, None, rng) for bpm in METRONOME_BPM),
        "noise 10 dB below it": (metronome(bpm, -10.0, rng) for bpm in METRONOME_BPM),
        "noise as loud as it": (metronome(bpm, 0.0, rng) for bpm in METRONOME_BPM),
        "demo, 48 to 160": (demo(name) for name in RENDERERS),
    }
    try:
        for name, folder in (("vgmidi", args.vgmidi), ("emopia", args.emopia)):
            if folder is not None:
                paths = held_out(folder, args.pieces)
                sets[name] = rendered(paths, args.soundfont, with_beats=name == "vgmidi")
        rows = []
        for name, pieces in sets.items():
            row = Row(name)
            for piece in pieces:
                row.add(piece)
            rows.append(row.to_dict())
            print(json.dumps(rows[-1]), file=sys.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 2
    result = {"seed": args.seed, "machine": describe_machine(), "rows": rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
