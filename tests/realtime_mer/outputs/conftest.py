"""Fixtures for the tests of outputs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support_midi import midi_environment


@pytest.fixture(scope="module", params=["UNIX_JACK", "LINUX_ALSA"])
def midi_system(request: pytest.FixtureRequest) -> Iterator[None]:
    """A MIDI system without devices (see `support_midi`); skip if there is none."""
    with midi_environment(request.param):
        yield
