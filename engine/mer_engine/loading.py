"""Load an engine."""

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
    """Load a model file, check its outputs against the reference and warm it up.

    Args:
        path: the model file; None for the shipped model.
        backend: one of `mer_engine.backends.registry.NAMES`; "auto" takes the fastest that passes
            the parity gate (see `mer_engine.backends.parity`).
        announce: receives sentences for the user: which backend runs and why, and what takes long.
            Later, and from any thread, that a backend failed and another replaced it.

    Raises:
        ModelError: the file is missing, damaged, not a model of this project, or made for another
            front-end.
        BackendError: the backend is not available here, or did not pass the parity gate.
        ValueError: there is no backend of that name.
    """
    source = shipped_model() if path is None else Path(path)
    return open_backend(source, backend, announce or _ignore)


def _ignore(sentence: str) -> None:
    """Discard a sentence."""
