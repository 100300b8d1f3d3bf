from dataclasses import replace

import pytest
from support import ESTIMATE

from realtime_mer.core.types import State
from realtime_mer.live.steady_time import SteadyTime

PLAYS, STALLS = State.TRACKING, State.STALLED


@pytest.mark.parametrize(
    ("estimates", "expected"),
    [
        ([(5.0, PLAYS), (5.5, PLAYS), (6.0, PLAYS)], [0.0, 0.5, 1.0]),
        # Nothing was lost: the stream goes on where it was.
        ([(1.0, PLAYS), (1.5, PLAYS), (1.5, STALLS), (1.5, STALLS), (2.0, PLAYS)],
         [0.0, 0.5, 1.0, 1.5, 2.0]),
        # Three seconds were lost, of which the stall has counted one.
        ([(1.0, PLAYS), (1.5, PLAYS), (1.5, STALLS), (1.5, STALLS), (5.0, PLAYS), (5.5, PLAYS)],
         [0.0, 0.5, 1.0, 1.5, 4.0, 4.5]),
        # A loss without a stall counts at once.
        ([(1.0, PLAYS), (1.1, PLAYS), (4.0, PLAYS), (4.0, STALLS)], [0.0, 0.1, 3.0, 4.0]),
        # A stall before all audio.
        ([(0.0, STALLS), (0.0, STALLS), (1.0, PLAYS)], [1.0, 2.0, 3.0]),
    ],
)  # fmt: skip
def test_the_time_that_has_passed(
    estimates: list[tuple[float, State]], expected: list[float]
) -> None:
    time = SteadyTime()
    found = [time.update(replace(ESTIMATE, t=t, state=state)) for t, state in estimates]
    assert found == pytest.approx(expected)
