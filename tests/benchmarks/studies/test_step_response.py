"""Pairs of clips, and the times of the steps between them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from deam_support import arousal_of, tone, write_deam
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection
from step_response import (
    MIN_LABEL_STEP,
    Pair,
    choose_pairs,
    join,
    measure_step_response,
    normalised_step,
    time_to_reach,
)

from realtime_mer.evaluation.predictions import clips_of


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return load_collection(write_deam(tmp_path_factory.mktemp("data")))


def test_pairs_differ_in_their_labels_in_both_directions(collection: Collection) -> None:
    clips = clips_of(collection, "validation")
    pairs = choose_pairs(collection, clips, 6)
    mine = [pair for pair in pairs if pair.dimension == "arousal"]
    assert len(mine) == 6
    assert sum(pair.label_step > 0 for pair in mine) == 3
    for pair in mine:
        step = arousal_of(int(pair.second.song)) - arousal_of(int(pair.first.song))
        assert abs(pair.label_step) > MIN_LABEL_STEP
        assert pair.label_step == pytest.approx(step, abs=1e-3)
    assert pairs == choose_pairs(collection, clips, 6)
    assert pairs != choose_pairs(collection, clips, 6, seed=1)


def test_joined_clips_are_aligned(collection: Collection) -> None:
    first, second = clips_of(collection, "validation")[:2]
    samples, rate = join(Pair("arousal", first, second, 0.6))
    assert len(samples) == 20 * rate
    expected = tone(int(second.song), 10.0)
    np.testing.assert_allclose(samples[10 * rate + 400 :], expected[400:], atol=1e-3)
    assert np.abs(samples[10 * rate - 3 : 10 * rate + 3]).max() < 0.05  # faded out and in


def test_times_of_a_linear_ramp() -> None:
    """The values rise from -0.2 to 0.6 within four seconds."""
    track = np.interp(0.1 * np.arange(1, 201), [10.0, 14.0], [-0.2, 0.6])
    step = normalised_step(track)
    assert step is not None
    assert time_to_reach(step, 0.5) == pytest.approx(2.0, abs=0.11)
    assert time_to_reach(step, 0.9) == pytest.approx(3.6, abs=0.11)
    assert normalised_step(-track) is None  # the wrong direction
    assert normalised_step(0.1 * track) is None  # too small a step


def test_each_lag_order_has_rows(collection: Collection, fast_engine: Engine) -> None:
    pairs = choose_pairs(collection, clips_of(collection, "validation"), 2)
    result = measure_step_response(fast_engine, pairs, lag_orders=(20, 4))
    assert result["pairs"] == {"valence": 2, "arousal": 2}
    assert [(row["lag_order"], row["dimension"]) for row in result["rows"]] == [
        (20, "valence"), (20, "arousal"), (4, "valence"), (4, "arousal"),
    ]  # fmt: skip
    for row in result["rows"]:
        assert 0 <= row["counted"] <= row["pairs"] == 2
        assert (row["half_s"] is None) == (row["counted"] == 0)
        if row["half_s"] is not None:
            assert 0 < row["half_s"]["median"] <= row["ninety_s"]["median"] <= 10


def test_no_pairs_are_refused(engine: Engine) -> None:
    with pytest.raises(DataError, match="take more songs"):
        measure_step_response(engine, [])


def test_clips_are_joined_at_the_higher_rate(collection: Collection, tmp_path: Path) -> None:
    first, second = clips_of(collection, "validation")[:2]
    sine = np.sin(2 * np.pi * 440 * np.arange(240_000) / 24_000).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "sine.flac", sine, 24_000)
    other = replace(second, path=tmp_path / "sine.flac", audio_offset_s=0.0)
    samples, rate = join(Pair("arousal", other, first, 0.6))
    assert rate == 24_000
    assert len(samples) == 20 * rate
    np.testing.assert_allclose(samples[:200_000], sine[:200_000], atol=1e-3)
    spectrum = np.abs(np.fft.rfft(samples[11 * rate : 12 * rate]))
    expected = np.abs(np.fft.rfft(tone(int(first.song), 10.0)[16_000:32_000]))
    assert spectrum.argmax() == expected.argmax()  # both in Hz: one second of signal
