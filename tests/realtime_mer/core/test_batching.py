"""Batched computation equals computation alone, and errors stay in their stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from mer_engine import Engine, Inference
from numpy.typing import NDArray
from support import ManualClock, blocks, music, values

from realtime_mer.core.batching import run_batch
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation
from realtime_mer.core.types import Estimate
from realtime_mer.errors import BadSamplesError

TOLERANCE = 1e-5
# Rate, channels, seconds of silence before the music, block size, lag order, hop.
STREAMS = (
    (16_000, 1, 0.0, 16_000, None, 1.0),
    (16_000, 1, 0.0, 16_000, None, 1.0),
    (44_100, 2, 0.0, 11_025, None, 0.5),
    (8_000, 1, 0.7, 8_000, None, 1.0),
    (48_000, 1, 4.3, 30_000, 6, 0.5),
    (22_050, 1, 0.0, 22_050, 12, 0.3),
)


class CountingEngine:
    """Counts the windows of each call; fails for quiet windows."""

    def __init__(self, engine: Engine, *, fail_below: float | None = None) -> None:
        self.info, self.backend = engine.info, engine.backend
        self._engine = engine
        self._fail_below = fail_below
        self.batches: list[int] = []

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        if self._fail_below is not None and frames.max(axis=(1, 2)).min() < self._fail_below:
            raise RuntimeError("the engine failed")
        self.batches.append(len(frames))
        return self._engine.infer(frames, cached_maps, past)


def signal(index: int, seconds: float = 9.0) -> NDArray[np.float32]:
    rate, channels, silence_s, *_ = STREAMS[index]
    played = music(seconds - silence_s, rate, channels=channels, seed=index)
    quiet = np.zeros((round(silence_s * rate), channels), np.float32)
    return np.concatenate([quiet, played])


def make_pipeline(engine: Engine, index: int) -> Pipeline:
    rate, channels, _, _, lag_order, hop_s = STREAMS[index]
    return Pipeline(
        engine,
        sample_rate_hz=rate,
        channels=channels,
        config=PipelineConfig(hop_s=hop_s, lag_order=lag_order),
        clock=ManualClock(),
    )


def alone(engine: Engine, index: int) -> list[Estimate]:
    pipeline = make_pipeline(engine, index)
    return pipeline.feed(signal(index)) + pipeline.finish()


def test_batched_equals_alone(engine: Engine) -> None:
    counting = CountingEngine(engine)
    indices = [*range(len(STREAMS)), 0, 1, 2]
    made = [make_pipeline(counting, index) for index in indices]
    parts = [list(blocks(signal(index), (STREAMS[index][3],))) for index in indices]
    got: list[list[Estimate]] = [[] for _ in indices]
    for round_ in range(max(map(len, parts))):
        # Each stream starts one round after the one before, so their windows differ in length.
        present = [n for n in range(len(indices)) if 0 <= round_ - n < len(parts[n])]
        results = run_batch(
            counting, [made[n].feed_requests(parts[n][round_ - n]) for n in present]
        )
        for n, result in zip(present, results, strict=True):
            assert not isinstance(result, Exception)
            got[n] += result
    for n, stream_parts in enumerate(parts):
        for part in stream_parts[round_ - n + 1 :]:
            got[n] += made[n].feed(part)
    for n, result in enumerate(
        run_batch(counting, [pipeline.finish_requests() for pipeline in made])
    ):
        assert not isinstance(result, Exception)
        got[n] += result
    for n, index in enumerate(indices):
        expected = alone(engine, index)
        np.testing.assert_allclose(values(got[n]), values(expected), atol=TOLERANCE)
        assert [e.state for e in got[n]] == [e.state for e in expected]
    assert max(counting.batches) > 1


def test_requests_of_the_same_shape_share_calls_up_to_the_limit(engine: Engine) -> None:
    counting = CountingEngine(engine)
    made = [make_pipeline(counting, 0) for _ in range(7)]
    run_batch(
        counting,
        [pipeline.feed_requests(music(1.0, 16_000, seed=n)) for n, pipeline in enumerate(made)],
        3,
    )
    assert counting.batches == [3, 3, 1]


def test_an_engine_on_a_card_gets_as_many_windows_as_it_computes_best(engine: Engine) -> None:
    class Card(CountingEngine):
        largest_batch = 32

    def batches(counting: CountingEngine, seconds: float, streams: int) -> list[int]:
        made = [make_pipeline(counting, 0) for _ in range(streams)]
        sounds = [music(seconds, 16_000, seed=n) for n in range(streams)]
        run_batch(
            counting,
            [
                pipeline.feed_requests(sound, only_latest=True)
                for pipeline, sound in zip(made, sounds, strict=True)
            ],
        )
        return counting.batches

    assert batches(CountingEngine(engine), 1.0, 20) == [8, 8, 4]
    assert batches(Card(engine), 1.0, 20) == [20]
    # Windows with the audio of several hops: fewer in a call, for its memory.
    assert batches(CountingEngine(engine), 5.0, 9) == [3, 3, 3]
    assert batches(Card(engine), 5.0, 9) == [6, 3]


def test_a_loss_and_the_end_of_a_stream_in_a_batch(engine: Engine) -> None:
    def operations(pipeline: Pipeline, seed: int) -> list[Computation[list[Estimate]]]:
        return [
            pipeline.feed_requests(music(3.3, 16_000, seed=seed)),
            pipeline.skip_requests(16_000 * (3 + seed)),
            pipeline.feed_requests(music(2.2, 16_000, seed=seed + 10)),
            pipeline.finish_requests(),
        ]

    together = [operations(make_pipeline(engine, 0), seed) for seed in range(4)]
    got: list[list[Estimate]] = [[] for _ in together]
    for batch in zip(*together, strict=True):
        for n, result in enumerate(run_batch(engine, batch)):
            assert not isinstance(result, Exception)
            got[n] += result
    for seed, estimates in enumerate(got):
        expected: list[Estimate] = []
        for (result,) in (
            run_batch(engine, [part]) for part in operations(make_pipeline(engine, 0), seed)
        ):
            assert not isinstance(result, Exception)
            expected += result
        np.testing.assert_allclose(values(estimates), values(expected), atol=TOLERANCE)
        assert len(estimates) >= 5


def test_a_bad_block_affects_only_its_stream(engine: Engine) -> None:
    good, bad = make_pipeline(engine, 0), make_pipeline(engine, 1)
    block = music(1.0, 16_000)
    broken = block.copy()
    broken[7] = np.nan
    first, second = run_batch(engine, [bad.feed_requests(broken), good.feed_requests(block)])
    assert isinstance(first, BadSamplesError)
    assert not isinstance(second, Exception)
    np.testing.assert_allclose(
        values(second), values(make_pipeline(engine, 0).feed(block)), atol=TOLERANCE
    )


def test_a_window_that_fails_in_the_engine_affects_only_its_stream(engine: Engine) -> None:
    loud, soft = music(1.0, 16_000), music(1.0, 16_000) * np.float32(0.02)
    failing = CountingEngine(engine, fail_below=2.0)
    made = [make_pipeline(failing, 0) for _ in range(3)]
    results = run_batch(
        failing,
        [
            pipeline.feed_requests(part)
            for pipeline, part in zip(made, (loud, soft, loud), strict=True)
        ],
    )
    assert [pipeline.faulty_updates for pipeline in made] == [0, 1, 0]
    assert failing.batches == [1, 1]
    expected = make_pipeline(engine, 0).feed(loud)
    for result in (results[0], results[2]):
        assert not isinstance(result, Exception)
        np.testing.assert_allclose(values(result), values(expected), atol=TOLERANCE)


def test_windows_with_many_new_frames_come_in_small_batches(engine: Engine) -> None:
    counting = CountingEngine(engine)
    made = [make_pipeline(counting, 0) for _ in range(8)]
    signal = music(12.0, 16_000)
    results = run_batch(counting, [p.feed_requests(signal, only_latest=True) for p in made])
    assert counting.batches[-1] == 1
    assert not any(isinstance(result, Exception) for result in results)


def test_a_generator_without_requests(engine: Engine) -> None:
    pipeline = make_pipeline(engine, 0)
    assert run_batch(engine, [pipeline.feed_requests(music(0.2, 16_000))]) == [[]]
    assert run_batch(engine, []) == []


@pytest.mark.parametrize("hops", [2, 5])
def test_a_lower_rate_gives_the_same_estimates_less_often(engine: Engine, hops: int) -> None:
    usual = {round(e.t, 1): e for e in alone(engine, 1)}
    pipeline = make_pipeline(engine, 1)
    pipeline.slow_down(hops)
    got = [e for part in blocks(signal(1), (3_000,)) for e in pipeline.feed(part)]
    assert [e.seq for e in got] == list(range(len(got)))
    assert [e.t for e in got] == [float(t) for t in range(hops, 10, hops)]
    expected = [usual[e.t] for e in got]
    np.testing.assert_allclose(values(got), values(expected), atol=TOLERANCE)
    assert pipeline.skipped_updates == 9 - len(got)


def test_changes_of_the_rate_do_not_change_the_estimates(engine: Engine) -> None:
    usual = {round(e.t, 1): e for e in alone(engine, 5)}
    pipeline = make_pipeline(engine, 5)
    got: list[Estimate] = []
    for number, part in enumerate(blocks(signal(5), (5_000,))):
        pipeline.slow_down((1, 5, 10, 5, 1)[number // 8])
        got += pipeline.feed(part)
    assert [e.seq for e in got] == list(range(len(got)))
    expected = [usual[round(e.t, 1)] for e in got]
    np.testing.assert_allclose(values(got), values(expected), atol=TOLERANCE)
    gaps = {round(b.t - a.t, 1) for a, b in pairwise(got)}
    assert {0.3, 1.5} <= gaps


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 192_000])
def test_samples_until_estimate_complete_the_next_estimate(engine: Engine, rate: int) -> None:
    pipeline = Pipeline(engine, sample_rate_hz=rate, config=PipelineConfig(hop_s=0.5, lag_order=1))
    played = music(3.0, rate, seed=2)
    start = 0
    for number in range(4):
        needed = pipeline.samples_until_estimate
        # 10 ms less is not enough; the delay of the resampler is a few milliseconds.
        assert pipeline.feed(played[start : start + needed - rate // 100]) == []
        start += needed - rate // 100
        assert pipeline.samples_until_estimate == rate // 100
        (estimate,) = pipeline.feed(played[start : start + rate // 100])
        start += rate // 100
        assert estimate.t == pytest.approx(0.5 * (number + 1))
    assert start / rate == pytest.approx(2.0, abs=0.04)
