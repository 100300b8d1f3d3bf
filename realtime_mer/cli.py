"""The command line: finds the command and turns errors into sentences and exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NoReturn

from realtime_mer import __version__
from realtime_mer.commands.signals import end_output_limit, exit_code_of, interrupt, on_signals
from realtime_mer.commands.streams import (
    StandardOutputError,
    discard_output,
    prepare_streams,
    reason_of,
)

# In the order in which a new user needs them; each is a module of `realtime_mer.commands`.
COMMANDS = (
    "serve",
    "listen",
    "init",
    "calibrate",
    "scenes",
    "replay",
    "report",
    "analyze",
    "playlist",
    "devices",
    "doctor",
    "bench",
    "compile",
    "evaluate",
    "train",
    "export",
    "reproduce",
)
# Commands that multiply matrices large enough for several threads.
FITTING = ("train", "export", "reproduce")

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
        from realtime_mer.errors import printable

        sentence = message[0].lower() + message[1:]
        if sentence.startswith("argument --") and sentence.endswith("expected one argument"):
            sentence += ", and one that begins with a minus is given as --OPTION=-VALUE"
        print(f"{self.prog}: {printable(sentence)} (see '{self.prog} --help')", file=sys.stderr)
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
            if name not in FITTING:
                # Read when numpy is imported. Its threads wait for one another at full load, and
                # the matrices of a stream are too small for that.
                os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            command = command_module(name)
            child = self._name_parser_map[name]
            child.description = command.DESCRIPTION
            child.epilog = f"examples:\n{command.EXAMPLES}" if command.EXAMPLES else None
            command.add_arguments(child)
            if (configure := child.get_default("configure")) is not None:
                configure(child, values[1:])
        super().__call__(parser, namespace, values, option_string)


# Copies of each command's HELP, so that the list needs no import; a test compares them.
HELP = {
    "serve": "listen and show the emotion in the browser",
    "listen": "listen and show the emotion in the terminal",
    "init": "write a commented configuration file",
    "calibrate": "learn the range of a hall's music for the outputs",
    "scenes": "try the scenes of a configuration over a recording",
    "replay": "show a recording again: page, outputs and scenes",
    "report": "make a page about a recording; CSV, labels, subtitles",
    "analyze": "run files through the same pipeline, as fast as possible",
    "playlist": "write playlists by mood from a library",
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
        The exit code: 0 success, 1 a check failed, 2 an error that the user can correct, 128 and
        the number of the signal that interrupted it (130 Ctrl-C, 143 SIGTERM, 129 SIGHUP), 141 the
        reader of standard output is gone. A signal is the regular end of `serve` and `listen`: 0.
    """
    prepare_streams()
    try:
        with on_signals(interrupt):
            return _main(argv)
    except KeyboardInterrupt as interruption:
        return _code_of(interruption)
    except ImportError as error:
        # A library in C may replace an interruption of its import by an error of its own.
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _code_of(error.__cause__)
        raise
    finally:
        end_output_limit()


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        build_parser().print_help(sys.stderr)
        return 2
    program = f"realtime-mer {arguments[0]}" if arguments[0] in COMMANDS else "realtime-mer"
    try:
        code = _guarded(program, lambda: _run(arguments))
    except SystemExit as left:
        sys.exit(left.code or _guarded(program, _flush_output))
    return _guarded(program, _flush_output) or code


def _run(arguments: Sequence[str]) -> int:
    args = build_parser().parse_args(arguments)
    code: int = command_module(args.command).run(args)
    return code


def _flush_output() -> int:
    sys.stdout.flush()
    return 0


def _guarded(program: str, action: Callable[[], int]) -> int:
    """Return the exit code of an action; errors that are no bugs become sentences and codes."""
    from mer_engine.errors import ModelError

    from realtime_mer.errors import UserError, printable

    try:
        return action()
    except (UserError, ModelError) as error:
        message, code = str(error), getattr(error, "exit_code", 2)
        if isinstance(error, StandardOutputError):
            discard_output()
    except KeyboardInterrupt as interruption:
        message, code = "", _code_of(interruption)
    except BrokenPipeError:
        # The reader of standard output is gone (`| head`): end quietly, as other tools do.
        discard_output()
        return 141
    except OSError as error:
        message, code = reason_of(error), 2
    print(f"{program}: {printable(message)}" if message else "", file=sys.stderr)
    return code


def _code_of(interruption: KeyboardInterrupt) -> int:
    return exit_code_of(*(interruption.args or (signal.SIGINT,)))
