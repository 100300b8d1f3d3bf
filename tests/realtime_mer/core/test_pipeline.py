"""Live equals offline, and the states of estimates."""

import math
from pathlib import Path

import numpy as np
import pytest
from fast_support import write_small_model
from mer_engine import Engine, load_engine
from support import FaultyEngine, ManualClock, blocks, music, values

from realtime_mer.core.config import PipelineConfig, Range
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import BadSamplesError, UserError
from realtime_mer.evaluation.predictions import UngatedEngine

RATE_HZ = 44_100
TOLERANCE = 1e-5
# The kernel regressor sums 1,532 similarities with weights of both signs. In single precision the
# sum is off by up to 6e-6; in double precision the block sizes change it by 2e-8.
BLOCKS_TOLERANCE = 2e-5


def make_pipeline(engine: Engine, **options: object) -> Pipeline:
    config = PipelineConfig(**options)  # type: ignore[arg-type]
    return Pipeline(engine, sample_rate_hz=RATE_HZ, config=config, clock=ManualClock())


def analyze(pipeline: Pipeline, signal: np.ndarray, sizes: list[int]) -> list[Estimate]:
    estimates = [e for block in blocks(signal, sizes) for e in pipeline.feed(block)]
    return estimates + pipeline.finish()


def analyze_part(pipeline: Pipeline, signal: np.ndarray) -> list[Estimate]:
    return [e for block in blocks(signal, [4410]) for e in pipeline.feed(block)]


@pytest.mark.parametrize("hop_s", [0.1, 0.3, 0.5, 1.0])
def test_block_sizes_do_not_change_estimates(engine: Engine, hop_s: float) -> None:
    signal = music(13.0)
    reference = analyze(make_pipeline(engine, hop_s=hop_s), signal, [len(signal)])
    assert [e.seq for e in reference] == list(range(len(reference)))
    assert len(reference) == math.floor(13.0 / hop_s + 1e-9)
    rng = np.random.default_rng(1)
    random_sizes = [int(size) for size in rng.integers(1, 20_000, 50)]
    for sizes in ([441], [44_100], random_sizes):
        other = analyze(make_pipeline(engine, hop_s=hop_s), signal, sizes)
        np.testing.assert_allclose(values(other), values(reference), atol=BLOCKS_TOLERANCE)
        assert [e.state for e in other] == [e.state for e in reference]


def test_blocks_of_one_sample_do_not_change_estimates(engine: Engine) -> None:
    signal = music(2.0)
    reference = analyze(make_pipeline(engine, hop_s=0.5), signal, [len(signal)])
    single = analyze(make_pipeline(engine, hop_s=0.5), signal, [1])
    np.testing.assert_allclose(values(single), values(reference), atol=TOLERANCE)


def test_the_hop_does_not_change_the_estimate_of_a_moment(engine: Engine) -> None:
    signal = music(12.0)
    by_hop = {
        hop_s: {
            round(e.t, 1): e
            for e in analyze(make_pipeline(UngatedEngine(engine), hop_s=hop_s), signal, [4410])
        }
        for hop_s in (0.1, 0.2, 0.3, 0.5, 1.0)
    }
    # A tick of 0.1 s is not a whole number of frames; all hops use the same frames.
    finest = by_hop.pop(0.1)
    for estimates in by_hop.values():
        pairs = [(estimate, finest[t]) for t, estimate in estimates.items()]
        got, expected = (
            np.array([(e.valence, e.arousal, e.valence_low, e.valence_high) for e in some])
            for some in zip(*pairs, strict=True)
        )
        assert len(got) >= 12
        np.testing.assert_allclose(got, expected, atol=TOLERANCE)


def test_an_estimate_does_not_depend_on_later_audio(engine: Engine) -> None:
    signal = music(8.0)
    changed = signal.copy()
    changed[6 * RATE_HZ :] = music(2.0, seed=9)
    before = [e for e in analyze(make_pipeline(engine), signal, [4410]) if e.t <= 6.0]
    after = [e for e in analyze(make_pipeline(engine), changed, [4410]) if e.t <= 6.0]
    # The resampler's filter looks 5 ms ahead, which changes the estimate at 6.0 s slightly.
    np.testing.assert_allclose(values(after)[:5], values(before)[:5], atol=TOLERANCE)
    np.testing.assert_allclose(values(after)[5], values(before)[5], atol=2e-3)


def test_reset_starts_a_new_stream(engine: Engine) -> None:
    made = make_pipeline(engine, hop_s=0.5)
    first = analyze(made, music(4.3, seed=1), [1000])
    made.reset()
    again = analyze(made, music(4.3, seed=1), [777])
    np.testing.assert_allclose(values(again), values(first), atol=TOLERANCE)
    assert [e.seq for e in again] == [e.seq for e in first]


