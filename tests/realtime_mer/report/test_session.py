"""A recording becomes arrays, spans, gaps and pauses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from report_support import HEADER, START, estimate, music, recording, session_of, utc_at

from realtime_mer.clock import iso_utc
from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.types import State
from realtime_mer.outputs.table_file import TableFile
from realtime_mer.recording.lines import Losses, RecordedEnd, RecordedItem, RecordedNotice
from realtime_mer.report.session import Session, read_session


def spans_of(session: Session) -> list[tuple[float, float, str]]:
    return [(span.start_s, span.end_s, span.word) for span in session.spans]


def test_a_recording_is_read_whole(tmp_path: Path) -> None:
    items: list[RecordedItem] = [
        *music([(0.1, 0.2, "joyful")] * 3),
        Event(EventKind.RISE, 2.0, 3.0, utc_at(3), 0.5),
        Marker(2.5, utc_at(2.5), "eyes open"),
        Losses(3.0, utc_at(3), {"overflows": 1}),
        RecordedNotice(3.0, utc_at(3), "slow_input", "the input is slow"),
        RecordedEnd(3.0, utc_at(3), "stopped"),
    ]
    session = read_session(recording(tmp_path / "evening", items))
    assert session.name == "evening"
    assert session.t.tolist() == [1.0, 2.0, 3.0]
    assert session.valence.tolist() == [0.1] * 3
    assert session.is_scaled
    assert [event.kind for event in session.events] == [EventKind.RISE]
    assert [marker.text for marker in session.markers] == ["eyes open"]
    assert session.losses == {"overflows": 1}
    assert session.loss_times_s == [3.0]
    assert [notice.code for notice in session.notices] == ["slow_input"]
    assert session.pauses == []


def test_a_table_of_analyze_is_a_session_with_the_changes_that_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "song.csv"
    quiet = [estimate(t, state=State.SILENCE, mood=None) for t in range(1, 6)]
    with TableFile(path, "csv") as table:
        for each in [*quiet, *(estimate(t) for t in range(6, 30))]:
            table.write(each)
    session = read_session(path)
    assert (session.name, session.header) == ("song", None)
    assert EventKind.MUSIC in {event.kind for event in session.events}


def test_raw_values_are_shown_where_there_are_no_others() -> None:
    session = session_of([estimate(1), replace(estimate(2), scaled=None)])
    assert not session.is_scaled
    assert session.valence.tolist() == [0.1, 0.1]


def test_spans_are_cut_where_the_mood_or_the_state_changes() -> None:
    session = session_of(
        [
            *music([(0, 0, "calm")] * 3 + [(0, 0, "sad")] * 2),
            estimate(6, mood="sad", state=State.SPEECH),
            estimate(7, mood="sad", state=State.SETTLING),
            estimate(8, mood="sad"),
        ]
    )
    assert spans_of(session) == [
        (0.0, 3.0, "calm"),
        (3.0, 5.0, "sad"),
        (5.0, 6.0, "speech"),
        (6.0, 8.0, "sad"),
    ]


def test_a_stretch_without_estimates_is_a_gap() -> None:
    session = session_of([estimate(1), estimate(2), estimate(20), estimate(21)])
    assert spans_of(session) == [(0.0, 2.0, "calm"), (2.0, 19.0, "gap"), (19.0, 21.0, "calm")]
    assert session.seconds.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_a_lower_rate_is_no_gap() -> None:
    session = session_of([estimate(1), estimate(2), estimate(6), estimate(10)])
    assert spans_of(session) == [(0.0, 10.0, "calm")]
    assert session.seconds.tolist() == [1.0, 1.0, 4.0, 4.0]


def test_a_recording_that_begins_late_begins_with_a_gap() -> None:
    assert spans_of(session_of([estimate(30)])) == [(0.0, 29.0, "gap"), (29.0, 30.0, "calm")]


def test_counters_that_begin_again_with_a_run_are_added() -> None:
    counters = [{"overflows": 1}, {"overflows": 3, "late_windows": 0}, {"overflows": 2}]
    losses = [Losses(t, utc_at(t), each) for t, each in enumerate(counters)]
    assert session_of([estimate(1), *losses]).losses == {"overflows": 5}


def test_between_two_runs_the_recording_stood_still(tmp_path: Path) -> None:
    folder = recording(tmp_path / "evening", music([(0, 0, "calm")] * 5))
    began = START + timedelta(seconds=65)
    lines: list[dict[str, object]] = [
        replace(HEADER, part=2, started_utc=iso_utc(began)).to_dict(),
        *(
            {**estimate(t).to_dict(), "seq": t, "utc": iso_utc(began + timedelta(seconds=t))}
            for t in range(1, 4)
        ),
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "estimates-002.jsonl").write_text(text, encoding="utf-8")
    session = read_session(folder)
    assert session.duration_s == 8.0
    ((at_s, seconds),) = session.pauses
    assert at_s == 5.0
    assert seconds == pytest.approx(60.0)
