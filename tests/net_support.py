"""A frame and an event for tests of outputs."""

from __future__ import annotations

from stage_support import frame

from realtime_mer.core.events import Event, EventKind

FRAME = frame(
    t=12.5,
    valence=0.75,
    arousal=0.25,
    valence_width=0.2,
    arousal_width=0.125,
    mood="calm",
    dimmer=0.8,
)
EVENT = Event(
    kind=EventKind.MOOD_ENTER,
    t=10.0,
    detected_t=12.0,
    utc="2026-01-02T03:04:05.000Z",
    strength=0.75,
    mood="calm",
)
