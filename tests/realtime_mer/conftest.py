"""Fixtures of the application's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support_pulse import VirtualMicrophone, virtual_microphone_environment


@pytest.fixture
def virtual_microphone() -> Iterator[VirtualMicrophone]:
    """A real microphone path without hardware; skips without PulseAudio."""
    with virtual_microphone_environment() as microphone:
        yield microphone
