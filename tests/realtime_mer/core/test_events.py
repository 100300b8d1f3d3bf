"""Events as messages and back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from support import EVENT

from realtime_mer.core.events import Event, EventKind
from realtime_mer.errors import UserError


@pytest.mark.parametrize("kind", EventKind)
def test_a_message_becomes_the_same_event(kind: EventKind) -> None:
    mood = "joyful" if kind in (EventKind.MOOD_ENTER, EventKind.MOOD_LEAVE) else None
    event = Event(kind, 41.5, 43.0, "2026-01-02T03:04:47.013Z", 0.25, mood)
    message = json.loads(json.dumps(event.to_dict()))
    assert ("mood" in message) == (mood is not None)
    assert Event.from_dict({**message, "added_later": 1}) == event


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "applause"}, "applause"),
        ({"t": "soon"}, "soon"),
        ({"strength": 1.5}, "strength 1.5"),
        ({"detected_t": math.nan}, "nan s"),
        ({"t": 10**400}, "too large"),
    ],
)
def test_what_is_no_event_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Event.from_dict({**EVENT.to_dict(), **change})


def test_a_missing_field_is_named() -> None:
    message = EVENT.to_dict()
    del message["detected_t"]
    with pytest.raises(UserError, match="detected_t"):
        Event.from_dict(message)
