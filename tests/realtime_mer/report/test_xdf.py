"""XDF as pyxdf reads it."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_support import HEADER, START, estimate, music, session_of, utc_at

from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.report.session import Session
from realtime_mer.report.xdf import CHANNELS, write_xdf

pyxdf = pytest.importorskip("pyxdf", reason="pyxdf is not installed")


def written(session: Session, folder: Path) -> dict[str, Any]:
    """Write a session, read it with pyxdf, and return the streams by their types."""
    path = folder / "session.xdf"
    with path.open("wb") as file:
        write_xdf(session, file)
    streams, header = pyxdf.load_xdf(path)
    assert header["info"]["version"] == ["1.0"]
    return {stream["info"]["type"][0]: stream for stream in streams}


def test_estimates_have_labelled_channels_and_the_time_of_their_audio(tmp_path: Path) -> None:
    session = session_of(music([(0.1 * n, -0.2, "calm") for n in range(5)]))
    stream = written(session, tmp_path)["Mood"]
    channels = stream["info"]["desc"][0]["channels"][0]["channel"]
    assert [channel["label"][0] for channel in channels] == list(CHANNELS)
    series = {name: stream["time_series"][:, n].tolist() for n, name in enumerate(CHANNELS)}
    assert series["scaled_valence"] == [0.1 * n for n in range(5)]
    assert series["valence"] == [0.05 * n for n in range(5)]
    assert series["stream_time"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert series["level_db"] == [-20.0] * 5
    start_s = START.timestamp()
    assert stream["time_stamps"].tolist() == pytest.approx([start_s + n for n in range(1, 6)])
    assert stream["footer"]["info"]["sample_count"] == ["5"]


def test_changes_and_markers_are_strings_at_their_times(tmp_path: Path) -> None:
    session = session_of(
        [
            *music([(0.0, 0.0, "calm")] * 9),
            Marker(6.5, utc_at(6.5), "Augen ge\u00f6ffnet <&>"),
            Event(EventKind.MOOD_ENTER, 3.25, 4.0, utc_at(4), 0.5, "calm"),
        ]
    )
    stream = written(session, tmp_path)["Markers"]
    assert stream["time_series"] == [["mood_enter/calm"], ["Augen ge\u00f6ffnet <&>"]]
    start_s = START.timestamp()
    assert stream["time_stamps"].tolist() == pytest.approx([start_s + 3.25, start_s + 6.5])


def test_what_a_session_lacks_is_not_a_number(tmp_path: Path) -> None:
    session = session_of([replace(estimate(1), scaled=None)], header=None)
    streams = written(session, tmp_path)
    (row,) = streams["Mood"]["time_series"].tolist()
    values = dict(zip(CHANNELS, row, strict=True))
    assert math.isnan(values["scaled_arousal"])
    assert values["valence"] == 0.1
    assert streams["Mood"]["time_stamps"].tolist() == pytest.approx([START.timestamp() + 1.0])
    assert streams["Markers"]["time_series"] == []


def test_many_estimates_are_read_again(tmp_path: Path) -> None:
    session = session_of([estimate(n / 10.0, n / 5000.0) for n in range(1, 2501)])
    stream = written(session, tmp_path)["Mood"]
    assert len(stream["time_stamps"]) == 2500
    column = list(CHANNELS).index("scaled_valence")
    assert stream["time_series"][:, column].tolist() == session.valence.tolist()


def test_a_file_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    write_xdf(session_of([estimate(n / 10.0) for n in range(1, 2501)], header=HEADER), buffer)
    whole = buffer.getvalue()
    path = tmp_path / "cut.xdf"
    path.write_bytes(whole[: len(whole) * 3 // 5])
    streams, _ = pyxdf.load_xdf(path)
    assert 0 < len(streams[0]["time_stamps"]) < 2500
