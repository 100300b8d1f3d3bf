"""The part of CUDA that an engine needs: a stream, memory on host and device, recorded work.

All calls of the CUDA runtime are in this module. It imports the bindings on first use, because most
machines have no NVIDIA card.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint

_DRIVERS = {"win32": "nvcuda.dll"}
# The first drivers for a major version of CUDA.
_FIRST_DRIVERS = {12: " (525 or later)", 13: " (580 or later)"}
# CUDA_ERROR_NO_DEVICE of the driver.
_NO_DEVICE = 100
# What CUDA, cuDNN, cuBLAS and ONNX Runtime write where memory of the card is exhausted.
_MEMORY_FULL = ("out of memory", "failed to allocate memory", "alloc_failed", "allocation_failed")


@dataclass(frozen=True, slots=True)
class Card:
    """An NVIDIA card.

    Attributes:
        name: product name.
        target: compute capability that engines are built for, such as "sm89".
    """

    name: str
    target: str


def missing() -> str | None:
    """Return why CUDA is not available here, and what to do; None where it may be.

    Fast without a driver.
    """
    if has_bindings():
        from importlib.metadata import version

        return driver_problem(version("cuda-bindings"))
    return driver_problem() or f"cuda-bindings is not installed; {install_hint('cuda')}"


def driver_problem(cuda_version: str = "") -> str | None:
    """Return why the driver cannot run anything here, and what to do; None where it may.

    Args:
        cuda_version: version of CUDA that is needed, such as "13.0"; empty where any will do.
    """
    if sys.platform == "darwin":
        return "there is no CUDA on macOS"
    try:
        driver = ctypes.CDLL(_DRIVERS.get(sys.platform, "libcuda.so.1"))
    except OSError:
        return "there is no NVIDIA driver on this machine; install it where there is an NVIDIA card"
    offered = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(offered))  # 1000 * major + 10 * minor
    major, minor = offered.value // 1000, offered.value % 1000 // 10
    needed = int(cuda_version.split(".")[0] or 0)
    if major < needed:
        return (
            f"the NVIDIA driver is too old: it runs programs for CUDA {major}.{minor}, and CUDA "
            f"{needed} is needed; install a newer driver{_FIRST_DRIVERS.get(needed, '')}"
        )
    status = driver.cuInit(0)
    if status == _NO_DEVICE:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None:
            return (
                f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides every NVIDIA card; unset it to "
                "use one"
            )
        return "the NVIDIA driver finds no card; check with nvidia-smi that it lists one"
    if status:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        reason = (text.value or b"no reason given").decode()
        return (
            f"the NVIDIA driver does not start (error {status}: {reason}); check it with "
            "nvidia-smi, and restart the machine after an update of the driver"
        )
    return None


def card_error(error: Exception) -> BackendError:
    """Return what a library's error means for the user.

    Args:
        error: an error of CUDA, or of a library that uses it.
    """
    text = (str(error).splitlines() or [""])[0] or repr(error)
    if any(sign in text.lower() for sign in _MEMORY_FULL):
        return BackendError(
            "the memory of the NVIDIA card is full; end other programs that use it (nvidia-smi "
            f"lists them), or use the backend onnxruntime ({text[:160]})"
        )
    return error if isinstance(error, BackendError) else BackendError(text)


def has_bindings() -> bool:
    """Return whether cuda-bindings is installed, without importing it."""
    try:
        return importlib.util.find_spec("cuda.bindings") is not None
    except ModuleNotFoundError:
        return False


def find_card() -> Card:
    """Return the first NVIDIA card of this machine.

    Raises:
        BackendError: there is no card, or its driver is too old.
    """
    reason = missing()
    if reason is not None:
        raise BackendError(reason)
    runtime = _runtime()
    properties = _value(runtime, runtime.cudaGetDeviceProperties(0))
    name = properties.name.decode() if isinstance(properties.name, bytes) else properties.name
    return Card(name.rstrip("\0"), f"sm{properties.major}{properties.minor}")


class Cuda:
    """A stream of an NVIDIA card, with its memory and its queued work.

    Every method raises BackendError where a call of CUDA fails.
    """

    def __init__(self) -> None:
        self._api = _runtime()
        flag = self._api.cudaStreamNonBlocking
        self._stream = self._call(self._api.cudaStreamCreateWithFlags(flag))
        self.stream = int(self._stream)

    def host(self, size: int) -> NDArray[np.uint8]:
        """Allocate `size` bytes of page-locked memory, which allows asynchronous copies."""
        pointer = self._call(self._api.cudaHostAlloc(size, 0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(pointer)))

    def free_host(self, memory: NDArray[np.uint8]) -> None:
        """Free page-locked memory, which nothing may use any more."""
        self._call(self._api.cudaFreeHost(memory.ctypes.data))

    def device(self, size: int) -> int:
        """Allocate `size` bytes of the card's memory and return the address."""
        return int(self._call(self._api.cudaMalloc(size)))

    def free_device(self, address: int) -> None:
        """Free memory of the card, which nothing may use any more."""
        self._call(self._api.cudaFree(address))

    def upload(self, memory: NDArray[np.uint8], address: int, size: int) -> None:
        """Queue a copy of `size` bytes to the card."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        source = memory.ctypes.data
        self._call(self._api.cudaMemcpyAsync(address, source, size, kind, self._stream))

    def download(self, address: int, memory: NDArray[np.uint8], size: int) -> None:
        """Queue a copy of `size` bytes from the card."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        target = memory.ctypes.data
        self._call(self._api.cudaMemcpyAsync(target, address, size, kind, self._stream))

    def wait(self) -> None:
        """Wait for all queued work; other Python threads run in the meantime."""
        self._call(self._api.cudaStreamSynchronize(self._stream))

    def record(self, work: Callable[[], None]) -> Any:
        """Record what `work` queues, without running it. Returns an object for `replay`."""
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._api.cudaStreamBeginCapture(self._stream, mode))
        try:
            work()
        finally:
            graph = self._call(self._api.cudaStreamEndCapture(self._stream))
        try:
            return self._call(self._api.cudaGraphInstantiate(graph, 0))
        finally:
            self._call(self._api.cudaGraphDestroy(graph))

    def replay(self, recorded: Any) -> None:
        """Queue recorded work."""
        self._call(self._api.cudaGraphLaunch(recorded, self._stream))

    def free_recorded(self, recorded: Any) -> None:
        """Free recorded work."""
        self._call(self._api.cudaGraphExecDestroy(recorded))

    def _call(self, result: tuple[Any, ...]) -> Any:
        return _value(self._api, result)


def _runtime() -> Any:
    from cuda.bindings import runtime

    return runtime


def _value(runtime: Any, result: tuple[Any, ...]) -> Any:
    """Return the value of a call's result.

    Raises:
        BackendError: the call failed.
    """
    error, *values = result
    if error != runtime.cudaError_t.cudaSuccess:
        raise card_error(BackendError(f"CUDA: {runtime.cudaGetErrorString(error)[1].decode()}"))
    return values[0] if values else None
