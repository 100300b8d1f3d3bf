"""JSON that anybody may have written."""

from __future__ import annotations

import json
import math

import pytest
from mer_engine.strict_json import load_json, to_json


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested too deeply"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' twice"),
        (" " * 1_000_001, "longer than 1,000,000 characters"),
        ("{", "Expecting property name"),
        (b"\xff\xfe\xfd", "codec can't decode"),
    ],
)
def test_what_is_refused(text: str | bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_json(text, limit=1_000_000)


def test_numbers_that_are_not_finite_are_no_numbers() -> None:
    text = "[NaN, Infinity, -Infinity, 1e999, -1e999, 0.5, 3]"
    assert load_json(text, limit=100) == [None] * 5 + [0.5, 3]


def test_written_json_is_json() -> None:
    value = {"b": [math.nan, 1.5, (math.inf,)], "a": {"c": -math.inf, "d": None}}
    text = to_json(value)
    assert json.loads(text) == {"b": [None, 1.5, [None]], "a": {"c": None, "d": None}}
    assert to_json(value, sort_keys=True).startswith('{"a"')
