"""Streams in step: alone equals among many, and one stream's fault is its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from mer_engine import Engine, Inference
from numpy.typing import NDArray
from support import ManualClock, blocks, music, values

from realtime_mer.core.batching import run_batch, run_each
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
    """Tells how many windows each call had; refuses windows of a quiet level."""

    def __init__(self, engine: Engine, *, refuses: float | None = None) -> None:
        self.info, self.backend = engine.info, engine.backend
        self._engine = engine
        self._refuses = refuses
        self.batches: list[int] = []

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        if self._refuses is not None and frames.max(axis=(1, 2)).min() < self._refuses:
            raise RuntimeError("the engine failed")
        self.batches.append(len(frames))
        return self._engine.infer(frames, cached_maps, past)


def signal(index: int, seconds: float = 9.0) -> NDArray[np.float32]:
    rate, channels, silence_s, *_ = STREAMS[index]
    played = music(seconds - silence_s, rate, channels=channels, seed=index)
    quiet = np.zeros((round(silence_s * rate), channels), np.float32)
    return np.concatenate([quiet, played])


def pipeline(engine: Engine, index: int) -> Pipeline:
    rate, channels, _, _, lag_order, hop_s = STREAMS[index]
    return Pipeline(
        engine,
        sample_rate_hz=rate,
        channels=channels,
        config=PipelineConfig(hop_s=hop_s, lag_order=lag_order),
        clock=ManualClock(),
    )


def alone(engine: Engine, index: int) -> list[Estimate]:
    made = pipeline(engine, index)
    return made.feed(signal(index)) + made.finish()


def test_alone_equals_among_many(engine: Engine) -> None:
    counting = CountingEngine(engine)
    indices = [*range(len(STREAMS)), 0, 1, 2]
    made = [pipeline(counting, index) for index in indices]
    parts = [list(blocks(signal(index), (STREAMS[index][3],))) for index in indices]
    got: list[list[Estimate]] = [[] for _ in indices]
    for turn in range(max(map(len, parts))):
        # Each enters a while after the one before, so the streams are at different places.
        present = [n for n in range(len(indices)) if 0 <= turn - n < len(parts[n])]
        results = run_batch(counting, [made[n].feed_requests(parts[n][turn - n]) for n in present])
        for n, result in zip(present, results, strict=True):
            assert not isinstance(result, Exception)
            got[n] += result
    for n, mine in enumerate(parts):
        for part in mine[turn - n + 1 :]:
            got[n] += made[n].feed(part)
    for n, result in enumerate(run_batch(counting, [one.finish_requests() for one in made])):
        assert not isinstance(result, Exception)
        got[n] += result
    for n, index in enumerate(indices):
        expected = alone(engine, index)
        np.testing.assert_allclose(values(got[n]), values(expected), atol=TOLERANCE)
        assert [e.state for e in got[n]] == [e.state for e in expected]
    assert max(counting.batches) > 1


def test_asks_of_the_same_shape_are_one_call_up_to_the_limit(engine: Engine) -> None:
    counting = CountingEngine(engine)
    made = [pipeline(counting, 0) for _ in range(7)]
    run_batch(
        counting, [one.feed_requests(music(1.0, 16_000, seed=n)) for n, one in enumerate(made)], 3
    )
    assert counting.batches == [3, 3, 1]


def test_the_next_begins_where_one_has_ended(engine: Engine) -> None:
    lengths_s = (3.0, 1.0, 1.0, 2.0, 1.0)
    begun: list[int] = []
    ended: list[int] = []
    most = 0

    def coming() -> Iterator[Computation[list[Estimate]]]:
        nonlocal most
        for number, length_s in enumerate(lengths_s):
            begun.append(number)
            most = max(most, len(begun) - len(ended))
            yield pipeline(engine, 0).feed_requests(music(length_s, 16_000, seed=number))

    for index, result in run_each(engine, coming(), together=2):
        ended.append(index)
        assert not isinstance(result, Exception)
        expected = pipeline(engine, 0).feed(music(lengths_s[index], 16_000, seed=index))
        np.testing.assert_allclose(values(result), values(expected), atol=TOLERANCE)
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert ended[0] == 1
    assert most == 2


def test_a_loss_and_an_end_go_through_a_batch_too(engine: Engine) -> None:
    def story(one: Pipeline, seed: int) -> list[Computation[list[Estimate]]]:
        return [
            one.feed_requests(music(3.3, 16_000, seed=seed)),
            one.skip_requests(16_000 * (3 + seed)),
            one.feed_requests(music(2.2, 16_000, seed=seed + 10)),
            one.finish_requests(),
        ]

    together = [story(pipeline(engine, 0), seed) for seed in range(4)]
    got: list[list[Estimate]] = [[] for _ in together]
    for chapter in zip(*together, strict=True):
        for n, result in enumerate(run_batch(engine, chapter)):
            assert not isinstance(result, Exception)
            got[n] += result
    for seed, mine in enumerate(got):
        expected: list[Estimate] = []
        for (result,) in (run_batch(engine, [part]) for part in story(pipeline(engine, 0), seed)):
            assert not isinstance(result, Exception)
            expected += result
        np.testing.assert_allclose(values(mine), values(expected), atol=TOLERANCE)
        assert len(mine) >= 5


def test_a_bad_block_is_its_streams_own_affair(engine: Engine) -> None:
    good, bad = pipeline(engine, 0), pipeline(engine, 1)
    block = music(1.0, 16_000)
    broken = block.copy()
    broken[7] = np.nan
    first, second = run_batch(engine, [bad.feed_requests(broken), good.feed_requests(block)])
    assert isinstance(first, BadSamplesError)
    assert not isinstance(second, Exception)
    np.testing.assert_allclose(
        values(second), values(pipeline(engine, 0).feed(block)), atol=TOLERANCE
    )


def test_a_window_that_the_engine_refuses_fails_alone(engine: Engine) -> None:
    loud, soft = music(1.0, 16_000), music(1.0, 16_000) * np.float32(0.02)
    refusing = CountingEngine(engine, refuses=2.0)
    made = [pipeline(refusing, 0) for _ in range(3)]
    results = run_batch(
        refusing,
        [one.feed_requests(part) for one, part in zip(made, (loud, soft, loud), strict=True)],
    )
    assert isinstance(results[1], RuntimeError)
    assert refusing.batches == [1, 1]
    expected = pipeline(engine, 0).feed(loud)
    for result in (results[0], results[2]):
        assert not isinstance(result, Exception)
        np.testing.assert_allclose(values(result), values(expected), atol=TOLERANCE)


def test_a_result_of_a_generator_that_asks_nothing(engine: Engine) -> None:
    one = pipeline(engine, 0)
    assert run_batch(engine, [one.feed_requests(music(0.2, 16_000))]) == [[]]
    assert run_batch(engine, []) == []


@pytest.mark.parametrize("every", [2, 5])
def test_a_lower_rate_hears_everything(engine: Engine, every: int) -> None:
    """Estimates come less often, and each is the one that comes at the full rate."""
    usual = {round(e.t, 1): e for e in alone(engine, 1)}
    one = pipeline(engine, 1)
    one.slow_down(every)
    told = [e for part in blocks(signal(1), (3_000,)) for e in one.feed(part)]
    assert [e.seq for e in told] == list(range(len(told)))
    assert [e.t for e in told] == [float(t) for t in range(every, 10, every)]
    expected = [usual[e.t] for e in told]
    np.testing.assert_allclose(values(told), values(expected), atol=TOLERANCE)
    assert one.skipped_updates == 9 - len(told)


def test_back_at_the_full_rate_everything_is_as_before(engine: Engine) -> None:
    usual = {round(e.t, 1): e for e in alone(engine, 5)}
    one = pipeline(engine, 5)
    told: list[Estimate] = []
    for number, part in enumerate(blocks(signal(5), (5_000,))):
        one.slow_down((1, 5, 10, 5, 1)[number // 8])
        told += one.feed(part)
    assert [e.seq for e in told] == list(range(len(told)))
    expected = [usual[round(e.t, 1)] for e in told]
    np.testing.assert_allclose(values(told), values(expected), atol=TOLERANCE)
    gaps = {round(b.t - a.t, 1) for a, b in pairwise(told)}
    assert {0.3, 1.5} <= gaps


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 192_000])
def test_what_a_stream_wants_makes_its_next_estimate(engine: Engine, rate: int) -> None:
    one = Pipeline(engine, sample_rate_hz=rate, config=PipelineConfig(hop_s=0.5, lag_order=1))
    played = music(3.0, rate, seed=2)
    start = 0
    for number in range(4):
        wanted = one.wanted
        # Nearly all of it is not enough; a delay of the resampler is a few milliseconds at most.
        assert one.feed(played[start : start + wanted - rate // 100]) == []
        start += wanted - rate // 100
        (estimate,) = one.feed(played[start : start + one.wanted])
        start += wanted - (wanted - rate // 100)
        assert estimate.t == pytest.approx(0.5 * (number + 1))
    assert start / rate == pytest.approx(2.0, abs=0.04)
