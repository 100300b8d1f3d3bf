"""The kinds of outputs, each imported when it is first used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from realtime_mer.errors import UserError
from realtime_mer.installation import install_command
from realtime_mer.outputs.output import Output, OutputSettings


@dataclass(frozen=True)
class Kind:
    """Where a kind of output is, and what it needs.

    Attributes:
        module: in `realtime_mer.outputs`; its settings are `<prefix>Settings`, its output is
            `<prefix>Output`.
        prefix: of its classes.
        extra: the optional dependencies that it needs; "" for none.
    """

    module: str
    prefix: str
    extra: str = ""


KINDS = {
    "osc": Kind("osc", "Osc"),
    "midi": Kind("midi", "Midi", "midi"),
    "artnet": Kind("artnet", "Artnet"),
    "sacn": Kind("sacn", "Sacn", "dmx"),
    "wled": Kind("wled", "Wled"),
    "mqtt": Kind("mqtt", "Mqtt", "mqtt"),
    "lsl": Kind("lsl", "Lsl", "lsl"),
    "webhook": Kind("webhook", "Webhook"),
    "jsonl": Kind("jsonl", "Jsonl"),
}


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Say how to install the optional packages that an import in the `with` block needs.

    Args:
        what: needs them, such as `the output midi`.
        extra: the optional dependencies.

    Raises:
        UserError: a package is not installed.
    """
    try:
        yield
    except ImportError as error:
        package = str(error.name).partition(".")[0]
        if package == "realtime_mer":
            raise
        raise UserError(
            f"{what} needs the package {package}, which is not installed; install it with: "
            f"{install_command(extra)}"
        ) from error


def settings_class(kind: str) -> type[OutputSettings]:
    """Return the class of the settings of a kind of output.

    Raises:
        UserError: a package that the kind needs is not installed.
    """
    found = KINDS[kind]
    with needing(f"the output {kind}", found.extra):
        module = importlib.import_module(f"realtime_mer.outputs.{found.module}")
    settings: type[OutputSettings] = getattr(module, f"{found.prefix}Settings")
    return settings


def kind_of(settings: OutputSettings) -> str:
    """Return the kind of output that settings are for, the name of its table."""
    name = type(settings).__name__
    return next(kind for kind, found in KINDS.items() if name == f"{found.prefix}Settings")


def make_output(settings: OutputSettings) -> Output:
    """Return the output that settings describe.

    Raises:
        UserError: a package that it needs is not installed, or a setting is not usable here.
    """
    kind = kind_of(settings)
    found = KINDS[kind]
    with needing(f"the output {kind}", found.extra):
        module = importlib.import_module(f"realtime_mer.outputs.{found.module}")
        output: Output = getattr(module, f"{found.prefix}Output")(settings)
    return output
