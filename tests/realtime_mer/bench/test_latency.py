import asyncio
from typing import Any

import numpy as np
import pytest

from realtime_mer.bench.latency import measure_latency
from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.percentiles import percentiles_ms


def test_percentiles_are_milliseconds() -> None:
    assert percentiles_ms(np.arange(101) / 1000.0) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_a_machine_says_what_it_is() -> None:
    machine = describe_machine()
    assert machine["processor"]
    assert machine["cores"]
    assert machine["onnxruntime"]


@pytest.mark.timeout(180)
def test_every_figure_is_measured() -> None:
    """A short run on a machine that tests others as well: the figures are there and plausible."""

    async def called_from_a_notebook() -> dict[str, Any]:
        return measure_latency(seconds=12.0, updates=30)

    result = asyncio.run(called_from_a_notebook())
    for key in ("engine_ms", "frontend_ms", "update_ms", "end_to_end_ms"):
        row = result[key]
        assert 0.0 < row["p50"] <= row["p95"] <= row["p99"] < 1000.0, key
    assert result["engine_ms"]["p50"] < result["update_ms"]["p50"]
    assert 0.0 < result["core_share"] < 0.5
    assert 20.0 < result["rss_mb"] < 400.0
    assert 0.0 < result["real_time_factor"] < 0.5
    assert 0.0 < result["first_estimate_s"] < 10.0
    assert result["window_full_to_tracking_s"] > 0.0
