"""`realtime-mer listen`: show live estimates in the terminal."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections import deque
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from realtime_mer.commands.configured import add_configuration_arguments
from realtime_mer.commands.marker_keys import MarkerKeys, marker_text
from realtime_mer.commands.options import (
    add_input_arguments,
    add_pipeline_arguments,
    chosen_engine,
    exit_code,
    pcm_format,
    pipeline_config,
)
from realtime_mer.commands.recording import (
    add_recording_arguments,
    check_recording,
    recording_line,
    start_recording,
)
from realtime_mer.commands.streams import StandardOutputError, announce, discard_output, line_room
from realtime_mer.commands.target_option import add_target_argument, chosen_target, target_text
from realtime_mer.commands.terminal_mode import second_screen
from realtime_mer.core.events import Event, Marker
from realtime_mer.errors import UserError
from realtime_mer.live.show import outputs_text
from realtime_mer.outputs.table import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from realtime_mer.core.target import TargetTrajectory
    from realtime_mer.live.hub import Item, Subscription
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.live.show import Show
    from realtime_mer.outputs.terminal import TerminalView
    from realtime_mer.recording.recorder import Recorder

    Draw = Callable[[Sequence[Item]], None]

HELP = "listen and show the emotion in the terminal"
DESCRIPTION = """\
Listens live and shows valence and arousal with their intervals, the mood, the
level, changes, markers, outputs and lost input, in a terminal of any size. The
values are those of the page: their place among music, or with --range raw the
model's own.

If standard output is not a terminal, and where TERM=dumb or NO_COLOR is set, it
prints lines of text: one when the values or the state change, at most one a
second, and one for each change of the music. --format prints every estimate, as
CSV or JSON Lines, with the model's own values.

A file is read at playing speed, like a microphone. Ctrl-C stops; a second one
stops at once. In a terminal, the key m makes a marker: type a text, then Enter.
A recording is a folder. It survives a full disk, a moved folder and a killed
program, and the same command adds a part to it.
"""
EXAMPLES = """\
  realtime-mer listen
  realtime-mer listen --input "USB Audio" --hop 0.5
  realtime-mer listen --input song.flac --record evening
  ffmpeg -loglevel error -i song.m4a -f s16le -ac 2 -ar 44100 - | \\
    realtime-mer listen --input - --pcm-rate 44100 --format jsonl
