"""The kinds of outputs, each imported when it is first used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Output, OutputSettings

_PACKAGE = "realtime_mer.outputs"


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
    "artnet": Kind("artnet", "Artnet", "dmx"),
    "sacn": Kind("sacn", "Sacn", "dmx"),
    "wled": Kind("wled", "Wled"),
    "mqtt": Kind("mqtt", "Mqtt", "mqtt"),
    "lsl": Kind("lsl", "Lsl", "lsl"),
    "webhook": Kind("webhook", "Webhook"),
    "jsonl": Kind("jsonl", "Jsonl"),
}


def settings_class(kind: str) -> type[OutputSettings]:
    """Return the class of the settings of a kind of output.

    Raises:
        UserError: a package that it needs is not installed.
    """
    settings: type[OutputSettings] = getattr(_module(kind), f"{KINDS[kind].prefix}Settings")
    return settings


def make_output(settings: OutputSettings) -> Output:
    """Return the output that settings describe.

    Raises:
        UserError: a package that it needs is not installed, or a setting is not usable here.
    """
    # Only the module of this kind is imported: others may need what is not installed.
    module = type(settings).__module__
    kind = next(kind for kind, found in KINDS.items() if module == f"{_PACKAGE}.{found.module}")
    output: Output = getattr(_module(kind), f"{KINDS[kind].prefix}Output")(settings)
    return output


def _module(kind: str) -> ModuleType:
    found = KINDS[kind]
    try:
        return importlib.import_module(f"{_PACKAGE}.{found.module}")
    except ImportError as error:
        raise UserError(
            f"the output {kind} needs the package {error.name}, which is not installed; install "
            f"it with: pip install 'realtime-mer[{found.extra}]'"
        ) from error
