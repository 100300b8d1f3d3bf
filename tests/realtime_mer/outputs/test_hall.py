"""The range of a hall: measured, written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import ESTIMATE

from realtime_mer.core.types import State
from realtime_mer.errors import UserError
from realtime_mer.outputs.hall import HallMeter, load_hall


def measure(states: list[State], *, spread: float = 1.0) -> HallMeter:
    """A meter of estimates from -0.5 to 0.5 and -50 to -10 dB."""
    meter = HallMeter(hop_s=1.0)
    places = np.linspace(-0.5, 0.5, len(states)) * spread
    for place, state in zip(places.tolist(), states, strict=True):
        meter.add(
            replace(ESTIMATE, valence=place, arousal=-place, level_db=-30 + 40 * place, state=state)
        )
    return meter


def test_percentiles_become_the_ends(tmp_path: Path) -> None:
    meter = measure([State.TRACKING] * 101)
    hall = meter.measured()
    assert hall.valence == pytest.approx((-0.45, 0.45))
    assert hall.arousal == pytest.approx((-0.45, 0.45))
    assert hall.level_db == pytest.approx((-48.0, -12.0))
    assert meter.text() == (
        "101 s of music: valence -0.45 to +0.45, arousal -0.45 to +0.45, level -48 to -12 dB"
    )
    path = tmp_path / "hall.json"
    path.write_text(json.dumps(hall.to_dict()))
    assert load_hall(path).to_dict() == hall.to_dict()


def test_steady_music_does_not_stretch_its_noise() -> None:
    hall = measure([State.TRACKING] * 100, spread=0.001).measured()
    assert hall.valence == pytest.approx((-0.05, 0.05))
    assert hall.level_db == pytest.approx((-33.0, -27.0))


def test_only_music_counts() -> None:
    states = [State.TRACKING] * 59 + [state for state in State if state is not State.TRACKING] * 20
    meter = measure(states)
    with pytest.raises(UserError, match=r"only 59 s of music were heard, and 60 s are needed"):
        meter.measured()
    assert HallMeter(1.0).text() == "0 s of music"


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", "null", "\xff",
        '{"valence": [0, 1], "arousal": [0, 1]}',
        '{"valence": [1, 0], "arousal": [0, 1], "level_db": [-40, -20]}',
        '{"valence": [0, NaN], "arousal": [0, 1], "level_db": [-40, -20]}',
        '{"valence": [0, 1, 2], "arousal": [0, 1], "level_db": [-40, -20]}',
        '{"valence": 3, "arousal": [0, 1], "level_db": [-40, -20]}',
        '{"valence": ["a", "b"], "arousal": [0, 1], "level_db": [-40, -20]}',
    ],
)  # fmt: skip
def test_a_damaged_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "hall.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"hall\.json is not a file of a hall .*make it again with"):
        load_hall(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no endless file")
def test_an_endless_file() -> None:
    with pytest.raises(UserError, match=r"/dev/zero is not a file of a hall"):
        load_hall(Path("/dev/zero"))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file.*realtime-mer calibrate"):
        load_hall(tmp_path / "hall.json")
