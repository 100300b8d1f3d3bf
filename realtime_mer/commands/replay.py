"""`realtime-mer replay`: outputs and scenes from a recording instead of live music."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from realtime_mer.audio.local_path import local_path
from realtime_mer.commands.configured import add_configuration_arguments
from realtime_mer.errors import UserError, printable
from realtime_mer.live.show import outputs_text
from realtime_mer.outputs.table import FORMATS

HELP = "run outputs and scenes from a recording"
DESCRIPTION = """\
Plays the estimates of a recording as they came: the outputs, scenes and
controls of the configuration work from them as from live music. The recording
is a folder of --record, or a table of 'analyze -o': CSV or JSON Lines.

Estimates are printed as 'listen' prints them, what scenes do on standard
error. Ctrl-C stops. A recording has no beats: scenes that wait for them start
at once.
"""
EXAMPLES = """\
  realtime-mer replay evening.jsonl
  realtime-mer replay evening.csv --speed 10 --osc 127.0.0.1:9000
  realtime-mer replay evening.csv --config show.toml --profile club
"""
MIN_SPEED, MAX_SPEED = 0.1, 1000.0
WAIT_S = 0.25  # Windows delivers Ctrl-C only between two waits
UNPRINTED = 10_000  # lines that wait while nobody takes the output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recording", metavar="RECORDING", type=local_path,
        help="a .csv or .jsonl file with estimates",
    )  # fmt: skip
    parser.add_argument(
        "--speed", type=float, default=1.0, metavar="TIMES",
        help="times real time, 0.1 to 1000 (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=FORMATS, default=None, help="print rows instead of plain lines"
    )
    add_configuration_arguments(parser, check=False)


def run(args: argparse.Namespace) -> int:
    from realtime_mer.commands.estimate_lines import line_printer
    from realtime_mer.commands.show import running_show, writes_standard_output
    from realtime_mer.commands.show_messages import show_messages
    from realtime_mer.live.hub import STOPPED, End, Hub
    from realtime_mer.live.replay import Replay
    from realtime_mer.recording.reader import SessionReader

    if not MIN_SPEED <= args.speed <= MAX_SPEED:
        raise UserError(
            f"--speed is {args.speed:g}; it must lie between {MIN_SPEED:g} and {MAX_SPEED:g}"
        )
    quiet = writes_standard_output(args.configuration)
    if quiet and args.format is not None:
        raise UserError(
            "--format and a [[jsonl]] output both write to standard output; remove one of them"
        )
    with ExitStack() as stack:
        recording = stack.enter_context(SessionReader(args.recording))
        hop_s = recording.hop_s / args.speed
        hub = Hub(hop_s=hop_s)
        stack.enter_context(show_messages())
        show = stack.enter_context(running_show(hub, args.configuration, hop_s=hop_s))
        subscription = hub.subscribe_bounded(UNPRINTED)
        draw = line_printer(args.format, estimates=not quiet)
        replay = stack.enter_context(Replay(recording.estimates(), hub, speed=args.speed))
        replay.start()
        reason = ""
        try:
            while not reason:
                items = subscription.wait(WAIT_S)
                draw(items)
                reason = next((item.reason for item in items if isinstance(item, End)), "")
        except KeyboardInterrupt:
            reason = STOPPED
        outputs = outputs_text(show.statuses())
    if subscription.lost:
        _announce(f"{subscription.lost} estimates were not printed: nobody took the output in time")
    if replay.error is not None:
        raise replay.error
    for sentence in (outputs, recording.remark, reason if reason != STOPPED else ""):
        if sentence:
            _announce(sentence)
    return 0


def _announce(message: str) -> None:
    print(printable(message), file=sys.stderr)
