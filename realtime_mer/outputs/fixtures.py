"""The fixture patch: which lamp listens at which DMX address, and what its channels get."""

from __future__ import annotations

import functools
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Action, Frame, Output, OutputSettings

UNIVERSE_CHANNELS = 512
MIN_RATE_HZ = 2.0
"""Receivers forget a source of sACN after 2.5 s without a packet."""

Kind = Literal["dimmer", "rgb", "rgbw", "dimmer_rgb", "dimmer_rgbw"]
KINDS: Mapping[str, tuple[str, ...]] = {
    "dimmer": ("dimmer",),
    "rgb": ("red", "green", "blue"),
    "rgbw": ("red", "green", "blue", "white"),
    "dimmer_rgb": ("dimmer", "red", "green", "blue"),
    "dimmer_rgbw": ("dimmer", "red", "green", "blue", "white"),
}
COLORS = ("red", "green", "blue")
LIGHTS = ("dimmer", *COLORS, "white")
_FINE = "_fine"
_Color = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """A lamp.

    Attributes:
        name: of the fixture, for scenes and messages.
        universe: that it listens to.
        address: its first channel, 1 to 512.
        kind: "dimmer", "rgb", "rgbw", "dimmer_rgb" or "dimmer_rgbw", instead of `channels`.
        channels: what each of its channels is, in order: "dimmer", "red", "green", "blue", "white";
            the same with "_fine" for the second half of a channel of 16 bits; "zero"; or a
            number from "0" to "255" that is always sent. A name may come several times.

    Raises:
        UserError: a value is out of range, or a channel is unknown.
    """

    name: str
    universe: int
    address: int
    kind: Kind | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind is None) == (not self.channels):
            raise UserError(f"kind or channels are needed for {self.name}, and not both")
        if self.kind is not None and self.kind not in KINDS:
            raise UserError(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        for channel in self.channels:
            _check_channel(channel, self.name)
        if "white" in self.layout and not set(COLORS) <= set(self.layout):
            raise UserError(
                f"channels has white for {self.name}, which needs red, green and blue; a lamp that "
                "is only white has a dimmer"
            )
        if not 1 <= self.address <= UNIVERSE_CHANNELS:
            raise UserError(
                f"address is {self.address} for {self.name}; it must lie between 1 and "
                f"{UNIVERSE_CHANNELS}"
            )
        if self.last > UNIVERSE_CHANNELS:
            raise UserError(
                f"address is {self.address} for {self.name}, which has {len(self.layout)} channels "
                f"and would end at {self.last}; a universe ends at {UNIVERSE_CHANNELS}"
            )

    @property
    def layout(self) -> tuple[str, ...]:
        """What each of its channels is."""
        return self.channels if self.kind is None else KINDS[self.kind]

    @property
    def last(self) -> int:
        """Its last channel."""
        return self.address + len(self.layout) - 1


@dataclass(frozen=True, kw_only=True)
class DmxSettings(OutputSettings):
    """What Art-Net and sACN share.

    Attributes:
        rate_hz: packets per second and universe, 2 to 44, which is the fastest that DMX can be.
        fixtures: the lamps; no two of a universe share a channel.

    Raises:
        UserError: a value is out of range, or two fixtures overlap.
    """

    fixtures: tuple[Fixture, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not MIN_RATE_HZ <= self.rate_hz <= 44.0:
            raise UserError(f"rate_hz is {self.rate_hz:g}; for lamps it must lie between 2 and 44")
        if not self.fixtures:
            raise UserError("fixtures has no lamp; name at least one")
        named: dict[str, Fixture] = {}
        taken: dict[tuple[int, int], str] = {}
        for each in self.fixtures:
            if each.name in named:
                raise UserError(
                    f"fixtures has two lamps called {each.name}; their names must differ"
                )
            named[each.name] = each
            for channel in range(each.address, each.last + 1):
                other = taken.setdefault((each.universe, channel), each.name)
                if other != each.name:
                    raise UserError(
                        f"fixtures overlap: {each.name} ({each.address} to {each.last}) and "
                        f"{other} ({named[other].address} to {named[other].last}) in universe "
                        f"{each.universe}"
                    )

    def check_universes(self, lowest: int, highest: int) -> None:
        """Raise UserError unless all universes lie in a range."""
        for each in self.fixtures:
            if not lowest <= each.universe <= highest:
                raise UserError(
                    f"fixtures: universe is {each.universe} for {each.name}; it must lie "
                    f"between {lowest} and {highest}"
                )


@dataclass
class _Held:
    """What a scene set, until another scene does something.

    Attributes:
        colors: by fixture, each part 0 to 1.
        dimmers: by fixture, 0 to 1.
        raw: bytes by universe and channel.
    """

    scene: str = ""
    colors: dict[str, _Color] = field(default_factory=dict)
    dimmers: dict[str, float] = field(default_factory=dict)
    raw: dict[tuple[int, int], int] = field(default_factory=dict)


class Patch:
    """Turns frames into the 512 bytes of each universe.

    Args:
        fixtures: the lamps.
    """

    def __init__(self, fixtures: Iterable[Fixture]) -> None:
        self._fixtures = {each.name: each for each in fixtures}
        self._held = _Held()
        self._universes = sorted({each.universe for each in self._fixtures.values()})

    def data(self, frame: Frame) -> dict[int, bytes]:
        """Return the 512 bytes of each universe.

        While the dimmer of the frame is 0, as in a blackout, what a scene set is dark too.
        """
        held = self._held if frame.dimmer > 0.0 else _Held()
        data = {universe: bytearray(UNIVERSE_CHANNELS) for universe in self._universes}
        for name, fixture in self._fixtures.items():
            dimmer = held.dimmers.get(name, frame.dimmer)
            color = held.colors.get(name, frame.color)
            values = _channel_bytes(fixture.layout, color, dimmer)
            data[fixture.universe][fixture.address - 1 : fixture.last] = values
        for (universe, channel), value in held.raw.items():
            data[universe][channel - 1] = value
        return {universe: bytes(values) for universe, values in data.items()}

    def act(self, action: Action) -> None:
        """Hold what a scene sets, see `held`."""
        self._held = self.held(action)

    def held(self, action: Action) -> _Held:
        """Return what a scene holds instead of the music, until another scene does something.

        Values: {"fixture": name, "color": [red, green, blue], "dimmer": x} with numbers from 0 to 1
        (one of the two is enough); {"universe": u, "channels": {"12": 255}} with bytes;
        {"release": true} gives everything back to the music.

        Raises:
            UserError: the values are none of these.
        """
        values = action.values
        held = _Held(action.scene)
        if self._held.scene == action.scene:
            held = deepcopy(self._held)
        if values == {"release": True}:
            held = _Held()
        elif "fixture" in values and values.keys() <= {"fixture", "color", "dimmer"}:
            self._hold_fixture(held, action)
        elif values.keys() == {"universe", "channels"}:
            self._hold_raw(held, action)
        else:
            raise UserError(
                f"this sets {', '.join(values) or 'nothing'}; lamps take "
                "fixture with color or dimmer, universe with channels, or release = true"
            )
        return held

    def _hold_fixture(self, held: _Held, action: Action) -> None:
        name, color = action.values["fixture"], action.values.get("color")
        if not isinstance(name, str) or name not in self._fixtures:
            raise UserError(f"there is no fixture {name}; there are: {', '.join(self._fixtures)}")
        dimmer = action.values.get("dimmer")
        if dimmer is not None:
            held.dimmers[name] = _unit(dimmer, "dimmer")
        if color is not None:
            what = "color"
            if not isinstance(color, list | tuple) or len(color) != 3:
                raise UserError(f"{what} is {color}; it must be [red, green, blue]")
            red, green, blue = (_unit(part, what) for part in color)
            held.colors[name] = (red, green, blue)

    def _hold_raw(self, held: _Held, action: Action) -> None:
        universe, channels = action.values["universe"], action.values["channels"]
        if not isinstance(universe, int) or universe not in self._universes:
            raise UserError(
                f"the universe is {universe}; the fixtures are in "
                f"{', '.join(map(str, self._universes))}"
            )
        if not isinstance(channels, Mapping):
            raise UserError("channels must be like { 12 = 255 }")
        for channel, value in channels.items():
            number = int(channel) if re.fullmatch("[0-9]{1,3}", str(channel)) else 0
            if not (1 <= number <= UNIVERSE_CHANNELS and _is_byte(value)):
                raise UserError(
                    f"channel {channel} is {value}; channels are 1 "
                    f"to {UNIVERSE_CHANNELS}, values 0 to 255"
                )
            held.raw[universe, number] = value


class DmxOutput(Output):
    """Sends the universes of a fixture patch, all of them with every frame.

    Args:
        name: of the output.
        settings: its settings.
    """

    rhythm = False

    def __init__(self, name: str, settings: DmxSettings) -> None:
        super().__init__(name)
        self._patch = Patch(settings.fixtures)

    def send(self, frame: Frame) -> None:
        for universe, data in self._patch.data(frame).items():
            self._send_universe(universe, data)
            self.sent += 1

    def check_action(self, action: Action) -> None:
        self._patch.held(action)

    def act(self, action: Action) -> None:
        self._patch.act(action)

    @abstractmethod
    def _send_universe(self, universe: int, data: bytes) -> None:
        """Send the 512 bytes of a universe."""


def _check_channel(channel: str, fixture: str) -> None:
    fixed = re.fullmatch("[0-9]{1,3}", channel) is not None and int(channel) <= 255
    if not fixed and channel != "zero" and channel.removesuffix(_FINE) not in LIGHTS:
        raise UserError(
            f"channels has {channel!r} for {fixture}; it takes {', '.join(LIGHTS)}, "
            'these with _fine, zero, and numbers from "0" to "255"'
        )


@functools.lru_cache(maxsize=64)  # many fixtures of a frame are alike
def _channel_bytes(layout: tuple[str, ...], color: _Color, dimmer: float) -> bytes:
    """Return what the channels of a fixture get."""
    scale = 1.0 if "dimmer" in layout else dimmer
    white = min(color) if "white" in layout else 0.0
    red, green, blue = ((part - white) * scale for part in color)
    lights = {"dimmer": dimmer, "red": red, "green": green, "blue": blue, "white": white * scale}
    return bytes(_channel_byte(channel, lights) for channel in layout)


def _channel_byte(channel: str, lights: Mapping[str, float]) -> int:
    if channel == "zero":
        return 0
    if channel.isdigit():
        return int(channel)
    value = min(1.0, max(0.0, lights[channel.removesuffix(_FINE)]))
    # The upper half of 16 bits, so that a fine channel continues it.
    high, low = divmod(round(value * 65535), 256)
    return low if channel.endswith(_FINE) else high


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _unit(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise UserError(f"{what} has {value}; it must be a number from 0 to 1")
    return float(value)
