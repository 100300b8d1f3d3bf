"""The fixture patch: bytes of lamps, what scenes set, and wrong patches."""

from __future__ import annotations

from typing import Any

import pytest
from stage_support import frame

from realtime_mer.errors import UserError
from realtime_mer.outputs.fixtures import KINDS, DmxSettings, Fixture, Patch
from realtime_mer.outputs.output import Action


def fixture(*channels: str, name: str = "lamp", universe: int = 1, address: int = 1) -> Fixture:
    return Fixture(name=name, universe=universe, address=address, channels=channels)


def levels(lamp: Fixture, **changes: Any) -> list[int]:
    """Return the bytes of a lamp that is alone in its universe."""
    data = Patch([lamp]).data(frame(**changes))[lamp.universe]
    assert len(data) == 512
    own = slice(lamp.address - 1, lamp.last)
    assert not any(data[: own.start] + data[own.stop :])
    return list(data[own])


def test_a_lamp_without_a_dimmer_gets_the_colour_times_the_dimmer() -> None:
    lamp = fixture("red", "green", "blue", address=100)
    assert levels(lamp) == [255, 128, 0]
    assert levels(lamp, dimmer=0.5) == [128, 64, 0]


def test_a_lamp_with_a_dimmer_gets_both_apart() -> None:
    lamp = fixture("dimmer", "red", "green", "blue", address=509)
    assert levels(lamp, dimmer=0.5) == [128, 255, 128, 0]


def test_white_is_what_the_colours_have_in_common() -> None:
    lamp = fixture("red", "green", "blue", "white")
    assert levels(lamp, color=(1.0, 0.6, 0.2)) == [204, 102, 0, 51]
    assert levels(lamp, color=(1.0, 0.6, 0.2), dimmer=0.5) == [102, 51, 0, 25]


