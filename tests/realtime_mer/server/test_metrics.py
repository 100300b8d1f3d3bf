"""Prometheus text, parsed by the rules of the format."""

from __future__ import annotations

import math
import re

import pytest

from realtime_mer.core.types import State
from realtime_mer.live.stats import BUCKETS_S, Counter, Stats, Timing
from realtime_mer.server import metrics

SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"(\{(?P<labels>[a-z]+=\"(\\.|[^\"\\])*\"(,[a-z]+=\"(\\.|[^\"\\])*\")*)\})? "
    r"(?P<value>[-+0-9.e]+|NaN)"
)


def parse(text: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return samples by name with labels, and types by metric, as a scraper reads them."""
    samples: dict[str, float] = {}
    types: dict[str, str] = {}
    helped: set[str] = set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            family = re.sub(r"_(bucket|sum|count)$", "", match["name"])
            assert match["name"] in types or types.get(family) == "histogram", line
            key = match["name"] + (f"{{{match['labels']}}}" if match["labels"] else "")
            assert key not in samples
            samples[key] = float(match["value"])
    return samples, types


@pytest.fixture
def stats() -> Stats:
    stats = Stats()
    for state in (State.TRACKING,) * 9 + (State.NOISE,) * 3:
        stats.count_estimate(state)
    for seconds in (0.0005, 0.004, 0.004, 9.0):
        stats.observe(Timing.COMPUTE, seconds)
    return stats


def test_render_counters_gauges_and_info(stats: Stats) -> None:
    text = metrics.render(
        stats,
        gauges=[("viewers", "Connections.", 3.0)],
        info={"version": 'a"b\\c', "model": "m"},
        limited={"pending": 4},
        windows={"onnxruntime": 20, "tensorrt": 300},
    )
    samples, types = parse(text)
    assert samples["realtime_mer_estimates_total"] == 12
    by_state = {
        name: samples[f'realtime_mer_state_estimates_total{{state="{name}"}}'] for name in State
    }
    assert by_state == {**dict.fromkeys(State, 0), State.TRACKING: 9, State.NOISE: 3}
    assert types["realtime_mer_state_estimates_total"] == "counter"
    assert types["realtime_mer_estimates_total"] == "counter"
    assert samples['realtime_mer_limited_total{kind="pending"}'] == 4
    assert samples['realtime_mer_engine_windows_total{backend="onnxruntime"}'] == 20
    assert samples['realtime_mer_engine_windows_total{backend="tensorrt"}'] == 300
    assert types["realtime_mer_engine_windows_total"] == "counter"
    assert samples["realtime_mer_viewers"] == 3
    assert types["realtime_mer_viewers"] == "gauge"
    assert samples['realtime_mer_info{version="a\\"b\\\\c",model="m"}'] == 1
    for counter in Counter:
        assert types[f"realtime_mer_{counter}_total"] == "counter"


def test_histograms_are_cumulative(stats: Stats) -> None:
    samples, types = parse(
        metrics.render(stats, gauges=[], info={"version": "1"}, limited={}, windows={})
    )
    name = "realtime_mer_compute_seconds"
    assert types[name] == "histogram"
    buckets = [samples[f'{name}_bucket{{le="{bound}"}}'] for bound in BUCKETS_S]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[2], buckets[-1]) == (1, 3, 3)
    assert samples[f'{name}_bucket{{le="+Inf"}}'] == samples[f"{name}_count"] == 4
    assert math.isclose(samples[f"{name}_sum"], 9.0085)


def test_process_metrics(stats: Stats) -> None:
    samples, _ = parse(
        metrics.render(stats, gauges=[], info={"version": "1"}, limited={}, windows={})
    )
    assert samples["process_cpu_seconds_total"] > 0
    assert samples["process_threads"] >= 1
    assert 1e7 < samples["process_resident_memory_bytes"] < 1e11


def test_resident_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    now = metrics.resident_bytes()
    monkeypatch.setattr(metrics, "Path", lambda _: (_ for _ in ()).throw(OSError))
    peak = metrics.resident_bytes()
    assert now is not None
    assert peak is not None
    assert peak > now / 2
