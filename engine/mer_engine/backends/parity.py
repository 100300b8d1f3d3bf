"""The parity gate: a backend may serve if it tells what the torch reference tells.

64 windows of made-up music go through a backend in the very calls that a stream makes: one step or
two at a time, a tenth of a second at a time, several streams at once, a whole window from nothing;
each with the maps and embeddings that the backend itself gave before. What the reference tells of
them is stored in the model file when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Engine, silent_maps
from mer_engine.errors import ModelError
from mer_engine.model_file import DIMENSIONS, ModelInfo

WINDOWS = 64
# Of the music and the calls below: answers to others say nothing.
VERSION = 1
# Largest difference allowed, in units of valence and arousal.
LIMITS = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-3}
# Decimals that are stored: a hundredth of what fp32 is allowed.
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class _Stream:
    """Streams of one batch.

    Attributes:
        songs: how many, each with music of its own.
        ends: frame at which each update ends, in order.
    """

    songs: int
    ends: tuple[int, ...]


def _streams(step: int, lag_max: int) -> tuple[_Stream, ...]:
    """The 64 windows, for steps of so many frames and windows of up to so many steps."""
    whole = lag_max * step
    return (
        _Stream(1, tuple(step * n for n in range(1, 25))),  # a step at a time
        _Stream(2, tuple(2 * step * n for n in range(1, 11))),  # two at a time, two streams
        _Stream(3, (4 * step, 5 * step)),  # several new steps at once, three streams
        _Stream(1, tuple(step + n * step // 5 for n in range(8))),  # a fifth of a step at a time
        _Stream(1, tuple(whole + 2 * step * n for n in range(6))),  # a whole window from nothing
    )


@dataclass(frozen=True, slots=True)
class ParityResult:
    """How far a backend is from the reference.

    Attributes:
        backend, precision: whose answers they are.
        valence, arousal, interval: largest difference in each, in units of valence and arousal.
        limit: what is allowed.
    """

    backend: str
    precision: str
    valence: float
    arousal: float
    interval: float
    limit: float

    @property
    def worst(self) -> float:
        """The largest of the differences; NaN where an answer is not a number."""
        return float(np.max([self.valence, self.arousal, self.interval]))

    @property
    def passed(self) -> bool:
        """Whether the backend may serve."""
        return self.worst <= self.limit

    @property
    def figures(self) -> str:
        """The differences in words."""
        return (
            f"valence {self.valence:.1e}, arousal {self.arousal:.1e}, interval {self.interval:.1e}"
            f"; allowed are {self.limit:.0e} in {self.precision}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {
            "precision": self.precision,
            "valence": self.valence,
            "arousal": self.arousal,
            "interval": self.interval,
            "limit": self.limit,
            "passed": self.passed,
        }


def answers(engine: Engine) -> NDArray[np.float64]:
    """What an engine tells of the 64 windows.

    Returns:
        float64 [64, 2, 2, 3]: of the whole window and of its newest steps alone, valence and
        arousal, each as value and interval from low to high.
    """
    info = engine.info
    told = [
        row
        for number, stream in enumerate(_streams(info.frames_per_step, info.lag_order_max))
        for row in _play(engine, stream, seed=number)
    ]
    return np.concatenate(told)


def _play(engine: Engine, stream: _Stream, seed: int) -> list[NDArray[np.float64]]:
    info = engine.info
    size = info.frames_per_step
    frames = np.stack(
        [_music(info, stream.ends[-1], 100 * seed + song) for song in range(stream.songs)]
    )
    # Silence before the beginning, as far back as any window looks.
    silence = silent_maps(info, stream.songs)
    maps = np.repeat(silence[:, :1], info.map_context + (info.lag_order_max + 1) * size, axis=1)
    embeddings: dict[int, NDArray[np.float32]] = {}
    told, start = [], 0
    for end in stream.ends:
        lag = min(end // size, info.lag_order_max)
        new = next(k for k in range(1, lag + 1) if k == lag or end - k * size in embeddings)
        past = [embeddings[end - n * size] for n in range(lag - 1, new - 1, -1)]
        count = info.map_context + new * size - (end - start)
        nothing = np.zeros((stream.songs, 0, info.embedding_size), np.float32)
        answer = engine.infer(
            np.ascontiguousarray(frames[:, start:end]),
            np.ascontiguousarray(maps[:, maps.shape[1] - count :]),
            np.stack(past, axis=1) if past else nothing,
        )
        maps = np.concatenate([maps, answer.maps], axis=1)[:, -maps.shape[1] :]
        for place in range(new):
            embeddings[end - (new - 1 - place) * size] = answer.steps[:, place]
        both = (
            info.values(answer.probabilities, lag),
            info.values(answer.fast, min(lag, info.fast_lag_order)),
        )
        rows = [np.stack([values.mean, values.low, values.high], axis=2) for values in both]
        told.append(np.stack(rows, axis=1))
        start = end
    return told


def store(told: NDArray[np.float64]) -> dict[str, Any]:
    """The reference's answers in the form that a model file keeps, see `ModelInfo.parity`."""
    return {"version": VERSION, "answers": np.round(told, _DECIMALS).tolist()}


def refusal(verdict: ParityResult) -> dict[str, Any]:
    """What a model file keeps in place of answers, where rounding alone moves them too far."""
    return {"version": VERSION, "refused": verdict.figures}


