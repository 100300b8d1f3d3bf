"""The live view in the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from support import ESTIMATE

from realtime_mer.core.types import State
from realtime_mer.outputs.terminal import (
    SCALE_WIDTH,
    TerminalView,
    level_meter,
    plain_line,
    scale,
    sparkline,
)


def render(view: TerminalView, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(view)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


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
        assert f"stalled: {words}, last values" in render(view)
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
    assert "speech: last values" in text
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
        assert str(state) in render(view)


def test_lines_fit_a_small_terminal() -> None:
    view = TerminalView("a song with a very long name " * 8, hop_s=1.0, coverage=0.8)
    for _ in range(100):
        view.add(replace(ESTIMATE, level_db=-120.0))
    title, *lines = render(view, width=80).splitlines()
    assert max(map(len, [title, *lines])) <= 80
    assert not any("…" in line for line in lines)  # rich cuts what does not fit
    assert any("-1 " in line and " +1 " in line for line in lines)


@pytest.mark.parametrize(("value", "column"), [(-1.0, 0), (0.0, 18), (1.0, 36), (3.0, 36)])
def test_dot_position(value: float, column: int) -> None:
    text = scale(value, value, value, "blue").plain
    assert len(text) == SCALE_WIDTH
    assert text.index("●") == column


def test_interval_bar() -> None:
    text = scale(0.0, -0.5, 0.5, "blue").plain
    assert text[9:28] == "━" * 9 + "●" + "━" * 9
    assert "━" not in text[:9] + text[28:]


def test_level_meter_fills_with_the_level() -> None:
    filled = [level_meter(db).plain.count("█") for db in (-120.0, -60.0, -30.0, 0.0, 6.0)]
    assert filled == [0, 0, 18, SCALE_WIDTH, SCALE_WIDTH]


def test_sparkline_and_plain_line() -> None:
    assert sparkline([-1.0, 0.0, 1.0, 2.0]) == "▁▅██"
    assert plain_line(ESTIMATE).startswith("0:04.0  valence +0.12 [-0.10, +0.30]")
