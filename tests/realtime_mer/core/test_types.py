import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from support import ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE

from realtime_mer.core.colour import hex_colour
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError


def test_names_and_their_order_in_json() -> None:
    wire = json.loads(json.dumps(ESTIMATE.to_dict()))
    assert list(wire) == [
        "type", "seq", "t", "utc", "valence", "arousal", "valence_low", "valence_high",
        "arousal_low", "arousal_high", "mood", "color", "state", "level_db", "latency",
    ]  # fmt: skip
    assert wire["type"] == "estimate"
    assert wire["state"] == "settling"
    assert wire["valence"] == 0.123457
    assert list(wire["latency"]) == ["window_s", "buffer_ms", "compute_ms", "queue_ms"]


def test_the_color_is_that_of_the_scaled_values_if_present() -> None:
    assert ESTIMATE.to_dict()["color"] == hex_colour(ESTIMATE.valence, ESTIMATE.arousal)
    assert SCALED_ESTIMATE.scaled is not None
    scaled = SCALED_ESTIMATE.scaled
    assert SCALED_ESTIMATE.color == hex_colour(scaled.valence, scaled.arousal)
    # It follows from the values: a message of a program that does not know it is complete.
    message = SCALED_ESTIMATE.to_dict()
    del message["color"]
    assert Estimate.from_dict(message).color == SCALED_ESTIMATE.color


def test_fast_values_come_last_if_present() -> None:
    without = ESTIMATE.to_dict()
    assert "fast" not in without
    wire = json.loads(json.dumps(FAST_ESTIMATE.to_dict()))
    assert list(wire) == [*without, "fast"]
    assert list(wire["fast"]) == [
        "window_s", "valence", "arousal", "valence_low", "valence_high",
        "arousal_low", "arousal_high",
    ]  # fmt: skip
    assert wire["fast"]["window_s"] == 3.0
    assert wire["fast"]["valence"] == 0.333333


def test_scaled_values_come_after_the_raw_ones_if_present() -> None:
    wire = json.loads(json.dumps(SCALED_ESTIMATE.to_dict()))
    assert list(wire) == [*FAST_ESTIMATE.to_dict(), "scaled", "novelty"]
    assert list(wire["scaled"]) == list(wire["fast"]["scaled"]) == [
        "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high",
    ]  # fmt: skip
    assert wire["valence"] == ESTIMATE.to_dict()["valence"]
    assert (wire["scaled"]["valence"], wire["fast"]["scaled"]["valence"]) == (0.25, 0.666667)
    assert Estimate.from_dict(wire).novelty == wire["novelty"] == 0.0213


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_an_estimate_has_finite_numbers_only(number: float) -> None:
    fast, scaled = FAST_ESTIMATE.fast, SCALED_ESTIMATE.scaled
    assert fast is not None
    assert scaled is not None
    builders: list[Callable[[], object]] = [
        lambda: replace(ESTIMATE, t=number),
        lambda: replace(ESTIMATE, level_db=number),
        lambda: replace(ESTIMATE, arousal_low=number),
        lambda: replace(ESTIMATE, whole=(0.0, number)),
        lambda: replace(ESTIMATE, novelty=number),
        lambda: replace(ESTIMATE.latency, queue_ms=number),
        lambda: replace(fast, window_s=number),
        lambda: replace(fast, valence=number),
        lambda: replace(scaled, valence_high=number),
    ]
    for build in builders:
        with pytest.raises(ValueError, match="finite"):
            build()


@pytest.mark.parametrize(
    ("field", "text"),
    [("level_db", "Infinity"), ("valence", "NaN"), ("seq", "1e999"), ("t", "9" * 400)],
)
def test_a_message_with_a_number_that_is_not_finite_is_no_estimate(field: str, text: str) -> None:
    message = json.loads(json.dumps({**ESTIMATE.to_dict(), field: "here"}).replace('"here"', text))
    with pytest.raises(UserError, match="this is not an estimate"):
        Estimate.from_dict(message)
