"""A server whose input gives nothing, so that a test publishes what viewers get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_support import HangingSource, RunningServer, running_server
from mer_engine import Engine

from realtime_mer.live.runner import LiveRunner


@pytest.fixture
def runner(engine: Engine) -> LiveRunner:
    return LiveRunner(HangingSource(), engine)


@pytest.fixture
def running(engine: Engine, runner: LiveRunner) -> Iterator[RunningServer]:
    with running_server(engine, runner) as server:
        yield server
