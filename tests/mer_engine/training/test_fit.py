"""Fits of the head and the encoder: learning, seeds and missing labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from mer_engine.network import EmotionNetwork, NetworkConfig, RegressionHead
from mer_engine.training.fit import TrainingSet, fit_encoder, fit_head, scale_peaks
from mer_engine.training.predict import predict, score_values, window_statistics
from mer_engine.training.settings import FitSettings
from mer_engine.training.spectral_augmentation import SpectralAugmentation

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
SETTINGS = FitSettings(steps=3, batch=8, averaging=0.5)
UNCHANGED = SpectralAugmentation(gain_db=0, tilt_db=0, wave_db=0, noise_share=0, mix_share=0)


def new_head() -> RegressionHead:
    torch.manual_seed(0)
    return RegressionHead(SMALL)


def training_set(count: int = 32, versions: int = 1, seed: int = 0) -> TrainingSet:
    """Return clips with valence and arousal in two channels; static labels are half of both."""
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.uniform(-0.6, 0.6, (count, 1, 2)), 20, axis=1).astype(np.float32)
    steps = 0.3 * rng.normal(size=(versions, count, 20, SMALL.embedding))
    steps[..., :2] += 2 * values
    steps[..., SMALL.channels : SMALL.channels + 2] += 2 * values
    unknown = np.full((count, 4), np.nan, np.float32)
    static = (values[:, 0] / 2).astype(np.float32)
    return TrainingSet(steps.astype(np.float16), values, static, unknown, np.ones(count))


def values_of(fitted: RegressionHead, examples: TrainingSet) -> np.ndarray:
    return np.asarray(predict(fitted, examples.steps[0]) @ SMALL.bin_centres().numpy())


def test_the_head_learns_labels_over_time_and_static_labels() -> None:
    labelled, other = training_set(64), training_set(32, seed=1)
    settings = FitSettings(steps=60, batch=32, learning_rate=5e-3, averaging=0.9)
    predicted = values_of(fit_head(new_head(), labelled, None, settings, seed=0), other)
    for fit in score_values(predicted[:, :, :2], other.values):
        assert fit.r2 > 0.6
    for column in (0, 1):
        truth = other.static[:, column]
        assert np.corrcoef(predicted[:, -1, 2 + column], truth)[0, 1] > 0.8
        assert predicted[:, -1, 2 + column].std() < 0.8 * predicted[:, -1, column].std()


def test_the_head_learns_from_teacher_targets_without_labels() -> None:
    labelled, music = training_set(16), training_set(64, seed=1)
    truth = np.concatenate([music.values[:, -1], music.static], axis=1)
    no_labels = np.full_like(music.values, np.nan)
    unlabelled = TrainingSet(music.steps, no_labels, no_labels[:, 0], truth, music.weights)
    # The labelled clips have no known label at all.
    unknown = np.full_like(labelled.values, np.nan)
    empty = replace(labelled, values=unknown, static=unknown[:, 0])
    settings = FitSettings(steps=60, batch=32, learning_rate=5e-3, averaging=0.9)
    predicted = values_of(fit_head(new_head(), empty, unlabelled, settings, seed=0), music)
    for fit in score_values(predicted[:, :, :2], music.values):
        assert fit.r2 > 0.6


def test_a_seed_fixes_the_result_and_the_start_is_not_changed() -> None:
    labelled, start = training_set(versions=2), new_head()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    one, two, other = (
        predict(fit_head(start, labelled, None, SETTINGS, seed), labelled.steps[0])
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-6
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


def test_all_versions_are_used() -> None:
    labelled = training_set(versions=2)
    labelled.steps[1] = 0
    clean = replace(labelled, steps=labelled.steps[:1])
    both, one = (fit_head(new_head(), some, None, SETTINGS, 0) for some in (labelled, clean))
    assert not torch.equal(both.scores, one.scores)


def test_statistics_are_normalised_only_on_request() -> None:
    labelled = training_set()
    fitted = fit_head(new_head(), labelled, None, SETTINGS, 0)
    rows = np.concatenate(
        [window_statistics(fitted, labelled.steps[0], last) for last in (10, 15, 20)]
    )
    np.testing.assert_allclose(fitted.statistic_mean, rows.mean(0), atol=1e-4)
    np.testing.assert_allclose(fitted.statistic_std, rows.std(0, ddof=1) + 1e-3, atol=1e-4)
    quieter = replace(labelled, steps=(labelled.steps / 2).astype(np.float16))
    again = fit_head(fitted, quieter, None, SETTINGS, 0, normalise=False)
    assert torch.equal(again.statistic_mean, fitted.statistic_mean)
    assert not torch.equal(again.first.weight, fitted.first.weight)
    assert not again.training


def test_loss_weights_select_the_targets() -> None:
    labelled = training_set()
    labelled.teacher_targets[:] = -0.5
    disabled = replace(SETTINGS, label_weight=0.0, teacher_weight=0.0, weight_decay=0.0)
    start = new_head()
    same = fit_head(start, labelled, None, disabled, 0)
    assert torch.equal(same.scores, start.scores)
    teacher_only = FitSettings(
        steps=60, batch=32, learning_rate=5e-3, averaging=0.9, label_weight=0.0
    )
    predicted = values_of(fit_head(start, labelled, None, teacher_only, 0), labelled)
    np.testing.assert_allclose(predicted[:, 9:], -0.5, atol=0.1)


def test_clips_of_small_weight_are_drawn_rarely() -> None:
    labelled = training_set(64)
    labelled.steps[:] = 0  # all clips look the same
    labelled.static[:] = np.nan
    labelled.values[:32], labelled.values[32:] = 0.4, -0.4
    settings = FitSettings(steps=80, batch=32, learning_rate=5e-3, averaging=0.9)
    for weight, expected in ((1.0, 0.0), (0.05, 0.36)):
        weights = np.repeat([1.0, weight], 32)
        weighted = replace(labelled, weights=weights)
        predicted = values_of(fit_head(new_head(), weighted, None, settings, seed=0), weighted)
        np.testing.assert_allclose(predicted[:, 9:, :2], expected, atol=0.1)


def test_clips_without_labels_leave_the_weights_finite() -> None:
    labelled = training_set()
    labelled.values[::2] = np.nan
    labelled.values[1, 12:] = np.nan
    labelled.static[:] = np.nan
    fitted = fit_head(new_head(), labelled, None, SETTINGS, seed=0)
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())
    labelled.values[:] = np.nan
    fitted = fit_head(new_head(), labelled, None, SETTINGS, seed=0)
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())


def test_progress_is_reported() -> None:
    predicted: list[tuple[int, float]] = []
    settings = FitSettings(steps=102, batch=2)
    fit_head(new_head(), training_set(4), None, settings, 0, lambda *step: predicted.append(step))
    assert [step for step, _ in predicted] == [100, 102]
    assert all(np.isfinite(loss) for _, loss in predicted)


def test_an_encoder_learns_from_scratch() -> None:
    rng = np.random.default_rng(0)
    level = np.linspace(-0.6, 0.6, 16)
    sound = 2 + 1.5 * level[:, None, None] + 0.2 * rng.normal(size=(16, 640, 109))
    frames = np.maximum(sound, 0).astype(np.float16)
    values = np.repeat(np.stack([-level, level], 1)[:, None], 20, axis=1).astype(np.float32)
    values[0, 15:] = np.nan

    def fit(epochs: int) -> tuple[EmotionNetwork, list[float]]:
        torch.manual_seed(0)
        network = EmotionNetwork(SMALL)
        losses: list[float] = []
        settings = FitSettings(learning_rate=5e-3)
        fit_encoder(
            network, frames, values, epochs, settings, UNCHANGED, 0,
            lambda _, loss: losses.append(loss),
        )  # fmt: skip
        return network, losses

    network, losses = fit(12)
    assert not network.training
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0]
    # A seed fixes the result.
    one, two = (fit(1)[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    first = "encoder.front.0.convolve.weight"
    assert not torch.equal(one[first], network.state_dict()[first])


@torch.inference_mode()
def test_augmented_peaks_keep_their_ratio_to_the_power() -> None:
    power = torch.rand(2, 640, 12) * 100
    peak = 5 * power.mean(2, keepdim=True)
    frames = torch.log10(1 + torch.cat([power, peak], dim=2))
    gain = torch.tensor([0.1, 20.0]).view(2, 1, 1)
    augmented = torch.log10(1 + gain * power)
    found = torch.pow(10.0, scale_peaks(frames, augmented)) - 1
    assert torch.allclose(found, gain * peak, rtol=1e-3)
    assert torch.isfinite(scale_peaks(torch.zeros(1, 9, 13), torch.zeros(1, 9, 12))).all()