def test_streams_do_not_affect_each_other(engine: Engine) -> None:
    signals = [music(6.0, seed=seed) for seed in (1, 2, 3)]
    alone = [analyze(make_pipeline(engine, hop_s=0.5), signal, [4410]) for signal in signals]
    made = [make_pipeline(engine, hop_s=0.5) for _ in signals]
    together: list[list[Estimate]] = [[] for _ in signals]
    for parts in zip(*(blocks(signal, [4410]) for signal in signals), strict=True):
        for index, part in enumerate(parts):
            together[index] += made[index].feed(part)
    for index, estimates in enumerate(alone):
        together[index] += made[index].finish()
        np.testing.assert_allclose(values(together[index]), values(estimates), atol=TOLERANCE)


def test_stereo_equals_mono(engine: Engine) -> None:
    mono = analyze(make_pipeline(engine), music(11.0), [4410])[-1]
    stereo = Pipeline(engine, sample_rate_hz=RATE_HZ, channels=2)
    signal = np.repeat(music(11.0), 2, axis=1)
    last = (stereo.feed(signal) + stereo.finish())[-1]
    assert last.valence == pytest.approx(mono.valence, abs=TOLERANCE)


def test_settling_then_tracking(engine: Engine) -> None:
    estimates = analyze(make_pipeline(engine, hop_s=0.5, lag_order=6), music(5.0), [4410])
    states = [e.state for e in estimates]
    assert states == [State.SETTLING] * 5 + [State.TRACKING] * 5
    assert estimates[0].latency.window_s == 3.0
    widths = [e.valence_high - e.valence_low for e in estimates]
    assert all(width > 0 for width in widths)
    for e in estimates:
        assert -1 <= e.valence_low <= e.valence <= e.valence_high <= 1
        assert -1 <= e.arousal_low <= e.arousal <= e.arousal_high <= 1


def test_silence_repeats_the_last_values(engine: Engine) -> None:
    signal = np.concatenate([music(6.0), np.zeros((5 * RATE_HZ, 1), np.float32), music(4.0)])
    estimates = {
        round(e.t, 1): e for e in analyze(make_pipeline(engine, hop_s=0.5), signal, [4410])
    }
    assert estimates[6.0].state is State.SETTLING
    assert estimates[7.5].state is State.SILENCE
    assert estimates[11.0].state is State.SILENCE
    silent = [e for e in estimates.values() if e.state is State.SILENCE]
    assert {e.valence for e in silent} == {estimates[7.0].valence}
    # Half a second before the music, because a linear-phase filter rings before it.
    assert estimates[10.5].level_db == -120.0
    # After five seconds of silence a new piece starts with an empty window.
    assert estimates[12.0].state is State.SETTLING
    rest = analyze(make_pipeline(engine, hop_s=0.5), signal[11 * RATE_HZ :], [99])
    alone = {round(e.t, 1): e for e in rest}
    assert estimates[15.0].valence == pytest.approx(alone[4.0].valence, abs=2e-2)


def test_before_any_music_the_values_are_the_prior(engine: Engine) -> None:
    estimates = analyze(
        make_pipeline(engine, hop_s=0.5), np.zeros((RATE_HZ * 2, 1), np.float32), [441]
    )
    prior = engine.info.prior["valence"]
    assert {e.state for e in estimates} == {State.SILENCE}
    assert {(e.valence, e.valence_low, e.valence_high) for e in estimates} == {
        (prior.mean, prior.low, prior.high)
    }


def test_a_stream_shorter_than_its_hop_gives_one_estimate(engine: Engine) -> None:
    assert len(analyze(make_pipeline(engine), music(0.7), [441])) == 1
    assert analyze(make_pipeline(engine), music(0.3), [441]) == []