"""
REFRESH_S = 0.25
TYPING_REFRESH_S = 0.05
UNPRINTED_S = 3600.0  # lines that wait while nobody takes the output
MAX_MESSAGES = 200  # lines of standard error during the display


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    add_pipeline_arguments(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=FORMATS, default=None,
        help="print rows instead of the live display",
    )  # fmt: skip
    group.add_argument(
        "--duration", type=float, metavar="SECONDS", help="stop after this many seconds of audio"
    )
    add_target_argument(group)
    add_recording_arguments(parser)
    add_configuration_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from realtime_mer.audio.open_input import open_source
    from realtime_mer.commands.check import check
    from realtime_mer.commands.show import running_show, writes_standard_output
    from realtime_mer.commands.show_messages import show_messages
    from realtime_mer.live.hub import STOPPED
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.live.stats import NOTHING_LOST

    if args.check:
        return check(args)
    taken = writes_standard_output(args.configuration)
    if taken and args.format is not None:
        raise UserError(
            f"--format {args.format} and [[jsonl]] both write standard output; leave out one of "
            "them"
        )
    if args.duration is not None and not 0.0 < args.duration < math.inf:
        raise UserError(f"the duration is {args.duration} s; it must be finite and above 0")
    target = chosen_target(args)
    check_recording(args)
    config = pipeline_config(args)
    pcm = pcm_format(args)
    engine, backend_line = chosen_engine(args)
    with ExitStack() as stack:
        source = stack.enter_context(
            open_source(args.input, pcm=pcm, loop=args.loop, announce=announce)
        )
        runner = LiveRunner(source, engine, config=config)
        recorder = start_recording(args, runner, target)
        if recorder is not None:
            stack.enter_context(recorder)
            announce(recording_line(recorder))
        show = stack.enter_context(running_show(runner.hub, args.configuration, hop_s=config.hop_s))
        announce(backend_line)
        if args.configuration.file is not None:
            announce(f"configuration: {args.configuration.title}")
        # Lines show every estimate; the display shows only the newest.
        use_display = args.format is None and not taken and _takes_display()
        keys = stack.enter_context(MarkerKeys(runner.hub, use=args.input != "-"))
        if use_display:
            subscription, draw = _display(runner, show, target, keys, stack)
        else:
            subscription, draw = _lines(runner, args.format, target, keys, only_notices=taken)
            stack.enter_context(show_messages())
        screen = _Screen(subscription, draw, recorder)
        try:
            stack.enter_context(runner)
            reason = _follow(screen, recorder, keys, args.duration)
        except KeyboardInterrupt:
            reason = STOPPED
        runner.stop()
        if recorder is not None:
            recorder.close()  # before anything that may wait for the terminal
        screen(None)
        outputs = outputs_text(show.statuses())
    if recorder is not None:
        announce(recorder.summary)
    if subscription.lost and not use_display:
        announce(f"{subscription.lost} estimates were not printed: nobody took the output in time")
    if (lost := runner.stats.loss_text()) != NOTHING_LOST:
        announce(f"lost: {lost}")
    if outputs:
        announce(outputs)
    code = exit_code(runner)
    if code != UserError.exit_code and reason != STOPPED:  # a notice has given the other reasons
        announce(reason)
    incomplete = recorder is not None and recorder.missing > 0
    return code or (UserError.exit_code if incomplete or screen.failed else 0)


class _Screen:
    """Draws what arrives. If standard output fails while a recording is made, that goes on.

    Attributes:
        failed: whether standard output failed.
    """

    def __init__(
        self,
        subscription: Subscription,
        draw: Draw,
        recorder: Recorder | None,
    ) -> None:
        self._subscription = subscription
        self._draw = draw
        self._recorder = recorder
        self.failed = False

    def __call__(self, wait_s: float | None) -> list[Item]:
        """Wait for items, in seconds, or None for the last call; draw and return them."""
        wait = self._subscription.wait
        items = self._subscription.take() if wait_s is None else wait(wait_s)
        try:
            self._draw(items)
        except StandardOutputError as error:
            if self._recorder is None:
                raise
            self.failed = True
            discard_output()
            announce(f"{error}. The recording goes on")
        return items


def _follow(
    screen: _Screen, recorder: Recorder | None, keys: MarkerKeys, duration_s: float | None
) -> str:
    """Show until the audio ends or the duration is reached; return why it ended."""
    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import STOPPED, End

    while True:
        keys.poll()
        for item in screen(TYPING_REFRESH_S if keys.prompt else REFRESH_S):
            if isinstance(item, End):
                return item.reason
            if isinstance(item, Estimate) and duration_s is not None and item.t >= duration_s:
                return STOPPED
        if recorder is not None:
            recorder.watch()


def _lines(
    runner: LiveRunner,
    row_format: str | None,
    target: TargetTrajectory | None,
    keys: MarkerKeys,
    *,
    only_notices: bool,
) -> tuple[Subscription, Draw]:
    """Return a subscription to every estimate, and a function that prints lines.

    With `only_notices` it leaves standard output alone.
    """
    from realtime_mer.commands.estimate_lines import line_printer

    # A pipe that nobody reads must not fill the memory.
    capacity = math.ceil(UNPRINTED_S / runner.pipeline.config.hop_s)
    print_lines = line_printer(
        row_format, estimates=not only_notices, only_changes=True, target=target
    )
    shown = ""

    def draw(items: Sequence[Item]) -> None:
        nonlocal shown
        if shown and (items or keys.prompt != shown):
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            shown = ""
        print_lines(items)
        for item in items:
            if isinstance(item, Marker):
                announce(marker_text(item))
        if keys.prompt and not shown and sys.stderr.isatty():
            shown = keys.prompt
            print(shown[: line_room()], end="", file=sys.stderr, flush=True)

    return runner.hub.subscribe_bounded(capacity), draw


def _takes_display() -> bool:
    """Return whether standard output is a terminal that moves its cursor, and wants colours."""
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stdout.isatty() and not dumb and not os.environ.get("NO_COLOR")


class _Messages(io.TextIOBase):
    """Takes the place of standard error while the display has the screen.

    Args:
        tell: is called with each line.

    Attributes:
        lines: the newest ones.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.lines: deque[str] = deque(maxlen=MAX_MESSAGES)

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            self.lines.append(line)
            self._tell(line)
        return len(text)


@contextmanager
def _screen_of(console: Console, view: TerminalView) -> Iterator[None]:
    """Give the screen to the display; afterwards print its last state and what was said meanwhile.

    Standard error that is a file still gets its lines at once.
    """
    messages = _Messages(view.show_notice)
    before = sys.stderr
    if before.isatty():
        sys.stderr = messages
    try:
        with second_screen():
            yield
    finally:
        sys.stderr = before
        console.print(view.drawn(console, console.width, None))
        for line in messages.lines:
            announce(line)


def _display(
    runner: LiveRunner,
    show: Show,
    target: TargetTrajectory | None,
    keys: MarkerKeys,
    stack: ExitStack,
) -> tuple[Subscription, Draw]:
    """Return a subscription to the newest estimate, and a function that displays it."""
    from rich.console import Console
    from rich.control import Control
    from rich.screen import Screen

    from realtime_mer.commands.show_messages import show_messages
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
    stack.enter_context(show_messages(view.show_notice))
    console = Console(highlight=False)
    stack.enter_context(_screen_of(console, view))

    def draw(items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Estimate):
                view.add(item)
                if target is not None:
                    view.set_target(target_text(target, item))
            elif isinstance(item, Notice):
                view.show_notice(item.message, item.code)
            elif isinstance(item, Event | Marker):
                view.add_event(item)
        view.set_keys("m marks, Ctrl-C ends" if keys.arrive else "Ctrl-C ends")
        view.set_prompt(keys.prompt)
        view.set_losses(runner.stats.loss_text())
        view.set_outputs(outputs_text(show.statuses()))
        with console:  # one write; each screen overwrites all of the last one, at any size
            console.control(Control.home())
            console.print(Screen(view), end="")

    return runner.hub.subscribe_latest(), draw
