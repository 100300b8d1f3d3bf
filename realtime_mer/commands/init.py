"""`realtime-mer init`: write a commented configuration file."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime_mer.audio.local_path import local_path
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from realtime_mer.configuration.template import Table

HELP = "write a commented configuration file"
DESCRIPTION = """\
Writes realtime-mer.toml with every table and key of the configuration, all of
them as comments: the file changes nothing until you remove a '#'. 'serve',
'listen' and 'replay' read it from the folder in which they start, else from
your configuration folder.
"""
EXAMPLES = """\
  realtime-mer init
  realtime-mer init -o ~/.config/realtime-mer/realtime-mer.toml
  realtime-mer serve --check              what the file would run
"""
INTRODUCTION = """\
The configuration of realtime-mer: outputs, scenes, controls, and options of the command line.

Everything here is a comment. Remove the # from a table, such as #[[osc]], and from the keys that \
you want to set; the others keep the values that are shown. Options of the command line win over \
this file. 'realtime-mer serve --check' says what would run.

While the program runs, it follows changes of outputs and scenes within seconds.\
"""
SECTION_TEXTS = {
    "input": "What it listens to: the options of 'serve' and 'listen'.",
    "estimation": "How it estimates: the options of 'serve' and 'listen'.",
    "recording": "What is recorded: options of 'serve' and 'listen'. Without `record`, nothing is.",
    "session": "Whose session it is: an option of 'serve'.",
    "server": "The page and the websocket: the options of 'serve'.",
}
COMMON_TEXT = """\
The keys of all outputs. Each table of an output below may have them beside its own keys; copy \
them there, without the '# '.\
"""
COMMON_REMARK = "Further keys: those of all outputs, above."
PROFILE_TEXT = """\
Profiles: other values for another place, used with --profile NAME. A profile has the same tables \
with profile.NAME before their names. Its keys win over those above; its outputs and scenes \
replace all those of their kind above.\
"""
_FIXTURES = [{"name": "left", "universe": 1, "address": 1, "kind": "rgb"}]
# Values that stand for keys without a default.
EXAMPLE_VALUES: dict[str, dict[str, object]] = {
    "input": {"input": "USB Audio"},
    "osc": {"to": "127.0.0.1:7000"},
    "artnet": {"to": "192.168.1.20", "fixtures": _FIXTURES},
    "sacn": {"fixtures": _FIXTURES},
    "wled": {"to": "192.168.1.30", "leds": 60},
    "mqtt": {"broker": "localhost"},
    "webhook": {"url": "http://localhost:8000/mood"},
    "scene": {"name": "storm"},
    "control.osc": {"port": 9000},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=local_path,
        default=Path("realtime-mer.toml"),
        metavar="FILE",
        help="the file to write, which must not exist (default: realtime-mer.toml)",
    )


def run(args: argparse.Namespace) -> int:
    text = configuration_text()
    try:
        with args.output.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(
            f"{args.output} exists and is not replaced; give another name with -o FILE"
        ) from error
    print(f"{args.output} is written; everything in it is a comment until you remove a '#'")
    return 0


def configuration_text() -> str:
    """Return a configuration file with every table and key, as comments."""
    from realtime_mer.configuration.template import template

    return template(INTRODUCTION, tables())


def tables() -> list[Table]:
    """Return every table of the configuration."""
    from realtime_mer.commands.configured import section_class
    from realtime_mer.configuration.configuration import CONTROLS, control_class
    from realtime_mer.configuration.keys import keys_of
    from realtime_mer.configuration.template import Table
    from realtime_mer.outputs.output import OutputSettings
    from realtime_mer.outputs.registry import KINDS, settings_class
    from realtime_mer.scenes.settings import SceneSettings

    found = [
        Table(f"[{name}]", text, keys_of(section_class(name)), EXAMPLE_VALUES.get(name, {}))
        for name, text in SECTION_TEXTS.items()
    ]

    common = keys_of(OutputSettings)
    found.append(Table("", COMMON_TEXT, common))

    def add(name: str, header: str, settings: type[Any]) -> None:
        text = inspect.cleandoc(settings.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        keys, remark = keys_of(settings), ""
        if issubclass(settings, OutputSettings):
            keys, remark = [key for key in keys if key not in common], COMMON_REMARK
        found.append(Table(header, text, keys, EXAMPLE_VALUES.get(name, {}), remark))

    for kind in KINDS:
        try:
            add(kind, f"[[{kind}]]", settings_class(kind))
        except UserError as error:  # a package is missing
            found.append(Table(f"[[{kind}]]", f"{error}.", ()))
    add("scene", "[[scene]]", SceneSettings)
    for name in CONTROLS:
        try:
            add(f"control.{name}", f"[control.{name}]", control_class(name))
        except UserError as error:
            found.append(Table(f"[control.{name}]", f"{error}.", ()))
    return [*found, Table("[profile.NAME.server]", PROFILE_TEXT, ())]
