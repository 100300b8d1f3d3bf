"""`realtime-mer scenes`: try scenes over a recording."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import defaultdict
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.clock import exact_clock_text
from realtime_mer.errors import UserError, printable, printable_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realtime_mer.scenes.dry_run import DryRunRow
    from realtime_mer.scenes.settings import SceneSettings

HELP = "try the scenes of a configuration over a recording"
DESCRIPTION = """\
Shows when each [[scene]] of a configuration file would have started and ended
while a recording was made, and why. No output does anything. The recording is
a folder of --record, or a table of 'analyze -o': CSV or JSON Lines.
"""
EXAMPLES = """\
  realtime-mer scenes realtime-mer.toml --on evening.jsonl
  realtime-mer scenes show.toml --profile club --on evening.csv --why
"""
WIDTH = 80
NAME_WIDTH = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", type=local_path, help="a configuration file with scenes"
    )
    parser.add_argument(
        "--on", metavar="RECORDING", type=local_path, required=True,
        help="a folder of --record, or a .csv or .jsonl file with estimates",
    )  # fmt: skip
    parser.add_argument(
        "--profile", metavar="NAME", default="", help="the profile of the configuration to use"
    )
    parser.add_argument(
        "--why", action="store_true",
        help="also tell why scenes do not start or end, each time that the reason changes",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from realtime_mer.configuration.configuration import load
    from realtime_mer.core.events import Event
    from realtime_mer.core.types import Estimate
    from realtime_mer.recording.reader import SessionReader
    from realtime_mer.scenes.dry_run import dry_run

    scenes = load(args.file, args.profile).scenes
    if not scenes:
        raise UserError(f"{args.file} has no [[scene]]; docs/scenes.md has examples")
    with SessionReader(args.on) as recording:
        names = [scene.name for scene in scenes]
        music = (item for item in recording if isinstance(item, Estimate | Event))
        print_rows(dry_run(scenes, music, why_not=args.why), names)
        remarks = [recording.remark] if recording.remark else []
    quantised = [scene.name for scene in scenes if scene.quantise != "none"]
    if quantised:
        remarks.append(
            "a recording has no beats: scenes that wait for the beat or bar start at once "
            f"({', '.join(quantised)})"
        )
    if args.on.suffix.lower() == ".csv" and _use_sections(scenes):
        remarks.append("a CSV recording shows fewer sections than one in JSON Lines (.jsonl)")
    for remark in remarks:
        print(printable(remark), file=sys.stderr)
    return 0


def _use_sections(scenes: Iterable[SceneSettings]) -> bool:
    """Return whether a scene has a condition on sections."""
    from realtime_mer.core.events import EventKind

    return any(
        EventKind.SECTION in condition.events
        for scene in scenes
        for condition in (scene.conditions()[0], *scene.conditions()[1])
        if condition is not None
    )


def print_rows(rows: Iterable[DryRunRow], names: list[str]) -> None:
    """Print what scenes do as a table of 80 columns, then how often and how long each was active.

    Args:
        rows: in order of time.
        names: of the scenes.
    """
    shown = {name: _shortened(printable_line(name)) for name in names}
    width = max(len("scene"), *map(len, shown.values()))
    indent = " " * (9 + 2 + width + 2 + 6 + 2)
    starts: defaultdict[str, int] = defaultdict(int)
    seconds: defaultdict[str, float] = defaultdict(float)
    started_t: dict[str, float] = {}
    last_t = 0.0
    print(f"{'time':>9}  {'scene':<{width}}  what    why")
    for row in rows:
        head = f"{exact_clock_text(row.t):>9}  {shown[row.scene]:<{width}}  {row.what:<6}  "
        text = printable_line(row.reason)
        print(textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=indent))
        last_t = row.t
        if row.what == "starts":
            starts[row.scene] += 1
            started_t[row.scene] = row.t
        elif row.what == "ends":
            seconds[row.scene] += row.t - started_t.pop(row.scene)
    print()
    for name, t in started_t.items():
        seconds[name] += last_t - t
    for name in names:
        text = f"{starts[name]:>3} starts  {seconds[name]:8.1f} s" if starts[name] else "never"
        print(f"{shown[name]:<{width}}  {text}")


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
