"""The scanner finds what `tomllib` reads, in the lines in which a person reads it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_mer.configuration.lines import KeyPath, key_lines

DOCUMENT = '''\
# [not.a.table]
title = "a # is no comment, \\" ends nothing" # key = 1
"quoted key".'and [this]' = 1.5

[server]  # comment = 2
port = 8765
when = 1979-05-27 07:32:00
allow_origin = [ # one
  "https://a.example", # ]
  'b',
]

[[osc]]
to = "127.0.0.1:7000"
text = """
[[osc]]
to = "no" \\"""
"""
[[osc]]
point = { x = 1, y = { z = [1, 2] } }
nested = [[1, 2], [3,
  4]]
[osc.more]
literal = \'\'\'
x = 1
\'\'\'
[[osc.more.deep]]
last = -inf
[profile.club.server]
port = 1
[[profile.club.osc]]
to = "x:1"
'''


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, (*path, key))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from paths(each, (*path, place))


def test_every_key_has_a_line() -> None:
    assert set(key_lines(DOCUMENT)) == set(paths(tomllib.loads(DOCUMENT)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("quoted key", "and [this]"), 3),
        (("server",), 5),
        (("server", "port"), 6),
        (("server", "allow_origin", 1), 10),
        (("osc",), 13),
        (("osc", 0, "text"), 15),
        (("osc", 1), 19),
        (("osc", 1, "point", "y", "z", 1), 20),
        (("osc", 1, "nested", 1, 1), 22),
        (("osc", 1, "more", "literal"), 24),
        (("osc", 1, "more", "deep", 0, "last"), 28),
        (("profile", "club", "server", "port"), 30),
        (("profile", "club", "osc", 0, "to"), 32),
    ],
)
def test_lines(path: KeyPath, line: int) -> None:
    assert key_lines(DOCUMENT)[path] == line
    assert key_lines(DOCUMENT.replace("\n", "\r\n"))[path] == line


@given(st.text("[]{}=,.\"'#\\\n ab1-", max_size=40))
def test_what_tomllib_accepts_is_scanned(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(paths(data)) == set(key_lines(text))
