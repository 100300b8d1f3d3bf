"""What a person's map is worth: how listeners differ, and the whole study on small data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import personal
import pytest
import tables
from collections_support import write_fme24
from deam_support import write_deam
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
from personal import Mark, Values, axis_prior, by_delay, deam_listener
from support import ESTIMATE

from realtime_mer.core.personal_map import AxisPrior


def film(clips: int, seed: int = 0) -> dict[str, Values]:
    random = np.random.default_rng(seed)
    places = random.uniform(-0.9, 0.9, (clips, 2))
    return {f"C{k}": Values(place, place - 0.3, place + 0.3) for k, place in enumerate(places)}


def test_how_listeners_differ_is_found() -> None:
    random = np.random.default_rng(0)
    values = film(400)
    marks = []
    for listener in range(250):
        shift, scale = 0.2 * random.standard_normal(), 1.0 + 0.4 * random.standard_normal()
        for clip in random.choice(400, 8, replace=False):
            raw = values[f"C{clip}"].value[0]
            own = shift + scale * raw + 0.3 * random.standard_normal()
            marks += [
                Mark(str(listener), f"C{clip}", 1.0, np.full(2, own + 0.1 * noise))
                for noise in random.standard_normal(3)
            ]
    found = axis_prior(marks, values, 0, own=False)
    assert found.shift == pytest.approx(0.2, abs=0.05)
    assert found.scale == pytest.approx(0.4, abs=0.15)
    assert found.piece == pytest.approx(0.3, abs=0.04)
    assert found.tap == pytest.approx(0.1, abs=0.02)
    # What all of them have in common is no listener's own.
    moved = [Mark(m.listener, m.clip, m.t_s, m.place + 0.5) for m in marks]
    assert axis_prior(moved, values, 0, own=True).shift == pytest.approx(found.shift, abs=0.05)
    assert axis_prior(moved, values, 0, own=False).shift > 0.4


def test_simulated_raters_spread_as_published() -> None:
    random = np.random.default_rng(0)
    labels = random.uniform(-0.5, 0.5, (50, 2))
    deviations = random.uniform(0.3, 0.4, (50, 2))
    shares = [AxisPrior(0.1, 0.2, 0.3, 0.2, 1.0)] * 2
    draw = deam_listener(labels, deviations, shares, random)
    ratings = np.stack([draw(np.arange(50)) for _ in range(4000)])
    assert ratings.mean(0) == pytest.approx(labels, abs=0.03)
    assert ratings.std(0) == pytest.approx(deviations, abs=0.02)


def test_the_right_delay_has_the_least_error() -> None:
    from dataclasses import replace

    random = np.random.default_rng(0)
    times = np.arange(5.0, 15.1, 0.5)
    estimates, marks = {}, []
    for clip in range(40):
        path = np.cumsum(random.standard_normal((len(times), 2)), axis=0) * 0.03
        estimates[f"C{clip}"] = [
            replace(ESTIMATE, t=float(t), valence=float(v), arousal=float(a))
            for t, (v, a) in zip(times, path, strict=True)
        ]
        marks += [Mark("1", f"C{clip}", float(times[k]), path[k - 4]) for k in (10, 14, 18)]
    rows = by_delay(marks, estimates)
    assert min(rows, key=lambda row: row["rmse"])["delay_s"] == 2.0
    assert {row["marks"] for row in rows} == {120}


def test_the_whole_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Engine) -> None:
    monkeypatch.setattr(personal, "TAPS", (1, 2))
    monkeypatch.setattr(personal, "NEW_PIECES", 1)
    monkeypatch.setattr(personal, "LISTENERS", 3)
    monkeypatch.setattr(personal, "FOLDS", 2)
    deam = load_collection(f"deam={write_deam(tmp_path / 'deam')}")
    fme24 = load_collection(f"fme24={write_fme24(tmp_path / 'fme24')}")
    result = personal.measure(engine, deam, fme24, seed=0)
    assert [row["taps"] for row in result["film"]] == [1, 2]
    assert result["listeners_of_fme24"] == 2
    (row,) = [row for row in result["real"] if row["other_excerpts"] == "3 to 5"]
    assert row["listeners"] == 2
    assert 0.0 < row["distance_map"] < 2.0
    for name in ("personal map", "personal priors", "personal delay"):
        assert tables.TABLES[name][1](result)
