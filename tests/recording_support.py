"""A header and a marker of recordings, and what a recording holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realtime_mer.core.events import Marker
from realtime_mer.recording.header import RecordingHeader
from realtime_mer.recording.parts import parts_of

HEADER = RecordingHeader(
    version="0.5.0",
    model={"name": "mer", "version": "2", "sha256": "ab" * 32},
    configuration={"file": None, "profile": "", "silence_db": -60.0},
    input={"kind": "file", "name": "song.wav", "sample_rate_hz": 44100, "channels": 2},
    backend="numpy",
    versions={"python": "3.11.7"},
    hop_s=0.5,
    window_s=10.0,
    coverage=0.8,
    range="music",
    started_utc="2026-05-01T20:15:00.250Z",
    time_zone="+02:00",
)
MARKER = Marker(1.0, "2026-05-01T20:15:01.000Z", "patient opened eyes")


def estimates_of(folder: Path) -> list[dict[str, Any]]:
    """The estimates in the parts of a recording; every line is whole."""
    found: list[dict[str, Any]] = []
    for path in parts_of(folder):
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n")
        found += [json.loads(line) for line in text.splitlines()]
    return [line for line in found if line["type"] == "estimate"]
