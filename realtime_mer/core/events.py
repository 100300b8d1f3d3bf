"""What is beside the estimates: changes of the music, onsets and beats, markers of people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from realtime_mer.errors import UserError, printable_line


class EventKind(StrEnum):
    """What changed."""

    RISE = "rise"  # arousal rises
    DROP = "drop"  # arousal falls
    MOOD_ENTER = "mood_enter"  # a mood word begins
    MOOD_LEAVE = "mood_leave"  # a mood word ends
    SECTION = "section"  # another part of the music begins
    SILENCE = "silence"  # the music stops
    MUSIC = "music"  # music begins


class RhythmKind(StrEnum):
    """What of the rhythm."""

    ONSET = "onset"  # a note or a drum begins
    BEAT = "beat"  # a beat of the tempo


def _check(t: float, strength: float) -> None:
    if not (math.isfinite(t) and 0.0 <= strength <= 1.0):
        raise ValueError(f"the event at {t} s has the strength {strength}; it must be 0 to 1")


@dataclass(frozen=True, slots=True)
class Event:
    """A change of the music, detected from the past alone.

    Attributes:
        kind: what changed.
        t: stream time of the change in seconds.
        detected_t: stream time at which it was known, in seconds; not before `t`.
        utc: time of creation, ISO 8601.
        strength: 0 to 1.
        mood: the word that begins or ends; None for other kinds.
    """

    kind: EventKind
    t: float
    detected_t: float
    utc: str
    strength: float
    mood: str | None = None

    def __post_init__(self) -> None:
        _check(self.t + self.detected_t, self.strength)

    def to_dict(self) -> dict[str, object]:
        """Return the event as in messages and in JSON Lines."""
        message: dict[str, object] = {
            "type": "event",
            "kind": str(self.kind),
            "t": round(self.t, 3),
            "detected_t": round(self.detected_t, 3),
            "utc": self.utc,
            "strength": round(self.strength, 3),
        }
        if self.mood is not None:
            message["mood"] = self.mood
        return message

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Event:
        """Return the event of a message or a line of JSON Lines; the inverse of `to_dict`.

        Raises:
            UserError: a field is missing or not valid.
        """
        try:
            mood = data.get("mood")
            return cls(
                kind=EventKind(data["kind"]),
                t=float(data["t"]),
                detected_t=float(data["detected_t"]),
                utc=str(data["utc"]),
                strength=float(data["strength"]),
                mood=None if mood is None else str(mood),
            )
        except KeyError as error:
            raise UserError(f"this is not an event: the field {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"this is not an event: {error}") from error


@dataclass(frozen=True, slots=True)
class RhythmEvent:
    """An onset or a beat.

    Attributes:
        kind: onset or beat.
        t: stream time in seconds.
        strength: 0 to 1.
        bpm: the tempo in beats per minute; None while it is not known.
    """

    kind: RhythmKind
    t: float
    strength: float
    bpm: float | None = None

    def __post_init__(self) -> None:
        _check(self.t if self.bpm is None else self.t + self.bpm, self.strength)


MAX_MARKER_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Marker:
    """A remark that somebody made at a moment of a session.

    Attributes:
        t: stream time in seconds.
        utc: time of the remark, ISO 8601.
        text: 1 to 500 printable characters; longer ones are cut.
    """

    t: float
    utc: str
    text: str

    def __post_init__(self) -> None:
        _check(self.t, 0.0)
        text = printable_line(self.text).strip()[:MAX_MARKER_LENGTH]
        if not text:
            raise UserError("the marker has no text; give one")
        object.__setattr__(self, "text", text)

    def to_dict(self) -> dict[str, object]:
        """Return the marker as in messages and in JSON Lines."""
        return {"type": "marker", "t": round(self.t, 3), "utc": self.utc, "text": self.text}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Marker:
        """Return the marker of a message or a line of JSON Lines; the inverse of `to_dict`.

        Raises:
            UserError: a field is missing or not valid.
        """
        try:
            return cls(t=float(data["t"]), utc=str(data["utc"]), text=str(data["text"]))
        except KeyError as error:
            raise UserError(f"this is not a marker: the field {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"this is not a marker: {error}") from error
