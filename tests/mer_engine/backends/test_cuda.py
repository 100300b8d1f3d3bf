"""What CUDA is asked for; without a card its own library still answers, with errors."""

import importlib.util
import sys

import pytest
from mer_engine.backends import cuda
from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint

HAS_CARD = cuda.missing() is None
HAS_BINDINGS = cuda._has_bindings()


@pytest.mark.skipif(HAS_CARD, reason="this machine has an NVIDIA driver")
def test_without_a_driver_it_says_so() -> None:
    reason = cuda.missing()
    assert reason is not None
    assert "NVIDIA" in reason or "macOS" in reason
    with pytest.raises(BackendError, match=reason):
        cuda.find_card()


def test_asking_imports_nothing_large() -> None:
    cuda.missing()
    assert "cuda.bindings.runtime" not in sys.modules or HAS_BINDINGS


def test_a_driver_without_bindings_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cuda, "_has_bindings", lambda: False)
    assert f"not installed; {install_hint('tensorrt')}" in str(cuda.missing())
    monkeypatch.setattr(cuda, "_has_bindings", lambda: True)
    assert cuda.missing() is None


@pytest.mark.skipif(not HAS_BINDINGS, reason="cuda-bindings is not installed")
@pytest.mark.skipif(HAS_CARD, reason="this machine has an NVIDIA driver")
def test_what_the_library_refuses_is_a_sentence() -> None:
    with pytest.raises(BackendError, match="CUDA: CUDA driver version is insufficient"):
        cuda.Cuda()


@pytest.mark.skipif(not HAS_BINDINGS, reason="cuda-bindings is not installed")
def test_every_call_is_one_that_the_library_has() -> None:
    from pathlib import Path

    from cuda.bindings import runtime

    source = Path(str(cuda.__file__)).read_text(encoding="utf-8")
    import re

    names = set(re.findall(r"(?:self\._api|runtime)\.(cuda\w+)", source))
    assert len(names) >= 15
    for name in names:
        assert hasattr(runtime, name), name


@pytest.mark.skipif(not HAS_CARD, reason="this machine has no NVIDIA card")
def test_bytes_go_to_the_card_and_back() -> None:
    card = cuda.Cuda()
    here, there = card.host(1024), card.host(1024)
    address = card.device(1024)
    here[:] = 3
    recorded = card.record(lambda: card.download(address, there, 1024))
    card.upload(here, address, 1024)
    card.replay(recorded)
    card.wait()
    assert (there == 3).all()
    card.forget(recorded)
    card.free_device(address)
    card.free_host(here)
    card.free_host(there)


def test_bindings_are_found_without_being_imported() -> None:
    assert cuda._has_bindings() == (
        importlib.util.find_spec("cuda") is not None
        and importlib.util.find_spec("cuda.bindings") is not None
    )
