import pytest
from mer_engine import Engine
from support import ManualClock

from realtime_mer.core.estimate_builder import Arrival, EstimateBuilder
from realtime_mer.core.types import Latency, State


def test_latencies_of_the_estimates_of_one_block(engine: Engine) -> None:
    clock = ManualClock()
    builder = EstimateBuilder(engine.info, 20, clock)
    builder.start_timer()
    arrival = Arrival(end_s=5.0, queue_s=0.5)
    latencies = []
    for t in (3.0, 4.0):
        clock.advance(0.25)
        estimate = builder.build(State.SETTLING, t=t, level_db=-20.0, arrival=arrival)
        latencies.append(estimate.latency)
    # The second estimate also waits for the computation of the first.
    assert latencies == [Latency(10.0, 2000.0, 250.0, 500.0), Latency(10.0, 1000.0, 250.0, 750.0)]


def test_latencies_without_an_arrival(engine: Engine) -> None:
    clock = ManualClock()
    builder = EstimateBuilder(engine.info, 6, clock)
    builder.start_timer()
    clock.advance(0.125)
    estimate = builder.build(State.SILENCE, t=1.0, level_db=-120.0)
    assert estimate.latency == Latency(3.0, 0.0, 125.0, 0.0)


def test_numbers_and_values_of_a_stream(engine: Engine) -> None:
    builder = EstimateBuilder(engine.info, 20, ManualClock())
    states = (State.STALLED, State.SILENCE, State.STALLED)
    estimates = [builder.build(state, t=0.0, level_db=-120.0) for state in states]
    assert [estimate.seq for estimate in estimates] == [0, 1, 2]
    assert builder.from_audio == 1
    prior = engine.info.prior["arousal"]
    assert estimates[0].arousal == pytest.approx(prior.mean)
    builder.reset()
    assert builder.build(State.SILENCE, t=0.0, level_db=-120.0).seq == 0
