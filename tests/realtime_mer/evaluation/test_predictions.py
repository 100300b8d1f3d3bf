"""The pipeline on clips, and its newest estimate at each step."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deam_support import tone, write_deam
from mer_engine import Engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from numpy.typing import NDArray
from support import FaultyEngine

from realtime_mer.core.types import Estimate, FastValues, Latency, State
from realtime_mer.errors import EngineError
from realtime_mer.evaluation.predictions import (
    clips_of,
    estimate_clip,
    newest_by_step,
    predict,
    predict_each,
)


def estimates(times: Sequence[float]) -> list[Estimate]:
    """Make estimates whose valence is their time in tens of seconds."""
    return [
        Estimate(
            seq=n, t=t, utc="", valence=t / 10, arousal=0.0, valence_low=0.0, valence_high=1.0,
            arousal_low=-1.0, arousal_high=1.0, mood="", state=State.TRACKING, level_db=-20.0,
            latency=Latency(10.0, 0.0, 0.0, 0.0),
        )
        for n, t in enumerate(times)
    ]  # fmt: skip


def test_each_step_has_the_newest_estimate() -> None:
    values = newest_by_step(estimates([0.3, 0.6, 0.9, 1.2]), steps=4)[0, :, 0]
    # At 0.5, 1.0, 1.5 and 2.0 s; the stream ends before the last two.
    np.testing.assert_allclose(values, [0.03, 0.09, np.nan, np.nan])
    assert np.isnan(newest_by_step([], steps=2)).all()


def test_steps_before_the_first_estimate_are_nan() -> None:
    values = newest_by_step(estimates([1.0, 2.0]), steps=4)[0, :, 0]
    np.testing.assert_allclose(values, [np.nan, 0.1, 0.1, 0.2])


def test_whole_song_estimates_are_in_the_table() -> None:
    given = estimates([0.5, 1.0, 1.5])
    given[1] = replace(given[1], whole=(0.25, -0.5))
    table = newest_by_step(given, steps=3)
    np.testing.assert_array_equal(table[3], [[np.nan] * 2, [0.25, -0.5], [np.nan] * 2])
    np.testing.assert_allclose(table[1:3, :, 1], [[-1.0] * 3, [1.0] * 3])
    assert np.isnan(table[4]).all()


def test_fast_values_are_in_the_table() -> None:
    given = estimates([0.5, 1.0])
    given[1] = replace(given[1], fast=FastValues(3.0, 0.25, -0.5, 0.0, 0.5, -1.0, 0.0))
    np.testing.assert_array_equal(newest_by_step(given, steps=2)[4], [[np.nan] * 2, [0.25, -0.5]])


def test_a_subset_is_spaced_over_the_split(tmp_path: Path) -> None:
    collection = load_collection(write_deam(tmp_path))
    songs = [clip.song for clip in clips_of(collection, "validation")]
    assert songs == list(collection.splits["validation"])
    assert [clip.song for clip in clips_of(collection, "validation", 2)] == [songs[0], songs[-1]]


def test_each_clip_is_a_stream_of_its_own(tmp_path: Path, engine: Engine) -> None:
    collection = load_collection(write_deam(tmp_path))
    clips = clips_of(collection, "test", 3)
    calls: list[tuple[int, int]] = []
    predictions = predict(
        collection,
        clips,
        lambda samples, rate: estimate_clip(engine, samples, rate),
        workers=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert predictions.songs == tuple(clip.song for clip in clips)
    assert predictions.values.shape == predictions.labels.shape == (3, 20, 2)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    alone = newest_by_step(estimate_clip(engine, tone(int(clips[2].song), 10.0), 16_000))
    # The file has 16 bits per sample, so the two streams differ by rounding.
    np.testing.assert_allclose(predictions.values[2], alone[0], atol=1e-2)
    assert predictions.whole_song is not None
    scored, last = predictions.scored(), predictions.select(np.array([False, False, True]))
    np.testing.assert_array_equal(scored.whole_song, predictions.whole_song[:, 9:])
    np.testing.assert_array_equal(last.whole_song, predictions.whole_song[2:])
    np.testing.assert_allclose(predictions.whole_song[2], alone[3], atol=1e-2)
    assert predictions.fast is not None
    np.testing.assert_allclose(predictions.fast[2], alone[4], atol=1e-2)
    assert last.clips == tuple(clips[2:])
    np.testing.assert_array_equal(last.fast, predictions.fast[2:])
    np.testing.assert_array_equal(scored.fast, predictions.fast[:, 9:])


def test_a_clip_that_is_too_short_is_left_out_for_all_estimators(
    tmp_path: Path, engine: Engine
) -> None:
    collection = load_collection(write_deam(tmp_path))
    clips = clips_of(collection, "test")[:2]
    first = read_channels(clips[0])[0]

    def full(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        return estimate_clip(engine, samples, rate)

    def only_the_first(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        return full(samples if np.array_equal(samples, first) else samples[: 3 * rate], rate)

    predictions = predict_each(collection, clips, {"all": full, "first": only_the_first})
    assert predictions["all"].songs == predictions["first"].songs == (clips[0].song,)
    np.testing.assert_array_equal(predictions["all"].values, predictions["first"].values)
    assert "ends before 5.0 s" in predictions["all"].left_out[0]
    with pytest.raises(DataError, match="no clip of"):
        predict(collection, clips[1:], only_the_first)


def test_values_that_an_engine_could_not_compute_are_not_measured(engine: Engine) -> None:
    with pytest.raises(EngineError, match="not finite"):
        estimate_clip(FaultyEngine(engine, "steps", range(1000)), tone(1, 5.0), 16_000)
