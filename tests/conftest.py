"""Fixtures that every part uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from fast_support import write_small_model
from mer_engine import Engine, load_engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The shipped model, loaded once a worker."""
    return load_engine()


@pytest.fixture(scope="session")
def fast_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model file that gives a fast answer."""
    return write_small_model(tmp_path_factory.mktemp("fast") / "small.onnx")


@pytest.fixture(scope="session")
def fast_engine(fast_model: Path) -> Engine:
    """A small network that gives a fast answer."""
    return load_engine(fast_model)