def test_fixed_channels_and_several_cells() -> None:
    lamp = fixture("zero", "200", "red", "green", "blue", "red", "green", "blue")
    assert levels(lamp) == [0, 200, 255, 128, 0, 255, 128, 0]
    assert levels(lamp, dimmer=0.0) == [0, 200, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("value", [0.0, 0.1234, 0.5, 0.999, 1.0])
def test_a_fine_channel_continues_the_coarse_one(value: float) -> None:
    high, low = levels(fixture("dimmer", "dimmer_fine"), dimmer=value)
    assert high * 256 + low == round(value * 65535)


def test_values_beyond_the_scale_are_its_ends() -> None:
    assert levels(fixture("red", "green", "blue"), color=(1.2, -0.1, 0.0)) == [255, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: Any) -> None:
    lamp = Fixture(name="lamp", universe=1, address=1, kind=kind)
    assert levels(lamp) == levels(fixture(*KINDS[kind]))


def test_universes_are_apart() -> None:
    patch = Patch([fixture("dimmer", name="a"), fixture("255", name="b", universe=7)])
    data = patch.data(frame(dimmer=0.2))
    assert {universe: values[0] for universe, values in data.items()} == {1: 51, 7: 255}


def act(patch: Patch, scene: str = "storm", **values: object) -> None:
    patch.act(Action(scene, values))


def test_a_scene_holds_a_fixture_until_another_scene_acts() -> None:
    patch = Patch([fixture("red", "green", "blue"), fixture("dimmer", name="spot", address=10)])
    act(patch, fixture="lamp", color=[0.0, 0.0, 1.0])
    act(patch, fixture="spot", dimmer=0.2)
    data = patch.data(frame())[1]
    assert (list(data[:3]), data[9]) == ([0, 0, 255], 51)
    act(patch, "calm", fixture="spot", dimmer=0.4)
    data = patch.data(frame())[1]
    assert (list(data[:3]), data[9]) == ([255, 128, 0], 102)


def test_a_scene_sets_channels_and_gives_them_back() -> None:
    patch = Patch([fixture("dimmer")])
    act(patch, universe=1, channels={"1": 7, "512": 9})
    assert (patch.data(frame())[1][0], patch.data(frame())[1][511]) == (7, 9)
    act(patch, release=True)
    assert (patch.data(frame())[1][0], patch.data(frame())[1][511]) == (255, 0)


def test_a_blackout_covers_what_a_scene_set() -> None:
    patch = Patch([fixture("red", "green", "blue")])
    act(patch, fixture="lamp", color=(1, 1, 1), dimmer=1)
    act(patch, universe=1, channels={"20": 255})
    assert not any(patch.data(frame(dimmer=0.0, color=(0.0, 0.0, 0.0)))[1])
    assert any(patch.data(frame())[1])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "sets nothing"),
        ({"address": "/a"}, "sets address"),
        ({"fixture": "none", "dimmer": 1}, "there is no fixture none; there are: lamp"),
        ({"fixture": "lamp", "dimmer": 2}, "dimmer has 2"),
        ({"fixture": "lamp", "dimmer": True}, "dimmer has True"),
        ({"fixture": "lamp", "color": [1, 0]}, r"is \[1, 0\]; it must be \[red, green, blue\]"),
        ({"fixture": "lamp", "color": [1, 0, "x"]}, "color has x"),
        ({"universe": 2, "channels": {"1": 1}}, "the universe is 2; the fixtures are in 1"),
        ({"universe": 1, "channels": {"513": 1}}, "channel 513 is 1"),
        ({"universe": 1, "channels": {"-1": 1}}, "channel -1 is 1"),
        ({"universe": 1, "channels": {"1": 256}}, "channel 1 is 256"),
        ({"universe": 1, "channels": 5}, "must be like"),
    ],
)
def test_wrong_actions_change_nothing(values: dict[str, object], says: str) -> None:
    patch = Patch([fixture("dimmer")])
    act(patch, fixture="lamp", dimmer=0.2)
    with pytest.raises(UserError, match=says):
        patch.act(Action("storm", values))
    assert patch.data(frame())[1][0] == 51


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channels": ()}, "^kind or channels are needed for lamp, and not both$"),
        ({"kind": "rgb"}, "^kind or channels are needed for lamp, and not both$"),
        ({"channels": (), "kind": "cmy"}, "^kind is 'cmy'; it must be one of dimmer, rgb"),
        ({"channels": ("strobe",)}, "^channels has 'strobe' for lamp; it takes dimmer, red"),
        ({"channels": ("256",)}, "^channels has '256' for lamp"),
        ({"channels": ("zero_fine",)}, "^channels has 'zero_fine' for lamp"),
        ({"channels": ("white",)}, "^channels has white for lamp, which needs red, green and blue"),
        ({"address": 0}, "^address is 0 for lamp; it must lie between 1 and 512$"),
        ({"address": 511}, "^address is 511 for lamp, which has 3 channels and would end at 513"),
    ],
)
def test_wrong_fixtures_are_refused(changes: dict[str, Any], says: str) -> None:
    good: dict[str, Any] = {"name": "lamp", "universe": 1, "address": 1, "channels": KINDS["rgb"]}
    Fixture(**good)
    with pytest.raises(UserError, match=says):
        Fixture(**{**good, **changes})


def test_wrong_patches_are_refused() -> None:
    lamp, next_to_it = fixture(*KINDS["rgb"]), fixture("dimmer", name="spot", address=4)
    DmxSettings(fixtures=(lamp, next_to_it))
    DmxSettings(fixtures=(lamp, fixture("dimmer", name="spot", address=3, universe=2)))
    overlapping = fixture("dimmer", name="spot", address=3)
    says = r"^fixtures overlap: spot \(3 to 3\) and lamp \(1 to 3\) in universe 1$"
    with pytest.raises(UserError, match=says):
        DmxSettings(fixtures=(lamp, overlapping))
    with pytest.raises(UserError, match=r"^fixtures has two lamps called lamp"):
        DmxSettings(fixtures=(lamp, lamp))
    with pytest.raises(UserError, match=r"^fixtures has no lamp"):
        DmxSettings(fixtures=())
    with pytest.raises(UserError, match=r"^rate_hz is 1; for lamps it must lie between 2 and 44$"):
        DmxSettings(fixtures=(lamp,), rate_hz=1.0)
