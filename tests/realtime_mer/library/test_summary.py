from dataclasses import replace

import pytest
from library_support import varied_summary

from realtime_mer.core.mood import WORDS
from realtime_mer.core.types import Estimate, Latency, State
from realtime_mer.library.summary import summarise
from realtime_mer.library.track import ARC_PARTS


def estimate(t: float, valence: float, **fields: object) -> Estimate:
    base = Estimate(
        seq=0, t=t, utc="", valence=valence, arousal=-valence, valence_low=-1.0, valence_high=1.0,
        arousal_low=-1.0, arousal_high=1.0, mood="calm", state=State.TRACKING, level_db=-20.0,
        latency=Latency(2.0, 0.0, 0.0, 0.0),
    )  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]


def test_each_estimate_stands_for_the_time_before_it() -> None:
    found = summarise(
        [
            estimate(2.0, 0.5, mood="joyful", whole=(0.2, 0.1)),
            estimate(3.0, -0.1, whole=(0.5, 0.4)),
            estimate(4.0, 0.9, state=State.SPEECH, mood="tense"),
        ],
        duration_s=4.0,
        hop_s=1.0,
    )
    assert found.music_share == 0.75
    assert found.valence == pytest.approx(0.3)
    assert found.arousal == pytest.approx(-0.3)
    assert found.valence_sd == pytest.approx(0.282843)
    assert (found.valence_min, found.valence_max) == (-0.1, 0.5)
    assert (found.arousal_min, found.arousal_max) == (-0.5, 0.1)
    assert (found.whole_valence, found.whole_arousal) == pytest.approx((0.3, 0.2))
    assert found.mood == "joyful"
    assert found.mood_shares == {
        word: {"joyful": 0.666667, "calm": 0.333333}.get(word, 0.0) for word in WORDS
    }
    # eight parts of half a second: the middle of the first estimate is at 1 s, of the second at 2.5
    assert found.valence_arc == (None, None, 0.5, None, None, -0.1, None, None)


def test_the_largest_change_is_between_whole_windows() -> None:
    steps = [0.0, 0.0, 0.1, 0.1, 0.8, 0.9, 0.9]
    found = summarise(
        [
            estimate(1.0 + i, v, state=State.TRACKING if i else State.SETTLING)
            for i, v in enumerate(steps)
        ],
        duration_s=7.0,
        hop_s=1.0,
    )
    assert found.change_t_s == 4.0
    assert found.change_valence == pytest.approx(0.8)
    assert found.change_arousal == pytest.approx(-0.8)


def test_without_music_there_are_no_values() -> None:
    silence = [estimate(t, 0.1, state=State.SILENCE, mood=None) for t in (1.0, 2.0, 2.5)]
    found = summarise(silence, duration_s=2.5, hop_s=1.0)
    assert (found.duration_s, found.music_share, found.mood) == (2.5, 0.0, "")
    assert set(found.mood_shares.values()) == {0.0}
    assert found.valence_arc == found.arousal_arc == (None,) * ARC_PARTS
    for name in ("valence", "arousal_sd", "valence_min", "arousal_max", "whole_valence"):
        assert getattr(found, name) is None
    assert found.change_t_s is None
    assert varied_summary().mood_shares.keys() == found.mood_shares.keys()
