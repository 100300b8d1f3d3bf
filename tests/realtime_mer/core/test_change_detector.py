"""Change events of written estimates, and of the demo."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mer_engine import Engine
from support import ESTIMATE

from realtime_mer.audio.demo import SAMPLE_RATE_HZ, render_demo
from realtime_mer.core.change_detector import ChangeDetector
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, FastValues, State

HALF_WIDTH = 0.4
HOPS_S = (0.1, 0.3, 0.5, 1.0)
hops = pytest.mark.parametrize("hop_s", HOPS_S)


class Piece:
    """Writes estimates second by second."""

    def __init__(self, hop_s: float) -> None:
        self.hop_s = hop_s
        self.estimates: list[Estimate] = []
        self.arousal = 0.0
        self.novelty: float | None = 0.02
        self.mood = "calm"
        self.level_db = -20.0

    @property
    def t(self) -> float:
        return len(self.estimates) * self.hop_s

    def play(self, seconds: float, state: State = State.TRACKING, to: float | None = None) -> Piece:
        """Add estimates, with an arousal that goes evenly to a value."""
        count = round(seconds / self.hop_s)
        way = (self.arousal if to is None else to) - self.arousal
        for _ in range(count):
            self.arousal += way / count
            low, high = self.arousal - HALF_WIDTH, self.arousal + HALF_WIDTH
            values: dict[str, Any] = {
                "arousal": self.arousal,
                "arousal_low": low,
                "arousal_high": high,
            }
            fast = FastValues(3.0, 0.0, valence_low=-0.4, valence_high=0.4, **values)
            estimate = replace(
                ESTIMATE,
                seq=len(self.estimates),
                t=round(self.t + self.hop_s, 3),
                state=state,
                mood=self.mood,
                level_db=-120.0 if state is State.SILENCE else self.level_db,
                fast=fast,
                novelty=None if state.repeats else self.novelty,
                **values,
            )
            self.estimates.append(estimate)
        return self


def detect(estimates: Sequence[Estimate]) -> list[Event]:
    detector = ChangeDetector()
    return [event for estimate in estimates for event in detector.add(estimate)]


def of(events: Sequence[Event], *kinds: EventKind) -> list[Event]:
    return [event for event in events if event.kind in kinds]


@hops
def test_music_that_stays_as_it_is_begins_once(hop_s: float) -> None:
    events = detect(Piece(hop_s).play(10, State.SETTLING).play(60).estimates)
    assert [event.kind for event in events] == [EventKind.MUSIC, EventKind.MOOD_ENTER]
    assert events[0].t == 0.0
    assert events[0].detected_t <= 1.0 + 2 * hop_s
    assert events[0].strength == pytest.approx(2 / 3)
    assert events[1].mood == "calm"


@hops
def test_one_rise_is_one_event(hop_s: float) -> None:
    piece = Piece(hop_s).play(20)
    piece.play(4, to=0.6).play(20).play(4, to=-0.2).play(20)
    moves = of(detect(piece.estimates), EventKind.RISE, EventKind.DROP)
    assert [event.kind for event in moves] == [EventKind.RISE, EventKind.DROP]
    for event, began_s in zip(moves, (20.0, 44.0), strict=True):
        assert event.t == pytest.approx(began_s, abs=1.0)
        assert event.t <= event.detected_t <= began_s + 3.0
        assert 0.0 < event.strength <= 1.0


@hops
def test_small_waves_and_slow_drift_are_no_events(hop_s: float) -> None:
    piece = Piece(hop_s).play(10)
    for _ in range(8):
        piece.play(3, to=0.09).play(3, to=-0.09)
    piece.play(120, to=0.9)
    assert not of(detect(piece.estimates), EventKind.RISE, EventKind.DROP)


def test_a_larger_rise_is_stronger() -> None:
    strengths = [
        of(detect(Piece(0.5).play(20).play(0.5, to=to).play(5).estimates), EventKind.RISE)[
            0
        ].strength
        for to in (0.25, 0.5)
    ]
    assert strengths[0] < strengths[1]


@hops
def test_a_section_begins_once_and_before_it_is_known(hop_s: float) -> None:
    piece = Piece(hop_s).play(20)
    piece.novelty = 0.4
    piece.play(6)
    piece.novelty = 0.05
    piece.play(10)
    piece.novelty = 0.45
    piece.play(2)
    sections = of(detect(piece.estimates), EventKind.SECTION)
    assert [event.detected_t for event in sections] == pytest.approx([20.0, 36.0], abs=hop_s + 0.1)
    assert [event.t for event in sections] == pytest.approx([18.0, 34.0], abs=hop_s + 0.1)
    assert sections[0].strength == pytest.approx(0.8)


def test_without_novelty_there_are_no_sections() -> None:
    piece = Piece(0.5).play(20)
    piece.novelty = None
    assert not of(detect(piece.play(20, to=1.0).estimates), EventKind.SECTION)


@hops
def test_silence_ends_the_music_and_its_mood(hop_s: float) -> None:
    # The pipeline calls it silence after a second of it.
    piece = Piece(hop_s).play(20).play(1.0).play(6, State.SILENCE)
    stopped_s = piece.t - 7.0
    began_s = piece.t
    piece.mood = "tense"
    events = detect(piece.play(10, State.SETTLING).estimates)
    assert [(event.kind, event.mood) for event in events] == [
        (EventKind.MUSIC, None),
        (EventKind.MOOD_ENTER, "calm"),
        (EventKind.SILENCE, None),
        (EventKind.MOOD_LEAVE, "calm"),
        (EventKind.MUSIC, None),
        (EventKind.MOOD_ENTER, "tense"),
    ]
    silence, music = events[2], events[4]
    assert silence.t == pytest.approx(stopped_s, abs=hop_s + 0.1)
    assert silence.detected_t == pytest.approx(stopped_s + 2.0, abs=2 * hop_s)
    assert silence.strength == pytest.approx(2 / 3)
    assert music.t == pytest.approx(began_s, abs=hop_s)


@pytest.mark.parametrize("state", [State.SPEECH, State.NOISE])
def test_speech_and_noise_are_no_music(state: State) -> None:
    events = detect(Piece(0.5).play(5, state).play(20).play(8, state).play(20).estimates)
    states = of(events, EventKind.MUSIC, EventKind.SILENCE)
    assert [event.kind for event in states] == ["music", "silence", "music"]
    assert [event.t for event in states] == [5.0, 22.5, 33.0]


def test_a_short_pause_and_a_stall_change_nothing() -> None:
    piece = Piece(0.5).play(20).play(0.5, State.SILENCE).play(5)
    piece.play(30, State.STALLED).play(5)
    assert len(detect(piece.estimates)) == 2  # music, and its mood


def test_a_stall_keeps_what_was_heard_of_a_silence() -> None:
    piece = Piece(0.5).play(20).play(1.0, State.SILENCE)
    before = detect(piece.estimates)
    assert not of(before, EventKind.SILENCE)
    after = detect(piece.play(10, State.STALLED).play(1.0, State.SILENCE).estimates)
    assert of(after, EventKind.SILENCE)


@hops
def test_a_mood_is_left_before_the_next_is_entered(hop_s: float) -> None:
    piece = Piece(hop_s).play(20)
    piece.mood = "tense"
    left, entered = detect(piece.play(5).estimates)[-2:]
    assert (left.kind, left.mood) == (EventKind.MOOD_LEAVE, "calm")
    assert (entered.kind, entered.mood) == (EventKind.MOOD_ENTER, "tense")
    assert left.t == entered.t == pytest.approx(20.0, abs=hop_s + 0.1)


def test_values_of_a_new_piece_are_not_compared_with_those_of_the_last() -> None:
    piece = Piece(0.5).play(20).play(5, State.SILENCE)
    piece.arousal = 0.8
    assert not of(detect(piece.play(20, State.SETTLING).estimates), EventKind.RISE)


def test_a_recording_may_begin_in_the_middle() -> None:
    piece = Piece(0.5).play(60)
    piece.arousal = 0.8
    events = detect(piece.play(30).estimates[120:])
    assert [event.kind for event in events] == [EventKind.MUSIC, EventKind.MOOD_ENTER]
    assert events[0].t == pytest.approx(60.0, abs=1.0)


def test_reset_starts_a_new_stream() -> None:
    estimates = Piece(0.5).play(20).play(3, to=0.7).play(10).estimates
    detector = ChangeDetector()
    first = [event for estimate in estimates for event in detector.add(estimate)]
    detector.reset()
    assert [event for estimate in estimates for event in detector.add(estimate)] == first
    assert len(first) == 3


@pytest.fixture(scope="module")
def demo_estimates(engine: Engine) -> Callable[[float], list[Estimate]]:
    """Return a function that estimates the demo, 5 s of silence and its beginning."""
    samples = render_demo().astype(np.float32) / 32768
    quiet = np.zeros((5 * SAMPLE_RATE_HZ, 2), np.float32)
    signal = np.concatenate((samples, quiet, samples[: 5 * SAMPLE_RATE_HZ]), dtype=np.float32)

    def estimates(hop_s: float) -> list[Estimate]:
        config = PipelineConfig(hop_s=hop_s)
        pipeline = Pipeline(engine, sample_rate_hz=SAMPLE_RATE_HZ, channels=2, config=config)
        return [*pipeline.feed(signal), *pipeline.finish()]

    return estimates


@pytest.fixture(scope="module", params=(0.3, 1.0))
def demo_events(
    request: pytest.FixtureRequest, demo_estimates: Callable[[float], list[Estimate]]
) -> tuple[list[Estimate], list[Event]]:
    estimates = demo_estimates(request.param)
    return estimates, detect(estimates)


def test_the_demo(demo_events: tuple[list[Estimate], list[Event]]) -> None:
    _, events = demo_events
    (rise,), (drop,) = of(events, EventKind.RISE), of(events, EventKind.DROP)
    assert rise.t == pytest.approx(22.5, abs=2.0)
    assert drop.t == pytest.approx(67.5, abs=2.0)
    sections = [event.t for event in of(events, EventKind.SECTION)]
    assert sections == pytest.approx([45.0, 67.5], abs=2.0)
    states = of(events, EventKind.MUSIC, EventKind.SILENCE)
    assert [event.t for event in states] == pytest.approx([0.0, 90.0, 95.0], abs=1.0)
    entered = [event.mood for event in of(events, EventKind.MOOD_ENTER)]
    assert {"joyful", "tense", "sad"} <= set(entered)
    assert all(0.0 <= event.detected_t - event.t <= 5.0 for event in events)


def test_a_recording_gives_the_same_events(
    demo_events: tuple[list[Estimate], list[Event]],
) -> None:
    estimates, events = demo_events
    lines = [json.dumps(estimate.to_dict()) for estimate in estimates]
    assert detect([Estimate.from_dict(json.loads(line)) for line in lines]) == events
