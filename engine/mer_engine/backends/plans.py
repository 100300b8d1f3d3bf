"""Compiled engines in the user's cache: found again, known to be stale, known to be damaged."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mer_engine.cache import DamagedError, cache_folder, read_file, write_file
from mer_engine.errors import BackendError
from mer_engine.model_file import ModelInfo

# Of what is compiled: another graph, other profiles.
LAYOUT = 1


@dataclass(frozen=True, slots=True)
class PlanKey:
    """What a compiled engine was made for, and with.

    Attributes:
        model: sha256 of the model file.
        frontend: fingerprint of its features.
        library: name of the package, such as "tensorrt-rtx".
        version: of the package.
        target: kind of card, such as "sm89".
        device: the card itself, where an engine runs on no other; else empty.
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
        """The key of a model."""
        return cls(
            info.sha256, info.frontend_fingerprint, library, version, target, device, precision
        )

    @property
    def name(self) -> str:
        """The file's name: what makes another engine is in it, what makes a newer one is not."""
        return f"{self.model[:16]}-{self.library}-{self.target}-{self.precision}.plan"

    @property
    def path(self) -> Path:
        """Where it lies in the user's cache."""
        return cache_folder() / "engines" / self.name

    def header(self) -> dict[str, Any]:
        """What stands in the file."""
        return {**asdict(self), "layout": LAYOUT}


class StaleError(Exception):
    """A compiled engine was made with another version or for another card. Says which."""


def save_plan(key: PlanKey, plan: bytes, path: Path | None = None) -> Path:
    """Keep a compiled engine; returns where.

    Raises:
        BackendError: the folder cannot be written.
    """
    target = path or key.path
    try:
        write_file(target, key.header(), plan)
    except OSError as error:
        raise BackendError(
            f"the engine cannot be kept at {target} ({error.strerror}); make room, or set "
            "REALTIME_MER_CACHE to a folder that can be written"
        ) from error
    return target


def load_plan(key: PlanKey) -> bytes:
    """The compiled engine of a key.

    Raises:
        FileNotFoundError: there is none.
        StaleError: there is one, but made with or for something else; says what.
        DamagedError: there was one, but not as it was written; it is discarded.
    """
    path = key.path
    try:
        header, plan = read_file(path)
    except DamagedError:
        path.unlink(missing_ok=True)
        raise
    wanted = key.header()
    changed = [
        f"{name} {header.get(name) or 'none'} instead of {wanted[name] or 'none'}"
        for name in wanted
        if header.get(name) != wanted[name]
    ]
    if changed:
        raise StaleError(", ".join(changed))
    return plan


def side_file(key: PlanKey, kind: str) -> Path:
    """Where something that belongs to an engine is kept, such as its kernels for this card."""
    return key.path.with_suffix(f".{kind}")


def load_side(path: Path, owner: dict[str, Any]) -> bytes:
    """What was kept beside an engine for the same owner; nothing where it cannot be used."""
    try:
        header, content = read_file(path)
    except (OSError, DamagedError):
        return b""
    return content if header == owner else b""


def digest(content: bytes) -> str:
    """A short name of a content."""
    return hashlib.sha256(content).hexdigest()[:16]
