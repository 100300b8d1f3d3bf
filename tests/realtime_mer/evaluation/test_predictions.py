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

from realtime_mer.core.types import Estimate, Latency, State
from realtime_mer.evaluation.predictions import by_step, clips_of, listen, predict, predict_each


def estimates(times: Sequence[float]) -> list[Estimate]:
    """Estimates whose valence is their own time in tens of seconds."""
    return [
        Estimate(
            seq=n, t=t, utc="", valence=t / 10, arousal=0.0, valence_low=0.0, valence_high=1.0,
            arousal_low=-1.0, arousal_high=1.0, mood="", state=State.TRACKING, level_db=-20.0,
            latency=Latency(10.0, 0.0, 0.0, 0.0),
        )
        for n, t in enumerate(times)
    ]  # fmt: skip


def test_a_step_shows_the_newest_estimate_until_then() -> None:
    values = by_step(estimates([0.3, 0.6, 0.9, 1.2]), steps=4)[0, :, 0]
    # At 0.5, 1.0, 1.5 and 2.0 s; the stream ended before the last.
    np.testing.assert_allclose(values, [0.03, 0.09, np.nan, np.nan])
    assert np.isnan(by_step([], steps=2)).all()


def test_before_the_first_estimate_there_is_none() -> None:
    values = by_step(estimates([1.0, 2.0]), steps=4)[0, :, 0]
    np.testing.assert_allclose(values, [np.nan, 0.1, 0.1, 0.2])


def test_what_is_told_of_the_piece_is_kept_with_the_step() -> None:
    made = estimates([0.5, 1.0, 1.5])
    made[1] = replace(made[1], whole=(0.25, -0.5))
    table = by_step(made, steps=3)
    np.testing.assert_array_equal(table[3], [[np.nan] * 2, [0.25, -0.5], [np.nan] * 2])
    np.testing.assert_allclose(table[1:3, :, 1], [[-1.0] * 3, [1.0] * 3])


def test_a_subset_is_spread_over_the_split(tmp_path: Path) -> None:
    collection = load_collection(write_deam(tmp_path))
    whole = [clip.song for clip in clips_of(collection, "validation")]
    assert whole == list(collection.splits["validation"])
    assert [clip.song for clip in clips_of(collection, "validation", 2)] == [whole[0], whole[-1]]


def test_clips_are_heard_as_streams_of_their_own(tmp_path: Path, engine: Engine) -> None:
    collection = load_collection(write_deam(tmp_path))
    clips = clips_of(collection, "test", 3)
    calls: list[tuple[int, int]] = []
    heard = predict(
        collection,
        clips,
        lambda samples, rate: listen(engine, samples, rate),
        workers=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert heard.songs == tuple(clip.song for clip in clips)
    assert heard.values.shape == heard.labels.shape == (3, 20, 2)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    alone = by_step(listen(engine, tone(int(clips[2].song), 10.0), 16_000))
    # The file holds 16 bits, so the two streams differ by its rounding.
    np.testing.assert_allclose(heard.values[2], alone[0], atol=1e-2)
    assert heard.whole is not None
    scored, last = heard.scored(), heard.of_songs(np.array([False, False, True]))
    np.testing.assert_array_equal(scored.whole, heard.whole[:, 9:])
    np.testing.assert_array_equal(last.whole, heard.whole[2:])
    np.testing.assert_allclose(heard.whole[2], alone[3], atol=1e-2)


def test_what_is_too_short_is_left_out_of_all_and_named(tmp_path: Path, engine: Engine) -> None:
    collection = load_collection(write_deam(tmp_path))
    clips = clips_of(collection, "test")[:2]
    first = read_channels(clips[0])[0]

    def whole(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        return listen(engine, samples, rate)

    def only_the_first(samples: NDArray[np.float32], rate: int) -> list[Estimate]:
        return whole(samples if np.array_equal(samples, first) else samples[: 3 * rate], rate)

    heard = predict_each(collection, clips, {"all": whole, "first": only_the_first})
    assert heard["all"].songs == heard["first"].songs == (clips[0].song,)
    np.testing.assert_array_equal(heard["all"].values, heard["first"].values)
    assert "ends before 5.0 s" in heard["all"].left_out[0]
    with pytest.raises(DataError, match="not one clip"):
        predict(collection, clips[1:], only_the_first)
