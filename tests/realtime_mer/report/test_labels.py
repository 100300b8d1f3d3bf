"""Labels for audio editors and subtitles."""

from __future__ import annotations

import re
from itertools import pairwise

from report_support import estimate, music, session_of, utc_at

from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.types import State
from realtime_mer.report.labels import MAX_CUE_S, MIN_CUE_S, audacity_labels, subtitles


def cues_of(text: str) -> list[tuple[float, float, list[str]]]:
    """Return start, end and lines of each subtitle; fail where the numbers are wrong."""
    cues = []
    for number, block in enumerate(text.strip().split("\n\n"), start=1):
        first, times, *lines = block.split("\n")
        assert first == str(number)
        start, end = (
            int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000
            for h, m, s, ms in re.findall(r"(\d\d):(\d\d):(\d\d),(\d{3})", times)
        )
        cues.append((start, end, lines))
    return cues


def test_labels_are_spans_of_moods_and_points_of_changes_and_markers() -> None:
    session = session_of(
        [
            *music([(0, 0, "calm")] * 3 + [(0, 0, "sad")] * 2),
            estimate(6, state=State.SILENCE),
            estimate(20),
            Event(EventKind.RISE, 2.5, 3.0, utc_at(3), 0.5),
            Event(EventKind.MOOD_ENTER, 3.0, 3.0, utc_at(3), 0.5, "sad"),
            Marker(4.25, utc_at(4), "eyes\topen"),
        ]
    )
    assert audacity_labels(session).splitlines() == [
        "0.000\t3.000\tcalm",
        "2.500\t2.500\trise",
        "3.000\t5.000\tsad",
        "4.250\t4.250\tmarker: eyes\ufffdopen",
        "5.000\t6.000\tsilence",
        "6.000\t19.000\tgap",
        "19.000\t20.000\tcalm",
    ]


def test_a_subtitle_has_the_mood_and_the_mean_values_of_its_time() -> None:
    session = session_of(music([(0.1, -0.2, "calm"), (0.3, -0.2, "calm"), (0.2, -0.2, "calm")]))
    assert cues_of(subtitles(session)) == [
        (0.0, 3.0, ["calm", "valence +0.20  arousal \u22120.20"])
    ]


def test_subtitles_can_be_read_and_follow_each_other() -> None:
    words = ["calm"] * 33 + ["sad"] + ["calm"] * 9 + ["still"] * 2 + ["sad"] * 17
    session = session_of(
        [*music([(0, 0, word) for word in words]), Marker(20.5, utc_at(20), "eyes open")]
    )
    cues = cues_of(subtitles(session))
    assert cues[0][0] == 0.0
    assert cues[-1][1] == len(words)
    for (_, end, _), (start, _, _) in pairwise(cues):
        assert start == end
    assert all(MIN_CUE_S <= end - start <= MAX_CUE_S for start, end, _ in cues)
    assert [start for start, _, lines in cues if "* eyes open" in lines] == [20.5]
    assert {lines[0] for _, _, lines in cues} == {"calm", "still", "sad"}


def test_nothing_in_a_subtitle_is_taken_for_its_form() -> None:
    session = session_of([*music([(0, 0, "calm")] * 3), Marker(1.0, utc_at(1), "a --> b <i>c")])
    lines = subtitles(session).splitlines()
    assert sum("-->" in line for line in lines) == 1
    assert "* a -> b (i>c" in lines


def test_hours_are_written_as_hours() -> None:
    session = session_of([estimate(3723.0), estimate(3724.0)])
    assert cues_of(subtitles(session))[-1][1] == 3724.0
