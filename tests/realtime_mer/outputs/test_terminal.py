"""The live view in the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from support import ESTIMATE, SCALED_ESTIMATE

from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.types import FastValues, State
from realtime_mer.outputs.terminal import (
    PlainLines,
    TerminalView,
    axis_line,
    level_meter,
    plain_line,
    scale,
    scale_width,
    sparkline,
)

WIDTH = 37
FAST = FastValues(3.0, 0.9, 0.45, 0.1, 1.0, 0.2, 0.7)
UTC = "2026-05-01T20:15:00.250Z"


def render(view: TerminalView, width: int = 100, height: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(view)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def full_view() -> TerminalView:
    """Return a view of which every part has something to show, some of it too long."""
    view = TerminalView("a song with a very long name " * 8, hop_s=1.0, coverage=0.8)
    for second in range(150):
        view.add(replace(ESTIMATE, t=float(second), fast=FAST, state=State.TRACKING))
    for t, kind in ((20.0, EventKind.SECTION), (90.0, EventKind.RISE), (120.0, EventKind.DROP)):
        view.add_event(Event(kind, t, t, UTC, 0.5))
    view.add_event(Marker(149.0, UTC, "a remark that is longer than the line " * 3))
    view.set_target("target +0.20 -0.40, 0.34 away")
    view.set_outputs("1 of 2 outputs ok; lights failing (nobody listens there); 40 sent, 3 dropped")
    view.set_losses("36.2 s of audio missing, overflows 2")
    view.show_notice("the device is gone; it is waited for. " * 8)
    view.set_keys("m marks, Ctrl-C ends")
    return view


def test_view_shows_estimate_losses_and_notice() -> None:
    view = TerminalView("a song", hop_s=1.0, coverage=0.8)
    assert "listening" in render(view)
    view.add(ESTIMATE)
    assert "nothing lost" in render(view)
    view.set_losses("36.2 s of audio missing, overflows 2")
    view.show_notice("the device is gone")
    text = render(view)
    for part in ("a song", "STILL", "settling", "+0.12", "-0.50", "-20 dB", "looks back 10 s"):
        assert part in text
    assert "health: 36.2 s of audio missing, overflows 2" in text
    assert "the device is gone" in text


def test_a_stall_of_the_engine_is_not_told_as_one_of_the_audio() -> None:
    view = TerminalView("x", hop_s=1.0, coverage=0.8)
    view.add(replace(ESTIMATE, state=State.STALLED, level_db=-120.0))
    for code, words in (
        ("", "no audio arrives"),
        ("engine_stalled", "the engine does not work"),
        ("bad_samples", "the engine does not work"),
        ("engine_back", "no audio arrives"),
    ):
        view.show_notice("a sentence", code)
        assert f"{words}; last values: still" in render(view)
    view.add(replace(ESTIMATE, state=State.STALLED, level_db=-20.0))
    assert "the engine does not work" in render(view)


def test_names_and_notices_are_shown_and_not_obeyed() -> None:
    view = TerminalView("[red]x[/] \x1b[2J", hop_s=1.0, coverage=0.8)
    view.show_notice("[/] \x1b]0;title\x07")
    text = render(view)
    assert "[red]x[/] \ufffd[2J" in text
    assert "[/] \ufffd]0;title\ufffd" in text
    assert "\x1b" not in text


def test_before_any_music_a_dash_stands_for_the_mood() -> None:
    estimate = replace(ESTIMATE, mood=None, state=State.SPEECH)
    view = TerminalView("x", hop_s=1.0, coverage=0.8)
    view.add(estimate)
    text = render(view)
    assert "–" in text
    assert "SPEECH" in text
    assert "someone talks; last values: –" in text
    assert "None" not in text + plain_line(estimate)
    assert "  –        speech " in plain_line(estimate)


def test_held_values_are_grey() -> None:
    for state, bold in ((State.TRACKING, True), (State.NOISE, False), (State.SILENCE, False)):
        view = TerminalView("x", hop_s=1.0, coverage=0.8)
        view.add(replace(ESTIMATE, state=state))
        console = Console(
            file=io.StringIO(), width=100, force_terminal=True, color_system="truecolor"
        )
        console.print(view)
        assert isinstance(console.file, io.StringIO)
        # Bold and the colour of valence before the number.
        assert ("\x1b[1;38;2;86;180;233m+0.12" in console.file.getvalue()) == bold


def test_every_state_has_a_text() -> None:
    for state in State:
        view = TerminalView("x", hop_s=1.0, coverage=0.8)
        view.add(replace(ESTIMATE, state=state))
        assert str(state) in render(view).lower()


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 12, 24, 60])
@pytest.mark.parametrize("width", [20, 29, 40, 60, 80, 100, 200])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    lines = render(full_view(), width, height).splitlines()
    assert max(len(line) for line in lines) <= min(width, 100)
    assert len(lines) <= height
    assert "+0.12" in lines[0] if height == 1 else any("valence" in line for line in lines)
    if height > 2:
        assert any("STILL" in line for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_everything_is_there_where_there_is_room(width: int) -> None:
    text = render(full_view(), width, 60)
    for part in (
        "STILL", "tracking", "2:29.0", "valence", "arousal", "+0.12", "-0.50", "-1 ", " +1",
        "-20 dB", "valence +0.90", "arousal +0.45", "2:29  marker: a remark", "0 s ago",
        "2:00  energy falls", "29 s ago", "1:30  energy rises", "59 s ago", "target +0.20 -0.40",
        "show: 1 of 2 outputs ok", "36.2 s of audio", "the device is gone", "range: raw",
        "looks back 10 s", "m marks, Ctrl-C ends",
    ):  # fmt: skip
        assert part in text, part
    assert "another part begins" not in text  # only the last three
    assert ("-0.10 to +0.30" in text) == (width == 80)  # the bars show it too


def test_what_matters_most_stays_in_a_low_terminal() -> None:
    def parts(height: int) -> list[bool]:
        text = render(full_view(), 80, height)
        return [
            word in text
            for word in ("STILL", "the device is gone", "-20 dB", "energy rises", "adds ")
        ]

    assert parts(3) == [True, False, False, False, False]
    assert parts(7) == [True, True, True, False, False]
    assert parts(40) == [True] * 5


def test_what_is_typed_is_whole_in_a_narrow_terminal() -> None:
    view = full_view()
    view.set_prompt("marker: …the end of a long text that is typed▏ (Enter marks, Esc leaves)")
    text = " ".join(line.strip("│ ") for line in render(view, 40, 12).splitlines())
    assert "long text that is typed▏" in text


def test_the_values_are_those_of_the_page() -> None:
    view = TerminalView("x", hop_s=1.0, coverage=0.8)
    view.add(SCALED_ESTIMATE)
    scaled = SCALED_ESTIMATE.scaled
    assert scaled is not None
    assert f"{scaled.valence:+.2f}" in render(view)
    assert "range: music" in render(view)
    assert f"valence {scaled.valence:+.2f} " in plain_line(SCALED_ESTIMATE)


def test_moods_that_end_are_not_told() -> None:
    view = TerminalView("x", hop_s=1.0, coverage=0.8)
    view.add(replace(ESTIMATE, t=9.0))
    view.add_event(Event(EventKind.MOOD_LEAVE, 5.0, 6.0, UTC, 0.5, "sad"))
    view.add_event(Event(EventKind.MOOD_ENTER, 5.0, 6.0, UTC, 0.5, "calm"))
    text = render(view)
    assert "0:05  mood: calm" in text
    assert "sad" not in text


@pytest.mark.parametrize(("value", "column"), [(-1.0, 0), (0.0, 18), (1.0, 36), (3.0, 36)])
def test_dot_position(value: float, column: int) -> None:
    text = scale(value, value, value, "blue", WIDTH).plain
    assert len(text) == WIDTH
    assert text.index("●") == column


def test_the_fast_value_is_a_ring_unless_the_dot_is_there() -> None:
    assert scale(0.0, 0.0, 0.0, "blue", WIDTH, fast=1.0).plain.index("○") == 36
    assert "○" not in scale(0.0, 0.0, 0.0, "blue", WIDTH, fast=0.01).plain


@pytest.mark.parametrize("width", range(10, 100))
def test_zero_has_a_column_of_its_own(width: int) -> None:
    columns = scale_width(width)
    assert columns % 2 == 1
    assert axis_line(columns).index(" 0") + 1 == columns // 2
    assert len(axis_line(columns)) == columns


def test_interval_bar() -> None:
    text = scale(0.0, -0.5, 0.5, "blue", WIDTH).plain
    assert text[9:28] == "━" * 9 + "●" + "━" * 9
    assert "━" not in text[:9] + text[28:]


def test_level_meter_fills_with_the_level() -> None:
    filled = [level_meter(db, WIDTH).plain.count("█") for db in (-120.0, -60.0, -30.0, 0.0, 6.0)]
    assert filled == [0, 0, 18, WIDTH, WIDTH]


def test_sparkline_and_plain_line() -> None:
    assert sparkline([-1.0, 0.0, 1.0, 2.0]) == "▁▅██"
    assert plain_line(ESTIMATE).startswith("0:04.0  valence +0.12 [-0.10, +0.30]")


def test_a_line_comes_when_something_changes_and_at_most_once_a_second() -> None:
    lines = PlainLines()
    told = []
    for tenth in range(50):
        changing = replace(
            ESTIMATE,
            t=tenth / 10.0,
            valence=min(tenth, 24) / 100.0,
            level_db=-20.0 - tenth,
            state=State.TRACKING if tenth < 44 else State.SILENCE,
        )
        if lines.estimate(changing):
            told.append(tenth)
    assert told == [0, 10, 20, 30, 44]  # from 2.4 to 4.4 s only the level changes
    change = Event(EventKind.MOOD_ENTER, 5.0, 6.0, UTC, 0.5, "calm")
    assert lines.event(change) == "0:05.0  event: mood: calm"
    assert lines.event(replace(change, kind=EventKind.MOOD_LEAVE)) == ""
