"""Which backends there are, and which of them can be had here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mer_engine.engine import Engine

AUTO = "auto"
DEFAULT = "onnxruntime"
Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to run the network.

    Attributes:
        name: as `--backend` takes it.
        missing: tells why it cannot be had here, in a sentence that says what to do; None where it
            may work. Cheap: it imports nothing large.
        open: loads a model file; takes where to tell what takes long.
        automatic: whether `auto` considers it.
    """

    name: str
    missing: Callable[[], str | None]
    open: Callable[[Path, Announce], Engine]
    automatic: bool = True


def backends() -> tuple[Backend, ...]:
    """All of them, the default first."""
    return (
        Backend(DEFAULT, lambda: None, _open_onnxruntime),
        Backend("onnxruntime-cuda", _cuda_missing, _open_onnxruntime_cuda),
        Backend("tensorrt", _tensorrt_missing, _open_tensorrt),
        # The measure of the others, not their rival: its import alone takes longer than to listen.
        Backend("torch", _torch_missing, _open_torch, automatic=False),
    )


# What `--backend` takes; kept here so that the command line imports nothing for it.
NAMES = (AUTO, DEFAULT, "onnxruntime-cuda", "tensorrt", "torch")


def backend(name: str) -> Backend:
    """The backend of a name.

    Raises:
        KeyError: there is none.
    """
    return {entry.name: entry for entry in backends()}[name]


def _open_onnxruntime(path: Path, announce: Announce) -> Engine:
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path)


def _cuda_missing() -> str | None:
    from mer_engine.backends.onnxruntime import cuda_missing

    return cuda_missing()


def _open_onnxruntime_cuda(path: Path, announce: Announce) -> Engine:
    from mer_engine.backends.onnxruntime import CudaEngine

    return CudaEngine(path)


def _tensorrt_missing() -> str | None:
    from mer_engine.backends.tensorrt.build import missing

    return missing()


def _open_tensorrt(path: Path, announce: Announce) -> Engine:
    from mer_engine.backends.tensorrt.plan import open_engine

    return open_engine(path, announce)


def _torch_missing() -> str | None:
    from mer_engine.backends.torch import missing

    return missing()


def _open_torch(path: Path, announce: Announce) -> Engine:
    from mer_engine.backends.torch import TorchEngine

    return TorchEngine.open(path)
