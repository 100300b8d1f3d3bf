"""Fixtures of all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_support import with_distribution, write_small_model
from mer_engine import Engine, load_engine
from mer_engine.engine import shipped_model

# Where the tests run in the background of a script, they and the programs that they start and end
# with Ctrl-C would ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Idle threads of PyTorch must not spin: with several test processes that makes it much slower. The
# variable counts when torch is first imported, in this process and in those that tests start.
os.environ.setdefault("GOMP_SPINCOUNT", "0")


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of this run; subprocesses have it too, and a folder for keys and tokens."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REALTIME_MER_CACHE", str(folder))
        # Keys and tokens of tests; only Linux has a variable for them.
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield folder


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The shipped model, loaded once per worker."""
    return load_engine()


@pytest.fixture(scope="session")
def music_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with a distribution of its values over music."""
    return with_distribution(shipped_model(), tmp_path_factory.mktemp("music") / "music.onnx")


@pytest.fixture(scope="session")
def music_engine(music_model: Path) -> Engine:
    """The shipped model with a distribution of its values over music."""
    return load_engine(music_model)


@pytest.fixture(scope="session")
def fast_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model file with a fast output."""
    return write_small_model(tmp_path_factory.mktemp("fast") / "small.onnx")


@pytest.fixture(scope="session")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model file with a sound output (see `fast_support.write_small_model`)."""
    return write_small_model(tmp_path_factory.mktemp("sound") / "small.onnx", sound=True)


@pytest.fixture(scope="session")
def sound_engine(sound_model: Path) -> Engine:
    """A small network with a sound output."""
    return load_engine(sound_model)


@pytest.fixture(scope="session")
def fast_engine(fast_model: Path) -> Engine:
    """A small network with a fast output."""
    return load_engine(fast_model)
