"""The parity gate: a backend may run if its outputs match those of the torch reference.

The gate runs 64 windows of synthetic music through a backend, with the calls that streams make: one
or two steps at a time, a tenth of a second at a time, several streams at once, a whole window from
the start. Each call uses the maps and embeddings that the backend itself returned before. The
reference's outputs for these windows are stored in the model file when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Engine, silent_maps
from mer_engine.errors import ModelError
from mer_engine.model_file import DIMENSIONS, ModelInfo

WINDOWS = 64
# Version of the music and the calls below. Stored outputs of another version are not comparable.
VERSION = 1
# Largest allowed difference, by precision, in units of valence and arousal.
LIMITS = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-3}
# Probabilities of the kinds of sound may differ by this multiple of it: they only choose a state,
# whose limits lie far apart (0.35 and 0.5).
SOUND_FACTOR = 10.0
# Stored decimals: a hundredth of the limit of fp32.
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class _Stream:
    """Streams that run in one batch.

    Attributes:
        songs: number of streams, each with its own music.
        ends: frame at which each update ends, in order.
    """

    songs: int
    ends: tuple[int, ...]


def _streams(step: int, lag_max: int) -> tuple[_Stream, ...]:
    """Return the streams of the 64 windows, for `step` frames a step and `lag_max` steps."""
    window = lag_max * step
    return (
        _Stream(1, tuple(step * n for n in range(1, 25))),  # a step at a time
        _Stream(2, tuple(2 * step * n for n in range(1, 11))),  # two at a time, two streams
        _Stream(3, (4 * step, 5 * step)),  # several new steps at once, three streams
        _Stream(1, tuple(step + n * step // 5 for n in range(8))),  # a fifth of a step at a time
        _Stream(1, tuple(window + 2 * step * n for n in range(6))),  # a whole window at the start
    )


class Predictions(NamedTuple):
    """An engine's outputs for the 64 windows.

    Attributes:
        values: float64 [64, 2, 2, 3]: for the whole window and for the fast output, valence and
            arousal, each as value, lower and upper end of the interval.
        sound: float64 [64, sounds], probabilities of the kinds of sound; None where the model has
            no such output.
    """

    values: NDArray[np.float64]
    sound: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class ParityResult:
    """Differences of a backend from the reference.

    Attributes:
        backend, precision: the backend that was compared.
        valence, arousal, interval: largest difference in each, in units of valence and arousal.
        limit: the largest allowed difference.
        sound: largest difference in the probabilities of the kinds of sound; None where the model
            has no such output.
    """

    backend: str
    precision: str
    valence: float
    arousal: float
    interval: float
    limit: float
    sound: float | None = None

    @property
    def worst(self) -> float:
        """The largest of the differences, that of `sound` divided by `SOUND_FACTOR`.

        NaN where an output is not a number.
        """
        sound = (self.sound or 0.0) / SOUND_FACTOR
        return float(np.max([self.valence, self.arousal, self.interval, sound]))

    @property
    def passed(self) -> bool:
        """Whether the backend may run."""
        return self.worst <= self.limit

    @property
    def figures(self) -> str:
        """The differences and their limit, as text."""
        sound, limit = "", ""
        if self.sound is not None:
            sound = f", sound {self.sound:.1e}"
            limit = f" ({SOUND_FACTOR * self.limit:.0e} for sound)"
        return (
            f"valence {self.valence:.1e}, arousal {self.arousal:.1e}, interval {self.interval:.1e}"
            f"{sound}; allowed are {self.limit:.0e}{limit} in {self.precision}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "precision": self.precision,
            "valence": self.valence,
            "arousal": self.arousal,
            "interval": self.interval,
            "sound": self.sound,
            "limit": self.limit,
            "passed": self.passed,
        }


def predict_windows(engine: Engine) -> Predictions:
    """Return an engine's outputs for the 64 windows."""
    info = engine.info
    updates = [
        update
        for number, stream in enumerate(_streams(info.frames_per_step, info.lag_order_max))
        for update in _run_stream(engine, stream, seed=number)
    ]
    sound = [update.sound for update in updates if update.sound is not None]
    return Predictions(
        np.concatenate([update.values for update in updates]),
        np.concatenate(sound) if sound else None,
    )


