"""How an engine is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mer_engine.backends.choice import open_backend
from mer_engine.engine import Engine, shipped_model


def load_engine(
    path: Path | str | None = None,
    *,
    backend: str = "onnxruntime",
    announce: Callable[[str], None] | None = None,
) -> Engine:
    """Loads a model file, holds it against the reference and warms it up.

    Args:
        path: the model file; the shipped model where None.
        backend: one of `mer_engine.backends.registry.NAMES`; "auto" takes the fastest that tells
            what the reference tells (see `mer_engine.backends.parity`).
        announce: takes sentences for the user: which backend serves and why, what takes long, and
            later, from whichever thread it happens in, that a backend broke and another went on.

    Raises:
        ModelError: missing, not a model of this project, damaged, or made for another front-end.
        BackendError: the backend cannot be had here, or tells something else than the reference.
        ValueError: there is no backend of that name.
    """
    source = shipped_model() if path is None else Path(path)
    return open_backend(source, backend, announce or _keep_quiet)


def _keep_quiet(sentence: str) -> None:
    """Nobody listens."""
