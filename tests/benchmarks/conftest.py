"""The folder of the benchmark scripts."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scripts() -> Path:
    """Return the folder of the benchmark scripts."""
    return Path(__file__).parents[2] / "benchmarks"
