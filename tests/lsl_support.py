"""Skips tests of Lab Streaming Layer where it cannot work."""

from __future__ import annotations

from functools import cache

import pytest
from live_support import TIMEOUT_S


def skip_without_lsl() -> None:
    """Skip unless pylsl loads and finds a stream of this computer."""
    if (reason := _missing()) is not None:
        pytest.skip(reason)


@cache
def _missing() -> str | None:
    try:
        import pylsl
    except (ImportError, OSError, RuntimeError) as error:
        return f"pylsl does not load: {error}"
    name = "a stream of the tests"
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "Test", source_id=name))
    found = pylsl.resolve_byprop("name", name, timeout=TIMEOUT_S)
    del outlet
    return None if found else "the network of this computer does not let LSL find streams"
