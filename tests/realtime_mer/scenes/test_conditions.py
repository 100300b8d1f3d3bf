from dataclasses import replace

import pytest
from support import ESTIMATE, SCALED_ESTIMATE

from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.types import State
from realtime_mer.errors import UserError
from realtime_mer.scenes.conditions import Moment, Watch, parse_condition

TENSE = replace(
    ESTIMATE, mood="tense", valence=-0.4, arousal=0.6, arousal_low=0.2, arousal_high=0.8,
    state=State.TRACKING, level_db=-15.0,
)  # fmt: skip
DROP = Event(EventKind.DROP, 3.0, 4.0, ESTIMATE.utc, 0.7)
LEAVES_CALM = Event(EventKind.MOOD_LEAVE, 4.0, 4.0, ESTIMATE.utc, 1.0, mood="calm")


def moment(event: Event | None = None, *, t: float = 4.0, raw: bool = True) -> Moment:
    return Moment.of(t, TENSE, event, raw=raw)


@pytest.mark.parametrize(
    ("table", "event", "holds", "text"),
    [
        ({"arousal": ">0.5"}, None, True, "arousal 0.60 is above 0.5"),
        ({"arousal": ">0.6"}, None, False, "arousal 0.60 is not above 0.6"),
        ({"arousal": ">=0.6"}, None, True, "arousal 0.60 is at least 0.6"),
        ({"valence": "<-0.5"}, None, False, "valence -0.40 is not below -0.5"),
        ({"valence": " <= -.4 "}, None, True, "valence -0.40 is at most -0.4"),
        ({"valence": "-0.5..-0.3"}, None, True, "valence -0.40 is between -0.5 and -0.3"),
        ({"valence": "-0.3..-0.5"}, None, True, "valence -0.40 is between -0.5 and -0.3"),
        ({"arousal": "<0.602"}, None, True, "arousal 0.60 is below 0.602"),
        ({"level": ">0.7"}, None, True, "level 0.75 is above 0.7"),
        ({"arousal_width": "<0.2"}, None, False, "arousal_width 0.30 is not below 0.2"),
        ({"mood": "tense"}, None, True, "mood is tense"),
        ({"mood": ["calm", "still"]}, None, False, "mood is tense, not calm or still"),
        ({"state": "silence"}, None, False, "state is tracking, not silence"),
        ({"state": "music"}, None, True, "state is tracking"),
        ({"event": "drop"}, None, False, "no drop now"),
        ({"event": ["rise", "drop"]}, DROP, True, "drop now"),
        ({"event": "drop", "strength": ">0.8"}, DROP, False, "strength 0.70 is not above 0.8"),
        (
            {"event": "mood_leave", "mood": "calm"},
            LEAVES_CALM,
            True,
            "mood_leave now, mood is calm",
        ),
        ({"mood": "tense"}, LEAVES_CALM, True, "mood is tense"),
        ({"mood": "tense", "arousal": ">0.9"}, None, False, "arousal 0.60 is not above 0.9"),
        ({"mood": "tense", "arousal": ">0"}, None, True, "mood is tense, arousal 0.60 is above 0"),
    ],
)
def test_what_holds_and_why(
    table: dict[str, object], event: Event | None, holds: bool, text: str
) -> None:
    finding = parse_condition(table, "when", "storm").check(moment(event))
    assert (finding.holds, finding.text) == (holds, text)


def test_a_value_that_rounds_to_the_end_of_its_range_has_more_decimals() -> None:
    near = replace(TENSE, arousal=0.5004)
    finding = parse_condition({"arousal": ">0.5"}, "when", "storm").check(
        Moment.of(4.0, near, None, raw=True)
    )
    assert finding.text == "arousal 0.5004 is above 0.5"


def test_values_are_those_among_music_or_those_of_the_model() -> None:
    condition = parse_condition({"valence": ">0.2"}, "when", "storm")
    assert condition.check(Moment.of(4.0, SCALED_ESTIMATE, None, raw=False)).holds  # 0.25
    assert not condition.check(Moment.of(4.0, SCALED_ESTIMATE, None, raw=True)).holds  # 0.12


def test_before_any_music_only_the_level_is_known() -> None:
    before = Moment.of(1.0, replace(TENSE, mood=None), None, raw=True)
    unknown = parse_condition({"arousal": ">0.5"}, "when", "storm").check(before)
    assert (unknown.holds, unknown.text) == (False, "no music was heard yet")
    assert parse_condition({"level": ">0.5"}, "when", "storm").check(before).holds


def test_a_duration_begins_again_after_a_break() -> None:
    watch = Watch(parse_condition({"mood": "tense", "for_s": 0.3}, "when", "storm"))
    calm = replace(TENSE, mood="calm")
    texts = []
    for t, estimate in [(1.0, TENSE), (1.1, TENSE), (1.2, calm), (1.3, TENSE), (1.6, TENSE)]:
        finding = watch.update(Moment.of(t, estimate, None, raw=True), margin=None)
        texts.append(finding.text)
    assert texts == [
        "mood is tense, but only for 0 of 0.3 s",
        "mood is tense, but only for 0.1 of 0.3 s",
        "mood is calm, not tense",
        "mood is tense, but only for 0 of 0.3 s",
        "mood is tense",
    ]


def test_a_margin_widens_the_range() -> None:
    condition = parse_condition({"arousal": "0.7..0.9"}, "when", "storm")
    assert not condition.check(moment()).holds
    found = condition.check(moment(), margin=0.15)
    assert (found.holds, found.text) == (True, "arousal 0.60 is between 0.55 and 1.05")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "when of the scene storm is empty; write a condition"),
        ({"arousel": ">0"}, "when of the scene storm has no key 'arousel'; did you mean arousal?"),
        ({"arousal": 0.5}, "arousal is 0.5; write a comparison as text, such as '>0.5'"),
        ({"arousal": ">high"}, "arousal is '>high'; write a comparison"),
        ({"arousal": ">1.5"}, "arousal is '>1.5'; arousal lies between -1 and 1"),
        ({"level": "-60..0"}, "level is '-60..0'; level lies between 0 and 1"),
        ({"mood": "tens"}, "mood is 'tens'; did you mean tense?"),
        ({"mood": []}, "mood is []; write one word, or several in brackets"),
        ({"mood": 3}, "mood is 3; write one word"),
        ({"mood": [3]}, "mood is 3; there are: neutral, pleased"),
        ({"mood": [["calm"]]}, "mood is ['calm']; did you mean calm?"),
        ({"mood": "calm", "for_s": 10**400}, "0; it must lie between 0 and 3600"),
        ({"state": "loud"}, "state is 'loud'; there are: silence, settling"),
        ({"event": "dorp"}, "event is 'dorp'; did you mean drop?"),
        ({"strength": ">0.5"}, "strength is that of an event; add the key event"),
        ({"event": "drop", "for_s": 2}, "for_s cannot be used with event"),
        ({"for_s": 2}, "for_s is alone; add what must hold"),
        ({"mood": "tense", "for_s": "2"}, "for_s is '2'; write a number of seconds"),
        ({"mood": "tense", "for_s": True}, "for_s is True; write a number of seconds"),
        ({"mood": "tense", "for_s": -1}, "for_s is -1; it must lie between 0 and 3600"),
        ({"mood": "tense", "for_s": float("nan")}, "for_s is nan; it must lie between"),
    ],
)  # fmt: skip
def test_wrong_conditions_are_sentences(table: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_condition(table, "when", "storm")
    assert message in str(raised.value)
    assert str(raised.value).startswith("when of the scene storm")
