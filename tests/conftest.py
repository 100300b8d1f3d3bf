"""Fixtures that every part uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from fast_support import without_fast, write_small_model
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


@pytest.fixture(scope="session")
def slow_engine(fast_model: Path) -> Engine:
    """The same network from a file that has no fast answer, as older ones have none."""
    return load_engine(without_fast(fast_model, fast_model.with_name("older.onnx")))
