"""Settings that all outputs share say what is wrong with a value."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_mer.errors import UserError
from realtime_mer.outputs.output import OutputSettings


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rate_hz", 60.0, "rate_hz is 60; it must lie between 0.1 and 50"),
        ("rate_hz", float("nan"), "rate_hz is nan"),
        ("delay_s", -0.1, "delay_s is -0.1; it must lie between 0 and 5"),
        ("curve", 0.0, "curve is 0"),
        ("smoothing_s", 100.0, "smoothing_s is 100"),
        ("slew_per_s", 0.0, "slew_per_s is 0"),
        ("decay_s", 0.0, "decay_s is 0"),
        ("range", "hull", "range is 'hull'; it must be one of: music, raw, own, hall"),
        ("smoothing", "much", "smoothing is 'much'"),
        ("on_silence", "stop", "on_silence is 'stop'; it must be one of: hold, decay, blackout"),
        ("on_speech", "", "on_speech is ''"),
        ("on_stall", "stop", "on_stall is 'stop'"),
        ("level_range_db", (0.0, -60.0), "level_range_db is 0 to -60"),
        ("valence_range", (-1.0, 0.5), 'set range = "own"'),
        ("hall", "x.json", 'set range = "hall"'),
    ],
)
def test_bad_values(field: str, value: object, message: str) -> None:
    arguments: dict[str, Any] = {field: value}
    with pytest.raises(UserError) as error:
        OutputSettings(**arguments)
    assert str(error.value).startswith(field)
    assert message in str(error.value)


@pytest.mark.parametrize("span", [(0.5, -0.5), (0.2, 0.2), (-2.0, 1.0), (float("nan"), 1.0)])
def test_own_range_must_be_one(span: tuple[float, float]) -> None:
    with pytest.raises(UserError, match=r"^arousal_range is "):
        OutputSettings(range="own", arousal_range=span)
