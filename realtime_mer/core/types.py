"""The shapes that travel through the application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from realtime_mer.errors import UserError


class State(StrEnum):
    """What an estimate rests on."""

    SILENCE = "silence"  # nothing to hear: the last values are held
    SETTLING = "settling"  # music, but less of it than the lag window is long
    TRACKING = "tracking"  # the lag window is full of music
    STALLED = "stalled"  # no audio arrives at all: the last values are held


@dataclass(frozen=True, slots=True)
class Latency:
    """Where the time of one estimate went.

    `window_s` is the price of the method (how far the estimate looks back, seconds of audio);
    the other three are the price of the machine, in milliseconds: `buffer_ms` from the capture of
    the last sample to its arrival at the pipeline, `compute_ms` from there to the estimate,
    `queue_ms` waiting for a free worker.
    """

    window_s: float
    buffer_ms: float
    compute_ms: float
    queue_ms: float

    def to_dict(self) -> dict[str, float]:
        return {
            "window_s": round(self.window_s, 3),
            "buffer_ms": round(self.buffer_ms, 3),
            "compute_ms": round(self.compute_ms, 3),
            "queue_ms": round(self.queue_ms, 3),
        }


# Value and interval ends, in the order of messages and tables.
VALUES = ("valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high")
_LATENCY = ("window_s", "buffer_ms", "compute_ms", "queue_ms")
_FAST = ("window_s", *VALUES)


@dataclass(frozen=True, slots=True)
class FastValues:
    """What the newest seconds alone say: sooner at a change than the whole window, and less sure.

    Attributes:
        window_s: how far they look back, seconds of audio.
        valence, arousal: in [-1, 1]; with `*_low` and `*_high` the ends of the 80 % interval.
    """

    window_s: float
    valence: float
    arousal: float
    valence_low: float
    valence_high: float
    arousal_low: float
    arousal_high: float

    def to_dict(self) -> dict[str, float]:
        return {
            "window_s": round(self.window_s, 3),
            **_rounded(self),
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """How the music felt at one moment.

    Attributes:
        seq: counts the estimates of a session from 0 without holes.
        t: stream time in seconds: the end of the audio that the estimate rests on.
        utc: when it was made, ISO 8601.
        valence, arousal: in [-1, 1]; with `*_low` and `*_high` the ends of the 80 % interval.
        mood: a word for the place on the plane (`realtime_mer.core.mood`).
        state: what the values rest on.
        level_db: RMS level of the last hop, dB relative to full scale, at least -120.
        latency: where the time went.
        whole: valence and arousal of the piece so far as listeners rate whole pieces, in [-1, 1];
            None where the model does not tell, or nothing was heard. Not sent to viewers.
        fast: the values of a shorter window; None throughout a session where the model does not
            tell, or where the lag window is no longer than that itself.
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
    mood: str
    state: State
    level_db: float
    latency: Latency
    whole: tuple[float, float] | None = None
    fast: FastValues | None = None

    def to_dict(self) -> dict[str, object]:
        """The estimate as it goes over the wire and into JSON Lines (six decimals for values)."""
        told: dict[str, object] = {
            "type": "estimate",
            "seq": self.seq,
            "t": round(self.t, 3),
            "utc": self.utc,
            **_rounded(self),
            "mood": self.mood,
            "state": str(self.state),
            "level_db": round(self.level_db, 2),
            "latency": self.latency.to_dict(),
        }
        if self.fast is not None:
            told["fast"] = self.fast.to_dict()
        return told

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
                mood=str(data["mood"]),
                state=State(data["state"]),
                level_db=float(data["level_db"]),
                latency=Latency(**_numbers(_LATENCY, data["latency"])),
                fast=FastValues(**_numbers(_FAST, data["fast"])) if "fast" in data else None,
            )
        except KeyError as error:
            raise UserError(f"this is not an estimate: the field {error} is missing") from error
        except (TypeError, ValueError) as error:
            raise UserError(f"this is not an estimate: {error}") from error


def _numbers(names: Iterable[str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers of parsed JSON by their names."""
    return {name: float(data[name]) for name in names}


def _rounded(values: FastValues | Estimate) -> dict[str, float]:
    """Values and interval ends as they are sent: six decimals."""
    return {name: round(getattr(values, name), 6) for name in VALUES}
