"""Settings from tables, by the annotations of their dataclass; every mistake names its key."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import pytest

from realtime_mer.configuration.builder import SettingError, build
from realtime_mer.errors import UserError


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark-blue"


@dataclass(frozen=True, kw_only=True)
class Lamp:
    address: int
    kind: Literal["rgb", "rgbw"] = "rgb"

    def __post_init__(self) -> None:
        if self.address < 1:
            raise UserError(f"address is {self.address}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Base:
    rate_hz: float = 30.0

    def __post_init__(self) -> None:
        if self.rate_hz > 50:
            raise UserError(f"rate_hz is {self.rate_hz:g}; it must lie between 0.1 and 50")


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    to: str
    on: bool = False
    count: int | None = None
    colour: Colour = Colour.RED
    span: tuple[float, float] = (0.0, 1.0)
    words: tuple[str, ...] = ()
    numbers: dict[str, int] = field(default_factory=dict)
    lamps: tuple[Lamp, ...] = ()
    lamp: Lamp | None = None
    either: float | int | str = 0
    anything: dict[str, object] = field(default_factory=dict)


def built(text: str) -> Settings:
    return build(Settings, tomllib.loads(text), ("osc", 0))


def test_every_kind_of_value() -> None:
    settings = built(
        """
        to = "here"
        rate_hz = 10
        on = true
        count = 3
        colour = "dark-blue"
        span = [0, 0.5]
        words = ["a", "b"]
        numbers = { a = 1, b = 2 }
        lamp = { address = 5 }
        either = 7
        anything = { a = [1, "x", { b = 1979-05-27 }] }
        [[lamps]]
        address = 1
        [[lamps]]
        address = 2
        kind = "rgbw"
        """
    )
    assert settings.rate_hz == 10.0
    assert isinstance(settings.rate_hz, float)
    assert (settings.to, settings.on, settings.count) == ("here", True, 3)
    assert settings.colour is Colour.DARK_BLUE
    assert settings.span == (0.0, 0.5)
    assert settings.words == ("a", "b")
    assert settings.numbers == {"a": 1, "b": 2}
    assert settings.lamps == (Lamp(address=1), Lamp(address=2, kind="rgbw"))
    assert settings.lamp == Lamp(address=5)
    assert settings.either == 7
    assert isinstance(settings.either, int)
    assert list(settings.anything) == ["a"]
    assert built('to = "x"') == Settings(to="x")


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        ("rate_hz = 1", (), "needs the key to"),
        ('to = "x"\nrat = 1', ("rat",), "has no key rat; did you mean rate_hz?"),
        ('to = "x"\nxyzzy = 1', ("xyzzy",), "has no key xyzzy; there are: rate_hz, to, on, "),
        ('to = "x"\nrate_hz = "30"', ("rate_hz",), 'rate_hz is the text "30"; it must be a number'),
        ('to = "x"\nrate_hz = true', ("rate_hz",), "rate_hz is true; it must be a number"),
        ('to = "x"\nrate_hz = nan', ("rate_hz",), "rate_hz is nan; it must be a number"),
        ('to = "x"\nrate_hz = 1' + 400 * "0", ("rate_hz",), "it must be a number"),
        ('to = "x"\nrate_hz = 60', ("rate_hz",), "rate_hz is 60; it must lie between"),
        ("to = 5", ("to",), "to is 5; it must be a text in quotes"),
        ("to = 1979-05-27", ("to",), "to is the date or time 1979-05-27; it must be a text"),
        ('to = "x"\non = 1', ("on",), "on is 1; it must be true or false"),
        ('to = "x"\ncount = 1.5', ("count",), "count is 1.5; it must be a whole number"),
        ('to = "x"\ncolour = "dark_blue"', ("colour",), "did you mean dark-blue?"),
        ('to = "x"\ncolour = 5', ("colour",), 'colour is 5; it must be "red" or "dark-blue"'),
        ('to = "x"\nspan = [1]', ("span",), "span is a list; it must be a list of 2"),
        ('to = "x"\nspan = [1, "a"]', ("span", 1), 'span[2] is the text "a"; it must be a number'),
        ('to = "x"\nwords = "a"', ("words",), 'words is the text "a"; it must be a list'),
        ('to = "x"\nnumbers.a = "b"', ("numbers", "a"), "numbers.a is the text"),
        ('to = "x"\nlamp = 3', ("lamp",), "lamp is 3; it must be a table"),
        ('to = "x"\nlamp = {}', ("lamp",), "needs the key lamp.address"),
        ('to = "x"\nlamp = {adress = 1}', ("lamp", "adress"), "lamp has no key adress; did you me"),
        ('to = "x"\nlamps = [{address = 1}, {address = 0}]', ("lamps", 1, "address"),
         "lamps[2].address is 0; it must be at least 1"),
        ('to = "x"\neither = []', ("either",), "either is an empty list; it must be a number, "),
    ],
)  # fmt: skip
def test_mistakes(text: str, place: tuple[str | int, ...], sentence: str) -> None:
    with pytest.raises(SettingError) as caught:
        built(text)
    assert sentence in str(caught.value)
    assert caught.value.path == ("osc", 0, *place)


def test_what_is_no_table() -> None:
    with pytest.raises(SettingError, match="is 5; it must be a table"):
        build(Settings, 5, ("osc", 0))
