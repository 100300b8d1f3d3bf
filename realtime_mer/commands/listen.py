"""`realtime-mer listen`: show live estimates in the terminal."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from realtime_mer.commands.options import (
    add_input_arguments,
    add_pipeline_arguments,
    chosen_engine,
    exit_code,
    pcm_format,
    pipeline_config,
)
from realtime_mer.commands.streams import StandardOutputError, discard_output
from realtime_mer.errors import UserError, printable
from realtime_mer.outputs.table import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from realtime_mer.live.hub import Item
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.outputs.recorder import Recorder
    from realtime_mer.outputs.table import TableWriter

HELP = "listen and show the emotion in the terminal"
DESCRIPTION = """\
Listens live and shows valence and arousal with their intervals, the mood, the
level, the last minute and lost input, in the terminal. If standard output is
not a terminal, it prints one line per estimate; --format makes that CSV or
JSON Lines.

A file is read at playing speed, like a microphone. Ctrl-C stops.
"""
EXAMPLES = """\
  realtime-mer listen
  realtime-mer listen --input "USB Audio" --hop 0.5
  realtime-mer listen --input song.flac --record evening.csv
  ffmpeg -loglevel error -i song.m4a -f s16le -ac 2 -ar 44100 - | \\
    realtime-mer listen --input - --pcm-rate 44100 --format jsonl
"""
REFRESH_S = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    add_pipeline_arguments(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=FORMATS, default=None,
        help="print rows instead of the live display",
    )  # fmt: skip
    group.add_argument(
        "--record", metavar="PATH",
        help="also write every estimate to a new .csv or .jsonl file",
    )  # fmt: skip
    group.add_argument(
        "--duration", type=float, metavar="SECONDS", help="stop after this many seconds of audio"
    )


def run(args: argparse.Namespace) -> int:
    from realtime_mer.audio.local_path import local_path
    from realtime_mer.audio.open_input import open_source
    from realtime_mer.live.hub import STOPPED
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.live.stats import NOTHING_LOST
    from realtime_mer.outputs.recorder import Recorder

    if args.duration is not None and not args.duration > 0:
        raise UserError(f"the duration is {args.duration} s; it must be above 0")
    config = pipeline_config(args)
    pcm = pcm_format(args)
    engine, backend_line = chosen_engine(args)
    with ExitStack() as stack:
        source = stack.enter_context(
            open_source(args.input, pcm=pcm, loop=args.loop, announce=_announce)
        )
        runner = LiveRunner(source, engine, config=config)
        recorder = None
        if args.record is not None:
            recorder = stack.enter_context(Recorder(runner.hub, local_path(args.record)))
        _announce(backend_line)
        # Lines show every estimate; the display shows only the newest.
        use_display = args.format is None and sys.stdout.isatty()
        recording = _Recording(recorder, runner)
        show = _display(runner, stack) if use_display else _lines(runner, args.format, recording)
        stack.enter_context(runner)
        try:
            reason = _follow(show, recording, args.duration)
        except KeyboardInterrupt:
            reason = STOPPED
        runner.stop()
        recording.drain()
        show(None)
    if recorder is not None:
        _announce(f"{recorder.rows} estimates recorded in {recorder.path}")
    if (lost := runner.stats.loss_text()) != NOTHING_LOST:
        _announce(f"lost: {lost}")
    code = exit_code(runner)
    if code != UserError.exit_code and reason != STOPPED:  # a notice has given the other reasons
        _announce(reason)
    return code or recording.exit_code


def _announce(message: str) -> None:
    print(printable(message), file=sys.stderr)


class _Recording:
    """The recording, if there is one. If it fails, a notice says so and listening goes on.

    Attributes:
        active: whether it records.
        exit_code: 0, or 2 after a failure.
    """

    def __init__(self, recorder: Recorder | None, runner: LiveRunner) -> None:
        self._recorder = recorder
        self._hub = runner.hub
        self.active = recorder is not None
        self.exit_code = 0

    def drain(self) -> None:
        """Record the newest estimates."""
        from realtime_mer.live.hub import Notice

        if self._recorder is None:
            return
        try:
            with _delayed_interrupt():
                self._recorder.drain()
        except UserError as error:
            self.active = False
            self.exit_code = error.exit_code
            self._hub.publish(Notice("recording_stopped", str(error)))


@contextmanager
def _delayed_interrupt() -> Iterator[None]:
    """Let Ctrl-C take effect after the body, which loses no row on its way to the file."""
    interrupts: list[tuple[int, FrameType | None]] = []
    previous = signal.signal(signal.SIGINT, lambda *interrupt: interrupts.append(interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if interrupts and callable(previous):  # otherwise Ctrl-C is ignored
        previous(*interrupts[0])


def _follow(
    show: Callable[[float | None], list[Item]], recording: _Recording, duration_s: float | None
) -> str:
    """Show and record until the audio ends or the duration is reached; return why it ended."""
    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import STOPPED, End

    while True:
        items = show(REFRESH_S)
        recording.drain()
        for item in items:
            if isinstance(item, End):
                return item.reason
            if isinstance(item, Estimate) and duration_s is not None and item.t >= duration_s:
                return STOPPED


def _lines(
    runner: LiveRunner, row_format: str | None, recording: _Recording
) -> Callable[[float | None], list[Item]]:
    """Return a function that prints a line per estimate.

    Its argument is how long to wait for one, in seconds, or None for the last call. If standard
    output fails while a recording is made, the recording goes on.
    """
    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import Notice
    from realtime_mer.outputs.table import table_writer
    from realtime_mer.outputs.terminal import plain_line

    subscription = runner.hub.subscribe_lossless()
    writer: TableWriter | None = None

    def show(wait_s: float | None) -> list[Item]:
        nonlocal writer
        items = subscription.take() if wait_s is None else subscription.wait(wait_s)
        for item in items:
            if isinstance(item, Notice):
                _announce(item.message)
        try:
            if writer is None and row_format is not None:
                writer = table_writer(row_format, sys.stdout)  # prints the header
            for item in items:
                if not isinstance(item, Estimate):
                    continue
                if writer is None:
                    print(plain_line(item))
                else:
                    writer.write(item)
            sys.stdout.flush()
        except StandardOutputError as error:
            if not recording.active:
                raise
            _announce(f"{error}. The recording goes on")
            recording.exit_code = error.exit_code
            discard_output()
        return items

    return show


def _display(runner: LiveRunner, stack: ExitStack) -> Callable[[float | None], list[Item]]:
    """Return a function that updates the live display.

    Its argument is how long to wait for an estimate, in seconds, or None for the last call.
    """
    from rich.console import Console
    from rich.live import Live

    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import Notice
    from realtime_mer.outputs.terminal import TerminalView

    info = runner.info
    source = info.name if info.name == info.kind else f"{info.kind} {info.name}"
    view = TerminalView(
        f"realtime-mer: {source}, {info.sample_rate_hz} Hz, {info.channels} ch",
        hop_s=runner.pipeline.config.hop_s,
        coverage=runner.pipeline.engine.info.coverage,
    )
    live = stack.enter_context(Live(view, console=Console(), auto_refresh=False))
    subscription = runner.hub.subscribe_latest()

    def show(wait_s: float | None) -> list[Item]:
        items = subscription.take() if wait_s is None else subscription.wait(wait_s)
        for item in items:
            if isinstance(item, Estimate):
                view.add(item)
            elif isinstance(item, Notice):
                view.show_notice(item.message)
        view.set_losses(runner.stats.loss_text())
        live.refresh()
        return items

    return show
