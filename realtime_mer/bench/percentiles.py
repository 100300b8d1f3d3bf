"""Percentiles of measured times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentile in milliseconds, as `p50`, `p95`, `p99`."""
    values = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
    return dict(zip(("p50", "p95", "p99"), (round(float(v), 3) for v in values), strict=True))
