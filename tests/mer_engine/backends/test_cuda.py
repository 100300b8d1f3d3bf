"""The calls of the CUDA runtime. Without a card they are checked with stand-ins of the runtime."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from mer_engine.backends import cuda
from mer_engine.backends.choice import open_backend
from mer_engine.engine import shipped_model
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


class FakeDriver:
    """Stands in for the library of an NVIDIA driver.

    Args:
        version: CUDA that it runs, 1000 * major + 10 * minor.
        status: result of its start; 0 is success.
        text: what it says about that status.
    """

    def __init__(self, version: int = 13000, status: int = 0, text: bytes | None = None) -> None:
        self._version = version
        self._status = status
        self._text = text

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self._version
        return 0

    def cuInit(self, flags: int) -> int:
        assert flags == 0
        return self._status

    def cuGetErrorString(self, status: int, text: Any) -> int:
        assert status == self._status
        text._obj.value = self._text
        return 0


@pytest.fixture
def install_driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeDriver], None]:
    """Returns a function that lets this machine have a driver, on Linux."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda driver: monkeypatch.setattr("ctypes.CDLL", lambda name: driver)


InstallDriver = Callable[[FakeDriver], None]


def test_a_driver_without_bindings_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, install_driver: InstallDriver
) -> None:
    install_driver(FakeDriver())
    monkeypatch.setattr(cuda, "has_bindings", lambda: False)
    assert f"not installed; {install_hint('cuda')}" in str(cuda.missing())


@pytest.mark.skipif(not HAS_BINDINGS, reason="cuda-bindings is not installed")
def test_a_driver_must_suit_the_bindings(install_driver: InstallDriver) -> None:
    install_driver(FakeDriver(version=99000))
    assert cuda.missing() is None
    install_driver(FakeDriver(version=11040))
    assert "too old: it runs programs for CUDA 11.4" in str(cuda.missing())


@pytest.mark.parametrize(
    ("driver", "sentence"),
    [
        (
            FakeDriver(version=12040),
            "the NVIDIA driver is too old: it runs programs for CUDA 12.4, and CUDA 13 is needed; "
            "install a newer driver (580 or later)",
        ),
        # An old driver says nothing useful about its start.
        (FakeDriver(version=12040, status=100), "the NVIDIA driver is too old"),
        (FakeDriver(status=100), "the NVIDIA driver finds no card; check with nvidia-smi"),
        (
            FakeDriver(status=999, text=b"unknown error"),
            "the NVIDIA driver does not start (error 999: unknown error); check it with nvidia-smi",
        ),
        (FakeDriver(status=803), "the NVIDIA driver does not start (error 803: no reason given)"),
    ],
)
def test_a_driver_that_cannot_run_anything_says_why(
    install_driver: InstallDriver, driver: FakeDriver, sentence: str
) -> None:
    install_driver(driver)
    assert str(cuda.driver_problem("13.0")).startswith(sentence)


def test_a_driver_that_suits_has_no_problem(install_driver: InstallDriver) -> None:
    install_driver(FakeDriver(version=13000))
    assert cuda.driver_problem("12.8") is None
    assert cuda.driver_problem("13.1") is None  # of the same major version
    assert cuda.driver_problem() is None


def test_hidden_cards_are_not_missing_cards(
    install_driver: InstallDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_driver(FakeDriver(status=100))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES is '-1', which hides every" in str(cuda.driver_problem("13.0"))


def test_a_driver_that_is_too_old_is_left_out_or_ends_the_program(
    install_driver: InstallDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_driver(FakeDriver(version=12040))
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
    monkeypatch.setattr(ort, "cuda_version", "13.0")
    with pytest.raises(BackendError, match="the backend onnxruntime-cuda cannot run here: the NV"):
        open_backend(shipped_model(), "onnxruntime-cuda", print)
    assert open_backend(shipped_model(), "auto", lambda sentence: None).backend == "onnxruntime"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA: out of memory",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=a",
        "Failed to allocate memory for requested buffer of size 4194304",
        "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    ],
)
def test_a_full_memory_says_what_to_do(text: str) -> None:
    sentence = str(cuda.card_error(RuntimeError(f"{text}\nsecond line")))
    assert sentence.startswith("the memory of the NVIDIA card is full; end other programs that")
    assert text in sentence
    assert "second" not in sentence


def test_another_error_of_a_card_stays_as_it_is() -> None:
    error = BackendError("CUDA: unspecified launch failure")
    assert cuda.card_error(error) is error
    assert str(cuda.card_error(RuntimeError())) == "RuntimeError()"


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
