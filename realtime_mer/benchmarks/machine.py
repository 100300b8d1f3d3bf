"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import realtime_mer

PACKAGES = ("numpy", "onnxruntime", "soxr", "websockets")


def describe_machine() -> dict[str, object]:
    """Processor, cores, system, versions and date, for the record beside a figure."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "realtime_mer": realtime_mer.__version__,
        **{name: metadata.version(name) for name in PACKAGES},
        "date_utc": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