def has_answers(info: ModelInfo) -> bool:
    """Whether a model file holds the reference's answers to these windows."""
    stored = info.parity
    return stored is not None and stored.get("version") == VERSION and "refused" not in stored


def check(engine: Engine) -> ParityResult:
    """Hold an engine against the answers that its model file keeps of the reference.

    Raises:
        ModelError: the file keeps none, or they are damaged.
    """
    return compare(engine, stored_answers(engine.info))


def stored_answers(info: ModelInfo) -> NDArray[np.float64]:
    """The reference's answers in a model file: float64 [64, 2, 2, 3], see `answers`.

    Raises:
        ModelError: the file keeps none, or they are damaged.
    """
    if info.parity is None or not has_answers(info):
        raise ModelError(no_answers(info))
    try:
        expected = np.asarray(info.parity["answers"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("the model file's answers to the parity gate are damaged") from error
    if expected.shape != (WINDOWS, 2, len(DIMENSIONS), 3) or not np.isfinite(expected).all():
        raise ModelError(
            f"the model file's answers to the parity gate are damaged: their shape is "
            f"{expected.shape}"
        )
    return expected


def no_answers(info: ModelInfo) -> str:
    """Why a model file does not hold the reference's answers, in a sentence."""
    if info.parity is not None and "refused" in info.parity:
        return (
            f"rounding alone moves what the model {info.name} tells by {info.parity['refused']}, "
            "so that no other backend can be held to it; train it longer"
        )
    return (
        f"the model file {info.name} does not hold the reference's answers to the parity gate's "
        "windows, so that no other backend can be held to it; train or export it again"
    )


def compare(engine: Engine, expected: NDArray[np.float64]) -> ParityResult:
    """Hold an engine against given answers, float64 [64, 2, 2, 3], see `answers`."""
    apart = np.abs(answers(engine) - expected)
    worst = apart.max(axis=(0, 1))  # [valence and arousal, value and both ends]
    return ParityResult(
        backend=engine.backend,
        precision=precision_of(engine),
        valence=float(worst[0, 0]),
        arousal=float(worst[1, 0]),
        interval=float(worst[:, 1:].max()),
        limit=LIMITS[precision_of(engine)],
    )


def from_dict(backend: str, data: Mapping[str, Any]) -> ParityResult:
    """The verdict that `ParityResult.to_dict` gave.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    numbers = {name: float(data[name]) for name in ("valence", "arousal", "interval")}
    precision = str(data["precision"])
    return ParityResult(backend=backend, precision=precision, limit=LIMITS[precision], **numbers)


def precision_of(engine: Engine) -> str:
    """In what an engine computes: fp32 unless it says otherwise."""
    return str(getattr(engine, "precision", "fp32"))


def _music(info: ModelInfo, frames: int, seed: int) -> NDArray[np.float32]:
    """Features of made-up music, float32 [frames, width]: notes, a beat, a slope, some noise."""
    front = info.frontend
    bands = front.bands
    # Raw bits: numpy promises that these never change, unlike its distributions.
    raw = np.random.PCG64(seed).random_raw(64 + frames * bands)
    uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    chance, noise = uniform[:64], uniform[64:].reshape(frames, bands)
    time_s = np.arange(frames)[:, None] / front.frames_per_second
    height = np.linspace(0.0, 1.0, bands)[None]
    tempo_hz = 1.0 + 2.5 * chance[0]
    beat = np.exp(-4.0 * (time_s * tempo_hz % 1.0))
    # A new chord every so often, of three notes that move through the octave.
    chord = (time_s[:, 0] * (0.3 + chance[1])).astype(int) % 4
    roots = (chance[2:6] * 12).astype(int)[chord]
    third = 3 + (chance[6] > 0.5)
    notes = np.stack([roots, roots + third, roots + 7], axis=1)
    power = (1.5 + chance[7]) * (1.0 - (0.4 + 0.5 * chance[8]) * height)
    power = power + (0.2 + chance[9]) * beat * (1.0 - height) + 0.3 * noise
    for note in notes.T:
        middle = 0.1 + 0.02 * note[:, None]
        for partial in range(1, 5):
            away = (height - middle * partial**0.7) / 0.015
            power = power + (0.4 + chance[10]) / partial * np.exp(-(away**2))
    # Louder and softer within the song, with a rest now and then.
    swell = 0.75 + 0.25 * np.sin(2 * np.pi * (0.05 + 0.1 * chance[11]) * time_s)
    rest = (np.sin(2 * np.pi * 0.11 * time_s + 6.0 * chance[12]) > -0.97).astype(float)
    parts = [power * swell * (0.05 + 0.95 * rest)]
    classes = front.pitch_classes
    if classes:
        # A class holds for as long as the front-end holds it.
        every = front.chroma_hop // front.hop
        held = np.arange(frames) // every * every
        strength = np.full((frames, classes), 0.02)
        for weight, note in zip((0.4, 0.3, 0.2), notes[held].T, strict=True):
            strength[np.arange(frames), note % classes] += weight
        parts.append(strength / strength.sum(1, keepdims=True))
    if front.peaks:
        # The beat stands out from the rest.
        parts.append(parts[0].mean(1, keepdims=True) * (1.0 + (0.1 + 0.2 * chance[13]) * beat))
    return np.concatenate(parts, axis=1).astype(np.float32)
