"""Speed results as Markdown: one function per table, each from the JSON of its command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from markdown import bullets, paragraph, table

Result = Any  # the return type of json.loads
_PERCENTILES = ("p50", "p95", "p99")
_LATENCY = {
    "resample_ms": ("resampler, 1 s of audio", ""),
    "frontend_ms": ("front-end, 1 s of audio", ""),
    "engine_ms": ("engine, full window", "p99 under 5"),
    "publish_ms": ("message to one viewer, without socket", ""),
    "update_ms": ("whole update, 1 s of audio", "p99 under 10"),
    "end_to_end_ms": ("end to end, from the last audio block", "p95 under 30"),
}
# Reasons why a step takes longer than its bound.
_REASONS = {
    "resample_ms": "the filter runs as small matrix products, one call per piece of a second, and "
    "their corners multiply zeros",
    "frontend_ms": "an FFT moves more data than it multiplies; the filter bank is sparse, so its "
    "time goes into memory access; the rest is the overhead of a dozen numpy calls",
    "engine_ms": "most of the operations are convolutions with few channels, far from the speed of "
    "a large matrix product, and each node of the graph costs a few microseconds; batches come a "
    "little closer to the bound",
    "publish_ms": "Python writes about 500 characters of JSON, once for all viewers",
}
_TOOLS = {
    "ours": "realtime-mer",
    "vibenet": "VibeNet",
    "essentia": "essentia (MusiCNN embedding)",
}
_STREAMS = (
    ("websockets", "most_websocket_streams", "PCM over websockets"),
    ("inside", "most_inside_streams", "Decoded blocks in one process"),
)


def latency(result: Result) -> str:
    rows = [
        [name, *(f"{result[key][p]:.2f}" for p in _PERCENTILES), goal]
        for key, (name, goal) in _LATENCY.items()
        if key in result
    ]
    more = [
        ["one stream, share of a core", f"{result['core_share']:.2%}", "under 3 %"],
        ["resident memory of the server", f"{result['rss_mb']:.0f} MB", "under 200 MB"],
        ["real-time factor", f"{result['real_time_factor']:.4f}", ""],
        ["process start to first estimate, hop 1 s", f"{result['first_estimate_s']:.2f} s", ""],
        [
            "full window to its estimate, with process start",
            f"{result['window_full_to_tracking_s']:.2f} s",
            "under 2 s",
        ],
    ]
    if "allocations" in result:
        memory = result["allocations"]
        more += [
            [
                "Python memory kept per update",
                f"{memory['traced_bytes_per_update']:.0f} bytes",
                "no growth",
            ],
            [
                "peak Python memory within an update",
                f"{memory['traced_peak_of_an_update_kb']:.0f} kB",
                "",
            ],
            [
                f"growth of the process over {memory['updates']} updates",
                f"{memory['rss_growth_kb']:.0f} kB",
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
    """Compare each step with its lower bound."""
    if "bounds" not in result:
        return None
    rows = []
    for key in _REASONS:
        median, bound = result[key]["p50"], result["bounds"].get(key)
        least = "" if bound is None else f"{bound:.3f}"
        ratio = "" if not bound else f"{median / bound:.1f}"
        rows.append([_LATENCY[key][0], f"{median:.3f}", least, ratio])
    reasons = [f"{_LATENCY[key][0].split(',')[0]}: {why}" for key, why in _REASONS.items()]
    return "\n\n".join(
        [table("step | p50, ms | bound, ms | ratio", rows), "Reasons:", bullets(reasons)]
    )


def speed(result: Result) -> str:
    """Return the short form for the project's front page."""
    names = {
        "engine_ms": "engine, a full window",
        "update_ms": "whole update, one second of audio",
        "end_to_end_ms": "sample in to websocket message out, less the block",
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
    """Return milliseconds per window: a row per batch, a column per backend and threads."""
    columns = list(dict.fromkeys((row["backend"], row["threads"]) for row in result["rows"]))
    found = {(row["backend"], row["threads"], row["batch"]): row for row in result["rows"]}
    rows = []
    for batch in dict.fromkeys(row["batch"] for row in result["rows"]):
        cells = [str(batch)]
        for backend, threads in columns:
            row = found.get((backend, threads, batch))
            cells.append("" if row is None else _ms_and_share(row))
        rows.append(cells)
    titles = " | ".join(
        backend if threads in {None, 1} else f"{backend}, {threads} threads"
        for backend, threads in columns
    )
    counted, bound = result["mflop_per_window"], result["lower_bound_ms"]
    parts = [
        paragraph(
            "Milliseconds per window, and the share of the peak speed of those threads; one thread "
            "of the processor where no number is given:"
        ),
        table(f"batch | {titles}", rows),
    ]
    if counted is not None:
        kinds = ", ".join(
            f"{kind} {mflop:.1f}" for kind, mflop in list(result["mflop_by_kind"].items())[:4]
        )
        parts.append(
            paragraph(
                f"A window takes {counted:.1f} million operations ({kinds}). At the "
                f"{result['peak_gflops_one_thread']:.0f} GFLOP/s that one thread reaches in a "
                f"large matrix product, they would take {bound:.2f} ms."
            )
        )
    not_measured = result.get("not_measured")
    if not_measured:
        parts += ["Not measured:", bullets([f"{k}: {v}" for k, v in not_measured.items()])]
    return "\n\n".join([*parts, _method(result)])


def _ms_and_share(row: dict[str, Any]) -> str:
    share = "" if row["peak_share"] is None else f" ({row['peak_share']:.0%})"
    return f"{row['ms_per_window']:.3f}{share}"


def streams(result: Result) -> str:
    parts = []
    for key, most, title in _STREAMS:
        rows, losses = [], []
        for row in result[key]:
            rows.append(
                [
                    str(row["streams"]),
                    *(f"{row['lateness_ms'][p]:.0f}" for p in _PERCENTILES),
                    str(row["missed"]),
                    f"{row['core_share']:.2f}",
                    f"{row['load_core_share']:.2f}",
                    f"{row['memory_per_stream_kb']:.0f}",
                    "yes" if row["in_time"] else "no",
                ]
            )
            if counts := {**row["losses"], **row["notices"]}:
                counted = ", ".join(f"{name} {count}" for name, count in counts.items())
                losses.append(f"{row['streams']} streams: {counted}")
        titles = "streams | p50 | p95 | p99 | missed | cores | load cores | kB each | in time"
        by = " and ".join(dict.fromkeys(row["backend"] for row in result[key] if "backend" in row))
        parts.append(f"{title}{f', {by}' if by else ''} (lateness in ms):")
        parts.append(table(titles, rows))
        if losses:
            parts += ["Losses and slow-downs:", bullets(losses)]
        parts.append(f"In time: **{result[most]}** (goal {result['goal'][key]}).")
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
    pulses = [
        [
            str(row["viewers"]),
            f"{row['server_core_share_without']:.2f}",
            f"{row['server_core_share_with']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['messages_per_s']:.1f}",
            f"{row['delay_ms_with']['p99']:.1f}",
        ]
        for row in result.get("pulses", ())
    ]
    stalled, goal = result["stalled"], result["goal"]
    return "\n\n".join(
        [
            "Delay in ms:",
            table(
                "viewers | p50 | p95 | p99 | max | missed | cores | client cores | kB each",
                rows,
            ),
            f"In time: **{result['most_viewers_in_time']}** (goal {goal['viewers']}).",
            *(_pulses(pulses, goal["pulse_ratio"]) if pulses else ()),
            table(
                f"{stalled['viewers']} viewers that read nothing | | goal",
                [
                    [
                        "server memory per stalled viewer",
                        f"{stalled['memory_per_viewer_kb']:.0f} kB",
                        f"under {goal['stalled_kb']:.0f} kB",
                    ],
                    [
                        f"p99 of {stalled['others']} other viewers beside them",
                        f"{stalled['others_delay_ms_beside']['p99']:.1f} ms",
                        "as without them",
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


def _pulses(rows: Sequence[Sequence[str]], goal: float) -> tuple[str, str]:
    return (
        paragraph(
            "The server with viewers that ask for pulses, and with as many that do not (goal: up "
            f"to {goal:g} times the processor time):"
        ),
        table("viewers | cores without | cores with | ratio | messages/s | p99 with, ms", rows),
    )


def start_up(result: Result) -> str:
    names = {
        "listening_ms": ("start to listening", f"p50 under {result['goal']['listening_ms']:.0f}"),
        "first_estimate_ms": ("start to an estimate, audio in memory", ""),
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
    compute, footprint, versions = [], [], []
    for row in result["rows"]:
        name = _TOOLS[row["tool"]]
        compute.append(
            [
                name,
                f"{row['update_ms']['p50']:.2f}",
                f"{row['update_ms']['p50'] / ours['update_ms']['p50']:.1f}",
                f"{row['file_ms_per_s']:.2f}",
            ]
        )
        footprint.append(
            [
                name,
                f"{row['start_s']:.2f} s",
                f"{row['install_mb']:.0f} MB",
                f"{row['peak_rss_mb']:.0f} MB",
            ]
        )
        listed = ", ".join(f"{package} {version}" for package, version in row["versions"].items())
        versions.append(f"{name}: {listed}")
    audio = ", ".join(result["audio"][:8]) + (" …" if len(result["audio"]) > 8 else "")
    return "\n\n".join(
        [
            "Milliseconds of compute per second of audio:",
            table(" | live, one value per second | ratio to realtime-mer | whole file", compute),
            table(" | start | installed | peak memory", footprint),
            paragraph(
                f"Audio: {audio}, {result['audio_s']:.0f} s; median of {result['runs']} runs."
            ),
            "Versions:",
            bullets(versions),
            _method(result),
        ]
    )


def scale(result: Result) -> str:
    card = result["card"]
    configurations = [
        [
            row["configuration"],
            f"{row['streams_per_core']:.0f}",
            f"{row['cost_per_1000_stream_hours']:.2f}",
            row["based_on"],
            *([] if card is None else [_or_empty(row.get("streams_per_card"), "{:.0f}")]),
        ]
        for row in result["configurations"]
    ]
    limits = [
        [row["resource"], row["capacity"], row["per_stream"], f"{row['streams']:.0f}"]
        for row in result["limits"]
    ]
    machine = result["assumed_machine"]
    titles = " | streams per core | cost | based on"
    return "\n\n".join(
        [
            table(titles if card is None else f"{titles} | per {card}", configurations),
            paragraph(
                "Cost of 1,000 stream-hours at a price of "
                f"{machine['price_per_core_hour']:g} per core-hour, in any currency."
            ),
            table("resource | capacity | per stream | streams", limits),
            paragraph(
                f"First limit: **{result['first_limit']}**, on a machine with {machine['cores']} "
                f"cores, {machine['memory_gb']:g} GB and {machine['network_gbit']:g} Gbit/s."
            ),
            *(["Streams per card: not measured with this model."] if card is None else []),
        ]
    )


def _or_empty(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def card_gates(result: Result) -> str:
    """Return what each backend did at the parity gate on a machine with a card."""
    card, gates = result["card"], result["parts"].get("gate", {})
    rows = [
        [
            name,
            _or_empty(gate["update_ms"], "{:.2f}"),
            "yes" if gate["may_run"] else "no",
        ]
        for name, gate in gates.items()
    ]
    remarks = [
        f"{name}: {remark}"
        for name, gate in gates.items()
        for remark in (gate["missing"], gate["warning"], gate["differences"])
        if remark
    ]
    about = (
        f"{card['name']}, {card['memory']}, compute capability {card['compute_capability']}, "
        f"driver {card['driver']}, CUDA {card['cuda']}."
    )
    parts = [paragraph(about), table("backend | update, ms | may run", rows)]
    parts += ["Remarks, and differences from the reference:", bullets(remarks)] if remarks else []
    if result["failed"]:
        failed = [f"{what}: {why}" for what, why in result["failed"].items()]
        parts += ["Parts that failed:", bullets(failed)]
    return "\n\n".join(parts)


def _batch_ms(value: float | None) -> str:
    """Return milliseconds in at most five characters, as a row of batches has no more room."""
    return _or_empty(value, "{:.3f}" if value is not None and value < 0.1 else "{:#.3g}")


def card_batches(result: Result) -> str | None:
    """Return milliseconds per window: a row per backend, a column per batch."""
    found = {
        name: {row["batch"]: row["ms_per_window"] for row in part["rows"]}
        for name, part in result["parts"].get("batches", {}).items()
        if part["rows"]
    }
    if not found:
        return None
    batches = sorted({batch for times in found.values() for batch in times})
    rows = [
        [name, *(_batch_ms(times.get(batch)) for batch in batches)] for name, times in found.items()
    ]
    return (
        table(f"windows a call | {' | '.join(map(str, batches))}", rows)
        + "\n\n"
        + paragraph("Milliseconds per window, median, copies to and from the card included.")
    )


def card_streams(result: Result) -> str | None:
    """Return the lateness of decoded streams in one process, by backend."""
    rows = [
        [
            name,
            str(row["streams"]),
            *(f"{row['lateness_ms'][p]:.0f}" for p in _PERCENTILES),
            f"{row['core_share']:.2f}",
            "yes" if row["in_time"] else "no",
        ]
        for name, part in result["parts"].get("streams", {}).items()
        for row in part["rows"]
    ]
    if not rows:
        return None
    return table("backend | streams | p50 | p95 | p99 | cores | in time", rows)


def streams_short(result: Result) -> str:
    """Return the form for the project's front page."""
    return paragraph(
        f"One process serves **{result['most_websocket_streams']}** streams over websockets in "
        f"time (p99 under {result['goal']['p99_ms']:g} ms), or {result['most_inside_streams']} "
        "streams of decoded audio inside a program."
    )


def viewers_short(result: Result) -> str:
    """Return the form for the project's front page."""
    most = result["most_viewers_in_time"]
    p99 = [row["delay_ms"]["p99"] for row in result["levels"] if row["viewers"] == most]
    return paragraph(
        f"**{most}** viewers of one stream get each update in time"
        + "".join(f"; the 99th percentile is {ms:.0f} ms" for ms in p99)
        + "."
    )


def side_by_side_short(result: Result) -> str:
    """Return the form for the project's front page."""
    rows = [
        [
            _TOOLS[row["tool"]],
            f"{row['update_ms']['p50']:.1f} ms",
            f"{row['file_ms_per_s']:.1f} ms",
            f"{row['start_s']:.1f} s",
            f"{row['install_mb']:.0f} MB",
        ]
        for row in result["rows"]
    ]
    titles = " | a value a second, live | a second of a file | start | installed"
    return table(titles, rows)


def _method(result: Result) -> str:
    items = [f"{name.replace('_', ' ')}: {text}" for name, text in result["method"].items()]
    return "Method:\n\n" + bullets(items)


def whole_files(result: Result) -> str:
    """Return what a second of audio of a file costs, part by part."""
    rows = [[part, f"{ms:.2f}"] for part, ms in result["parts_ms_per_s"].items()]
    rows += [
        ["**all of them**", f"**{result['ms_per_s']:.2f}**"],
        ["the same audio as a live stream", f"{result['live_ms_per_s']:.2f}"],
        ["decoding, in addition to either", f"{result['decoding_ms_per_s']:.2f}"],
    ]
    checked = (
        f"{result['estimates']} estimates of {result['audio_s']:g} s of audio "
        f"({', '.join(result['files'])}): the largest difference from the live stream is "
        f"{result['largest_difference_from_live']:.1e}, and "
        f"{result['states_that_differ_from_live']} states differ. "
        f"{result['classified_share']:.0%} of the steps were classified as music, "
        f"speech or noise. Of {result['rounds']} rounds the shortest time of each part; the load "
        f"average was {result['load_average']:g}."
    )
    blocks = [table("part | ms per second of audio", rows), paragraph(checked)]
    if "wall_s_by_jobs" in result:
        one, two = (result["wall_s_by_jobs"][jobs] for jobs in ("1", "2"))
        blocks.append(
            paragraph(
                f"`realtime-mer analyze` took {one:.1f} s with one worker process and {two:.1f} s "
                f"with two, start included: {one / two:.2f} times as fast. Each run had "
                f"{result['jobs_audio_s']:g} s of audio: the files, repeated."
            )
        )
    return "\n\n".join(blocks)


def cluster(result: Result) -> str:
    """Return what a cluster costs against the processes of one machine."""
    kinds = [result["plain"], result["cluster"]]
    rows = [
        ["files", *(f"{kind['files']}" for kind in kinds)],
        ["whole run", *(f"{kind['wall_s']:.1f} s" for kind in kinds)],
        ["until the first result", *(f"{kind['start_s']:.1f} s" for kind in kinds)],
        [
            "files per core-hour, start included",
            *(f"{kind['files_per_core_hour']:,}" for kind in kinds),
        ],
    ]
    costs = (
        f"The cluster takes {result['wall_ratio']:.2f} times as long as the plain run, "
        f"{result['ratio_after_start']:.2f} times after the first result. The sum of all values is "
        f"{kinds[0]['sum']:g} and {kinds[1]['sum']:g}. The load average was "
        f"{result['load_average'][0]:g}."
    )
    blocks = [table(" | plain | cluster", rows), paragraph(costs), _method(result)]
    return "\n\n".join(blocks)


def outputs(result: Result) -> str:
    """Return what ten outputs cost, for each hop."""
    hops = result["hops"]
    rows = [
        [
            "outputs, share of a core",
            *(f"{hop['core_share_of_outputs']:.2%}" for hop in hops),
            "up to 3 %",
        ],
        ["the process without outputs", *(f"{hop['core_share_without']:.2%}" for hop in hops), ""],
        ["the process with outputs", *(f"{hop['core_share_with']:.2%}" for hop in hops), ""],
    ]
    for name, key, goal in (
        ("update without outputs, p50", ("update_without_ms", "p50"), ""),
        ("update with outputs, p50", ("update_with_ms", "p50"), "the same"),
        ("update without outputs, p99", ("update_without_ms", "p99"), ""),
        ("update with outputs, p99", ("update_with_ms", "p99"), "the same"),
        ("estimate to packet, p50", ("estimate_to_packet_ms", "p50"), ""),
        ("estimate to packet, p99", ("estimate_to_packet_ms", "p99"), "under 5 ms"),
        ("from packet to packet, p50", ("between_packets_ms", "p50"), "33.3 ms"),
        ("from packet to packet, p99", ("between_packets_ms", "p99"), ""),
    ):
        rows.append([name, *(f"{hop[key[0]][key[1]]:.2f} ms" for hop in hops), goal])
    titles = " | ".join(f"hop {hop['hop_s']:g} s" for hop in hops)
    load = f"Load average {result['load_average'][0]:g}, niceness {result['niceness']}."
    return "\n\n".join([table(f" | {titles} | goal", rows), paragraph(load), _method(result)])


def page_frames(result: Result) -> str:
    """Return frames, script time and processor shares of each view, a table for each size."""
    rows_of: dict[str, list[list[str]]] = {}
    several = len(result["commits"]) > 1
    for row in result["rows"]:
        name = f"{row['view']} ({row['revision']})" if several else row["view"]
        interval, script = row["interval_ms"], row["script_ms"]
        rows_of.setdefault(row["size"], []).append(
            [
                name,
                f"{row['frames_per_s']:.0f}",
                " / ".join(f"{interval[key]:.1f}" for key in ("p50", "p95", "p99")),
                f"{row['late_share']:.1%}",
                " / ".join(f"{script[key]:.1f}" for key in ("p50", "p95", "p99")),
                *(f"{row[f'{part}_share']:.0%}" for part in ("renderer", "gpu", "server")),
            ]
        )
    titles = "frames/s | between frames, ms | late | script, ms | page | GPU process | server"
    parts = [table(f"{size} | {titles}", rows) for size, rows in rows_of.items()]
    alone = ", ".join(
        f"{share:.1%} ({name})" if several else f"{share:.1%}"
        for name, share in result["server_share_without_viewer"].items()
    )
    parts.append(
        paragraph(
            "Times: 50th, 95th and 99th percentile. Shares are of a core; the server's without a "
            f"viewer is {alone}. {result['browser']}. Load average {result['load_average'][0]:g}."
        )
    )
    if several:
        parts.append(paragraph(_ratios(result["rows"])))
    return "\n\n".join([*parts, _method(result)])


def _ratios(rows: Sequence[Result]) -> str:
    """Return how each view's processor time compares with that of the revision before."""
    shares = {
        (row["revision"], row["size"], row["view"]): row["renderer_share"] + row["gpu_share"]
        for row in rows
    }
    ratios = [
        f"{view} at {size}: {shares['now', size, view] / share:.2f}"
        for (revision, size, view), share in shares.items()
        if revision == "before" and share
    ]
    return f"Processor time of page and GPU process, now to before: {'; '.join(ratios)}."


# For each marker: the result file (benchmarks/results/NAME.json) and the function for the table.
TABLES: dict[str, tuple[str, Callable[[Result], str | None]]] = {
    "speed": ("latency", speed),
    "latency": ("latency", latency),
    "bounds": ("latency", bounds),
    "engine": ("engine", engine),
    "streams": ("streams", streams),
    "viewers": ("viewers", viewers),
    "start-up": ("start_up", start_up),
    "whole files": ("analysis_speed", whole_files),
    "cluster": ("cluster", cluster),
    "outputs": ("outputs", outputs),
    "page frames": ("page_frames", page_frames),
    "side by side": ("side_by_side", side_by_side),
    "scale": ("scale", scale),
    "card gates": ("card", card_gates),
    "card batches": ("card", card_batches),
    "card streams": ("card", card_streams),
    "speed of streams": ("streams", streams_short),
    "speed of viewers": ("viewers", viewers_short),
    "side by side short": ("side_by_side", side_by_side_short),
}
