"""`realtime-mer calibrate`: learn the range of a hall's music."""

from __future__ import annotations

import argparse
import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.commands.configured import add_configuration_arguments
from realtime_mer.commands.options import (
    add_input_arguments,
    add_pipeline_arguments,
    chosen_engine,
    exit_code,
    pcm_format,
    pipeline_config,
)
from realtime_mer.commands.streams import announce
from realtime_mer.errors import UserError, printable

if TYPE_CHECKING:
    from realtime_mer.live.hub import Subscription
    from realtime_mer.outputs.hall import HallMeter

HELP = "learn the range of a hall's music for the outputs"
DESCRIPTION = """\
Listens to music as 'listen' does, for five minutes unless told, and measures
from where to where valence, arousal and level go: the 5th and the 95th
percentile. Silence, speech and noise do not count. Outputs with the setting
range = "hall" then use the whole of their range for this music. Play music
that is typical of the place, as loud as it will be. Ctrl-C ends sooner and
uses what was heard, if that is a minute of music or more.
"""
EXAMPLES = """\
  realtime-mer calibrate
  realtime-mer calibrate --input "USB Audio" --duration 600
  realtime-mer calibrate -o club.json
"""
DEFAULT_S = 300.0
PROGRESS_S = 10.0
WAIT_S = 0.25  # Windows delivers Ctrl-C only between two waits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    add_pipeline_arguments(parser)
    group = parser.add_argument_group("calibration")
    group.add_argument(
        "--duration", type=float, default=DEFAULT_S, metavar="SECONDS",
        help="stop after this many seconds of music (default: 300)",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output", type=local_path, metavar="FILE",
        help="the file to write, for the setting hall of an output (default: hall.json in your "
        "configuration folder)",
    )  # fmt: skip
    add_configuration_arguments(parser, check=False, outputs=False)


def run(args: argparse.Namespace) -> int:
    from realtime_mer.audio.open_input import open_source
    from realtime_mer.live.runner import LiveRunner
    from realtime_mer.outputs.hall import MIN_MUSIC_S, HallMeter, default_hall_path

    if not MIN_MUSIC_S <= args.duration < math.inf:
        raise UserError(
            f"the duration is {args.duration:g} s; it must be at least {MIN_MUSIC_S:g}, and finite"
        )
    path: Path = args.output or default_hall_path()
    _try_to_write(path)
    config = pipeline_config(args)
    pcm = pcm_format(args)
    engine, backend_line = chosen_engine(args)
    meter = HallMeter(config.hop_s)
    with ExitStack() as stack:
        source = stack.enter_context(
            open_source(args.input, pcm=pcm, loop=args.loop, announce=announce)
        )
        runner = LiveRunner(source, engine, config=config)
        announce(backend_line)
        subscription = runner.hub.subscribe_lossless()
        try:
            stack.enter_context(runner)
            announce(f"listening to {runner.info.name}: {args.duration:g} s of music are needed")
            _follow(subscription, meter, args.duration)
        except KeyboardInterrupt:
            announce("stopped")
        runner.stop()
    hall = meter.measured()
    announce(f"heard {meter.text()}")
    path.write_text(json.dumps(hall.to_dict()) + "\n", encoding="utf-8")
    named = "" if args.output is None else f" and hall = {json.dumps(str(path))}"
    print(printable(f'{path} is written; an output with range = "hall"{named} uses it'))
    return exit_code(runner)


def _follow(subscription: Subscription, meter: HallMeter, duration_s: float) -> None:
    """Measure until there is enough music or the audio ends, and show the progress."""
    from realtime_mer.core.types import Estimate
    from realtime_mer.live.hub import End, Notice

    told_t = 0.0
    while True:
        for item in subscription.wait(WAIT_S):
            if isinstance(item, Estimate):
                meter.add(item)
                if item.t - told_t >= PROGRESS_S:
                    told_t = item.t
                    announce(meter.text())
                if meter.music_s >= duration_s:
                    return
            elif isinstance(item, Notice):
                announce(item.message)
            elif isinstance(item, End):
                announce(item.reason)
                return


def _try_to_write(path: Path) -> None:
    """Find out now, and not after minutes, whether a file can be written.

    Raises:
        UserError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        path.open("a").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); give another file with -o"
        ) from error
