"""The server's metrics as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from realtime_mer.live.show import Health, OutputStatus
from realtime_mer.live.stats import BUCKETS_S, HELP, TIMING_HELP, Counter, Stats, Timing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "realtime_mer"


def render(
    stats: Stats,
    *,
    gauges: Iterable[tuple[str, str, float]],
    info: Mapping[str, str],
    limited: Mapping[str, int],
    windows: Mapping[str, int],
    outputs: Sequence[OutputStatus] = (),
) -> str:
    """Render all metrics as text.

    Args:
        stats: counters and timings of the whole server.
        gauges: name (without the prefix), help text and value of each gauge.
        info: labels of the constant `realtime_mer_info`.
        limited: connections closed by a limit, by kind of limit.
        windows: windows that the engine computed, by backend.
        outputs: how the outputs of the show do.
    """
    lines: list[str] = []
    counters = stats.counters()
    for counter in Counter:
        lines += _metric(
            f"{PREFIX}_{counter}_total", HELP[counter], "counter", [("", counters[counter])]
        )
    by_state = [(f'{{state="{state}"}}', count) for state, count in stats.states().items()]
    lines += _metric(f"{PREFIX}_state_estimates_total", "Estimates by state.", "counter", by_state)
    by_kind = [(f'{{kind="{kind}"}}', count) for kind, count in limited.items()]
    lines += _metric(
        f"{PREFIX}_limited_total", "Connections closed by a limit.", "counter", by_kind
    )
    by_backend = [(_labels({"backend": name}), count) for name, count in windows.items()]
    lines += _metric(
        f"{PREFIX}_engine_windows_total",
        "Windows computed, by the backend that computed them.",
        "counter",
        by_backend,
    )
    for timing in Timing:
        lines += _histogram(stats, timing)
    for name, text, value in gauges:
        lines += _metric(f"{PREFIX}_{name}", text, "gauge", [("", value)])
    lines += _outputs(outputs)
    lines += _metric(f"{PREFIX}_info", "What is running.", "gauge", [(_labels(info), 1)])
    lines += _process()
    return "\n".join(lines) + "\n"


def resident_bytes() -> int | None:
    """Return the resident memory of this process in bytes; None where it is not known."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return _peak_resident_bytes()
    import resource

    return pages * resource.getpagesize()


def _peak_resident_bytes() -> int | None:
    # Without /proc the peak is the best available figure.
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _outputs(outputs: Sequence[OutputStatus]) -> Iterator[str]:
    if not outputs:
        return
    metrics: tuple[tuple[str, str, str, Callable[[OutputStatus], int]], ...] = (
        ("sent_total", "Messages sent by an output.", "counter", lambda each: each.sent),
        ("dropped_total", "Values and events not sent.", "counter", lambda each: each.dropped),
        ("failing", "1 while it fails.", "gauge", lambda each: each.health is Health.FAILING),
    )
    for name, text, kind, value in metrics:
        samples = [
            (_labels({"output": each.name, "kind": each.kind}), int(value(each)))
            for each in outputs
        ]
        yield from _metric(f"{PREFIX}_output_{name}", text, kind, samples)


def _histogram(stats: Stats, timing: Timing) -> Iterator[str]:
    values = stats.histogram(timing)
    name = f"{PREFIX}_{timing}_seconds"
    cumulative = 0
    samples: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), values.counts, strict=True):
        cumulative += count
        samples.append((f'_bucket{{le="{bound}"}}', cumulative))
    samples += [("_sum", values.total_s), ("_count", cumulative)]
    yield from _metric(name, TIMING_HELP[timing], "histogram", samples)


def _process() -> Iterator[str]:
    cpu = time.process_time()
    yield from _metric(
        "process_cpu_seconds_total", "Processor time of all threads.", "counter", [("", cpu)]
    )
    resident = resident_bytes()
    if resident is not None:
        yield from _metric(
            "process_resident_memory_bytes", "Physical memory in use.", "gauge", [("", resident)]
        )
    yield from _metric(
        "process_threads", "Threads of the interpreter.", "gauge", [("", threading.active_count())]
    )


def _metric(name: str, text: str, kind: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for suffix, value in samples:
        yield f"{name}{suffix} {value!r}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
