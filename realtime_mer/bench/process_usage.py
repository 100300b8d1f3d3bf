"""Processor time and memory of a process."""

from __future__ import annotations

import os
from pathlib import Path


def own_cpu_s() -> float:
    """Return the processor time of this process, in seconds."""
    times = os.times()
    return times.user + times.system


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, in seconds; 0 on systems without /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB (10^6 bytes); 0 on systems without /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    for line in status.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
