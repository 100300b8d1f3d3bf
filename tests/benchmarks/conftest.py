"""Where the benchmark scripts are."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The folder of the scripts."""
    return Path(__file__).parents[2] / "benchmarks"
