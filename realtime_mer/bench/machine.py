"""Describes the machine on which a figure was measured."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata

from mer_engine.processor import processor

import realtime_mer

PACKAGES = ("numpy", "onnxruntime", "soxr", "websockets")


def describe_machine() -> dict[str, object]:
    """Return processor, cores, system, package versions and date, to be stored with a result."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "realtime_mer": realtime_mer.__version__,
        **{name: metadata.version(name) for name in PACKAGES},
        "date_utc": datetime.now(UTC).date().isoformat(),
    }
