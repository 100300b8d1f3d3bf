"""Sessions for the tests of reports, from a few numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from realtime_mer.clock import iso_utc
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.core.types import VALUES, Estimate, Latency, ScaledValues, State
from realtime_mer.recording.header import RecordingHeader
from realtime_mer.recording.lines import RecordedItem
from realtime_mer.report.session import Session

START = datetime(2026, 11, 25, 13, 2, 11, tzinfo=UTC)
HEADER = RecordingHeader(
    version="0.1.0",
    model={"name": "mer-2", "version": "2.0", "sha256": "0123456789abcdef"},
    configuration={},
    input={"kind": "microphone", "name": "USB Audio", "sample_rate_hz": 48000, "channels": 2},
    backend="ONNX Runtime CPU",
    versions={"python": "3.11.7"},
    hop_s=1.0,
    window_s=10.0,
    coverage=0.8,
    range="music",
    started_utc=iso_utc(START),
    time_zone="+01:00",
)
HALF_WIDTH = 0.3


def utc_at(t_s: float) -> str:
    """Return the UTC of a stream time."""
    return iso_utc(START + timedelta(seconds=t_s))


def estimate(
    t_s: float,
    valence: float = 0.2,
    arousal: float = -0.1,
    mood: str | None = "calm",
    state: State = State.TRACKING,
    level_db: float = -20.0,
) -> Estimate:
    """Return an estimate with these shown values; the raw ones are half as large."""
    shown = (valence, arousal)
    numbers = [*shown, *(v + side * HALF_WIDTH for v in shown for side in (-1.0, 1.0))]
    scaled = ScaledValues(*numbers)
    return Estimate(
        seq=round(t_s * 10),
        t=t_s,
        utc=utc_at(t_s),
        **{name: getattr(scaled, name) / 2.0 for name in VALUES},
        mood=mood,
        state=state,
        level_db=level_db,
        latency=Latency(10.0, 12.0, 15.0, 1.0),
        scaled=scaled,
    )


def music(points: Iterable[tuple[float, float, str]]) -> list[Estimate]:
    """Return an estimate a second, from 1 s on, at places with a mood."""
    return [estimate(n, v, a, mood) for n, (v, a, mood) in enumerate(points, start=1)]


def session_of(
    items: Sequence[RecordedItem], *, header: RecordingHeader | None = HEADER, name: str = "evening"
) -> Session:
    """Return the session of some items."""
    return Session(name, items, hop_s=1.0, header=header)


def recording(
    folder: Path, items: Iterable[RecordedItem], *, header: RecordingHeader = HEADER
) -> Path:
    """Write a recording of one part into a new folder."""
    folder.mkdir()
    lines = [header.to_dict(), *(item.to_dict() for item in items)]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "estimates.jsonl").write_text(text, encoding="utf-8")
    return folder


TARGET = TargetTrajectory.from_dict(
    {
        "points": [
            {"t_s": 0, "valence": -0.4, "arousal": 0.6},
            {"t_s": 100, "valence": 0.4, "arousal": -0.4},
        ]
    }
)
