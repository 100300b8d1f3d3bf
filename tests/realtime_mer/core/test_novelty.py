"""The novelty of a window of embeddings, and of real streams."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine import Engine
from support import music

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.novelty import Novelty
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.evaluation.predictions import UngatedEngine

RATE = 16_000


def test_the_same_sound_a_wholly_other_one_and_the_opposite(engine: Engine) -> None:
    novelty = Novelty(engine.info)
    size = engine.info.embedding_size
    steps = np.zeros((20, size), np.float32)
    steps[:, 0] = 2.0
    assert novelty.of(steps) == pytest.approx(0.0)
    steps[-4:, :2] = (0.0, 1.0)
    assert novelty.of(steps) == pytest.approx(0.5)
    steps[-4:, :2] = (-0.5, 0.0)
    assert novelty.of(steps) == pytest.approx(1.0)


def test_what_the_encoder_does_not_standardise_has_no_part(engine: Engine) -> None:
    info = engine.info
    steps = np.random.default_rng(0).standard_normal((20, info.embedding_size)).astype(np.float32)
    before = Novelty(info).of(steps)
    ending = info.frontend.width + 1 + len(info.sounds)
    assert ending == 96 + 12 + 2 + 3
    steps[-4:, -ending:] += 100.0
    assert Novelty(info).of(steps) == before


def test_only_eight_seconds_count_and_five_are_needed(engine: Engine) -> None:
    novelty = Novelty(engine.info)
    size = engine.info.embedding_size
    steps = np.random.default_rng(1).standard_normal((20, size)).astype(np.float32)
    assert novelty.of(steps) == novelty.of(steps[4:])
    assert novelty.of(steps[-10:]) is not None
    assert novelty.of(steps[-9:]) is None
    assert novelty.of(np.zeros_like(steps)) is None


@pytest.mark.parametrize("hop_s", [0.3, 0.5, 1.0])
def test_estimates_have_it_where_the_music_is_long_enough(engine: Engine, hop_s: float) -> None:
    pipeline = Pipeline(engine, sample_rate_hz=RATE, config=PipelineConfig(hop_s=hop_s))
    signal = np.concatenate((music(9.0, RATE)[:, 0], np.zeros(3 * RATE, np.float32)))
    for estimate in pipeline.feed(signal):
        known = estimate.t >= 5.0 and not estimate.state.repeats
        assert (estimate.novelty is not None) == known, estimate
        assert estimate.novelty is None or 0.0 <= estimate.novelty <= 1.0


def test_another_sound_is_new_for_a_while(engine: Engine) -> None:
    time_s = np.arange(12 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * 110 * k * time_s) / k for k in range(1, 6)) * 0.1
    clicks = 0.3 * np.random.default_rng(2).standard_normal(len(time_s)) * (time_s % 0.25 < 0.03)
    config = PipelineConfig(hop_s=0.5)
    pipeline = Pipeline(UngatedEngine(engine), sample_rate_hz=RATE, config=config)
    estimates = pipeline.feed(np.concatenate((hum, hum + clicks)).astype(np.float32))
    by_time = {estimate.t: estimate.novelty for estimate in estimates}
    before, after = by_time[12.0], by_time[14.0]
    assert before is not None
    assert after is not None
    assert after > before + 0.1
