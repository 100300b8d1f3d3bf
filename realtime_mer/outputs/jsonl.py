"""JSON Lines on standard output: one object per frame, event, marker, onset and beat."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass

from realtime_mer.core.events import Event, Marker, RhythmEvent
from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Frame, Output, OutputSettings

_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class JsonlSettings(OutputSettings):
    """JSON Lines on standard output.

    Attributes:
        rate_hz: lines with values per second, up to 50.
    """

    rate_hz: float = 1.0


class JsonlOutput(Output):
    """Writes whole lines to standard output, past Python's own buffer.

    So an output whose reader is gone or does not read can neither end the program nor keep it from
    ending, and its failure is told as that of every other output.

    Args:
        settings: of the output.
    """

    kind = "jsonl"

    def __init__(self, settings: JsonlSettings) -> None:
        super().__init__(settings.name or "standard output")
        self._descriptor = -1
        self._rest = b""  # of a line that the system took only in part

    def open(self) -> None:
        """Find standard output.

        Raises:
            UserError: there is none.
        """
        try:
            self._descriptor = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError) as error:
            raise UserError("there is no standard output; start the program with one") from error

    def send(self, frame: Frame) -> None:
        self._write({"type": "values", **asdict(frame)})

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:
        if isinstance(event, RhythmEvent):
            self._write({"type": "rhythm", **asdict(event)})
        else:
            self._write(event.to_dict())

    def _write(self, message: dict[str, object]) -> None:
        data = self._rest + json.dumps(_rounded(message), allow_nan=False).encode() + b"\n"
        size = len(data)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise UserError(
                f"standard output cannot be written ({error.strerror}); direct it elsewhere"
            ) from error
        finally:
            # A line that was begun is ended first, so that all lines are whole.
            self._rest = data if len(data) < size else self._rest
        self.sent += 1


def _rounded(value: object) -> object:
    """Return a value with its floats rounded, also those inside."""
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, tuple):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value
