"""The part of CUDA that an engine needs: a stream, memory on host and device, recorded work.

All calls of the CUDA runtime are in this module. It imports the bindings on first use, because most
machines have no NVIDIA card.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint

_DRIVERS = {"win32": "nvcuda.dll"}


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
    """Return why CUDA is not available here; None where it may be. Fast without a driver."""
    if sys.platform == "darwin":
        return "there is no CUDA on macOS"
    try:
        ctypes.CDLL(_DRIVERS.get(sys.platform, "libcuda.so.1"))
    except OSError:
        return "there is no NVIDIA driver on this machine"
    if not has_bindings():
        return f"cuda-bindings is not installed; {install_hint('tensorrt')}"
    return None


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
        raise BackendError(f"CUDA: {runtime.cudaGetErrorString(error)[1].decode()}")
    return values[0] if values else None
