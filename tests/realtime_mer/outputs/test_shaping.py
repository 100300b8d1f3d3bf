"""From estimates to frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import ESTIMATE, SCALED_ESTIMATE

from realtime_mer.core.colour import mood_colour
from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.live.show import ControlState
from realtime_mer.outputs.output import Frame, OutputSettings
from realtime_mer.outputs.shaping import BLACK, Shaper


def estimate(valence: float = 0.0, arousal: float = 0.0, **fields: Any) -> Estimate:
    """An estimate with an interval of 0.2 and, unless told, a level of -30 dB."""
    return replace(
        ESTIMATE,
        valence=valence,
        arousal=arousal,
        valence_low=valence - 0.1,
        valence_high=valence + 0.1,
        arousal_low=arousal - 0.1,
        arousal_high=arousal + 0.1,
        **{"level_db": -30.0, "state": State.TRACKING, **fields},
    )


class Stage:
    """A shaper, its controls and its time."""

    def __init__(self, *, hop_s: float = 1.0, **settings: Any) -> None:
        self.control = ControlState()
        self.shaper = Shaper(OutputSettings(**settings), hop_s=hop_s, control=lambda: self.control)

    def frame(self, now_s: float) -> Frame:
        frame = self.shaper.frame(now_s)
        assert frame is not None
        return frame

    def frames(self, times: Iterable[float]) -> list[Frame]:
        return [self.frame(now_s) for now_s in times]


def first(value: Estimate, **settings: Any) -> Frame:
    """The frame of a single estimate."""
    stage = Stage(**settings)
    stage.shaper.add(value, 0.0)
    return stage.frame(0.0)


def steps(start: float, end: float, count: int) -> list[float]:
    return [start + (end - start) * k / count for k in range(1, count + 1)]


def test_nothing_before_the_first_estimate() -> None:
    assert Stage().shaper.frame(0.0) is None
    assert Stage(on_stall="blackout").shaper.last() is None


def test_the_range_of_music_shows_scaled_values() -> None:
    assert SCALED_ESTIMATE.scaled is not None
    frame = first(SCALED_ESTIMATE)
    assert frame.valence == pytest.approx((SCALED_ESTIMATE.scaled.valence + 1) / 2)
    assert frame.valence_width == pytest.approx(0.4)
    raw = first(SCALED_ESTIMATE, range="raw")
    assert raw.valence == pytest.approx((SCALED_ESTIMATE.valence + 1) / 2)
    assert first(ESTIMATE) == first(ESTIMATE, range="raw")


def test_own_range() -> None:
    settings: dict[str, Any] = {
        "range": "own",
        "valence_range": (-0.2, 0.6),
        "arousal_range": (0.0, 0.5),
    }
    frame = first(estimate(0.2, 0.25), **settings)
    assert (frame.valence, frame.arousal) == pytest.approx((0.5, 0.5))
    assert (frame.valence_width, frame.arousal_width) == pytest.approx((0.25, 0.4))
    frame = first(estimate(-0.5, 0.9), **settings)
    assert (frame.valence, frame.arousal) == (0.0, 1.0)


def test_hall_range(tmp_path: Path) -> None:
    path = tmp_path / "hall.json"
    path.write_text('{"valence": [0, 0.4], "arousal": [-0.4, 0], "level_db": [-40, -20]}')
    frame = first(estimate(0.1, -0.1), range="hall", hall=str(path))
    assert (frame.valence, frame.arousal, frame.level) == pytest.approx((0.25, 0.75, 0.5))
    with pytest.raises(UserError, match="realtime-mer calibrate"):
        Shaper(OutputSettings(range="hall", hall=str(tmp_path / "none")), hop_s=1.0)


def test_the_default_hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hall.json"
    path.write_text('{"valence": [0, 0.4], "arousal": [-0.4, 0], "level_db": [-40, -20]}')
    monkeypatch.setattr("realtime_mer.outputs.shaping.default_hall_path", lambda: path)
    assert first(estimate(0.1), range="hall").valence == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("curve", "value", "expected"),
    [(2.0, 0.5, 0.625), (2.0, -0.5, 0.375), (0.5, 0.25, 0.75), (3.0, 1.0, 1.0), (0.3, 0.0, 0.5)],
)
def test_the_curve_bends_around_the_middle(curve: float, value: float, expected: float) -> None:
    frame = first(estimate(value, value), curve=curve)
    assert (frame.valence, frame.arousal) == pytest.approx((expected, expected))


@pytest.mark.parametrize(
    ("level_db", "expected"), [(-60.0, 0.0), (-30.0, 0.5), (0.0, 1.0), (-99.0, 0.0), (3.0, 1.0)]
)
def test_level(level_db: float, expected: float) -> None:
    assert first(estimate(level_db=level_db)).level == pytest.approx(expected)


def test_level_range() -> None:
    frame = first(estimate(level_db=-25.0), level_range_db=(-40.0, -20.0))
    assert frame.level == pytest.approx(0.75)


def test_values_glide_for_one_hop_and_never_run_ahead() -> None:
    stage = Stage(rate_hz=30.0, hop_s=0.5)
    stage.shaper.add(estimate(-1.0), 10.0)
    assert stage.frame(10.0).valence == 0.0
    stage.shaper.add(estimate(1.0), 10.5)
    values = [frame.valence for frame in stage.frames([10.5, 10.6, 10.75, 10.9, 11.0, 15.0])]
    assert values == pytest.approx([0.0, 0.2, 0.5, 0.8, 1.0, 1.0])


def test_a_glide_goes_on_from_where_it_is() -> None:
    stage = Stage()
    stage.shaper.add(estimate(-1.0), 0.0)
    stage.shaper.add(estimate(1.0), 1.0)
    assert stage.frame(1.5).valence == pytest.approx(0.5)
    stage.shaper.add(estimate(-1.0), 1.5)
    assert stage.frame(1.5).valence == pytest.approx(0.5)
    assert stage.frame(2.0).valence == pytest.approx(0.25)


def test_rare_frames_show_each_estimate_as_it_is() -> None:
    stage = Stage(rate_hz=1.0, hop_s=1.0)
    stage.shaper.add(estimate(-1.0), 0.0)
    stage.shaper.add(estimate(1.0), 1.0)
    assert stage.frame(1.0).valence == 1.0


@pytest.mark.parametrize("per_second", [3, 50])
def test_exponential_smoothing_has_its_time_constant(per_second: int) -> None:
    stage = Stage(rate_hz=1.0, smoothing="exponential", smoothing_s=2.0)
    stage.shaper.add(estimate(-1.0, level_db=-60.0), 0.0)
    stage.frame(0.0)
    stage.shaper.add(estimate(1.0, level_db=0.0), 0.0)
    frame = stage.frames(steps(0.0, 2.0, 2 * per_second))[-1]
    assert frame.valence == pytest.approx(1 - math.exp(-1), abs=1e-9)
    assert frame.level == pytest.approx(1 - math.exp(-1), abs=1e-9)


def test_one_euro_is_calm_at_rest_and_quick_in_motion() -> None:
    def change(jump: float) -> float:
        stage = Stage(rate_hz=1.0, smoothing="one-euro")
        stage.shaper.add(estimate(0.0), 0.0)
        stage.frame(0.0)
        stage.shaper.add(estimate(jump), 0.0)
        frames = stage.frames(steps(0.0, 0.5, 15))
        assert all(frame.valence <= (1 + jump) / 2 for frame in frames)
        return (frames[-1].valence - 0.5) / (jump / 2)

    assert 0.3 < change(0.02) < 0.6
    assert change(1.0) > 0.7


def test_slew_limits_the_speed() -> None:
    stage = Stage(rate_hz=1.0, slew_per_s=0.1)
    stage.shaper.add(estimate(-1.0), 0.0)
    stage.shaper.add(estimate(1.0), 0.0)
    values = [frame.valence for frame in stage.frames([0.0, 1.0, 2.0, 20.0])]
    assert values == pytest.approx([0.0, 0.1, 0.2, 1.0])


def test_color_follows_the_shaped_values() -> None:
    frame = first(estimate(0.5, -0.5), range="own", valence_range=(0.0, 0.5))
    assert frame.color == mood_colour(1.0, -0.5)
    assert frame.dimmer == 1.0


QUIET = {State.SILENCE: "on_silence", State.SPEECH: "on_speech", State.NOISE: "on_speech"}


@pytest.mark.parametrize("state", [*QUIET, State.STALLED])
def test_decay(state: State) -> None:
    settings: dict[str, Any] = {QUIET.get(state, "on_stall"): "decay"}
    stage = Stage(decay_s=4.0, **settings)
    stage.shaper.add(estimate(0.8, -0.8), 0.0)
    before = stage.frame(0.0)
    stage.shaper.add(estimate(0.8, -0.8, state=state), 1.0)
    dimmers = [frame.dimmer for frame in stage.frames(steps(1.0, 5.0, 8))]
    assert dimmers == pytest.approx([1 - k / 8 for k in range(1, 9)])
    frame = stage.frame(6.0)
    assert (frame.valence, frame.arousal) == (0.5, 0.5)
    assert (frame.level, frame.dimmer, frame.color) == (0.0, 0.0, BLACK)
    assert (frame.valence_width, frame.mood) == (before.valence_width, before.mood)
    assert frame.state is state
    # With music, all is back after one hop.
    stage.shaper.add(estimate(0.8, -0.8), 7.0)
    half, back = stage.frames([7.5, 8.0])
    assert (half.valence, half.dimmer) == pytest.approx((0.7, 0.5))
    assert (back.valence, back.dimmer) == pytest.approx((0.9, 1.0))


def test_blackout_keeps_valence_and_arousal() -> None:
    stage = Stage(on_silence="blackout")
    stage.shaper.add(estimate(0.8, -0.8), 0.0)
    stage.frame(0.0)
    stage.shaper.add(estimate(0.8, -0.8, state=State.SILENCE), 1.0)
    frame = stage.frame(1.0)
    assert (frame.valence, frame.arousal) == pytest.approx((0.9, 0.1))
    assert (frame.level, frame.dimmer, frame.color) == (0.0, 0.0, BLACK)


def test_hold_measures_the_level_on_but_not_in_a_stall() -> None:
    stage = Stage()
    stage.shaper.add(estimate(0.8), 0.0)
    stage.shaper.add(estimate(0.8, state=State.SILENCE, level_db=-60.0), 1.0)
    frame = stage.frame(2.0)
    assert (frame.valence, frame.level, frame.dimmer) == pytest.approx((0.9, 0.0, 1.0))
    stage.shaper.add(estimate(0.8), 3.0)
    stage.shaper.add(estimate(0.8, state=State.STALLED, level_db=-120.0), 4.0)
    assert stage.frame(9.0).level == pytest.approx(0.5)


def test_hold_after_decay_leaves_the_lights_off() -> None:
    stage = Stage(on_silence="decay", decay_s=1.0)
    stage.shaper.add(estimate(), 0.0)
    stage.shaper.add(estimate(state=State.SILENCE), 1.0)
    assert stage.frame(5.0).dimmer == 0.0
    stage.shaper.add(estimate(state=State.SPEECH), 6.0)
    assert stage.frame(9.0).dimmer == 0.0


def test_the_end_of_the_session_counts_as_a_stall() -> None:
    stage = Stage(on_stall="blackout")
    stage.shaper.add(estimate(), 0.0)
    assert stage.frame(0.0).dimmer == 1.0
    stage.shaper.end()
    assert stage.frame(1.0).dimmer == 0.0


def test_what_is_sent_last() -> None:
    for policy in ("hold", "decay", "blackout"):
        stage = Stage(on_stall=policy)
        stage.shaper.add(estimate(0.8), 0.0)
        stage.frame(0.0)
        last = stage.shaper.last()
        if policy == "hold":
            assert last is None
            continue
        assert last is not None
        assert (last.level, last.dimmer, last.color) == (0.0, 0.0, BLACK)
        assert last.valence == pytest.approx(0.5 if policy == "decay" else 0.9)
        for control in (ControlState(mute=True), ControlState(freeze=True)):
            stage.control = control
            assert stage.shaper.last() is None


def test_mute() -> None:
    stage = Stage()
    stage.shaper.add(estimate(), 0.0)
    stage.control = ControlState(mute=True)
    assert stage.shaper.frame(0.0) is None
    assert stage.shaper.muted


def test_freeze_and_a_smooth_way_back() -> None:
    stage = Stage(smoothing="exponential")
    stage.shaper.add(estimate(-1.0), 0.0)
    frozen = stage.frame(0.0)
    stage.control = ControlState(freeze=True)
    stage.shaper.add(estimate(1.0, state=State.SILENCE), 1.0)
    assert stage.frames([1.0, 2.0, 30.0]) == [frozen] * 3
    stage.control = ControlState()
    assert stage.frame(30.1).valence < 0.05
    assert stage.frame(60.0).valence == pytest.approx(1.0, abs=0.01)


def test_a_policy_goes_on_where_it_was_when_it_was_frozen() -> None:
    stage = Stage(on_silence="decay", decay_s=10.0)
    stage.shaper.add(estimate(), 0.0)
    stage.shaper.add(estimate(state=State.SILENCE), 1.0)
    assert stage.frame(2.0).dimmer == pytest.approx(0.9)
    stage.control = ControlState(freeze=True)
    for now_s in range(3, 20):
        stage.shaper.add(estimate(state=State.SILENCE), now_s)
        assert stage.frame(now_s).dimmer == pytest.approx(0.9)
    stage.control = ControlState()
    assert [stage.frame(19.0 + t).dimmer for t in (1.0, 5.0)] == pytest.approx([0.8, 0.4])


def test_override_and_blackout_by_hand() -> None:
    stage = Stage(on_silence="decay", decay_s=1.0)
    stage.shaper.add(estimate(), 0.0)
    stage.control = ControlState(override={"valence": 1.0, "level": 0.25})
    frame = stage.frame(0.0)
    assert (frame.valence, frame.arousal, frame.level) == (1.0, 0.5, 0.25)
    assert frame.color == mood_colour(1.0, 0.0)
    # A dimmer set by hand brings lights back that a policy has put out.
    stage.shaper.add(estimate(state=State.SILENCE), 1.0)
    assert stage.frame(5.0).color == BLACK
    stage.control = ControlState(override={"dimmer": 0.6})
    frame = stage.frame(6.0)
    assert (frame.dimmer, frame.color) == (0.6, mood_colour(0.0, 0.0))
    stage.control = ControlState(blackout=True, override={"dimmer": 0.6, "arousal": 1.0})
    frame = stage.frame(7.0)
    assert (frame.level, frame.dimmer, frame.color) == (0.0, 0.0, BLACK)
    assert frame.arousal == 1.0


def test_another_shaper_goes_on_from_there() -> None:
    stage = Stage(on_silence="blackout")
    stage.shaper.add(estimate(1.0), 0.0)
    stage.shaper.add(estimate(1.0, state=State.SILENCE), 0.0)
    stage.shaper.add_event(RhythmEvent(RhythmKind.BEAT, 1.0, 1.0, 120.0))
    stage.frame(1.0)
    other = Stage(on_silence="blackout", curve=2.0, range="own", valence_range=(-1.0, 0.99))
    other.shaper.take_over(stage.shaper, 1.0)
    frame = other.frame(1.0)
    assert (frame.valence, frame.dimmer, frame.bpm) == (1.0, 0.0, 120.0)
    fresh = Stage()
    fresh.shaper.take_over(Stage().shaper, 1.0)
    assert fresh.shaper.frame(1.0) is None