def test_a_short_loss_is_replaced_by_silence(engine: Engine) -> None:
    made = make_pipeline(engine)
    made.feed(music(3.0))
    estimates = made.skip(RATE_HZ // 10)
    estimates += made.feed(music(8.9))
    assert made.t == pytest.approx(11.9, abs=0.11)
    assert estimates[-1].state is State.TRACKING


def test_a_long_loss_empties_the_window(engine: Engine) -> None:
    made = make_pipeline(engine)
    before = made.feed(music(12.0))
    assert before[-1].state is State.TRACKING
    assert made.skip(60 * RATE_HZ + 10) == []
    after = made.feed(music(3.0))
    # The resampler still contained the last milliseconds before the loss: 12.0 s became 72.0 s.
    assert after[0].t == pytest.approx(72.0)
    assert [e.state for e in after] == [State.SETTLING] * len(after)
    assert after[0].seq == before[-1].seq + 1


@pytest.mark.parametrize("hop_s", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("before_s", [3.0, 4.7])
def test_frames_and_ticks_stay_aligned_after_a_loss(
    engine: Engine, hop_s: float, before_s: float
) -> None:
    rate = 16_000  # no resampling, so no audio from before the loss remains
    lost = 61 * rate + 4_321
    before = music(before_s, rate)
    after = music(8.0, rate, seed=3)
    plain = UngatedEngine(engine)
    made = Pipeline(plain, sample_rate_hz=rate, config=PipelineConfig(hop_s=hop_s))
    made.feed(before)
    broken = made.skip(lost)
    for block in blocks(after, [777]):
        broken += made.feed(block)
    # Reference: the same music after silence of that length, without a loss.
    start = len(before) + lost
    reference = Pipeline(plain, sample_rate_hz=rate, config=PipelineConfig(hop_s=hop_s))
    usual = {round(e.t, 1): e for e in reference.feed(np.zeros((start, 1), np.float32))}
    usual |= {round(e.t, 1): e for e in reference.feed(after)}
    sounding = [e for e in broken if e.state is not State.SILENCE]
    assert len(sounding) >= 7 / hop_s
    assert made.t == reference.t
    pairs = [(e, usual[round(e.t, 1)]) for e in sounding if e.t > start / rate + 0.6]
    assert [a.state for a, _ in pairs] == [b.state for _, b in pairs]
    got, expected = (values(some)[:, :3] for some in zip(*pairs, strict=True))
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    assert got[:, 1].std() > 1e-3


def test_only_latest_computes_only_the_newest_estimate(engine: Engine) -> None:
    signal = music(20.0)
    made = make_pipeline(engine, hop_s=0.5)
    late = made.feed(signal, only_latest=True)
    # The resampler still contains the last milliseconds, so the estimate at 20.0 s is not due.
    assert [round(e.t, 1) for e in late] == [19.5]
    assert made.skipped_updates == round(late[0].t / 0.5) - 1
    usual = {e.t: e for e in analyze(make_pipeline(engine, hop_s=0.5), signal, [4410])}
    assert late[0].valence == pytest.approx(usual[late[0].t].valence, abs=TOLERANCE)


def test_the_values_of_the_whole_piece_are_given_unless_silent(tmp_path: Path) -> None:
    engine = load_engine(write_small_model(tmp_path / "whole.onnx", whole=True))
    signal = np.concatenate([music(6.0), np.zeros((3 * RATE_HZ, 1), np.float32)])
    estimates = analyze(make_pipeline(engine, hop_s=0.5), signal, [4410])
    for e in estimates:
        assert (e.whole is None) == (e.state is State.SILENCE)
        assert e.whole is None or (abs(e.whole[0]) <= 1 and abs(e.whole[1]) <= 1)
    first, last = estimates[0].whole, estimates[11].whole
    assert first != last
    other = analyze(make_pipeline(engine, hop_s=0.5), signal, [4410])
    assert [e.whole for e in other] == [e.whole for e in estimates]


def test_repeat_last_repeats_the_values(engine: Engine) -> None:
    made = make_pipeline(engine)
    last = made.feed(music(4.2))[-1]
    stalled = made.repeat_last(State.STALLED)
    assert (stalled.valence, stalled.arousal_low) == (last.valence, last.arousal_low)
    assert stalled.state is State.STALLED
    assert stalled.seq == last.seq + 1
    assert last.level_db > -60.0
    assert stalled.level_db == -120.0


def test_after_a_long_loss_the_level_before_it_is_forgotten(engine: Engine) -> None:
    made = make_pipeline(engine)
    before = made.feed(music(3.9))[-1].level_db
    after = made.skip(10 * 44_100, only_latest=True) + made.feed(np.zeros(44_100, np.float32))
    # What was in the resampler, a few milliseconds, still counts.
    assert max(estimate.level_db for estimate in after) < before - 10.0


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e20, 32_767.0])
def test_a_bad_block_is_rejected_and_changes_nothing(engine: Engine, bad: float) -> None:
    signal = music(3.0)
    clean = analyze(make_pipeline(engine), signal, [4410])
    made = make_pipeline(engine)
    estimates: list[Estimate] = []
    for block in blocks(signal, [4410]):
        broken = block.copy()
        broken[5] = bad
        with pytest.raises(BadSamplesError):
            made.feed(broken)
        estimates += made.feed(block)
    np.testing.assert_allclose(values(estimates + made.finish()), values(clean), atol=TOLERANCE)


