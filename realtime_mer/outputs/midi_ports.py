"""MIDI ports by name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import rtmidi
from rtmidi.midiutil import get_api_from_environment

from realtime_mer.audio.quiet import filter_c_messages
from realtime_mer.closable import Closable
from realtime_mer.errors import UserError, printable_line

CLIENT = "realtime-mer"
CHECK_S = 1.0
"""How often an open port is looked for, in seconds."""
# JACK connects and sends in its next periods. Its clients are not told when, so they wait: without
# it, the first and the last messages are lost.
_JACK_PAUSE_S = 0.2
_CLIENT_AND_PORT = re.compile(r" \d+:\d+$")  # what ALSA appends; it changes with every plugging in


class MidiPort(Closable):
    """An open port of a device or program, or a virtual port that others connect to.

    Args:
        make: `rtmidi.MidiOut` or `rtmidi.MidiIn`.
        port: see `find_port`; "" for a virtual port.
        virtual: name of the virtual port.

    Attributes:
        client: of rtmidi.
        name: of the port, as the system has it.

    Raises:
        UserError: MIDI or virtual ports do not exist here, or not exactly one port has this name.
    """

    def __init__(self, make: Callable[..., Any], port: str, virtual: str) -> None:
        filter_c_messages()  # ALSA and JACK print what also comes back as an error
        self.client = _make_client(make)
        self.name = virtual
        self._watched = bool(port)
        self._checked_at = time.monotonic()
        try:
            if port:
                names = self.client.get_ports()
                self.name = find_port(port, names)
                self.client.open_port(names.index(self.name))
                self._pause()
            elif self.client.get_current_api() == rtmidi.API_WINDOWS_MM:
                raise UserError(
                    f"the virtual MIDI port {virtual} cannot be made: Windows has none; make one "
                    "with loopMIDI and name it as `port`"
                )
            else:
                self.client.open_virtual_port(virtual)
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Find out, at most once a second, whether the port is still there.

        Raises:
            OSError: it is gone.
        """
        now = time.monotonic()
        if not self._watched or now - self._checked_at < CHECK_S:
            return
        self._checked_at = now
        if self.name not in self.client.get_ports():
            raise OSError(f"the MIDI port {printable_line(self.name)} is gone; it is waited for")

    def close(self) -> None:
        if self.client is not None:
            self._pause()
            self.client.close_port()
            self.client.delete()
        self.client = None

    def _pause(self) -> None:
        if self.client.get_current_api() == rtmidi.API_UNIX_JACK:
            time.sleep(_JACK_PAUSE_S)


def check_port_names(port: str, virtual: str) -> None:
    """Raise UserError if settings name both a port and a virtual port."""
    if port and virtual:
        raise UserError(f"port is {port} and virtual is {virtual}; give only one of them")


def find_port(wanted: str, names: Sequence[str]) -> str:
    """Return the one port that is meant.

    Args:
        wanted: the name, with or without the client before the colon and ALSA's numbers, or a part
            of the name. Case does not matter. An exact name has priority over a part of a name.
        names: of all ports.

    Raises:
        UserError: none or several match; the message lists the ports.
    """
    lower = wanted.lower()
    matches = [name for name in names if lower in _exact_names(name)]
    matches = matches or [name for name in names if lower in name.lower()]
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(printable_line(name) for name in matches or names)
    if matches:
        raise UserError(f"port is {wanted}, which matches {len(matches)} MIDI ports: {listed}")
    raise UserError(f"port is {wanted}, which is no MIDI port here; there are: {listed or 'none'}")


def _exact_names(name: str) -> tuple[str, ...]:
    without_numbers = _CLIENT_AND_PORT.sub("", name).lower()
    return name.lower(), without_numbers, without_numbers.split(":", 1)[-1]


def _make_client(make: Callable[..., Any]) -> Any:
    """Return a client of the first of the system's MIDI interfaces that works."""
    wanted = get_api_from_environment()
    interfaces = rtmidi.get_compiled_api() if wanted == rtmidi.API_UNSPECIFIED else [wanted]
    for interface in interfaces:
        try:
            return make(rtapi=interface, name=CLIENT)
        except rtmidi.SystemError:
            continue
    tried = ", ".join(rtmidi.get_api_display_name(interface) for interface in interfaces)
    raise UserError(
        f"MIDI does not work here (tried: {tried}); on Linux, load ALSA's sequencer with "
        "`sudo modprobe snd-seq`, or start JACK"
    )
