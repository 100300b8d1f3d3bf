from dataclasses import replace

import pytest
from memory_support import history, in_own_process
from support import ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE

from realtime_mer.core.types import Estimate, State
from realtime_mer.live.history import History

WITH_WHOLE = replace(
    FAST_ESTIMATE, whole=(0.1, -1 / 7), state=State.STALLED, mood="joyful", utc="now"
)
NO_MOOD = replace(FAST_ESTIMATE, state=State.SPEECH, mood=None)
NOVEL = replace(FAST_ESTIMATE, novelty=0.375)
KINDS = [ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE, WITH_WHOLE, NO_MOOD, NOVEL]


@pytest.mark.parametrize("estimate", KINDS)
def test_stored_estimates_are_equal(estimate: Estimate) -> None:
    history = History(3)
    history.append(estimate)
    (got,), complete = history.since(-1, None)
    assert got == estimate
    assert got.to_dict() == estimate.to_dict()
    assert complete
    assert history.latest is estimate


def test_the_oldest_are_discarded() -> None:
    history = History(4)
    assert history.since(-1, None) == ([], True)
    for seq in range(10):
        history.append(replace(ESTIMATE, seq=seq))
    assert history.capacity == 4
    assert [e.seq for e in history.since(-1, None)[0]] == [6, 7, 8, 9]
    assert [e.seq for e in history.since(7, 1)[0]] == [8]
    assert history.since(4, None)[1] is False
    assert history.since(5, None)[1] is True
    assert history.since(9, None) == ([], True)


def test_ten_minutes_take_little_memory() -> None:
    assert in_own_process(history, 600) < 600 * 550