@pytest.mark.parametrize("hop_s", [0.3, 1.0])
@pytest.mark.parametrize(
    ("field", "value"),
    [("probabilities", np.nan), ("fast", np.inf), ("steps", np.nan), ("maps", -np.inf)],
)
def test_a_fault_of_the_engine_costs_one_estimate(
    engine: Engine, field: str, value: float, hop_s: float
) -> None:
    signal = music(6.0)
    clean = analyze(make_pipeline(engine, hop_s=hop_s), signal, [4410])
    counted = FaultyEngine(engine, field, ())
    first_part = signal[: 3 * RATE_HZ]
    before = len(analyze_part(make_pipeline(counted, hop_s=hop_s), first_part))
    made = make_pipeline(FaultyEngine(engine, field, {counted.calls}, value), hop_s=hop_s)
    estimates = analyze(made, signal, [4410])
    assert made.faulty_updates <= 1  # a step between two estimates is simply encoded again
    if made.faulty_updates:
        held, last = estimates.pop(before), clean.pop(before)
        assert (held.t, held.state) == (last.t, last.state)
        assert held.whole is None
        assert values([held])[0, 1:7].tolist() == values([estimates[before - 1]])[0, 1:7].tolist()
    np.testing.assert_allclose(values(estimates), values(clean), atol=BLOCKS_TOLERANCE)


def test_an_engine_that_stays_faulty_repeats_the_prior(engine: Engine) -> None:
    made = make_pipeline(FaultyEngine(engine, "maps", range(1000)))
    estimates = analyze(made, music(14.0), [44_100])
    assert made.faulty_updates == len(estimates) == 14
    prior = engine.info.prior["valence"]
    assert {(e.valence, e.valence_low) for e in estimates} == {(prior.mean, prior.low)}


def test_a_lag_order_above_the_maximum_is_an_error(engine: Engine) -> None:
    too_long = engine.info.lag_order_max + 1
    with pytest.raises(UserError, match=f"lag order is {too_long}"):
        make_pipeline(engine, lag_order=too_long)


def test_compute_time_and_utc_come_from_the_clock(engine: Engine) -> None:
    clock = ManualClock()
    made = Pipeline(engine, sample_rate_hz=RATE_HZ, clock=clock)
    (estimate,) = made.feed(music(1.1))
    assert estimate.latency.compute_ms == 0.0
    assert estimate.utc == "2026-01-02T03:04:05.000Z"


def scaled(estimates: list[Estimate]) -> np.ndarray:
    """Return the scaled values of the main and of the fast window: float64 [n, 12]."""
    rows = []
    for e in estimates:
        assert e.scaled is not None
        assert e.fast is not None
        assert e.fast.scaled is not None
        rows.append([*e.scaled.to_dict().values(), *e.fast.scaled.to_dict().values()])
    return np.array(rows)


@pytest.mark.parametrize("adapt", [False, True])
def test_the_range_changes_only_scaled_values_and_moods(
    music_engine: Engine, adapt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime_mer.core.value_range.ADAPT_AFTER_S", 3.0)
    signal = music(24.0)
    raw = analyze(make_pipeline(music_engine, value_range=Range.RAW), signal, [44_100])
    assert {(e.scaled, e.fast and e.fast.scaled) for e in raw} == {(None, None)}
    made = make_pipeline(music_engine, adapt=adapt)
    reference = analyze(made, signal, [len(signal)])
    np.testing.assert_allclose(values(reference), values(raw), atol=BLOCKS_TOLERANCE)
    got = scaled(reference)
    assert np.abs(got).max() <= 1.0
    assert np.abs(got[:, 0] - [e.valence for e in raw]).max() > 0.05
    still = scaled(analyze(make_pipeline(music_engine), signal, [len(signal)]))
    assert (np.abs(got - still).max() > 1e-4) == adapt
    # Live equals offline, and a reset forgets everything. The map is up to five times as steep.
    made.reset()
    again = analyze(made, signal, [4410, 123])
    np.testing.assert_allclose(scaled(again), got, atol=5 * BLOCKS_TOLERANCE)
    assert [e.mood for e in again] == [e.mood for e in reference]


def test_silence_keeps_the_mood_and_a_new_piece_chooses_its_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []
    made = make_pipeline(engine)
    start_piece = made._builder.start_piece

    def note_start() -> None:
        starts.append(made.t)
        start_piece()

    monkeypatch.setattr(made._builder, "start_piece", note_start)
    silence = np.zeros((4 * RATE_HZ, 1), np.float32)
    estimates = analyze(made, np.concatenate([music(5.0), silence, music(5.0, seed=4)]), [44_100])
    silent = [e.mood for e in estimates if e.state == State.SILENCE]
    assert len(silent) >= 3
    assert set(silent) == {estimates[4].mood}
    assert starts == pytest.approx([0.1, 9.1], abs=0.1)
