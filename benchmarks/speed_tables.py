"""Results about speed as Markdown: one function a table, each from the JSON of its command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markdown import table

Result = Any  # what json.loads gives
_PERCENTILES = ("p50", "p95", "p99")
_LATENCY = {
    "resample_ms": ("resampler, one second of audio", ""),
    "frontend_ms": ("front-end, one second of audio", ""),
    "engine_ms": ("engine, one update of a full window", "p99 under 5"),
    "publish_ms": ("message to one viewer, without the socket", ""),
    "update_ms": ("whole update, one second of audio", "p99 under 10"),
    "end_to_end_ms": ("sample in to websocket message out, less the block", "p95 under 30"),
}
# Why a step takes longer than its bound, where it does.
_WHY = {
    "resample_ms": "the filter runs as matrix products, whose corners multiply zeros; small ones, "
    "with a call for each piece of the second",
    "frontend_ms": "a transform moves more numbers than it multiplies, and a filter bank of few "
    "numbers that are not zero is read, not computed; the rest is what some dozen numpy calls cost",
    "engine_ms": "products of one window have a few dozen rows, too few to fill the processor's "
    "pipes, and each of the graph's nodes costs some microseconds; batches come closer",
    "publish_ms": "Python writes some 500 characters of JSON, once for all viewers",
}
_TOOLS = {
    "ours": "realtime-mer",
    "vibenet": "VibeNet",
    "essentia": "essentia, MusiCNN's embedding",
}


def latency(result: Result) -> str:
    rows = [
        [name, *(f"{result[key][p]:.2f}" for p in _PERCENTILES), goal]
        for key, (name, goal) in _LATENCY.items()
        if key in result
    ]
    more = [
        ["share of one core, one stream", f"{result['core_share']:.2%}", "under 3 %"],
        ["resident memory of the server", f"{result['rss_mb']:.0f} MB", "under 200 MB"],
        ["real-time factor", f"{result['real_time_factor']:.4f}", ""],
        [
            "start of the process to the first estimate (hop 1 s)",
            f"{result['first_estimate_s']:.2f} s",
            "",
        ],
        [
            "window full to the first estimate on it, start of the process included",
            f"{result['window_full_to_tracking_s']:.2f} s",
            "under 2 s",
        ],
    ]
    if "allocations" in result:
        kept = result["allocations"]
        more += [
            [
                "memory that stays of an update (Python's)",
                f"{kept['traced_bytes_per_update']:.0f} bytes",
                "none that grows",
            ],
            [
                "most memory within an update (Python's)",
                f"{kept['traced_peak_of_an_update_kb']:.0f} kB",
                "",
            ],
            [
                f"growth of the process over {kept['updates']} updates",
                f"{kept['rss_growth_kb']:.0f} kB",
                "none",
            ],
        ]
    return "\n\n".join(
        [
            table("milliseconds | p50 | p95 | p99 | goal", rows),
            table(" | | goal", more),
            _method(result),
        ]
    )


def bounds(result: Result) -> str | None:
    """Each step against the least that it could take."""
    if "bounds" not in result:
        return None
    rows = []
    for key, why in _WHY.items():
        took, bound = result[key]["p50"], result["bounds"].get(key)
        least = "" if bound is None else f"{bound:.3f}"
        times = "" if not bound else f"{took / bound:.1f}"
        rows.append([_LATENCY[key][0], f"{took:.3f}", least, times, why])
    return table("step | ms, p50 | bound, ms | times | why", rows)


def speed(result: Result) -> str:
    """The short form for the project's front page."""
    names = {
        "engine_ms": "engine, a full window",
        "update_ms": _LATENCY["update_ms"][0],
        "end_to_end_ms": _LATENCY["end_to_end_ms"][0],
    }
    rows = [
        [name, *(f"{result[key][p]:.1f} ms" for p in _PERCENTILES)] for key, name in names.items()
    ]
    return (
        table(" | p50 | p95 | p99", rows)
        + f"\n\nOne stream takes {100 * result['core_share']:.1f} % of a "
        f"core and {result['rss_mb']:.0f} MB; the first estimate comes "
        f"{result['first_estimate_s']:.1f} s after\nthe start of the process with a hop of one "
        "second."
    )


