"""The backends, and which of them are available here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mer_engine.engine import Announce, Engine

AUTO = "auto"
DEFAULT = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to run the network.

    Attributes:
        name: as users write it, for example "onnxruntime".
        missing: returns why the backend is not available here and what to do, in a sentence; None
            where it may work. It imports nothing large.
        open: loads a model file; its second argument receives sentences about what takes long.
        automatic: whether `auto` considers the backend.
        card: whether it runs on a graphics card, so that a call may never return.
    """

    name: str
    missing: Callable[[], str | None]
    open: Callable[[Path, Announce], Engine]
    automatic: bool = True
    card: bool = False


def backends() -> tuple[Backend, ...]:
    """Return all backends, the default first."""
    return (
        Backend(DEFAULT, lambda: None, _open_onnxruntime),
        Backend("onnxruntime-cuda", _cuda_missing, _open_onnxruntime_cuda, card=True),
        Backend("tensorrt", _tensorrt_missing, _open_tensorrt, card=True),
        # The reference of the parity gate. Its import takes too long for live use.
        Backend("torch", _torch_missing, _open_torch, automatic=False),
    )


# Values of `--backend`, listed here so that the command line needs no import of a backend.
NAMES = (AUTO, DEFAULT, "onnxruntime-cuda", "tensorrt", "torch")


def backend(name: str) -> Backend:
    """Return the backend of a name.

    Raises:
        KeyError: there is no backend of that name.
    """
    return {entry.name: entry for entry in backends()}[name]


def _open_onnxruntime(path: Path, announce: Announce) -> Engine:
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path)


def _cuda_missing() -> str | None:
    from mer_engine.backends.onnxruntime_cuda import missing

    return missing()


def _open_onnxruntime_cuda(path: Path, announce: Announce) -> Engine:
    from mer_engine.backends.onnxruntime_cuda import open_engine

    return open_engine(path, announce)


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
