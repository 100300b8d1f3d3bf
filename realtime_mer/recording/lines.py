"""What is in a recording beside estimates, events and markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from realtime_mer.core.events import Event, Marker
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError, printable, printable_line


@dataclass(frozen=True, slots=True)
class RecordedNotice:
    """A message to the user that came during the session.

    Attributes:
        t: stream time in seconds.
        utc: when it came, ISO 8601.
        code: for programs.
        message: a sentence for people.
    """

    type: ClassVar[str] = "notice"
    t: float
    utc: str
    code: str
    message: str

    def to_dict(self) -> dict[str, object]:
        """Return the line of JSON Lines."""
        return {**_head(self), "code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Losses:
    """The counters of losses since the start of the run, when one of them had changed.

    Attributes:
        t: stream time in seconds.
        utc: when they were read, ISO 8601.
        counters: by name, as in the health message of the protocol.
    """

    type: ClassVar[str] = "losses"
    t: float
    utc: str
    counters: Mapping[str, int]

    def to_dict(self) -> dict[str, object]:
        """Return the line of JSON Lines."""
        return {**_head(self), "counters": dict(self.counters)}


@dataclass(frozen=True, slots=True)
class RecordedEnd:
    """The end of a run.

    Attributes:
        t: stream time in seconds.
        utc: when it came, ISO 8601.
        reason: a sentence.
    """

    type: ClassVar[str] = "end"
    t: float
    utc: str
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Return the line of JSON Lines."""
        return {**_head(self), "reason": self.reason}


RecordedItem = Estimate | Event | Marker | RecordedNotice | Losses | RecordedEnd


def item_of(line: Mapping[str, Any]) -> RecordedItem | None:
    """Return the item of a line of JSON Lines; None for a type that this version does not know.

    Raises:
        UserError: a field is missing or not valid.
    """
    match line.get("type", "estimate"):
        case "estimate":
            return Estimate.from_dict(line)
        case "event":
            return Event.from_dict(line)
        case "marker":
            return Marker.from_dict(line)
        case "notice" | "losses" | "end" as kind:
            return _other(kind, line)
    return None


def _other(kind: str, line: Mapping[str, Any]) -> RecordedNotice | Losses | RecordedEnd:
    try:
        t, utc = float(line["t"]), str(line["utc"])
        if kind == "notice":
            code = printable_line(str(line["code"]))
            return RecordedNotice(t, utc, code, printable(str(line["message"])))
        if kind == "losses":
            counters = {printable_line(str(k)): int(v) for k, v in line["counters"].items()}
            return Losses(t, utc, counters)
        return RecordedEnd(t, utc, printable(str(line["reason"])))
    except KeyError as error:
        raise UserError(f"this is no line of type {kind}: the field {error} is missing") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(f"this is no line of type {kind}: {error}") from error


def _head(item: RecordedNotice | Losses | RecordedEnd) -> dict[str, object]:
    return {"type": item.type, "t": round(item.t, 3), "utc": item.utc}