def engine(result: Result) -> str:
    """Milliseconds a window: a row for each batch, a column for each backend and its threads."""
    columns = list(dict.fromkeys((row["backend"], row["threads"]) for row in result["rows"]))
    found = {(row["backend"], row["threads"], row["batch"]): row for row in result["rows"]}
    rows = []
    for batch in dict.fromkeys(row["batch"] for row in result["rows"]):
        cells = [str(batch)]
        for backend, threads in columns:
            row = found.get((backend, threads, batch))
            cells += ["", ""] if row is None else [f"{row['ms_per_window']:.3f}", _share(row)]
        rows.append(cells)
    titles = " | ".join(
        f"{backend}, {_threads(threads)}, ms a window | of the peak" for backend, threads in columns
    )
    counted, bound = result["mflop_per_window"], result["lower_bound_ms"]
    lines = [table(f"batch | {titles}", rows)]
    if counted is not None:
        kinds = ", ".join(
            f"{kind} {mflop:.1f}" for kind, mflop in list(result["mflop_by_kind"].items())[:4]
        )
        lines.append(
            f"A window is {counted:.1f} million operations ({kinds}); at the "
            f"{result['peak_gflops_one_thread']:.0f} GFLOP/s that one thread reaches in a large "
            f"matrix product they would take {bound:.2f} ms."
        )
    refused = result.get("not_measured")
    if refused:
        lines.append("Not measured: " + "; ".join(f"{k}: {v}" for k, v in refused.items()) + ".")
    return "\n\n".join([*lines, _method(result)])


def _threads(threads: int | None) -> str:
    return "" if threads is None else f"{threads} thread" + ("s" if threads > 1 else "")


def _share(row: dict[str, Any]) -> str:
    return "" if row["peak_share"] is None else f"{row['peak_share']:.0%}"


def streams(result: Result) -> str:
    parts = []
    for key, most, title in (
        ("websockets", "most_websocket_streams", "PCM over websockets"),
        ("inside", "most_inside_streams", "decoded blocks inside the process"),
    ):
        rows = []
        for row in result[key]:
            lost = {**row["losses"], **row["notices"]}
            told = ", ".join(f"{name} {count}" for name, count in lost.items())
            if row["missed"]:
                told = f"{row['missed']} missed" + (f", {told}" if told else "")
            rows.append(
                [
                    str(row["streams"]),
                    *(f"{row['lateness_ms'][p]:.0f}" for p in _PERCENTILES),
                    told,
                    f"{row['core_share']:.2f}",
                    f"{row['load_core_share']:.2f}",
                    f"{row['memory_per_stream_kb']:.0f}",
                    "yes" if row["in_time"] else "no",
                ]
            )
        titles = (
            f"{title} | ms late, p50 | p95 | p99 | lost or slowed | cores | cores of the load | "
            "kB a stream | in time"
        )
        goal = result["goal"][key]
        parts.append(table(titles, rows))
        parts.append(f"In time: **{result[most]}** (goal {goal}).")
    return "\n\n".join([*parts, _method(result)])


def viewers(result: Result) -> str:
    rows = [
        [
            str(row["viewers"]),
            *(f"{row['delay_ms'][p]:.1f}" for p in _PERCENTILES),
            f"{row['worst_ms']:.1f}",
            str(row["missed"]),
            f"{row['server_core_share']:.2f}",
            f"{row['client_core_share']:.2f}",
            f"{row['memory_per_viewer_kb']:.0f}",
        ]
        for row in result["levels"]
    ]
    stalled, goal = result["stalled"], result["goal"]
    return "\n\n".join(
        [
            table(
                "viewers | ms, p50 | p95 | p99 | worst | missed | cores | cores of the viewers | "
                "kB a viewer",
                rows,
            ),
            f"In time: **{result['most_viewers_in_time']}** (goal {goal['viewers']}).",
            table(
                f"{stalled['viewers']} viewers that take nothing | | goal",
                [
                    [
                        "memory of each, in the server",
                        f"{stalled['memory_per_viewer_kb']:.0f} kB",
                        f"under {goal['stalled_kb']:.0f} kB",
                    ],
                    [
                        f"p99 of {stalled['others']} others beside them",
                        f"{stalled['others_delay_ms_beside']['p99']:.1f} ms",
                        "as without",
                    ],
                    [
                        "p99 of the others without them",
                        f"{stalled['others_delay_ms_without']['p99']:.1f} ms",
                        "",
                    ],
                ],
            ),
            _method(result),
        ]
    )


