"""Speech and noise: what a model with a sound output makes of them, from samples to estimates."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from fast_support import tones
from mer_engine import Engine
from support import ManualClock, blocks, values

from realtime_mer.core.batching import run_batch
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State

RATE_HZ = 16_000


def make_pipeline(engine: Engine, hop_s: float = 0.5) -> Pipeline:
    config = PipelineConfig(hop_s=hop_s)
    return Pipeline(engine, sample_rate_hz=RATE_HZ, config=config, clock=ManualClock())


def analyze(
    engine: Engine, *parts: tuple[str, float], hop_s: float = 0.5, size: int = 1600
) -> list[Estimate]:
    made = make_pipeline(engine, hop_s)
    estimates = [e for block in blocks(tones(parts), [size]) for e in made.feed(block)]
    return estimates + made.finish()


def states(estimates: list[Estimate]) -> list[str]:
    return [str(state) for state, _ in groupby(e.state for e in estimates)]


@pytest.mark.parametrize("sound", ["speech", "noise"])
@pytest.mark.parametrize("hop_s", [0.1, 0.5, 1.0])
def test_speech_and_noise_hold_the_values(sound_engine: Engine, sound: str, hop_s: float) -> None:
    estimates = analyze(sound_engine, ("music", 12.0), (sound, 8.0), ("music", 8.0), hop_s=hop_s)
    assert states(estimates) == ["settling", "tracking", sound, "tracking"]
    held = [e for e in estimates if e.state == sound]
    assert {e.to_dict()["valence"] for e in held} == {round(held[0].valence, 6)}
    before = estimates[held[0].seq - 1]
    after = estimates[held[-1].seq + 1]
    assert values([before])[:, 1:7].tolist() == values([held[-1]])[:, 1:7].tolist()
    assert {e.fast for e in held} == {before.fast}
    assert {e.mood for e in held} == {before.mood}
    assert {e.whole for e in held} == {None}
    # Two of three seconds decide on leaving, half of them on returning.
    assert 13.0 < held[0].t <= 15.0 + hop_s
    assert 21.0 < after.t <= 22.5 + hop_s
    # The same piece goes on.
    assert after.state is State.TRACKING


def test_a_short_interjection_changes_nothing(sound_engine: Engine) -> None:
    estimates = analyze(sound_engine, ("music", 11.0), ("speech", 1.5), ("music", 6.0))
    assert states(estimates) == ["settling", "tracking"]


def test_a_mixture_is_tracked(sound_engine: Engine) -> None:
    mixture = tones([("music", 16.0)]) + tones([("speech", 16.0)])
    made = make_pipeline(sound_engine)
    assert states(made.feed(mixture)) == ["settling", "tracking"]


def test_before_any_music_there_is_no_mood(sound_engine: Engine) -> None:
    estimates = analyze(sound_engine, ("", 2.0), ("speech", 6.0), ("noise", 6.0), ("music", 6.0))
    first = next(e for e in estimates if e.mood is not None)
    assert first.state in (State.SETTLING, State.TRACKING)
    before = estimates[: first.seq]
    assert states([e for e in before if e.state is not State.SETTLING]) == [
        "silence", "speech", "noise",
    ]  # fmt: skip
    prior = sound_engine.info.prior["valence"].mean
    assert {e.valence for e in before} == {prior}
    assert all(e.mood is not None for e in estimates[first.seq :])
    assert before[0].to_dict()["mood"] is None
    assert Estimate.from_dict(before[0].to_dict()).mood is None


def test_speech_changes_to_noise_directly(sound_engine: Engine) -> None:
    estimates = analyze(sound_engine, ("music", 11.0), ("speech", 6.0), ("noise", 6.0))
    assert states(estimates) == ["settling", "tracking", "speech", "noise"]


def test_silence_comes_before_speech_and_a_pause_begins_a_new_piece(sound_engine: Engine) -> None:
    estimates = analyze(sound_engine, ("music", 11.0), ("speech", 6.0), ("", 4.0), ("music", 4.0))
    assert states(estimates) == ["settling", "tracking", "speech", "silence", "settling"]


@pytest.mark.parametrize("size", [333, 4410, 16_001])
def test_block_sizes_do_not_change_states(sound_engine: Engine, size: int) -> None:
    parts = (("music", 6.0), ("speech", 5.0), ("music", 4.0), ("noise", 5.0))
    expected = analyze(sound_engine, *parts, size=1600)
    other = analyze(sound_engine, *parts, size=size)
    assert [e.state for e in other] == [e.state for e in expected]
    assert "speech" in states(expected)
    assert "noise" in states(expected)
    np.testing.assert_allclose(values(other), values(expected), atol=2e-5)


def test_streams_in_a_batch_have_states_of_their_own(sound_engine: Engine) -> None:
    signals = [tones([("music", 6.0), (second, 6.0)]) for second in ("music", "speech", "noise")]
    pipelines = [make_pipeline(sound_engine) for _ in signals]
    found = run_batch(
        sound_engine,
        (made.feed_requests(s) for made, s in zip(pipelines, signals, strict=True)),
    )
    for estimates, expected in zip(found, ("tracking", "speech", "noise"), strict=True):
        assert isinstance(estimates, list)
        assert estimates[-1].state == expected


def test_a_model_without_a_sound_output_takes_everything_for_music(fast_engine: Engine) -> None:
    estimates = analyze(fast_engine, ("music", 6.0), ("speech", 6.0), ("noise", 6.0))
    assert states(estimates) == ["settling", "tracking"]


@pytest.mark.parametrize("hz", [0.0, 50.0, 60.0])
def test_hum_and_an_offset_are_silence(engine: Engine, hz: float) -> None:
    time_s = np.arange(5 * RATE_HZ) / RATE_HZ
    hum = 0.014 * np.cos(2 * np.pi * hz * time_s)  # -40 dBFS
    estimates = make_pipeline(engine).feed(hum.astype(np.float32))
    assert states(estimates) == ["silence"]
    # The first tick of an offset rises from nothing in the resampler's filter at other rates.
    assert estimates[-1].level_db < -75.0


def test_anti_phase_stereo_is_music(sound_engine: Engine) -> None:
    left = tones([("music", 8.0)])
    made = Pipeline(sound_engine, sample_rate_hz=RATE_HZ, channels=2, config=PipelineConfig())
    estimates = made.feed(np.concatenate([left, -left], axis=1))
    assert states(estimates) == ["silence", "settling"]
    assert estimates[-1].level_db == pytest.approx(20 * np.log10(0.2 / np.sqrt(2)), abs=0.5)
