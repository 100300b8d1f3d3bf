import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from support import ESTIMATE, FAST_ESTIMATE

from realtime_mer.core.types import Estimate, State
from realtime_mer.live.history import History

WITH_WHOLE = replace(
    FAST_ESTIMATE, whole=(0.1, -1 / 7), state=State.STALLED, mood="joyful", utc="now"
)
NO_MOOD = replace(FAST_ESTIMATE, state=State.SPEECH, mood=None)


@pytest.mark.parametrize("estimate", [ESTIMATE, FAST_ESTIMATE, WITH_WHOLE, NO_MOOD])
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
    rng = np.random.default_rng(0)

    def estimates() -> list[Estimate]:
        numbers = rng.standard_normal((600, 13)).tolist()
        return [
            replace(
                FAST_ESTIMATE,
                **dict(zip(("t", "valence", "arousal", "level_db"), row, strict=False)),
                utc=f"{row[4]:24.20f}",
                latency=replace(FAST_ESTIMATE.latency, queue_ms=row[5]),
            )
            for row in numbers
        ]

    def used_bytes(kept: list[object]) -> int:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            history = History(600)
            for estimate in estimates():
                history.append(estimate)
            history.latest = None
            kept.append(history)
            del estimate
            return tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()

    assert used_bytes([]) < 600 * 450
