"""The calls of the CUDA runtime. Without a card they are checked with stand-ins of the runtime."""

import inspect
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mer_engine.backends import cuda
from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint

HAS_CARD = cuda.missing() is None
HAS_BINDINGS = cuda.has_bindings()


class CheckedRuntime:
    """Accepts calls that the installed runtime has, with its arguments, and returns success.

    Args:
        runtime: the installed module `cuda.bindings.runtime`.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.calls: list[str] = []
        self._memory: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        entry = getattr(self._runtime, name)
        if inspect.isclass(entry) or not callable(entry):
            return entry

        def call(*arguments: Any) -> tuple[Any, ...]:
            inspect.signature(entry).bind(*arguments)
            self.calls.append(name)
            return self._runtime.cudaError_t.cudaSuccess, self._value(name, arguments)

        return call

    def _value(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "cudaHostAlloc":
            self._memory.append(np.zeros(arguments[0], np.uint8))
            return self._memory[-1].ctypes.data
        return 7


@pytest.fixture
def fake_runtime(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A runtime with one card of compute capability 8.9."""
    runtime = SimpleNamespace(
        cudaError_t=SimpleNamespace(cudaSuccess=0),
        cudaGetErrorString=lambda error: (0, f"error {error}".encode()),
        cudaGetDeviceProperties=lambda device: (
            0,
            SimpleNamespace(name=b"NVIDIA RTX\0\0", major=8, minor=9),
        ),
    )
    monkeypatch.setattr(cuda, "missing", lambda: None)
    monkeypatch.setattr(cuda, "_runtime", lambda: runtime)
    return runtime


@pytest.mark.skipif(HAS_CARD, reason="this machine has an NVIDIA driver")
def test_without_a_driver_the_reason_says_so() -> None:
    reason = cuda.missing()
    assert reason is not None
    assert "NVIDIA" in reason or "macOS" in reason
    with pytest.raises(BackendError, match=reason):
        cuda.find_card()


def test_looking_for_cuda_does_not_import_the_bindings() -> None:
    code = (
        "import sys; from mer_engine.backends import cuda; cuda.missing(); cuda.has_bindings(); "
        "print([name for name in sys.modules if name.startswith('cuda.bindings.')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_a_driver_without_bindings_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cuda, "has_bindings", lambda: False)
    assert f"not installed; {install_hint('tensorrt')}" in str(cuda.missing())
    monkeypatch.setattr(cuda, "has_bindings", lambda: True)
    assert cuda.missing() is None


def test_bindings_are_missing_where_their_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.delitem(sys.modules, "cuda.bindings", raising=False)
    assert not cuda.has_bindings()


def test_a_card_has_a_name_and_a_target(fake_runtime: SimpleNamespace) -> None:
    assert cuda.find_card() == cuda.Card("NVIDIA RTX", "sm89")


def test_an_error_of_the_runtime_becomes_a_backend_error(fake_runtime: SimpleNamespace) -> None:
    fake_runtime.cudaGetDeviceProperties = lambda device: (35, None)
    with pytest.raises(BackendError, match=r"^CUDA: error 35$"):
        cuda.find_card()


@pytest.mark.skipif(not HAS_BINDINGS, reason="cuda-bindings is not installed")
@pytest.mark.skipif(HAS_CARD, reason="this machine has an NVIDIA driver")
def test_without_a_driver_the_installed_runtime_reports_an_error() -> None:
    with pytest.raises(BackendError, match=r"^CUDA: \w+"):
        cuda.Cuda()


@pytest.mark.skipif(not HAS_BINDINGS, reason="cuda-bindings is not installed")
def test_every_call_fits_the_installed_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    from cuda.bindings import runtime

    checked = CheckedRuntime(runtime)
    monkeypatch.setattr(cuda, "_runtime", lambda: checked)
    card = cuda.Cuda()
    host, address = card.host(64), card.device(64)
    assert host.shape == (64,)
    recorded = card.record(lambda: card.upload(host, address, 64))
    card.replay(recorded)
    card.download(address, host, 64)
    card.wait()
    card.free_recorded(recorded)
    card.free_device(address)
    card.free_host(host)
    assert checked.calls == [
        "cudaStreamCreateWithFlags", "cudaHostAlloc", "cudaMalloc",
        "cudaStreamBeginCapture", "cudaMemcpyAsync", "cudaStreamEndCapture",
        "cudaGraphInstantiate", "cudaGraphDestroy", "cudaGraphLaunch",
        "cudaMemcpyAsync", "cudaStreamSynchronize",
        "cudaGraphExecDestroy", "cudaFree", "cudaFreeHost",
    ]  # fmt: skip


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
    card.free_recorded(recorded)
    card.free_device(address)
    card.free_host(here)
    card.free_host(there)
