"""Open Sound Control by UDP: one float per address, for programs of the stage."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from pythonosc.osc_message_builder import BuildError, build_msg

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.events import Event, Marker, RhythmEvent
from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Action, Frame, Output, OutputSettings
from realtime_mer.outputs.udp import UdpSender, host_and_port

WORD_PERIOD_S = 2.0
"""Words that do not change are repeated this often, for programs that start later."""
# The messages of a frame, in order, and how many floats each has.
FLOATS = {
    "valence": 1,
    "arousal": 1,
    "level": 1,
    "valence_width": 1,
    "arousal_width": 1,
    "dimmer": 1,
    "bipolar/valence": 1,
    "bipolar/arousal": 1,
    "bpm": 1,
    "color": 3,
}
WORDS = ("mood", "state")
_ADDRESS = re.compile(r"(?:/[^\s#*,/?\[\]{}\x00-\x1f\x7f-\U0010ffff]+)+")
_BUNDLE = b"#bundle\0" + (1).to_bytes(8, "big")  # the time tag that means "at once"
_FLOAT = struct.Struct(">f")
_MAX_FLOAT = 3.4e38  # also false for NaN


def check_address(address: str, name: str) -> None:
    """Check an OSC address.

    Args:
        address: such as `/mer/valence`.
        name: of the setting, for the message.

    Raises:
        UserError: it is none.
    """
    if _ADDRESS.fullmatch(address) is None:
        raise UserError(
            f"{name} is {address!r}; it must begin with / and have only ASCII characters, without "
            "spaces and without # * , ? [ ] { }"
        )


@dataclass(frozen=True, kw_only=True)
class OscSettings(OutputSettings):
    """Open Sound Control (OSC) by UDP.

    Attributes:
        to: HOST:PORT of the program; also a broadcast address or a multicast group.
        prefix: how every address begins.
        addresses: other addresses for some values or words, for programs whose addresses are fixed,
            such as { level = "/composition/layers/1/video/opacity" }. The names are those of the
            usual addresses without the prefix.
        bundle: send the floats of a frame as one bundle; false for programs that read only single
            messages.

    Raises:
        UserError: a value is not valid.
    """

    to: str
    prefix: str = "/mer"
    addresses: dict[str, str] = field(default_factory=dict)
    bundle: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        host_and_port(self.to, name="to")
        check_address(self.prefix, "prefix")
        for name, address in self.addresses.items():
            if name not in (*FLOATS, *WORDS):
                raise UserError(
                    f"addresses has the name {name!r}; it must be one of "
                    f"{', '.join((*FLOATS, *WORDS))}"
                )
            check_address(address, f"addresses: {name}")


class OscOutput(Output):
    """Sends frames, words, events and rhythm as OSC messages.

    An action of a scene has the values `address` and, if the message has arguments, `args`: a
    list of numbers, texts and booleans.

    Args:
        settings: of the output.
        clock: the time source.
    """

    kind = "osc"

    def __init__(self, settings: OscSettings, *, clock: Clock | None = None) -> None:
        super().__init__(settings.name or f"osc {settings.to}")
        self._clock = clock or SystemClock()
        self._prefix = settings.prefix
        self._udp = UdpSender(*host_and_port(settings.to, name="to"))
        self.waits = self._udp.waits
        addresses = {
            name: settings.addresses.get(name, f"{settings.prefix}/{name}")
            for name in (*FLOATS, *WORDS)
        }
        # All but the floats stays the same: encoded once, since this runs up to 50 times a second.
        messages = [(addresses[name], count) for name, count in FLOATS.items()]
        parts = [messages] if settings.bundle else [[each] for each in messages]
        self._packets = [_Packet(part, bundle=settings.bundle) for part in parts]
        self._word_addresses = {name: addresses[name] for name in WORDS}
        self._sent_words: dict[str, tuple[str, float]] = {}

    def open(self) -> None:
        self._sent_words.clear()
        self._udp.open()

    def send(self, frame: Frame) -> None:
        floats = (
            frame.valence,
            frame.arousal,
            frame.level,
            frame.valence_width,
            frame.arousal_width,
            frame.dimmer,
            2.0 * frame.valence - 1.0,
            2.0 * frame.arousal - 1.0,
            frame.bpm or 0.0,
            *frame.color,
        )
        start = 0
        for packet in self._packets:
            end = start + len(packet.places)
            self._send(packet.filled(floats[start:end]))
            start = end
        if frame.mood is not None:
            self._send_word("mood", frame.mood)
        self._send_word("state", str(frame.state))

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:
        if isinstance(event, RhythmEvent):
            self._send_message(f"{self._prefix}/{event.kind}", [event.strength])
        elif isinstance(event, Marker):
            self._send_message(f"{self._prefix}/marker", [event.text])
        else:
            argument = event.strength if event.mood is None else event.mood
            self._send_message(f"{self._prefix}/event/{event.kind}", [argument])

    def check_action(self, action: Action) -> None:
        _message(action)

    def act(self, action: Action) -> None:
        self._send_message(*_message(action))

    def close(self) -> None:
        self._udp.close()

    def _send_word(self, name: str, word: str) -> None:
        """Send a word if it is new, or was sent some time ago."""
        now = self._clock.monotonic()
        before, sent_at = self._sent_words.get(name, ("", 0.0))
        if word != before or now - sent_at >= WORD_PERIOD_S:
            self._send_message(self._word_addresses[name], [word])
            self._sent_words[name] = (word, now)

    def _send_message(self, address: str, args: list[str | float | bool]) -> None:
        try:
            datagram = build_msg(address, args).dgram
        except BuildError as error:
            raise UserError(f"the OSC message {address} cannot be built: {error}") from error
        self._send(datagram)

    def _send(self, datagram: bytes | bytearray) -> None:
        self._udp.send(datagram)
        self.sent += 1
        self.answer = self._udp.answer
        self.failing = self.answer != ""


class _Packet:
    """Encoded messages with places for their floats.

    Args:
        messages: the address of each, and how many floats it has.
        bundle: whether to make a bundle of them.

    Attributes:
        places: offsets of the floats, in bytes.
    """

    def __init__(self, messages: Sequence[tuple[str, int]], *, bundle: bool) -> None:
        self._bytes = bytearray(_BUNDLE if bundle else b"")
        self.places: list[int] = []
        for address, count in messages:
            message = build_msg(address, [0.0] * count).dgram  # ends with the floats
            self._bytes += len(message).to_bytes(4, "big") if bundle else b""
            self._bytes += message
            end = len(self._bytes)
            self.places += range(end - 4 * count, end, 4)

    def filled(self, floats: Sequence[float]) -> bytearray:
        """Return the bytes with these floats, valid until the next call."""
        for place, value in zip(self.places, floats, strict=True):
            _FLOAT.pack_into(self._bytes, place, value)
        return self._bytes


def _message(action: Action) -> tuple[str, list[str | float | bool]]:
    """Return the address and the arguments of a scene's message.

    Raises:
        UserError: its values are no message.
    """
    address, args = action.values.get("address"), action.values.get("args", [])
    try:
        if not isinstance(address, str) or not isinstance(args, list | tuple):
            raise UserError("it needs an address and a list args")
        check_address(address, "address")
        if action.values.keys() - {"address", "args"}:
            raise UserError(f"it has more than address and args: {', '.join(action.values)}")
        if not all(_can_be_sent(each) for each in args):
            raise UserError(f"args is {args!r}; it may have numbers, texts, true and false")
    except UserError as error:
        raise UserError(f"this is no OSC message: {error}") from error
    return address, list(args)


def _can_be_sent(value: object) -> bool:
    """Return whether a value fits an argument: a float of 32 bits, an integer of 64, or text."""
    if isinstance(value, float):
        return abs(value) <= _MAX_FLOAT
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, str)
