"""Compiled engines in the user's cache, with checks for stale and for damaged ones."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mer_engine.cache import DamagedError, cache_folder, read_file, write_file
from mer_engine.errors import BackendError
from mer_engine.model_file import ModelInfo

# Version of what is compiled; increased when the graph or the profiles change.
LAYOUT = 1


@dataclass(frozen=True, slots=True)
class PlanKey:
    """Identity of a compiled engine.

    Attributes:
        model: sha256 of the model file.
        frontend: fingerprint of its features.
        library: name of the package that compiled it, such as "tensorrt-rtx".
        version: version of the package.
        target: kind of card, such as "sm89".
        device: name of the card, where the engine runs on no other one; otherwise empty.
        precision: "fp32" or "fp16".
    """

    model: str
    frontend: str
    library: str
    version: str
    target: str
    device: str
    precision: str

    @classmethod
    def of(
        cls, info: ModelInfo, library: str, version: str, target: str, device: str, precision: str
    ) -> PlanKey:
        """Return the key of a model's engine."""
        return cls(
            info.sha256, info.frontend_fingerprint, library, version, target, device, precision
        )

    @property
    def name(self) -> str:
        """File name. It lacks version and device: an engine with other ones replaces the file."""
        return f"{self.model[:16]}-{self.library}-{self.target}-{self.precision}.plan"

    @property
    def path(self) -> Path:
        """Path in the user's cache."""
        return cache_folder() / "engines" / self.name

    def header(self) -> dict[str, Any]:
        """Return the header of the file."""
        return {**asdict(self), "layout": LAYOUT}


class StaleError(Exception):
    """A compiled engine was made with another version or for another card."""


def save_plan(key: PlanKey, plan: bytes, path: Path | None = None) -> Path:
    """Write a compiled engine and return its path.

    Args:
        key: identity of the engine.
        plan: the engine.
        path: where to write; None for the user's cache.

    Raises:
        BackendError: the file cannot be written.
    """
    target = path or key.path
    try:
        write_file(target, key.header(), plan)
    except OSError as error:
        raise BackendError(
            f"the engine cannot be written to {target} ({error.strerror}); free some space, or set "
            "REALTIME_MER_CACHE to a writable folder"
        ) from error
    return target


def load_plan(key: PlanKey) -> bytes:
    """Return the compiled engine of a key.

    Raises:
        FileNotFoundError: there is none.
        StaleError: the engine was made with or for something else; the message says what.
        DamagedError: the file was damaged; it has been removed.
    """
    path = key.path
    try:
        header, plan = read_file(path)
    except DamagedError:
        path.unlink(missing_ok=True)
        raise
    expected = key.header()
    changed = [
        f"{name} {header.get(name) or 'none'} instead of {expected[name] or 'none'}"
        for name in expected
        if header.get(name) != expected[name]
    ]
    if changed:
        raise StaleError(", ".join(changed))
    return plan


def side_file(key: PlanKey, kind: str) -> Path:
    """Return the path of a file that belongs to an engine, such as its kernels for this card."""
    return key.path.with_suffix(f".{kind}")


def load_side(path: Path, owner: dict[str, Any]) -> bytes:
    """Return a side file's content; empty where it is missing, damaged or another owner's."""
    try:
        header, content = read_file(path)
    except (OSError, DamagedError):
        return b""
    return content if header == owner else b""


def digest(content: bytes) -> str:
    """Return sixteen digits of the checksum of a content."""
    return hashlib.sha256(content).hexdigest()[:16]
