"""WLED's realtime protocol, read as its documentation describes it (kno.wled.ge)."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from osc_support import FRAME, udp_receiver

from realtime_mer.errors import UserError
from realtime_mer.outputs.wled import WledOutput, WledSettings

Led = tuple[int, int, int]


def strip(receiver: socket.socket, leds: int, timeout_s: int) -> tuple[dict[int, Led], int]:
    """Receive packets until all LEDs are set; return their colours and the number of packets."""
    found: dict[int, Led] = {}
    packets = 0
    while len(found) < leds:
        packet = receiver.recv(2000)
        packets += 1
        protocol = packet[0]
        assert packet[1] == timeout_s
        if protocol == 2:  # DRGB: from the first LED on, at most 490
            first, colors = 0, packet[2:]
            assert len(colors) <= 3 * 490
        else:
            assert protocol == 4  # DNRGB: from the LED in the bytes 2 and 3 on, at most 489
            first, colors = 256 * packet[2] + packet[3], packet[4:]
            assert len(colors) <= 3 * 489
        assert len(colors) % 3 == 0
        for index in range(len(colors) // 3):
            red, green, blue = colors[3 * index : 3 * index + 3]
            found[first + index] = (red, green, blue)
    return found, packets


@pytest.mark.parametrize(("leds", "wanted"), [(1, 1), (490, 1), (491, 2), (1500, 4)])
def test_all_leds_have_the_colour(leds: int, wanted: int) -> None:
    with udp_receiver() as receiver:
        port = receiver.getsockname()[1]
        output = WledOutput(WledSettings(to=f"127.0.0.1:{port}", leds=leds, timeout_s=5))
        output.open()
        output.send(FRAME)
        found, packets = strip(receiver, leds, 5)
        output.send(replace(FRAME, dimmer=0.0))
        dark, _ = strip(receiver, leds, 5)
        output.close()
    # Half of 255 is rounded to even; the dimmer is 0.625.
    assert found == dict.fromkeys(range(leds), (159, 80, 0))
    assert dark == dict.fromkeys(range(leds), (0, 0, 0))
    assert packets == wanted
    assert output.sent == 2


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"to": "wled:0", "leds": 9}, "^to is 'wled:0'; it must be HOST or HOST:PORT"),
        ({"to": "wled", "leds": 0}, "^leds is 0; it must lie between 1 and 8192"),
        ({"to": "wled", "leds": 9000}, "^leds is 9000"),
        ({"to": "wled", "leds": 9, "timeout_s": 255}, "^timeout_s is 255"),
        ({"to": "wled", "leds": 9, "timeout_s": 1, "rate_hz": 0.5}, "^timeout_s is 1, less than"),
    ],
)
def test_bad_settings(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        WledSettings(**settings)  # type: ignore[arg-type]


def test_the_usual_port() -> None:
    assert WledOutput(WledSettings(to="wled.local", leds=30)).name == "wled wled.local"
