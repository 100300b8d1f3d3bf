"""Interruptions that come while a C library calls back."""

from __future__ import annotations

import ctypes
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from realtime_mer.audio.file import open_file
from realtime_mer.audio.layout.view import FileView
from realtime_mer.interruption import raise_lost_interruption, repeated_interruptions


def interrupt(*arguments: object) -> int:
    raise KeyboardInterrupt(signal.SIGTERM)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(22050 * 20, np.float32), 22050)
    return path


def test_a_file_that_is_read_does_not_end_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_all() -> None:
        for _ in range(2000):
            source.read(1.0)

    with repeated_interruptions(lambda: None), open_file(path) as source:
        source.read(1.0)
        monkeypatch.setattr(FileView, "readinto", interrupt)
        with pytest.raises(KeyboardInterrupt) as raised:
            read_all()
    assert raised.value.args == (signal.SIGTERM,)


def test_a_file_that_is_opened_is_not_called_unreadable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileView, "readinto", interrupt)
    with repeated_interruptions(lambda: None), pytest.raises(KeyboardInterrupt):
        open_file(path)


def test_what_nobody_raises_comes_again_as_a_signal() -> None:
    """Also while the main thread waits."""
    forgotten = threading.Event()

    def handle(number: int, frame: object) -> None:
        assert forgotten.is_set()
        raise KeyboardInterrupt(number)

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        with repeated_interruptions(forgotten.set):
            callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(interrupt)
            ctypes.CDLL(None).qsort(ctypes.create_string_buffer(2), 2, 1, callback)
            with pytest.raises(KeyboardInterrupt):
                threading.Event().wait(60)
    finally:
        signal.signal(signal.SIGTERM, previous)
    raise_lost_interruption()  # nothing is left
