"""The command line: finds the command and turns errors into sentences and exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from realtime_mer import __version__

# In the order in which a new user needs them; each is a module of `realtime_mer.commands`.
COMMANDS = (
    "serve",
    "listen",
    "analyze",
    "devices",
    "doctor",
    "bench",
    "compile",
    "evaluate",
    "train",
    "export",
    "reproduce",
)

DESCRIPTION = """\
Listens to music live and estimates every second how it feels: valence (from
unpleasant to pleasant) and arousal (from calm to excited), each in [-1, 1] and
each with an 80 % interval.
"""

EPILOG = """\
examples:
  realtime-mer serve                      the page at http://127.0.0.1:8765
  realtime-mer serve --input "USB Audio"  a device, by a part of its name
  realtime-mer listen --input song.flac   in the terminal, at playing speed
  realtime-mer analyze *.flac -o out/     files, as fast as possible
  realtime-mer doctor                     check this machine

'realtime-mer COMMAND --help' explains a command and its options.
"""


class _Parser(argparse.ArgumentParser):
    """A parser that prints an error as one sentence with a pointer to the help."""

    def error(self, message: str) -> NoReturn:
        sentence = message[0].lower() + message[1:]
        print(f"{self.prog}: {sentence} (see '{self.prog} --help')", file=sys.stderr)
        sys.exit(2)


class _CommandList(argparse.RawDescriptionHelpFormatter):
    """A formatter with room for the longest command name and its help on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 4 + max(map(len, COMMANDS))


class _LazyCommands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Imports only the command that is called, which keeps the start fast."""

    def __call__(self, parser, namespace, values, option_string=None):  # type: ignore[no-untyped-def]
        name = values[0] if values else None
        if name in COMMANDS:
            command = command_module(name)
            child = self._name_parser_map[name]
            child.description = command.DESCRIPTION
            child.epilog = f"examples:\n{command.EXAMPLES}" if command.EXAMPLES else None
            command.add_arguments(child)
        super().__call__(parser, namespace, values, option_string)


# Copies of each command's HELP, so that the list needs no import; a test compares them.
HELP = {
    "serve": "listen and show the emotion in the browser",
    "listen": "listen and show the emotion in the terminal",
    "analyze": "run files through the same pipeline, as fast as possible",
    "devices": "list the audio inputs",
    "doctor": "check this machine and report what is wrong",
    "bench": "measure speed and latency",
    "compile": "compile the model for an NVIDIA card (extra 'tensorrt')",
    "evaluate": "measure a model on labelled songs",
    "train": "train a model (extra 'train')",
    "export": "write a model file from an unfinished training run",
    "reproduce": "run the experiments of the paper (extra 'train')",
}


def command_module(name: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"realtime_mer.commands.{name}")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    parser = _Parser(
        prog="realtime-mer",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_CommandList,
    )
    parser.add_argument("--version", action="version", version=f"realtime-mer {__version__}")
    commands = parser.add_subparsers(
        title="commands",
        dest="command",
        metavar="COMMAND",
        required=True,
        action=_LazyCommands,
        parser_class=_Parser,
    )
    for name in COMMANDS:
        commands.add_parser(
            name, help=HELP[name], formatter_class=argparse.RawDescriptionHelpFormatter
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments after the program's name; those of the process where None.

    Returns:
        The exit code: 0 success, 1 a check failed, 2 an error that the user can correct, 130
        interrupted, 141 the reader of standard output is gone.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    from mer_engine.errors import ModelError

    from realtime_mer.errors import UserError

    args = parser.parse_args(arguments)
    try:
        code: int = command_module(args.command).run(args)
        sys.stdout.flush()
    except (UserError, ModelError) as error:
        print(f"realtime-mer {args.command}: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of standard output is gone (`| head`): end quietly, as other tools do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code
