"""`realtime-mer devices`: list the audio inputs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from realtime_mer.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime_mer.audio.microphone import InputDevice

HELP = "list the audio inputs"
DESCRIPTION = """\
Lists the input devices. --input takes the index, the name or a part of the
name. The index may change when devices are plugged in or removed; the name does
not. The list marks the default device, and devices that record what the
computer itself plays (loopback). Where PulseAudio or PipeWire runs, its sources
and monitors are listed with the name that it shows and its own name.
"""
EXAMPLES = """\
  realtime-mer devices
  realtime-mer devices --json
  realtime-mer listen --input "USB Audio"
  realtime-mer listen --input "Monitor of Built-in Audio"
"""

_LOOPBACK_TIPS = {
    "linux": "to record what this computer plays, run PulseAudio, or PipeWire with pipewire-pulse",
    "darwin": "to record what this computer plays, install a loopback device such as BlackHole",
    "win32": 'to record what this computer plays, enable "Stereo Mix" or install a virtual cable',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")


def run(args: argparse.Namespace) -> int:
    from mer_engine.strict_json import to_json

    from realtime_mer.audio.microphone import list_input_devices

    devices = list_input_devices()
    if args.json:
        print(to_json([asdict(device) for device in devices], indent=2))
        return 0
    if not devices:
        print("no input device found; connect one, or try --input demo")
    elif sys.stdout.isatty():
        _print_table(devices)
    else:
        for device in devices:
            print("\t".join(_row(device)))
    if not any(device.is_loopback for device in devices) and sys.stdout.isatty():
        tip = _LOOPBACK_TIPS.get(sys.platform)
        if tip:
            print(tip)
    return 0


def _row(device: InputDevice) -> tuple[str, ...]:
    labels = []
    if device.is_default:
        labels.append("default")
    if device.is_loopback:
        labels.append("loopback")
    return (
        *(str(device.index), printable(device.name), printable(device.host_api)),
        *(str(device.channels), str(device.sample_rate_hz), ", ".join(labels)),
        *(() if device.source is None else (printable(device.source),)),
    )


def _print_table(devices: Sequence[InputDevice]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("index", justify="right")
    table.add_column("name", overflow="fold")
    table.add_column("host API")
    table.add_column("channels", justify="right")
    table.add_column("rate (Hz)", justify="right")
    table.add_column("")
    if any(device.source for device in devices):
        table.add_column("source", overflow="fold")
    for device in devices:
        style = "bold" if device.is_default else ""
        table.add_row(*(Text(cell) for cell in _row(device)), style=style)
    Console().print(table)