def _run_stream(engine: Engine, stream: _Stream, seed: int) -> list[Predictions]:
    """Return the outputs of each update, for `songs` windows."""
    info = engine.info
    size = info.frames_per_step
    frames = np.stack(
        [synthetic_music(info, stream.ends[-1], 100 * seed + song) for song in range(stream.songs)]
    )
    # Maps of silence for the longest time before the start that a call can include.
    silence = silent_maps(info, stream.songs)
    maps = np.repeat(silence[:, :1], info.map_context + (info.lag_order_max + 1) * size, axis=1)
    embeddings: dict[int, NDArray[np.float32]] = {}
    predictions, start = [], 0
    for end in stream.ends:
        lag = min(end // size, info.lag_order_max)
        new = next(k for k in range(1, lag + 1) if k == lag or end - k * size in embeddings)
        past = [embeddings[end - n * size] for n in range(lag - 1, new - 1, -1)]
        count = info.map_context + new * size - (end - start)
        nothing = np.zeros((stream.songs, 0, info.embedding_size), np.float32)
        output = engine.infer(
            np.ascontiguousarray(frames[:, start:end]),
            np.ascontiguousarray(maps[:, maps.shape[1] - count :]),
            np.stack(past, axis=1) if past else nothing,
        )
        maps = np.concatenate([maps, output.maps], axis=1)[:, -maps.shape[1] :]
        for index in range(new):
            embeddings[end - (new - 1 - index) * size] = output.steps[:, index]
        both = (
            info.values(output.probabilities, lag),
            info.values(output.fast, min(lag, info.fast_lag_order)),
        )
        rows = [np.stack([values.mean, values.low, values.high], axis=2) for values in both]
        sound = None if output.sound is None else output.sound.astype(np.float64)
        predictions.append(Predictions(np.stack(rows, axis=1), sound))
        start = end
    return predictions


def reference_metadata(predictions: Predictions) -> dict[str, Any]:
    """Return the reference's outputs in the form of `ModelInfo.parity`."""
    stored = {"version": VERSION, "answers": np.round(predictions.values, _DECIMALS).tolist()}
    if predictions.sound is not None:
        stored["sound"] = np.round(predictions.sound, _DECIMALS).tolist()
    return stored


def refusal_metadata(result: ParityResult) -> dict[str, Any]:
    """Return `ModelInfo.parity` for a network whose rounding errors alone exceed the limit."""
    return {"version": VERSION, "refused": result.figures}


def has_reference(info: ModelInfo) -> bool:
    """Return whether a model file has the reference's outputs for these windows."""
    stored = info.parity
    return stored is not None and stored.get("version") == VERSION and "refused" not in stored


def check(engine: Engine) -> ParityResult:
    """Compare an engine with the reference's outputs in its model file.

    Raises:
        ModelError: the file has no such outputs, or they are damaged.
    """
    return compare(engine, reference_predictions(engine.info))


def reference_predictions(info: ModelInfo) -> Predictions:
    """Return the reference's outputs in a model file, as `predict_windows` does.

    Raises:
        ModelError: the file has no such outputs, or they are damaged.
    """
    if info.parity is None or not has_reference(info):
        raise ModelError(missing_reference(info))
    try:
        values = np.asarray(info.parity["answers"], dtype=np.float64)
        sound = np.asarray(info.parity["sound"], dtype=np.float64) if info.sounds else None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("the model file's outputs for the parity gate are damaged") from error
    _check_shape(values, (WINDOWS, 2, len(DIMENSIONS), 3))
    if sound is not None:
        _check_shape(sound, (WINDOWS, len(info.sounds)))
    return Predictions(values, sound)


def _check_shape(stored: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    if stored.shape != shape or not np.isfinite(stored).all():
        raise ModelError(
            f"the model file's outputs for the parity gate are damaged: their shape is "
            f"{stored.shape} instead of {shape}, or they are not all numbers"
        )


def missing_reference(info: ModelInfo) -> str:
    """Return why a model file has no outputs of the reference, in a sentence."""
    if info.parity is not None and "refused" in info.parity:
        return (
            f"rounding errors alone change the outputs of the model {info.name} by "
            f"{info.parity['refused']}, so no other backend can be compared; train it longer"
        )
    return (
        f"the model file {info.name} lacks the reference's outputs for the parity gate, so no "
        "other backend can be compared; train or export it again"
    )


def compare(engine: Engine, expected: Predictions) -> ParityResult:
    """Compare an engine with given outputs.

    An engine that lacks the sound output of `expected` does not pass: its difference is NaN.
    """
    predictions = predict_windows(engine)
    difference = np.abs(predictions.values - expected.values)
    sound: float | None = None
    if expected.sound is not None:
        sound = np.nan if predictions.sound is None else _largest(predictions.sound, expected.sound)
    worst = difference.max(axis=(0, 1))  # [valence and arousal, value and both ends]
    return ParityResult(
        backend=engine.backend,
        precision=precision_of(engine),
        valence=float(worst[0, 0]),
        arousal=float(worst[1, 0]),
        interval=float(worst[:, 1:].max()),
        limit=LIMITS[precision_of(engine)],
        sound=sound,
    )


def _largest(values: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(np.abs(values - expected).max())


def from_dict(backend: str, data: Mapping[str, Any]) -> ParityResult:
    """Return the result whose `ParityResult.to_dict` is `data`.

    Raises:
        KeyError, TypeError, ValueError: `data` is something else.
    """
    numbers = {name: float(data[name]) for name in ("valence", "arousal", "interval")}
    precision = str(data["precision"])
    # Results of models without the output may have been stored before the output existed.
    sound = data.get("sound")
    return ParityResult(
        backend=backend,
        precision=precision,
        limit=LIMITS[precision],
        sound=None if sound is None else float(sound),
        **numbers,
    )


def precision_of(engine: Engine) -> str:
    """Return the precision of an engine; fp32 where it has no such attribute."""
    return str(getattr(engine, "precision", "fp32"))


def synthetic_music(info: ModelInfo, frames: int, seed: int) -> NDArray[np.float32]:
    """Return features of synthetic music, float32 [frames, width]: chords, a beat, noise."""
    front = info.frontend
    bands = front.bands
    # Raw bits: numpy guarantees that these stay the same, unlike its distributions.
    raw = np.random.PCG64(seed).random_raw(64 + frames * bands)
    uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    random, noise = uniform[:64], uniform[64:].reshape(frames, bands)
    time_s = np.arange(frames)[:, None] / front.frames_per_second
    height = np.linspace(0.0, 1.0, bands)[None]
    tempo_hz = 1.0 + 2.5 * random[0]
    beat = np.exp(-4.0 * (time_s * tempo_hz % 1.0))
    # Chords of three notes each, over four roots.
    chord = (time_s[:, 0] * (0.3 + random[1])).astype(int) % 4
    roots = (random[2:6] * 12).astype(int)[chord]
    third = 3 + (random[6] > 0.5)
    notes = np.stack([roots, roots + third, roots + 7], axis=1)
    power = (1.5 + random[7]) * (1.0 - (0.4 + 0.5 * random[8]) * height)
    power = power + (0.2 + random[9]) * beat * (1.0 - height) + 0.3 * noise
    for note in notes.T:
        middle = 0.1 + 0.02 * note[:, None]
        for partial in range(1, 5):
            distance = (height - middle * partial**0.7) / 0.015
            power = power + (0.4 + random[10]) / partial * np.exp(-(distance**2))
    # Crescendo and decrescendo, with occasional pauses.
    swell = 0.75 + 0.25 * np.sin(2 * np.pi * (0.05 + 0.1 * random[11]) * time_s)
    sounding = (np.sin(2 * np.pi * 0.11 * time_s + 6.0 * random[12]) > -0.97).astype(float)
    parts = [power * swell * (0.05 + 0.95 * sounding)]
    classes = front.pitch_classes
    if classes:
        # The front-end repeats the pitch classes between two computations.
        every = front.chroma_hop // front.hop
        computed = np.arange(frames) // every * every
        strength = np.full((frames, classes), 0.02)
        for weight, note in zip((0.4, 0.3, 0.2), notes[computed].T, strict=True):
            strength[np.arange(frames), note % classes] += weight
        parts.append(strength / strength.sum(1, keepdims=True))
    if front.peaks:
        # The beat has higher peaks.
        parts.append(parts[0].mean(1, keepdims=True) * (1.0 + (0.1 + 0.2 * random[13]) * beat))
    return np.concatenate(parts, axis=1).astype(np.float32)
