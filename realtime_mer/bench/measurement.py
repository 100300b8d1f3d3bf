"""What a benchmark has measured so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mer_engine.model_file import ModelInfo

from realtime_mer.bench.machine import describe_machine


def _no_one(sentence: str) -> None:
    """Discard a sentence."""


@dataclass(slots=True)
class Measurement:
    """A result that grows, so that whoever stops a benchmark keeps what it has measured.

    Attributes:
        result: all figures so far, JSON-ready.
        say: receives a sentence for each new figure.
    """

    result: dict[str, Any] = field(default_factory=dict)
    say: Callable[[str], None] = _no_one

    def describe(self, info: ModelInfo) -> None:
        """Store the model and the machine; to be called before anything is measured."""
        self.result["model"] = {"name": info.name, "sha256": info.sha256}
        self.result["machine"] = describe_machine()
