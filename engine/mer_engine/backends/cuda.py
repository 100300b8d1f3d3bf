"""The little of CUDA that an engine needs: a stream, memory on both sides, recorded work.

Every call of the driver is here, one a line. Nothing is imported before it is used: most machines
have no NVIDIA card.
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
        name: as its maker calls it.
        target: what is built for it, such as "sm89".
    """

    name: str
    target: str


def missing() -> str | None:
    """Why CUDA cannot be used here; None where it may. Takes no time where there is no driver."""
    if sys.platform == "darwin":
        return "there is no CUDA on macOS"
    try:
        ctypes.CDLL(_DRIVERS.get(sys.platform, "libcuda.so.1"))
    except OSError:
        return "there is no NVIDIA driver on this machine"
    if not _has_bindings():
        return f"cuda-bindings is not installed; {install_hint('tensorrt')}"
    return None


def _has_bindings() -> bool:
    try:
        return importlib.util.find_spec("cuda.bindings") is not None
    except ModuleNotFoundError:
        return False


def find_card() -> Card:
    """The first NVIDIA card of this machine.

    Raises:
        BackendError: there is none, or its driver is too old.
    """
    reason = missing()
    if reason is not None:
        raise BackendError(reason)
    runtime = _runtime()
    properties = _done(runtime, runtime.cudaGetDeviceProperties(0))
    name = properties.name.decode() if isinstance(properties.name, bytes) else properties.name
    return Card(name.rstrip("\0"), f"sm{properties.major}{properties.minor}")


class Cuda:
    """One stream of an NVIDIA card, and what is done on it.

    Raises (each method):
        BackendError: the driver refused.
    """

    def __init__(self) -> None:
        self._api = _runtime()
        flag = self._api.cudaStreamNonBlocking
        self._stream = self._do(self._api.cudaStreamCreateWithFlags(flag))
        self.stream = int(self._stream)

    def host(self, size: int) -> NDArray[np.uint8]:
        """So many bytes of page-locked memory, which the card copies to and from by itself."""
        pointer = self._do(self._api.cudaHostAlloc(size, 0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(pointer)))

    def free_host(self, memory: NDArray[np.uint8]) -> None:
        """Give page-locked memory back; nothing may use it any more."""
        self._do(self._api.cudaFreeHost(memory.ctypes.data))

    def device(self, size: int) -> int:
        """The address of so many bytes of the card's memory."""
        return int(self._do(self._api.cudaMalloc(size)))

    def free_device(self, address: int) -> None:
        """Give memory of the card back; nothing may use it any more."""
        self._do(self._api.cudaFree(address))

    def upload(self, memory: NDArray[np.uint8], address: int, size: int) -> None:
        """Queue a copy to the card."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        source = memory.ctypes.data
        self._do(self._api.cudaMemcpyAsync(address, source, size, kind, self._stream))

    def download(self, address: int, memory: NDArray[np.uint8], size: int) -> None:
        """Queue a copy from the card."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        target = memory.ctypes.data
        self._do(self._api.cudaMemcpyAsync(target, address, size, kind, self._stream))

    def wait(self) -> None:
        """Wait until everything queued is done; other Python threads run meanwhile."""
        self._do(self._api.cudaStreamSynchronize(self._stream))

    def record(self, work: Callable[[], None]) -> Any:
        """Record what `work` queues, without doing it: something for `replay`."""
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._do(self._api.cudaStreamBeginCapture(self._stream, mode))
        try:
            work()
        finally:
            graph = self._do(self._api.cudaStreamEndCapture(self._stream))
        try:
            return self._do(self._api.cudaGraphInstantiate(graph, 0))
        finally:
            self._do(self._api.cudaGraphDestroy(graph))

    def replay(self, recorded: Any) -> None:
        """Queue what was recorded, all at once."""
        self._do(self._api.cudaGraphLaunch(recorded, self._stream))

    def forget(self, recorded: Any) -> None:
        """Give a record back."""
        self._do(self._api.cudaGraphExecDestroy(recorded))

    def _do(self, result: tuple[Any, ...]) -> Any:
        return _done(self._api, result)


def _runtime() -> Any:
    from cuda.bindings import runtime

    return runtime


def _done(runtime: Any, result: tuple[Any, ...]) -> Any:
    """What a call gave.

    Raises:
        BackendError: it failed.
    """
    error, *values = result
    if error != runtime.cudaError_t.cudaSuccess:
        raise BackendError(f"CUDA: {runtime.cudaGetErrorString(error)[1].decode()}")
    return values[0] if values else None
