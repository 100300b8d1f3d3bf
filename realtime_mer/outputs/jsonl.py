"""JSON Lines on standard output: one object per frame and per event."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

from realtime_mer.core.events import Event, Pulse
from realtime_mer.outputs.output import Frame, Output, OutputSettings


@dataclass(frozen=True, kw_only=True)
class JsonlSettings(OutputSettings):
    """JSON Lines on standard output."""

    rate_hz: float = 1.0


class JsonlOutput(Output):
    """Writes to standard output."""

    kind = "jsonl"

    def __init__(self, settings: JsonlSettings) -> None:
        super().__init__(settings.name or "standard output")

    def send(self, frame: Frame) -> None:
        self._write({"type": "values", **asdict(frame)})

    def send_event(self, event: Event | Pulse) -> None:
        if isinstance(event, Pulse):
            self._write({"type": "pulse", **asdict(event)})
        else:
            self._write(event.to_dict())

    def _write(self, message: dict[str, object]) -> None:
        print(json.dumps(message, allow_nan=False), file=sys.stdout, flush=True)
        self.sent += 1