def start_up(result: Result) -> str:
    names = {
        "listening_ms": ("start to listening", f"p50 under {result['goal']['listening_ms']:.0f}"),
        "first_estimate_ms": ("start to an estimate of audio that is there", ""),
        "least_ms": ("numpy and onnxruntime alone: the bound", ""),
        "python_ms": ("Python alone", ""),
    }
    rows = [
        [name, *(f"{result[key][p]:.0f}" for p in _PERCENTILES), goal]
        for key, (name, goal) in names.items()
    ]
    return table("milliseconds | p50 | p95 | p99 | goal", rows) + "\n\n" + _method(result)


def side_by_side(result: Result) -> str:
    ours = next(row for row in result["rows"] if row["tool"] == "ours")
    rows = []
    for row in result["rows"]:
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        rows.append(
            [
                _TOOLS[row["tool"]],
                f"{row['update_ms']['p50']:.2f}",
                f"{row['update_ms']['p50'] / ours['update_ms']['p50']:.1f}",
                f"{row['file_ms_per_s']:.2f}",
                f"{row['start_s']:.2f} s",
                f"{row['install_mb']:.0f} MB",
                f"{row['peak_rss_mb']:.0f} MB",
                versions,
            ]
        )
    titles = (
        " | ms of compute per second of audio, a value each second | times ours | ms per second "
        "of a file | start | installed | memory | versions"
    )
    heard = ", ".join(result["audio"][:8]) + (" …" if len(result["audio"]) > 8 else "")
    return "\n\n".join(
        [
            table(titles, rows),
            f"Audio: {heard}, {result['audio_s']:.0f} s; median of {result['runs']} runs.",
            _method(result),
        ]
    )


def scale(result: Result) -> str:
    parts = []
    for row in result["ways"]:
        cells = [
            f"{row['streams_per_core']:.0f}",
            f"{row['cost_per_1000_stream_hours']:.2f}",
            row["rests_on"],
        ]
        parts.append([row["way"], *cells])
    limits = [
        [row["what"], row["has"], row["a_stream_takes"], f"{row['streams']:.0f}"]
        for row in result["limits"]
    ]
    gpu = result["gpu"]
    told = (
        table(
            "GPU, engine alone | batch | windows a second",
            [[row["backend"], str(row["batch"]), f"{row['windows_per_s']:.0f}"] for row in gpu],
        )
        if gpu
        else "Streams per GPU: not measured."
    )
    machine = result["machine_asked_for"]
    return "\n\n".join(
        [
            table(" | streams a core | cost of 1,000 stream-hours | rests on", parts),
            f"At {machine['price_per_core_hour']:g} for a core-hour (any currency).",
            table("what breaks | there is | a stream takes | streams", limits),
            f"First: **{result['breaks_first']}**, on a machine of {machine['cores']} cores, "
            f"{machine['memory_gb']:g} GB, {machine['network_gbit']:g} Gbit/s.",
            told,
        ]
    )


def _method(result: Result) -> str:
    method = "; ".join(f"{name}: {text}" for name, text in result["method"].items())
    return f"Measured: {method}."


# By marker: the result it comes from (benchmarks/results/NAME.json) and what makes it.
TABLES: dict[str, tuple[str, Callable[[Result], str | None]]] = {
    "speed": ("latency", speed),
    "latency": ("latency", latency),
    "bounds": ("latency", bounds),
    "engine": ("engine", engine),
    "streams": ("streams", streams),
    "viewers": ("viewers", viewers),
    "start-up": ("start_up", start_up),
    "side by side": ("side_by_side", side_by_side),
    "scale": ("scale", scale),
}
