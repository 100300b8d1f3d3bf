"""`realtime-mer replay`: page, outputs and scenes from a recording instead of live music."""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.closable import Closable
from realtime_mer.commands.configured import add_configuration_arguments
from realtime_mer.commands.estimate_lines import line_printer
from realtime_mer.commands.serve import ServeRun
from realtime_mer.commands.server_options import add_server_arguments, chosen_server
from realtime_mer.commands.streams import StandardOutputError, announce, discard_output
from realtime_mer.commands.target_option import add_target_argument, chosen_target
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Hub, Notice
from realtime_mer.live.replay import RecordedSession, Replay, ReplayItem, recorded_input
from realtime_mer.outputs.table import FORMATS
from realtime_mer.recording.lines import Losses, RecordedEnd, RecordedItem, RecordedNotice
from realtime_mer.recording.reader import SessionReader

if TYPE_CHECKING:
    from pathlib import Path

HELP = "show a recording again: page, outputs and scenes"
DESCRIPTION = """\
Plays a recorded session as it came: its values, events, markers, losses and
notices, on the page as with 'serve', and through the outputs, scenes and
controls of the configuration. RECORDING is a folder of '--record', or a table
of 'analyze -o': CSV or JSON Lines. No sound is played.

The page stays open after the end; Ctrl-C ends it, --exit-at-end does so by
itself. Where standard output is not a terminal, estimates are printed as
'listen' prints them. A recording has no beats: scenes that wait for them start
at once.
"""
EXAMPLES = """\
  realtime-mer replay evening
  realtime-mer replay evening --speed 10 --open
  realtime-mer replay evening --osc 127.0.0.1:9000 --port 0 --exit-at-end
  realtime-mer replay evening.csv --config show.toml --profile club
"""
MIN_SPEED, MAX_SPEED = 0.1, 1000.0
WAIT_S = 0.25
CLOSE_TIMEOUT_S = 2.0
UNPRINTED = 10_000  # lines that wait while nobody takes the output
COVERAGE = 0.8  # of the intervals of tables, which do not name it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recording", metavar="RECORDING", type=local_path,
        help="a folder of --record, or a .csv or .jsonl file with estimates",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=FORMATS, default=None, help="print rows instead of plain lines"
    )
    add_target_argument(parser, " (default: that of the recording)")
    add_server_arguments(parser)
    add_configuration_arguments(parser, check=False)


def run(args: argparse.Namespace) -> int:
    from mer_engine import load_engine

    from realtime_mer.commands.live_report import LiveReport
    from realtime_mer.commands.show import running_show, writes_standard_output
    from realtime_mer.commands.show_messages import show_messages
    from realtime_mer.core.config import PipelineConfig
    from realtime_mer.server.server import MerServer

    if not MIN_SPEED <= args.speed <= MAX_SPEED:
        raise UserError(
            f"--speed is {args.speed:g}; it must lie between {MIN_SPEED:g} and {MAX_SPEED:g}"
        )
    taken = writes_standard_output(args.configuration)
    if taken and args.format is not None:
        raise UserError(
            "--format and a [[jsonl]] output both write to standard output; remove one of them"
        )
    server_config = chosen_server(args)
    try:
        with ExitStack() as stack:
            reader = stack.enter_context(SessionReader(args.recording))
            recorded = None if reader.header is None else reader.header.target
            target = chosen_target(args) or recorded
            session = _session(args.recording, reader)
            hub = Hub(hop_s=session.hop_s)
            # For the sound that visitors of the page send; it needs no fast backend.
            engine = load_engine(backend="onnxruntime")
            hop_s = session.hop_s / args.speed
            stack.enter_context(show_messages())
            show = stack.enter_context(running_show(hub, args.configuration, hop_s=hop_s))
            show.mark = lambda text, t=None: hub.mark(text, _recorded_now(hub), t)
            replay = stack.enter_context(
                Replay(_replayed(reader), hub, session=session, speed=args.speed)
            )
            prints = not taken and (args.format is not None or not sys.stdout.isatty())
            if prints:
                stack.enter_context(_Lines(hub, args.format, target))
            report = LiveReport(engine, PipelineConfig(), recording=args.recording, target=target)
            server = MerServer(
                engine, replay, config=server_config, show=show, target=target, report=report
            )
            asyncio.run(ServeRun(args, server, replay, "", stdout_taken=taken or prints).run())
    except KeyboardInterrupt:  # before the signal handlers were set
        return 0
    if replay.error is not None:
        raise replay.error
    if reader.remark:
        announce(reader.remark)
    return 0


def _replayed(items: Iterable[RecordedItem]) -> Iterator[ReplayItem]:
    """Return the items of a recording as a replay takes them."""
    for item in items:
        if isinstance(item, RecordedNotice):
            yield Notice(item.code, item.message)
        elif isinstance(item, RecordedEnd):
            yield End(item.reason)
        elif isinstance(item, Losses):
            yield item.counters
        else:
            yield item


def _session(path: Path, reader: SessionReader) -> RecordedSession:
    """Return what the server says of a recording, or of a table, which says less itself."""
    header, name = reader.header, path.absolute().name
    if header is None:
        return RecordedSession(
            info=recorded_input(name),
            model={"name": "", "version": "", "sha256": ""},
            hop_s=reader.hop_s,
            window_s=reader.first.latency.window_s,
            coverage=COVERAGE,
            value_range="raw" if reader.first.scaled is None else "music",
        )
    started = f"{header.started_local:%Y-%m-%d %H:%M}"
    rate_hz, channels = (header.input.get(key, 0) for key in ("sample_rate_hz", "channels"))
    return RecordedSession(
        info=recorded_input(f"{name}, {started}", int(rate_hz), int(channels)),
        model=header.model,
        hop_s=reader.hop_s,
        window_s=header.window_s,
        coverage=header.coverage,
        value_range=header.range,
        adapt=bool(header.configuration.get("adapt", False)),
        backend=header.backend,
    )


def _recorded_now(hub: Hub) -> datetime:
    """Return when the newest estimate was recorded; now before the first one."""
    latest = hub.latest
    return datetime.now(UTC) if latest is None else datetime.fromisoformat(latest.utc)


class _Lines(Closable):
    """Prints each estimate, in a thread of its own: the server may not wait for the output.

    Args:
        hub: of the session.
        row_format: as for `line_printer`.
        target: as for `line_printer`.
    """

    def __init__(self, hub: Hub, row_format: str | None, target: TargetTrajectory | None) -> None:
        self._hub = hub
        self._subscription = hub.subscribe_bounded(UNPRINTED)
        self._draw = line_printer(row_format, target=target)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Print what was published so far, unless nobody takes the output; end the thread."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        self._hub.unsubscribe(self._subscription)
        if self._subscription.lost:
            announce(
                f"{self._subscription.lost} estimates were not printed: nobody took the output in "
                "time"
            )

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._closing.is_set()  # what was published before is still printed
            items = self._subscription.take() if ended else self._subscription.wait(WAIT_S)
            try:
                self._draw([item for item in items if isinstance(item, Estimate)])
            except (StandardOutputError, BrokenPipeError) as error:
                discard_output()
                gone = "standard output cannot be written (its reader is gone)"
                announce(f"{gone if isinstance(error, OSError) else error}. The replay goes on")
