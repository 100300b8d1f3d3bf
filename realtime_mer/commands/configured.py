"""The options `--config`, `--profile`, `--osc` and `--check`, and what the file says of others."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from realtime_mer.audio.local_path import local_path
from realtime_mer.commands.options import add_input_arguments, add_pipeline_arguments
from realtime_mer.commands.person_option import add_person_argument
from realtime_mer.commands.recording import add_recording_arguments
from realtime_mer.commands.server_options import add_server_arguments

if TYPE_CHECKING:
    from realtime_mer.configuration.configuration import Configuration

# The options that each table of the file has.
_ADD: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "input": add_input_arguments,
    "estimation": add_pipeline_arguments,
    "recording": add_recording_arguments,
    "session": add_person_argument,
    "server": add_server_arguments,
}


def add_configuration_arguments(
    parser: argparse.ArgumentParser, *, check: bool = True, outputs: bool = True
) -> None:
    """Add `--config`, `--profile` and, if wanted, `--check` and, with outputs, `--osc`."""
    parser.set_defaults(configure=configure)  # is called before the command line is parsed
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--config",
        type=local_path,
        metavar="FILE",
        help="a file with options, outputs, scenes and controls (docs/configuration.md); options "
        "of the command line win over it (default: realtime-mer.toml in this folder, else in the "
        "user's configuration folder)",
    )
    group.add_argument(
        "--profile",
        default="",
        metavar="NAME",
        help="use the tables [profile.NAME.*] of the file in place of those without a profile",
    )
    if outputs:
        group.add_argument(
            "--osc",
            action="append",
            default=[],
            metavar="HOST:PORT",
            help="also send the values there as OSC (docs/stage.md); may be given several times",
        )
    if check:
        group.add_argument(
            "--check",
            action="store_true",
            help="say what would run, find out whether it can, and end: exit code 0 or 2",
        )


def configure(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Read the configuration file; its options become the parser's defaults.

    The parser's result gets the `Configuration` as `configuration`.

    Args:
        parser: of the command, with `add_configuration_arguments`.
        arguments: those of the command line after the command.

    Raises:
        OSError: the file cannot be read.
        UserError: something in it is wrong.
    """
    from realtime_mer.configuration.configuration import find_file, load

    given = parser.parse_known_args(arguments)[0]
    file = given.config if given.config is not None else find_file()
    configuration = load(file, given.profile, getattr(given, "osc", []))
    parser.set_defaults(configuration=configuration)
    options = check_options(configuration)
    for group in parser._mutually_exclusive_groups:
        names = {action.dest for action in group._group_actions}
        both = [name for name in options if name in names and options[name] is not False]
        if len(both) > 1:
            section = next(each for each in _ADD if both[1] in configuration.section(each))
            sentence = f"[{section}] {both[1]} excludes {both[0]}; remove one of them"
            raise configuration.error((section, both[1]), sentence)
        if any(getattr(given, name) != parser.get_default(name) for name in names):
            for name in names:
                options.pop(name, None)
    known = {action.dest: action for action in parser._actions}
    for name, value in options.items():
        if name not in known:
            continue
        if isinstance(value, tuple):  # an option that may be given several times
            value = [] if getattr(given, name) else list(value)
        parser.set_defaults(**{name: value})


def check_options(configuration: Configuration) -> dict[str, Any]:
    """Return the options of all tables of a configuration.

    Raises:
        UserError: a key is unknown, or a value is of another type or excludes another.
    """
    options: dict[str, Any] = {}
    for section in _ADD:
        options |= _checked(configuration, section, configuration.section(section))
    return options


def section_class(section: str) -> type[Any]:
    """Return a dataclass with the options of a table of the file, as they are in the parser."""
    parser = argparse.ArgumentParser(add_help=False)
    _ADD[section](parser)
    fields = []
    for action in parser._actions:
        value = action.default
        default = tuple(value) if isinstance(value, list) else value
        text = str(action.help).split(" (default: ")[0]
        field = dataclasses.field(default=default, metadata={"text": text})
        fields.append((action.dest, _annotation(action), field))
    return dataclasses.make_dataclass(section, fields, frozen=True, kw_only=True)


def _annotation(action: argparse.Action) -> Any:
    kind: Any = str
    if action.nargs == 0:
        return bool
    if isinstance(action.default, list):
        return tuple[str, ...]
    if action.choices is not None:
        kind = Literal[tuple(map(str, action.choices))]
    elif action.type in (int, float):
        kind = action.type
    return kind if action.default is not None else kind | None


def _checked(configuration: Configuration, section: str, table: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a table.

    Raises:
        UserError: a key is unknown, or a value is of another type or excludes another.
    """
    from realtime_mer.configuration.builder import SettingError, build

    try:
        settings = build(section_class(section), table, (section,))
    except SettingError as error:
        raise configuration.error(error.path, f"[{section}] {error}") from error
    return {name: getattr(settings, name) for name in table}
