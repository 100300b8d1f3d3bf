from collections.abc import Sequence
from dataclasses import replace

import pytest
from support import ESTIMATE

from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.scenes.rules import SceneRules
from realtime_mer.scenes.settings import SceneSettings


def estimate(t: float, mood: str, arousal: float = 0.0) -> Estimate:
    return replace(ESTIMATE, seq=round(t), t=t, mood=mood, arousal=arousal, state=State.TRACKING)


def event(kind: EventKind, t: float) -> Event:
    return Event(kind, t, t, ESTIMATE.utc, 0.5)


def run(rules: SceneRules, items: Sequence[Estimate | Event]) -> list[str]:
    """What changes, as text with the time."""
    return [f"{c.t:g} {c}" for item in items for c in rules.update(item)]


def test_a_scene_starts_after_its_duration_and_ends_beyond_the_hysteresis() -> None:
    storm = SceneSettings(
        name="storm",
        when={"mood": ["tense", "excited"], "arousal": ">0.5", "for_s": 2},
        hysteresis=0.1,
        dwell_s=0,
    )
    rules = SceneRules([storm])
    arousals = [0.4, 0.6, 0.6, 0.6, 0.45, 0.39, 0.6]
    changes = run(rules, [estimate(float(t), "tense", a) for t, a in enumerate(arousals)])
    assert changes == [
        "3 storm starts: mood is tense, arousal 0.60 is above 0.5",
        "5 storm ends: arousal 0.39 is not above 0.4",
    ]
    assert rules.active is None
    assert rules.findings["storm"].text == (
        "mood is tense, arousal 0.60 is above 0.5, but only for 0 of 2 s"
    )


def test_a_scene_stays_for_its_dwell_and_returns_after_its_cooldown() -> None:
    calm = SceneSettings(name="calm", when={"mood": "calm"}, dwell_s=3, cooldown_s=4)
    rules = SceneRules([calm])
    moods = ["calm", "sad", "sad", "sad", "calm", "calm", "calm", "calm"]
    items = [estimate(float(t), mood) for t, mood in enumerate(moods)]
    assert run(rules, items[:3]) == ["0 calm starts: mood is calm"]
    assert rules.findings["calm"].text == "active for another 1 s (dwell): mood is sad, not calm"
    assert run(rules, items[3:6]) == ["3 calm ends: mood is sad, not calm"]
    assert rules.findings["calm"].text == "2 s of its 4 s cooldown are left"
    assert run(rules, items[6:]) == ["7 calm starts: mood is calm"]


def test_only_a_higher_priority_breaks_in_and_then_the_lower_one_returns() -> None:
    scenes = [
        SceneSettings(name="tense", when={"mood": "tense"}),
        SceneSettings(name="loud", when={"arousal": ">0.5"}),
        SceneSettings(name="drop", when={"event": "drop"}, priority=1, dwell_s=2),
    ]
    rules = SceneRules(scenes)
    assert run(rules, [estimate(1.0, "tense", 0.9)]) == ["1 tense starts: mood is tense"]
    assert rules.findings["loud"].text == "tense is active and has no lower priority"
    assert rules.findings["drop"].text == "no drop now"
    assert run(rules, [event(EventKind.RISE, 1.0)]) == []
    assert run(rules, [event(EventKind.DROP, 1.0)]) == [
        "1 tense ends: drop starts",
        "1 drop starts: drop now",
    ]
    # Another drop within the dwell changes nothing.
    items: list[Estimate | Event] = [
        estimate(2.0, "tense", 0.9),
        event(EventKind.DROP, 2.0),
        estimate(3.0, "tense", 0.9),
    ]
    assert run(rules, items) == ["3 drop ends: its dwell is over", "3 tense starts: mood is tense"]
    # Of equal ones the active stays, then the next of the list starts.
    assert run(rules, [estimate(4.0, "calm", 0.9), estimate(8.0, "calm", 0.9)]) == [
        "8 tense ends: mood is calm, not tense",
        "8 loud starts: arousal 0.90 is above 0.5",
    ]


