"""Fitting: it learns, a seed decides, missing labels do no harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mer_engine.network import EmotionNetwork, NetworkConfig, RegressionHead
from mer_engine.training.fit import (
    FitSettings,
    TrainingSet,
    _peaks,
    fit_encoder,
    fit_head,
    predict,
    score_values,
    statistics,
)
from mer_engine.training.spectral_augmentation import Augmentation

SMALL = NetworkConfig(
    band_stride=16,
    timbral=((5, 38, 4),),
    temporal=((9, 2),),
    residual_kernel=3,
    residual_filters=2,
    level_frames=0,
    hidden=8,
    heads=2,
    width=16,
    statistics=16,
    bins=21,
    dropout=0.0,
    input_dropout=0.0,
)
SETTINGS = FitSettings(steps=3, batch=8, average=0.5)
CALM = Augmentation(gain_db=0, tilt_db=0, wave_db=0, noise_share=0, mix_share=0)


def reader() -> RegressionHead:
    torch.manual_seed(0)
    return RegressionHead(SMALL)


def lessons(count: int = 32, versions: int = 1, seed: int = 0) -> TrainingSet:
    """Embeddings two of whose numbers are valence and arousal; whole songs have half of both."""
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.uniform(-0.6, 0.6, (count, 1, 2)), 20, axis=1).astype(np.float32)
    steps = 0.3 * rng.normal(size=(versions, count, 20, SMALL.embedding))
    steps[..., :2] += 2 * values
    steps[..., SMALL.channels : SMALL.channels + 2] += 2 * values
    nothing = np.full((count, 4), np.nan, np.float32)
    static = (values[:, 0] / 2).astype(np.float32)
    return TrainingSet(steps.astype(np.float16), values, static, nothing, np.ones(count))


def values_of(fitted: RegressionHead, given: TrainingSet) -> np.ndarray:
    return np.asarray(predict(fitted, given.steps[0]) @ SMALL.bin_centres().numpy())


def test_it_learns_moments_and_whole_songs() -> None:
    given, other = lessons(64), lessons(32, seed=1)
    settings = FitSettings(steps=60, batch=32, rate=5e-3, average=0.9)
    told = values_of(fit_head(reader(), given, None, settings, seed=0), other)
    for fit in score_values(told[:, :, :2], other.values):
        assert fit.r2 > 0.6
    for column in (0, 1):
        truth = other.static[:, column]
        assert np.corrcoef(told[:, -1, 2 + column], truth)[0, 1] > 0.8
        assert told[:, -1, 2 + column].std() < 0.8 * told[:, -1, column].std()


def test_it_learns_from_opinions_where_there_are_no_labels() -> None:
    labelled, music = lessons(16), lessons(64, seed=1)
    truth = np.concatenate([music.values[:, -1], music.static], axis=1)
    nothing = np.full_like(music.values, np.nan)
    more = TrainingSet(music.steps, nothing, nothing[:, 0], truth, music.weights)
    # The labels say nothing of these clips: no label is known at all.
    unknown = np.full_like(labelled.values, np.nan)
    empty = replace(labelled, values=unknown, static=unknown[:, 0])
    settings = FitSettings(steps=60, batch=32, rate=5e-3, average=0.9)
    told = values_of(fit_head(reader(), empty, more, settings, seed=0), music)
    for fit in score_values(told[:, :, :2], music.values):
        assert fit.r2 > 0.6


def test_the_seed_decides_and_the_start_stays() -> None:
    given, start = lessons(versions=2), reader()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    one, two, other = (
        predict(fit_head(start, given, None, SETTINGS, seed), given.steps[0]) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-6
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


def test_all_versions_are_heard() -> None:
    given = lessons(versions=2)
    given.steps[1] = 0
    clean = replace(given, steps=given.steps[:1])
    both, one = (fit_head(reader(), some, None, SETTINGS, 0) for some in (given, clean))
    assert not torch.equal(both.scores, one.scores)


def test_statistics_are_settled_once() -> None:
    given = lessons()
    fitted = fit_head(reader(), given, None, SETTINGS, 0)
    rows = np.concatenate([statistics(fitted, given.steps[0], last) for last in (10, 15, 20)])
    np.testing.assert_allclose(fitted.statistic_mean, rows.mean(0), atol=1e-4)
    np.testing.assert_allclose(fitted.statistic_std, rows.std(0, ddof=1) + 1e-3, atol=1e-4)
    quieter = replace(given, steps=(given.steps / 2).astype(np.float16))
    again = fit_head(fitted, quieter, None, SETTINGS, 0, settle=False)
    assert torch.equal(again.statistic_mean, fitted.statistic_mean)
    assert not torch.equal(again.first.weight, fitted.first.weight)
    assert not again.training


def test_weights_decide_what_is_learnt() -> None:
    given = lessons()
    given.opinion[:] = -0.5
    silent = replace(SETTINGS, label=0.0, opinion=0.0, decay=0.0)
    start = reader()
    same = fit_head(start, given, None, silent, 0)
    assert torch.equal(same.scores, start.scores)
    only = FitSettings(steps=60, batch=32, rate=5e-3, average=0.9, label=0.0)
    told = values_of(fit_head(start, given, None, only, 0), given)
    np.testing.assert_allclose(told[:, 9:], -0.5, atol=0.1)


def test_a_clip_of_little_weight_is_learnt_from_seldom() -> None:
    given = lessons(64)
    given.steps[:] = 0  # nothing tells the clips apart
    given.static[:] = np.nan
    given.values[:32], given.values[32:] = 0.4, -0.4
    settings = FitSettings(steps=80, batch=32, rate=5e-3, average=0.9)
    for weight, expected in ((1.0, 0.0), (0.05, 0.36)):
        weights = np.repeat([1.0, weight], 32)
        some = replace(given, weights=weights)
        told = values_of(fit_head(reader(), some, None, settings, seed=0), some)
        np.testing.assert_allclose(told[:, 9:, :2], expected, atol=0.1)


def test_clips_without_labels_leave_the_weights_finite() -> None:
    given = lessons()
    given.values[::2] = np.nan
    given.values[1, 12:] = np.nan
    given.static[:] = np.nan
    fitted = fit_head(reader(), given, None, SETTINGS, seed=0)
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())
    given.values[:] = np.nan
    fitted = fit_head(reader(), given, None, SETTINGS, seed=0)
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())


def test_progress_is_told() -> None:
    told: list[tuple[int, float]] = []
    settings = FitSettings(steps=102, batch=2)
    fit_head(reader(), lessons(4), None, settings, 0, lambda *step: told.append(step))
    assert [step for step, _ in told] == [100, 102]
    assert all(np.isfinite(loss) for _, loss in told)


def test_a_window_is_read_from_its_beginning() -> None:
    given = lessons(3)
    fitted = reader().eval()
    told = predict(fitted, given.steps[0])
    assert told.shape == (3, 20, 4, 21)
    np.testing.assert_allclose(told.sum(-1), 1, atol=1e-5)
    steps = torch.from_numpy(given.steps[0].astype(np.float32))
    with torch.inference_mode():
        seventh = torch.softmax(fitted(steps[:, :7]), dim=2)
    np.testing.assert_allclose(told[:, 6], seventh, atol=1e-6)


def test_an_encoder_from_nothing_learns_what_level_says() -> None:
    rng = np.random.default_rng(0)
    level = np.linspace(-0.6, 0.6, 16)
    sound = 2 + 1.5 * level[:, None, None] + 0.2 * rng.normal(size=(16, 640, 109))
    frames = np.maximum(sound, 0).astype(np.float16)
    values = np.repeat(np.stack([-level, level], 1)[:, None], 20, axis=1).astype(np.float32)
    values[0, 15:] = np.nan
    losses: list[float] = []
    outcomes = []
    for _ in range(2):
        torch.manual_seed(0)
        network = EmotionNetwork(SMALL)
        before = network.encoder.front[0].convolve.weight.clone()
        settings = FitSettings(rate=5e-3)
        losses.clear()
        fit_encoder(
            network, frames, values, 12, settings, CALM, 0, lambda _, loss: losses.append(loss)
        )
        outcomes.append(network.encoder.front[0].convolve.weight.detach())
    assert not torch.equal(outcomes[0], before)
    assert torch.equal(outcomes[0], outcomes[1])
    assert not network.training
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0]


@torch.inference_mode()
def test_a_varied_clip_is_as_dense_as_it_was() -> None:
    power = torch.rand(2, 640, 12) * 100
    peak = 5 * power.mean(2, keepdim=True)
    frames = torch.log10(1 + torch.cat([power, peak], dim=2))
    gain = torch.tensor([0.1, 20.0]).view(2, 1, 1)
    varied = torch.log10(1 + gain * power)
    found = torch.pow(10.0, _peaks(frames, varied)) - 1
    assert torch.allclose(found, gain * peak, rtol=1e-3)
    assert torch.isfinite(_peaks(torch.zeros(1, 9, 13), torch.zeros(1, 9, 12))).all()


def test_only_five_to_ten_seconds_are_scored_and_gaps_are_left_out() -> None:
    labels = np.random.default_rng(0).normal(size=(5, 20, 2)).astype(np.float32)
    values = labels.copy()
    values[:, :9] = 100
    labels[0, 15] = np.nan
    valence, arousal = score_values(values, labels)
    assert valence.r2 == pytest.approx(1)
    assert arousal.rmse == pytest.approx(0)
