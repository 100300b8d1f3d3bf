"""The model file: an ONNX graph whose metadata has everything that is needed to use it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mer_engine.errors import ModelError
from mer_engine.frontend import FrontEndConfig
from mer_engine.model_checks import DIMENSIONS as DIMENSIONS
from mer_engine.model_checks import check_frontend, check_info
from mer_engine.strict_json import load_json, to_json

METADATA_KEY = "realtime_mer"
FORMAT = 2
# Characters of the metadata; those of the shipped model have 24,000.
METADATA_LIMIT = 4_000_000
# Valence and arousal of the piece as a whole.
WHOLE = ("whole_valence", "whole_arousal")
# Kinds of sound that the sound output tells apart.
SOUNDS = ("music", "speech", "noise")


@dataclass(frozen=True, slots=True)
class Prior:
    """Prior of a dimension, before any music: mean and 80 % range of the training labels."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Values:
    """Values and interval ends of a batch, each float64 [B, 2] (valence, arousal) in [-1, 1]."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The metadata of a model file.

    Attributes:
        name, version, created, licence, notice: about the file, as text.
        frontend, frontend_fingerprint: the features that the model was trained on.
        step_s: length of a step, seconds.
        frames_per_step: feature frames in a step (S).
        map_context: frames whose maps must be cached to continue a stream (R).
        silent_map: the map of a silent frame after silence, M numbers.
        embedding_size: numbers in the embedding of a step (E).
        lag_order_max, lag_order_default: longest and default lag window, in steps.
        fast_lag_order: length of the short window of the fast output, in steps.
        bins: centres of the score bins, ascending, in [-1, 1].
        coverage: nominal coverage of the intervals, 0 to 1.
        interval_scale: by dimension, half-width of an interval in standard deviations of the
            predicted distribution, for each window length in steps from 1.
        line: by score, where it was fitted: intercept and slope from the distribution's mean to the
            value, for each window length, fitted on held-out songs.
        prior: by dimension.
        distribution: by dimension, the quantiles of the model's values over music at large, at
            evenly spaced shares from 0 to 1, ascending; empty where the file has none.
        movement: by dimension, what 1 dB adds to the value while the music is louder than before,
            0 to 0.1; empty where the level adds nothing.
        normalisation: mean and standard deviation of each mel band, as the network applies them.
        scores: outputs of the network, in order: valence and arousal of the moment, then optionally
            those of the piece as a whole.
        sounds: kinds of sound of the sound output, in order: `SOUNDS`, or nothing where the graph
            has no such output.
        self_check: valence and arousal that `check_frames` must give; None for no check.
        parity: the reference's outputs for the windows of `mer_engine.backends.parity`; None where
            the file has none.
        training: the training report.
        sha256: checksum of the file; empty where it was not read from one.
    """

    name: str
    version: str
    created: str
    frontend: FrontEndConfig
    frontend_fingerprint: str
    step_s: float
    frames_per_step: int
    map_context: int
    silent_map: tuple[float, ...]
    embedding_size: int
    lag_order_max: int
    lag_order_default: int
    fast_lag_order: int
    bins: tuple[float, ...]
    coverage: float
    interval_scale: dict[str, tuple[float, ...]]
    prior: dict[str, Prior]
    normalisation: dict[str, list[float]] = field(default_factory=dict)
    scores: tuple[str, ...] = DIMENSIONS
    sounds: tuple[str, ...] = ()
    line: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    distribution: dict[str, tuple[float, ...]] = field(default_factory=dict)
    movement: dict[str, float] = field(default_factory=dict)
    self_check: dict[str, float] | None = None
    parity: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    notice: str = ""
    sha256: str = ""

    def to_json(self) -> str:
        """Return the text that is stored under `METADATA_KEY`."""
        data = asdict(self)
        data.pop("sha256")
        data["format"] = FORMAT
        data["lag_order"] = {
            "min": 1,
            "max": data.pop("lag_order_max"),
            "default": data.pop("lag_order_default"),
            "fast": data.pop("fast_lag_order"),
        }
        data["interval"] = {"coverage": data.pop("coverage"), **data.pop("interval_scale")}
        return to_json(data, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, sha256: str = "") -> Self:
        """Read what `to_json` wrote.

        Raises:
            ModelError: the format is another one, or a field is missing or out of range.
        """
        try:
            data = load_json(text, limit=METADATA_LIMIT)
            if data.pop("format") != FORMAT:
                raise ModelError(
                    f"the model file has another format than {FORMAT}; "
                    "update realtime-mer or train the model again"
                )
            lag = data.pop("lag_order")
            interval = data.pop("interval")
            data["lag_order_max"], data["lag_order_default"] = lag["max"], lag["default"]
            data["fast_lag_order"] = lag["fast"]
            data["coverage"] = interval["coverage"]
            data["interval_scale"] = {name: tuple(interval[name]) for name in DIMENSIONS}
            data["prior"] = {name: Prior(**data["prior"][name]) for name in DIMENSIONS}
            data["frontend"] = check_frontend(data["frontend"])
            data["bins"] = tuple(data["bins"])
            data["silent_map"] = tuple(float(number) for number in data["silent_map"])
            data["scores"] = tuple(data["scores"])
            data["sounds"] = tuple(data.get("sounds", ()))
            data["line"] = {
                name: tuple((float(a), float(b)) for a, b in rows)
                for name, rows in data.get("line", {}).items()
            }
            data["distribution"] = {
                name: tuple(float(quantile) for quantile in quantiles)
                for name, quantiles in data.get("distribution", {}).items()
            }
            data["movement"] = {
                name: float(number) for name, number in data.get("movement", {}).items()
            }
            known = {entry.name for entry in fields(cls)}
            info = cls(**{k: v for k, v in data.items() if k in known}, sha256=sha256)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the model file's metadata cannot be used ({repr(error)[:200]}); get it again"
            ) from error
        check_info(info)
        for name, rows in (*info.interval_scale.items(), *info.line.items()):
            if len(rows) != info.lag_order_max:
                raise ModelError(
                    f"the model file calibrates {len(rows)} window lengths of {name} but allows "
                    f"{info.lag_order_max}"
                )
        info._check_distribution()
        info._check_movement()
        if info.sounds not in ((), SOUNDS):
            raise ModelError(
                f"the model file tells the sounds {', '.join(map(str, info.sounds))[:80]} apart; "
                f"this version needs {', '.join(SOUNDS)}; update realtime-mer"
            )
        fast = info.fast_lag_order
        if type(fast) is not int or not 1 <= fast <= info.lag_order_max:
            raise ModelError(
                f"the model file's fast window is {fast} steps; it must be a whole number from 1 "
                f"to {info.lag_order_max}"
            )
        return info

    def _check_distribution(self) -> None:
        """Raise ModelError where the distribution is neither empty nor usable."""
        if self.distribution and set(self.distribution) != set(DIMENSIONS):
            raise ModelError(
                "the model file's distribution has the dimensions "
                f"{str(sorted(self.distribution))[:80]}; it must have {' and '.join(DIMENSIONS)}"
            )
        for name, quantiles in self.distribution.items():
            steps = np.diff(quantiles)
            # Negated, so that NaN fails.
            if len(quantiles) < 2 or not ((steps >= 0).all() and np.abs(quantiles).max() <= 1):
                raise ModelError(
                    f"the model file's distribution of {name} must be two or more ascending "
                    "numbers from -1 to 1"
                )

    def _check_movement(self) -> None:
        """Raise ModelError where a coefficient of the movement cannot be used."""
        for name, number in self.movement.items():
            if name not in DIMENSIONS:
                raise ModelError(
                    f"the model file's movement has the dimension {name[:80]}; it may have "
                    f"{' and '.join(DIMENSIONS)}; train the model again"
                )
            # NaN fails.
            if not 0.0 <= number <= 0.1:
                raise ModelError(
                    f"the model file's movement of {name} is {number} per dB; it must be a number "
                    "from 0 to 0.1; train the model again"
                )

    def values(self, probabilities: NDArray[np.float32], steps: int) -> Values:
        """Return values and intervals from the distributions of windows of the same length.

        Without the movement, which needs the level of the stream.

        Args:
            probabilities: float32 [B, scores, bins], each row summing to 1.
            steps: length of the windows in steps, 1 to `lag_order_max`.
        """
        probability = probabilities[:, : len(DIMENSIONS)].astype(np.float64)
        bins = np.asarray(self.bins)
        mean = probability @ bins
        variance = np.maximum(probability @ bins**2 - mean**2, 0.0)
        scale = np.array([self.interval_scale[name][steps - 1] for name in DIMENSIONS])
        half = scale * np.sqrt(variance)
        mean = self._apply_line(mean, steps)
        return Values(
            mean=np.clip(mean, -1.0, 1.0),
            low=np.clip(mean - half, -1.0, 1.0),
            high=np.clip(mean + half, -1.0, 1.0),
        )

    def _apply_line(self, mean: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
        """Map means [B, 2] of the distributions to values with the fitted lines."""
        identity = (0.0, 1.0)
        lines = [
            self.line[name][steps - 1] if name in self.line else identity for name in DIMENSIONS
        ]
        intercept, slope = np.array(lines).T
        return np.asarray(intercept + slope * mean)

    def check_fits(self, frontend: FrontEndConfig) -> None:
        """Check that the model was trained on these features.

        Raises:
            ModelError: the fingerprints differ.
        """
        if self.frontend_fingerprint != frontend.fingerprint:
            raise ModelError(
                f"the model {self.name} was made for another front-end "
                f"({self.frontend_fingerprint}) than this version computes "
                f"({frontend.fingerprint}); train it again or use the shipped model"
            )

    @property
    def map_size(self) -> int:
        """Numbers in the feature map of a frame (M)."""
        return len(self.silent_map)

    def check_frames(self, steps: int = 4) -> NDArray[np.float32]:
        """Return a fixed input for self checks: float32 [1, steps * S, width]."""
        frames = steps * self.frames_per_step
        width = self.frontend.width
        wave = np.sin(np.arange(frames)[:, None] * 0.37 + np.arange(width)[None, :] * 0.11)
        return np.asarray(1.0 + wave, dtype=np.float32)[None]


def write_metadata(model: Any, info: ModelInfo) -> None:
    """Store `info` in an `onnx.ModelProto`, in place of earlier metadata."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
