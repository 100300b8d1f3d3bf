"""Fitting: it learns, a seed decides, missing labels do no harm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.training.augment import Augmentation
from mer_engine.training.fit import (
    Examples,
    FitSettings,
    fit_network,
    predict,
    score,
    score_values,
    settle_norm,
)

SMALL = NetworkConfig(
    stride=5,
    band_stride=8,
    timbral=((5, 38, 4),),
    temporal=((9, 2),),
    residual_kernel=3,
    residual_filters=4,
    embedding=16,
    hidden=8,
    heads=2,
    width=16,
    bins=21,
    dropout=0.0,
)
SETTINGS = FitSettings(epochs=2, batch=8, versions=1, average=0.5)
CALM = Augmentation(gain_db=0, tilt_db=0, wave_db=0, noise_share=0, mix_share=0)


def loud_and_quiet(count: int = 16) -> Examples:
    """Clips whose arousal is their level and whose valence is the opposite."""
    rng = np.random.default_rng(0)
    level = np.linspace(-0.6, 0.6, count)
    frames = 2 + 1.5 * level[:, None, None] + 0.2 * rng.normal(size=(count, 500, 96))
    labels = np.repeat(np.stack([-level, level], 1)[:, None], 20, axis=1).astype(np.float32)
    return Examples(
        frames=np.maximum(frames, 0).astype(np.float16),
        labels=labels,
        static=labels[:, 0],
        other=np.full_like(labels, np.nan),
        taught=np.zeros((count, 0), np.float32),
    )


def network() -> EmotionNetwork:
    torch.manual_seed(0)
    return EmotionNetwork(SMALL)


@pytest.mark.parametrize("versions", [0, 2])
def test_it_learns_what_level_says(versions: int) -> None:
    examples, start = loud_and_quiet(), network()
    settle_norm(start, examples)
    settings = FitSettings(
        epochs=10, batch=8, versions=versions, encoder_rate=3e-3, rate=5e-3, average=0.8
    )
    fitted = fit_network(start, examples, settings, CALM, seed=0)
    valence, arousal = score(fitted, examples)
    assert valence.r2 > 0.5
    assert arousal.r2 > 0.5


def test_the_seed_decides() -> None:
    examples = loud_and_quiet(8)
    one, two, other = (
        predict(fit_network(network(), examples, SETTINGS, Augmentation(), seed), examples.frames)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-6


def test_kept_filters_stay_and_the_others_move() -> None:
    examples, start = loud_and_quiet(8), network()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    after = fit_network(start, examples, SETTINGS, CALM, seed=0).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("encoder.front") for name in moved)
    assert "encoder.transition.weight" in moved
    assert "reader.scores" in moved


def test_clips_without_labels_leave_the_weights_finite() -> None:
    examples = loud_and_quiet(8)
    examples.labels[::2] = np.nan
    examples.static[:] = np.nan
    fitted = fit_network(network(), examples, SETTINGS, Augmentation(), seed=0)
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())


def test_progress_and_other_lessons() -> None:
    examples = loud_and_quiet(8)
    rng = np.random.default_rng(0)
    taught = Examples(
        examples.frames,
        examples.labels,
        examples.static,
        examples.labels,
        rng.normal(size=(8, 5)).astype(np.float32),
    )
    told: list[tuple[int, float]] = []
    fit_network(
        network(), taught, SETTINGS, CALM, 0, lambda epoch, loss: told.append((epoch, loss))
    )
    assert [epoch for epoch, _ in told] == [1, 2]
    assert all(np.isfinite(loss) for _, loss in told)


def test_only_five_to_ten_seconds_are_scored_and_gaps_are_left_out() -> None:
    labels = np.random.default_rng(0).normal(size=(5, 20, 2)).astype(np.float32)
    values = labels.copy()
    values[:, :9] = 100
    labels[0, 15] = np.nan
    valence, arousal = score_values(values, labels)
    assert valence.r2 == pytest.approx(1)
    assert arousal.rmse == pytest.approx(0)
