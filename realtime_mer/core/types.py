"""The data types of estimates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any

from realtime_mer.core.colour import hex_colour
from realtime_mer.errors import UserError, printable_line


class State(StrEnum):
    """What the values of an estimate are based on."""

    SILENCE = "silence"  # the input is silent: the last values are repeated
    SETTLING = "settling"  # music, but shorter so far than the lag window
    TRACKING = "tracking"  # the lag window is full of music
    SPEECH = "speech"  # someone talks, without music: the last values are repeated
    NOISE = "noise"  # neither music nor speech: the last values are repeated
    STALLED = "stalled"  # no audio arrives: the last values are repeated

    @property
    def repeats(self) -> bool:
        """Whether the last values are repeated."""
        return self not in (State.SETTLING, State.TRACKING)


# Values and interval bounds, in the order of messages and tables.
VALUES = ("valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high")
_LATENCY = ("window_s", "buffer_ms", "compute_ms", "queue_ms")
_FAST = ("window_s", *VALUES)
_values = attrgetter(*VALUES)


def _check_finite(*numbers: float) -> None:
    """Raise ValueError unless all numbers are finite, so that nothing else can be sent or kept."""
    if not math.isfinite(sum(numbers)):
        raise ValueError(f"not all numbers of an estimate are finite: {numbers}")


@dataclass(frozen=True, slots=True)
class Latency:
    """The delays of one estimate.

    Attributes:
        window_s: length of the lag window in seconds, the delay of the method.
        buffer_ms: from the capture of the estimate's last sample to the arrival of its block.
        compute_ms: from the start of processing to the estimate.
        queue_ms: from the arrival of the block to the start of processing.
    """

    window_s: float
    buffer_ms: float
    compute_ms: float
    queue_ms: float

    def __post_init__(self) -> None:
        _check_finite(self.window_s, self.buffer_ms, self.compute_ms, self.queue_ms)

    def to_dict(self) -> dict[str, float]:
        """Return the JSON form, rounded to three decimals."""
        return {
            "window_s": round(self.window_s, 3),
            "buffer_ms": round(self.buffer_ms, 3),
            "compute_ms": round(self.compute_ms, 3),
            "queue_ms": round(self.queue_ms, 3),
        }


@dataclass(frozen=True, slots=True)
class ScaledValues:
    """Values as their place among music, for display; see docs/protocol.md.

    Attributes:
        valence, arousal: in [-1, 1]; `*_low` and `*_high` are the bounds of the 80 % interval,
            mapped in the same way. A twentieth of music lies at -1, another at 1.
    """

    valence: float
    arousal: float
    valence_low: float
    valence_high: float
    arousal_low: float
    arousal_high: float

    def __post_init__(self) -> None:
        _check_finite(*_values(self))

    def to_dict(self) -> dict[str, float]:
        """Return the JSON form."""
        return _rounded(self)


@dataclass(frozen=True, slots=True)
class FastValues:
    """Values from a shorter window: they follow a change sooner and are less accurate.

    Attributes:
        window_s: length of the window, seconds of audio.
        valence, arousal: in [-1, 1]; `*_low` and `*_high` bound the 80 % interval.
        scaled: the same as their place among music; None where the estimate has none.
    """

    window_s: float
    valence: float
    arousal: float
    valence_low: float
    valence_high: float
    arousal_low: float
    arousal_high: float
    scaled: ScaledValues | None = None

    def __post_init__(self) -> None:
        _check_finite(self.window_s, *_values(self))

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        message: dict[str, object] = {"window_s": round(self.window_s, 3), **_rounded(self)}
        if self.scaled is not None:
            message["scaled"] = self.scaled.to_dict()
        return message


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated emotion of the music at one moment. All its numbers are finite.

    Attributes:
        seq: number of the estimate within its session, from 0 without gaps.
        t: stream time in seconds: the end of the audio that the estimate is based on.
        utc: time of creation, ISO 8601.
        valence, arousal: in [-1, 1]; `*_low` and `*_high` bound the 80 % interval.
        mood: a word for the point on the valence-arousal plane: neutral, pleased, joyful, excited,
            tense, uneasy, sad, still or calm; None before any music was heard.
        state: what the values are based on.
        level_db: RMS level of the last hop without mains hum and offset (below 62 Hz), dB relative
            to full scale, at least -120.
        latency: the delays of the estimate, in seconds and milliseconds.
        whole: valence and arousal of the piece so far, on the scale of ratings of whole pieces, in
            [-1, 1]; None if the model has no such output or the values are repeated. Not sent to
            viewers.
        fast: values from a shorter window; None throughout a session if the model has no such
            output or if the lag window is not longer than the short one.
        scaled: the values as their place among music, which `mood` names too; None throughout a
            session with the range `raw`.
        novelty: how different the newest 2 s sound from the 6 s before, 0 to 1; None if the values
            are repeated, in the first 5 s of a piece, and with lag windows below 5 s.
    """

    seq: int
    t: float
    utc: str
    valence: float
    arousal: float
    valence_low: float
    valence_high: float
    arousal_low: float
    arousal_high: float
    mood: str | None
    state: State
    level_db: float
    latency: Latency
    whole: tuple[float, float] | None = None
    fast: FastValues | None = None
    scaled: ScaledValues | None = None
    novelty: float | None = None

    def __post_init__(self) -> None:
        _check_finite(
            self.t, self.level_db, self.novelty or 0.0, *_values(self), *(self.whole or ())
        )

    @property
    def color(self) -> str:
        """The mood colour as `#rrggbb`: of the scaled values, or of the raw ones without them."""
        shown = self.scaled or self
        return hex_colour(shown.valence, shown.arousal)

    def to_dict(self) -> dict[str, object]:
        """Return the estimate as in messages and in JSON Lines; values have six decimals."""
        message: dict[str, object] = {
            "type": "estimate",
            "seq": self.seq,
            "t": round(self.t, 3),
            "utc": self.utc,
            **_rounded(self),
            "mood": self.mood,
            "color": self.color,
            "state": str(self.state),
            "level_db": round(self.level_db, 2),
            "latency": self.latency.to_dict(),
        }
        if self.fast is not None:
            message["fast"] = self.fast.to_dict()
        if self.scaled is not None:
            message["scaled"] = self.scaled.to_dict()
        if self.novelty is not None:
            message["novelty"] = round(self.novelty, 4)
        return message

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Estimate:
        """Return the estimate of a message or a line of JSON Lines; the inverse of `to_dict`.

        Unknown fields are ignored. `whole` is None, because messages do not contain it.

        Raises:
            UserError: a field is missing or not valid.
        """
        try:
            return cls(
                seq=int(data["seq"]),
                t=float(data["t"]),
                utc=str(data["utc"]),
                **_numbers(VALUES, data),
                mood=None if data["mood"] is None else printable_line(str(data["mood"])),
                state=State(data["state"]),
                level_db=float(data["level_db"]),
                latency=Latency(**_numbers(_LATENCY, data["latency"])),
                fast=_fast(data["fast"]) if "fast" in data else None,
                scaled=_scaled(data),
                novelty=float(data["novelty"]) if "novelty" in data else None,
            )
        except KeyError as error:
            raise UserError(f"this is not an estimate: the field {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"this is not an estimate: {error}") from error


def _fast(data: Mapping[str, Any]) -> FastValues:
    return FastValues(**_numbers(_FAST, data), scaled=_scaled(data))


def _scaled(data: Mapping[str, Any]) -> ScaledValues | None:
    return ScaledValues(**_numbers(VALUES, data["scaled"])) if "scaled" in data else None


def _numbers(names: Iterable[str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers of parsed JSON by their names."""
    return {name: float(data[name]) for name in names}


def _rounded(values: ScaledValues | FastValues | Estimate) -> dict[str, float]:
    """Return values and interval bounds with six decimals."""
    return {name: round(getattr(values, name), 6) for name in VALUES}