def test_one_of_several_conditions_beside_those_that_must_all_hold() -> None:
    hit = SceneSettings(
        name="hit", when={"mood": "tense"}, any_of=({"event": "section"}, {"arousal": ">0.8"}),
        dwell_s=0,
    )  # fmt: skip
    rules = SceneRules([hit])
    assert run(rules, [estimate(1.0, "tense", 0.5)]) == []
    assert rules.findings["hit"].text == "no section now; arousal 0.50 is not above 0.8"
    assert run(rules, [event(EventKind.SECTION, 1.0)]) == [
        "1 hit starts: mood is tense, section now"
    ]
    assert run(rules, [estimate(2.0, "calm", 0.9)]) == ["2 hit ends: mood is calm, not tense"]
    assert run(rules, [estimate(3.0, "tense", 0.9)]) == [
        "3 hit starts: mood is tense, arousal 0.90 is above 0.8"
    ]


def test_a_start_by_hand_needs_nothing() -> None:
    scenes = [
        SceneSettings(name="calm", when={"mood": "calm"}, priority=9),
        SceneSettings(name="strobe", dwell_s=2),
    ]
    rules = SceneRules(scenes)
    assert rules.findings["calm"].text == "no estimate has come yet"
    assert [str(change) for change in rules.start("strobe")] == [
        "strobe starts: it was started by hand"
    ]
    assert run(rules, [estimate(1.0, "sad")]) == []
    assert run(rules, [estimate(3.0, "calm")]) == [
        "3 strobe ends: its dwell is over",
        "3 calm starts: mood is calm",
    ]
    assert rules.findings["strobe"].text == "started by hand only"
    with pytest.raises(UserError, match="there is no scene 'strobo'; there are: calm, strobe"):
        rules.start("strobo")


def test_durations_pass_in_a_stall() -> None:
    """The stream time stands still there."""
    dark = SceneSettings(name="dark", when={"state": "stalled", "for_s": 2}, dwell_s=0)
    items = [estimate(t, "calm") for t in (1.0, 2.0, 2.0, 2.0, 2.0, 3.0)]
    items[2:5] = [replace(each, state=State.STALLED) for each in items[2:5]]
    assert run(SceneRules([dark]), items) == [
        "2 dark starts: state is stalled",
        "3 dark ends: state is tracking, not stalled",
    ]


def test_two_scenes_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="there are 2 scenes calm; give each its own name"):
        SceneRules([SceneSettings(name="calm"), SceneSettings(name="calm")])


def test_other_scenes_take_over_the_active_one() -> None:
    rules = SceneRules([SceneSettings(name="calm", when={"mood": "calm"})])
    run(rules, [estimate(1.0, "calm")])
    scenes = [
        SceneSettings(name="sad", when={"mood": "sad"}),
        SceneSettings(name="calm", when={"mood": "calm"}, dwell_s=2),
    ]
    other = SceneRules(scenes)
    other.continue_from(rules)
    assert other.active == "calm"
    assert run(other, [estimate(2.0, "sad"), estimate(3.0, "sad")]) == [
        "3 calm ends: mood is sad, not calm",
        "3 sad starts: mood is sad",
    ]
    without = SceneRules([SceneSettings(name="sad", when={"mood": "sad"})])
    (end,) = without.continue_from(rules)
    assert str(end) == "calm ends: it was removed"
    assert without.active is None


def test_a_cooldown_outlasts_a_change_of_the_scenes() -> None:
    scenes = [SceneSettings(name="calm", when={"mood": "calm"}, dwell_s=0, cooldown_s=10)]
    rules = SceneRules(scenes)
    run(rules, [estimate(1.0, "calm"), estimate(2.0, "sad")])
    other = SceneRules(scenes)
    other.continue_from(rules)
    assert run(other, [estimate(3.0, "calm"), estimate(12.0, "calm")]) == [
        "12 calm starts: mood is calm"
    ]
