"""Controls of a running show by OSC: mute, freeze, blackout, overrides, scenes, markers."""

from __future__ import annotations

import ipaddress
import logging
import math
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message import ParseError as MessageError
from pythonosc.parsing import osc_types

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError, printable_line
from realtime_mer.live.show import ControlCommand, Show, switched
from realtime_mer.outputs.osc import check_address

logger = logging.getLogger(__name__)

MAX_TOLD = 50
"""So many different complaints reach the log."""
GIVE_BACK = -1.0
"""The override that gives a value back to the music."""
_MAX_COMPLAINT = 300  # characters
_POLL_S = 0.2
_MAX_DATAGRAM_BYTES = 65_535
_BUNDLE = b"#bundle\0"
_BUNDLE_HEAD_BYTES = 16  # with the time tag, which is ignored: a control acts at once
_TYPES = frozenset("ihfdsTFN")
_COMMAND = re.compile(
    r"(?:/output/(?P<output>.+))?/(?:(?P<switch>mute|freeze|blackout)|override/(?P<value>\w+)|scene|marker)"
)


@dataclass(frozen=True, kw_only=True)
class OscControlSettings:
    """Controls by OSC.

    Attributes:
        port: UDP port to listen at, 1 to 65535.
        host: address to listen at; `0.0.0.0` for all networks of the machine.
        prefix: how every address begins.

    Raises:
        UserError: a value is not valid.
    """

    port: int
    host: str = "127.0.0.1"
    prefix: str = "/mer/control"

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise UserError(f"port is {self.port}; it must lie between 1 and 65535")
        if not self.host:
            raise UserError("host is empty; it must be an address of this machine, or 0.0.0.0")
        check_address(self.prefix, "prefix")


class OscControl(Closable):
    """Listens for OSC messages in a thread of its own and gives their commands to the show.

    A message that is not understood changes nothing and is told in the log, each complaint once.

    Args:
        show: is controlled.
        settings: where to listen.

    Raises:
        UserError: the port is in use, or the host is no address of this machine.
    """

    def __init__(self, show: Show, settings: OscControlSettings) -> None:
        self._show = show
        self._prefix = settings.prefix
        self._told: set[str] = set()
        self._closing = threading.Event()
        self._socket = _bound(settings)
        if not ipaddress.ip_address(self._socket.getsockname()[0].partition("%")[0]).is_loopback:
            logger.warning(
                "control by OSC listens at %s: whoever reaches port %s controls the show, without "
                "a token; use it only in a network of your own",
                settings.host,
                settings.port,
            )
        self._thread = threading.Thread(target=self._run, name="osc control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                packet = self._socket.recv(_MAX_DATAGRAM_BYTES)
            except TimeoutError:
                continue
            except OSError as error:  # a datagram too large (Windows), a network that is gone
                self._tell(f"an OSC packet cannot be received: {error}")
                self._closing.wait(_POLL_S)
                continue
            try:
                for message in messages(packet):
                    self._obey(message)
            except UserError as error:
                self._tell(str(error))

    def _obey(self, message: OscMessage) -> None:
        try:
            self._show.control(command(message, self._prefix))
        except UserError as error:
            self._tell(str(error))
        except Exception:  # nothing that anybody sends ends the controls
            logger.exception("the OSC message %s failed", printable_line(message.address))

    def _tell(self, complaint: str) -> None:
        complaint = printable_line(complaint[:_MAX_COMPLAINT])
        if complaint not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(complaint)
            logger.warning("control by OSC: %s", complaint)


def _bound(settings: OscControlSettings) -> socket.socket:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"control by OSC cannot listen at {settings.host} ({error}); use an address of this "
            "machine"
        ) from error
    try:
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise UserError(
            f"control by OSC cannot listen at port {settings.port} of {settings.host} "
            f"({error.strerror}); choose another port, or end the program that uses it"
        ) from error
    opened.settimeout(_POLL_S)
    return opened


def messages(packet: bytes) -> Iterator[OscMessage]:
    """Return the messages of a packet in order, also those of nested bundles.

    python-osc's own reader of bundles never ends where a length is negative, and sleeps until a
    time tag is due.

    Raises:
        UserError: the packet is not OSC; messages before the fault were returned.
    """
    waiting = [packet]
    while waiting:
        element = waiting.pop()
        if element.startswith(_BUNDLE):
            waiting += reversed(list(_elements(element)))
        else:
            yield _message(element)


def _elements(bundle: bytes) -> Iterator[bytes]:
    start = _BUNDLE_HEAD_BYTES
    while start < len(bundle):
        size = int.from_bytes(bundle[start : start + 4], "big")
        start += 4
        if not 0 < size <= len(bundle) - start:
            raise UserError("a packet is no OSC: a bundle states a wrong length")
        yield bundle[start : start + size]
        start += size


def _message(data: bytes) -> OscMessage:
    try:
        address, end = osc_types.get_string(data, 0)
        types = osc_types.get_string(data, end)[0] if data[end:] else ","
        if not address.startswith("/") or types[:1] != "," or not _TYPES.issuperset(types[1:]):
            raise ValueError
        return OscMessage(data)
    except (osc_types.ParseError, MessageError, ValueError, struct.error) as error:
        raise UserError("a packet is no OSC message with numbers, texts, true or false") from error


def command(message: OscMessage, prefix: str) -> ControlCommand:
    """Return what a message asks for.

    Args:
        message: of `docs/stage.md`.
        prefix: how its address must begin.

    Raises:
        UserError: the address is unknown, or the argument does not fit it.
    """
    address, arguments = message.address, list(message)
    match = _COMMAND.fullmatch(address.removeprefix(prefix))
    if match is None or not address.startswith(prefix):
        raise UserError(
            f"the address {address} is unknown; {prefix}/ is followed by mute, freeze, blackout, "
            "override/NAME, scene, marker, or by output/NAME/ and one of the first four"
        )
    output = match["output"] or ""
    if len(arguments) > 1:
        raise UserError(f"{address} has {len(arguments)} arguments; it takes one")
    argument = arguments[0] if arguments else None
    if switch := match["switch"]:
        on = argument is None or _number(address, argument) > 0.0
        return switched(switch, on, output)
    if match["value"]:
        value = GIVE_BACK if argument is None else _number(address, argument)
        override = {match["value"]: None if value == GIVE_BACK else value}
        return ControlCommand(output=output, override=override)
    if output or not isinstance(argument, str):
        raise UserError(
            f"{address} takes a text, and only as {prefix}/scene with the name of a scene or "
            f"{prefix}/marker with a remark"
        )
    if address.endswith("/marker"):
        return ControlCommand(marker=argument)
    return ControlCommand(scene=argument)


def _number(address: str, argument: object) -> float:
    if not isinstance(argument, int | float) or not math.isfinite(argument):
        raise UserError(f"{address} has the argument {argument!r}; it takes a number")
    return float(argument)
