"""The study of change events: its references, its baseline, and a run as a whole."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from collections_support import write_emotify, write_four_quadrants
from deam_support import write_deam
from events import HALVES, LEVEL_STEP_DB, Score, Stream, curve_changes, gaps, level_events
from mer_engine.datasets.load import load_collection
from support import ESTIMATE
from vgmidi_support import write_vgmidi

from realtime_mer.core.events import EventKind

RISE, DROP, SECTION = EventKind.RISE, EventKind.DROP, EventKind.SECTION


def stream(changes: dict[EventKind, list[float]], unclear: tuple[float, ...] = ()) -> Stream:
    return Stream("here", "one", lambda: np.zeros(1, np.float32), changes, unclear)


def test_a_change_is_found_once_and_within_two_seconds() -> None:
    score = Score(hours=0.5)
    events = [(9.0, 12.0), (10.5, 12.5), (33.0, 34.0), (52.1, 53.0)]
    score.add(events, stream({RISE: [10.0, 50.0, 90.0]}, unclear=(32.0,)), RISE)
    result = score.to_dict()
    assert (result["changes"], result["events"], result["hits"]) == (3, 3, 1)
    assert (result["precision"], result["recall"]) == (0.3333, 0.3333)
    assert result["false_per_hour"] == 4.0
    assert result["delay_s"] == {"median": 2.0, "p90": 2.0}
    assert result["lag_s"] == {"median": 3.0, "p90": 3.0}
    # An unclear join is no reason to leave out a section.
    sections = Score(hours=0.5)
    sections.add([(32.0, 33.0)], stream({SECTION: []}, unclear=(32.0,)), SECTION)
    assert sections.to_dict()["events"] == 1


def test_without_events_there_is_no_precision() -> None:
    result = Score(hours=1.0, changes=2).to_dict()
    assert (result["precision"], result["recall"], result["delay_s"]) == (None, 0.0, None)


def test_changes_of_a_curve_are_where_it_moves_most() -> None:
    times_s = np.arange(0.5, 60.1, 0.5)
    arousal = np.where(times_s <= 20.0, 0.0, 0.3) - np.where(times_s <= 40.0, 0.0, 0.5)
    assert curve_changes(times_s, arousal) == {RISE: [20.0], DROP: [40.0]}
    assert curve_changes(times_s, 0.3 * arousal) == {RISE: [], DROP: [40.0]}
    assert curve_changes(times_s[:10], arousal[:10]) == {RISE: [], DROP: []}


def test_the_level_rises_and_falls() -> None:
    levels_db = np.r_[np.full(40, -30.0), np.full(40, -24.0), np.full(40, -36.0)]
    estimates = [
        replace(ESTIMATE, seq=index, t=0.5 * (index + 1), level_db=float(level_db))
        for index, level_db in enumerate(levels_db)
    ]
    assert LEVEL_STEP_DB == 5.0
    events = level_events(estimates)
    ((up, up_known),) = events[RISE]
    ((down, down_known),) = events[DROP]
    assert 19.0 <= up <= up_known <= 22.5
    assert 39.0 <= down <= down_known <= 42.5
    assert events[SECTION] == [(up, up_known), (down, down_known)]


def test_gaps_lie_between_clips(tmp_path: Path) -> None:
    collection = load_collection(f"deam={write_deam(tmp_path)}")
    half = max(HALVES, key=lambda half: len(list(gaps(collection, "train", half, 0))))
    found = list(gaps(collection, "train", half, 0))
    quiet, noisy = found[0], found[-1]
    assert (quiet.source, noisy.source) == ("gaps, silence", "gaps, noise")
    for one in (quiet, noisy):
        samples = one.audio()
        begins = one.changes[EventKind.MUSIC]
        stops = one.changes[EventKind.SILENCE]
        assert np.subtract(stops, begins) == pytest.approx([10.0] * 3)
        for stop in stops:
            gap = samples[round((stop + 0.5) * 16_000) : round((stop + 2.5) * 16_000)]
            power_db = 10 * np.log10((gap.astype(float) ** 2).mean() + 1e-12)
            assert power_db == pytest.approx(-120 if one is quiet else -40, abs=3)
            assert np.abs(samples[round((stop - 1) * 16_000) : round(stop * 16_000)]).max() > 0.05


def test_a_run_measures_each_source(tmp_path: Path) -> None:
    quadrants = write_four_quadrants(tmp_path / "4q", songs=16, seconds=5.0)
    pieces = write_vgmidi(tmp_path, [f"S_C_Game {n}_T" for n in range(4)], 11.0)
    out = tmp_path / "events.json"
    arguments = [
        "--data", f"4q={quadrants}", "--data", f"vgmidi={pieces}", "--songs", "1",
        "--cache", str(tmp_path / "cache"), "--out", str(out),
    ]  # fmt: skip
    main = importlib.import_module("events").main
    assert main(arguments) == 0
    first = json.loads(out.read_text(encoding="utf-8"))
    assert len(first["model"]["sha256"]) == 64
    rows = {(row["source"], row["kind"], row["method"]): row for row in first["rows"]}
    assert rows["demo", "rise", "detector"]["recall"] == 1.0
    assert rows["4q, joined", "section", "detector"]["changes"] == 3
    assert rows["4q, joined", "section", "random"]["changes"] == 60
    assert ("vgmidi, curves", "drop", "level") in rows
    # From the cache, with the same figures.
    assert len(list((tmp_path / "cache").iterdir())) == 3
    assert main(arguments) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["rows"] == first["rows"]


def test_other_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module("events").main
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path)])
    assert "write, for example, deam=" in capsys.readouterr().err
    folder = write_emotify(tmp_path / "emotify", [[["power"]]])
    assert main(["--data", f"emotify={folder}", "--out", str(tmp_path / "r.json")]) == 2
    assert "give deam=DIR, 4q=DIR or vgmidi=DIR" in capsys.readouterr().err
