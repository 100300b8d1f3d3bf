"""Fixtures that every part uses."""

from __future__ import annotations

import pytest
from mer_engine import Engine, load_engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The shipped model, loaded once a worker."""
    return load_engine()
