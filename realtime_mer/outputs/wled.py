"""WLED light strips: the mood colour on all LEDs, by WLED's UDP realtime protocol."""

from __future__ import annotations

from dataclasses import dataclass

from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Frame, Output, OutputSettings
from realtime_mer.outputs.udp import UdpSender, host_and_port

PORT = 21324
MAX_LEDS = 8192
MAX_TIMEOUT_S = 254  # 255 would mean for ever
# Protocols (the first byte of a packet), and how many LEDs a packet of each holds.
DRGB, DRGB_LEDS = 2, 490  # from the first LED on
DNRGB, DNRGB_LEDS = 4, 489  # from a given LED on


@dataclass(frozen=True, kw_only=True)
class WledSettings(OutputSettings):
    """A WLED light strip.

    Attributes:
        to: HOST or HOST:PORT of the WLED controller; its port is 21324 unless it was changed there.
        leds: how many LEDs it has, 1 to 8192.
        timeout_s: how long WLED keeps the last colour before it returns to its own effects, 1 to
            254 whole seconds.

    Raises:
        UserError: a value is not valid.
    """

    to: str
    leds: int
    timeout_s: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        host_and_port(self.to, name="to", default_port=PORT)
        if not 1 <= self.leds <= MAX_LEDS:
            raise UserError(f"leds is {self.leds}; it must lie between 1 and {MAX_LEDS}")
        if not 1 <= self.timeout_s <= MAX_TIMEOUT_S:
            raise UserError(
                f"timeout_s is {self.timeout_s}; it must lie between 1 and {MAX_TIMEOUT_S}"
            )
        if self.rate_hz * self.timeout_s < 2.0:  # pauses are not all alike
            raise UserError(
                f"timeout_s is {self.timeout_s}, less than two pauses between colours at "
                f"rate_hz = {self.rate_hz:g}; make one of them larger"
            )


class WledOutput(Output):
    """Sends the mood colour, as bright as the dimmer, to all LEDs of a strip.

    Args:
        settings: of the output.
    """

    kind = "wled"
    rhythm = False

    def __init__(self, settings: WledSettings) -> None:
        super().__init__(settings.name or f"wled {settings.to}")
        self._udp = UdpSender(*host_and_port(settings.to, name="to", default_port=PORT))
        self.waits = self._udp.waits
        self._settings = settings

    def open(self) -> None:
        self._udp.open()

    def send(self, frame: Frame) -> None:
        color = bytes(round(255.0 * frame.dimmer * part) for part in frame.color)
        leds, timeout_s = self._settings.leds, self._settings.timeout_s
        if leds <= DRGB_LEDS:
            self._udp.send(bytes((DRGB, timeout_s)) + leds * color)
        else:
            for start in range(0, leds, DNRGB_LEDS):
                count = min(DNRGB_LEDS, leds - start)
                self._udp.send(bytes((DNRGB, timeout_s)) + start.to_bytes(2, "big") + count * color)
        self.sent += 1
        self.answer = self._udp.answer
        self.failing = self.answer != ""

    def close(self) -> None:
        self._udp.close()
