"""Fixtures for the tests of `realtime_mer`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support_pulse import VirtualMicrophone, virtual_microphone_environment


@pytest.fixture
def virtual_microphone() -> Iterator[VirtualMicrophone]:
    """Provide a virtual microphone (see `support_pulse`); skip if PulseAudio is missing."""
    with virtual_microphone_environment() as microphone:
        yield microphone
