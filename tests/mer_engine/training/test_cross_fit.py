"""Teacher targets of labelled and unlabelled clips, and the regressor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mer_engine.network import NetworkConfig, RegressionHead
from mer_engine.training import cross_fit as cross_fit_module
from mer_engine.training.cross_fit import cross_fit, teacher_targets
from mer_engine.training.examples import Labels
from mer_engine.training.predict import predict
from mer_engine.training.settings import FitSettings
from numpy.typing import NDArray

SMALL = NetworkConfig(
    timbral=((5, 38, 3),),
    temporal=((9, 2),),
    residual_filters=2,
    hidden=4,
    heads=2,
    width=8,
    statistics=8,
    bins=21,
)
QUICK = FitSettings(steps=3, batch=8)
Steps = NDArray[np.float16]


def new_head() -> RegressionHead:
    torch.manual_seed(0)
    return RegressionHead(SMALL)


def clips(count: int, seed: int = 0) -> tuple[Steps, Labels]:
    """Return clips with valence and arousal in their first channels; two clips per song."""
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.uniform(-0.6, 0.6, (count, 1, 2)), 20, axis=1).astype(np.float32)
    steps = 0.3 * rng.normal(size=(count, 20, SMALL.embedding))
    for part in (0, SMALL.channels):
        steps[:, :, part : part + 6 : 2] += 3 * values[:, :, :1]
        steps[:, :, part + 1 : part + 6 : 2] += 3 * values[:, :, 1:]
    songs = np.array([f"csv/{n // 2}" for n in range(count)])
    static = (values[:, 0] / 2).astype(np.float32)
    return steps.astype(np.float16), Labels(values, static, songs, songs, np.zeros(count, bool))


def test_teacher_targets_are_close_to_the_labels() -> None:
    steps, labels = clips(60)
    other, hidden = clips(20, seed=1)
    result = teacher_targets(new_head(), steps[None], labels, other)
    predictions = result.labelled
    assert predictions.shape == (60, 4)
    assert result.unlabelled.shape == (20, 4)
    assert result.predicted.all()
    for targets, truth in ((predictions, labels), (result.unlabelled, hidden)):
        wanted = np.column_stack([truth.values[:, -1], truth.static])
        for column in range(4):
            assert np.corrcoef(targets[:, column], wanted[:, column])[0, 1] > 0.8
    # Each song is predicted from the others, so its own labels only affect their targets.
    labels.values[0] += 0.2
    labels.values[1] -= 0.2
    changed = teacher_targets(new_head(), steps[None], labels, other).labelled
    np.testing.assert_allclose(changed[:2], predictions[:2], atol=1e-5)
    assert np.abs(changed[2:] - predictions[2:]).max() > 1e-4


def test_targets_without_labels_are_unknown() -> None:
    steps, labels = clips(40)
    labels.values[:4, 19] = np.nan
    labels.values[4:6, 19, 0] = np.nan
    labels.static[:] = np.nan
    other, _ = clips(5, seed=1)
    result = teacher_targets(new_head(), steps[None], labels, other)
    assert np.isnan(result.labelled[:4, :2]).all()
    assert np.isnan(result.labelled[4:6, 0]).all()
    assert np.isfinite(result.labelled[4:, 1]).all()
    assert np.isfinite(result.labelled[6:, 0]).all()
    assert np.isnan(result.labelled[:, 2:]).all()
    assert np.isfinite(result.unlabelled[:, :2]).all()
    assert np.isnan(result.unlabelled[:, 2:]).all()
    assert result.predicted.tolist() == [True, True, False, False]
    assert result.regressor is not None
    few = teacher_targets(new_head(), steps[None, :8], labels.select(np.arange(8)), other)
    assert np.isnan(few.labelled).all()
    assert np.isnan(few.unlabelled).all()
    assert few.regressor is None
    none = teacher_targets(new_head(), steps[None], labels, other[:0])
    assert none.unlabelled.shape == (0, 4)
    np.testing.assert_array_equal(none.labelled, result.labelled)


@torch.inference_mode()
def test_the_regressor_approximates_the_teacher_on_new_songs() -> None:
    steps, labels = clips(120)
    other, hidden = clips(40, seed=1)
    result = teacher_targets(new_head(), steps[None], labels, other)
    assert result.regressor is not None
    assert result.regressor.count == 120
    window = torch.from_numpy(other.astype(np.float32))
    for last, tolerance in ((20, 0.1), (10, 0.15)):
        predictions = result.regressor(new_head().statistics(window[:, :last])).numpy()
        # Its support windows are whole clips only, so it is not exactly the teacher.
        assert np.abs(predictions - result.unlabelled).mean() < tolerance * result.unlabelled.std()
        assert np.corrcoef(predictions[:, 0], hidden.values[:, -1, 0])[0, 1] > 0.8


@torch.inference_mode()
def test_the_regressor_predicts_windows_that_begin_within_a_clip() -> None:
    def with_onset(steps: Steps) -> Steps:
        """Make some channels loud at the start, like an onset after silence."""
        loud = steps.copy()
        loud[:, :2, 8 : SMALL.channels] = 12
        return loud

    steps, labels = clips(120)
    other, hidden = clips(60, seed=1)
    regressor = teacher_targets(new_head(), with_onset(steps)[None], labels, other[:0]).regressor
    assert regressor is not None
    window = torch.from_numpy(with_onset(other).astype(np.float32))
    for first, last in ((0, 20), (0, 8), (4, 20), (10, 20), (13, 19)):
        predictions = regressor(new_head().statistics(window[:, first:last])).numpy()
        truth = hidden.values[:, last - 1]
        for column in (0, 1):
            error = np.square(predictions[:, column] - truth[:, column]).mean()
            assert error < 0.35 * truth[:, column].var(), (first, last)


@torch.inference_mode()
def test_the_regressor_learns_from_augmented_clips() -> None:
    steps, labels = clips(80)
    # The augmentation adds two to the first six channels of every clip.
    augmented = steps.copy()
    for part in (0, SMALL.channels):
        augmented[:, :, part : part + 6] += 2
    other, hidden = clips(40, seed=1)
    moved = other.copy()
    for part in (0, SMALL.channels):
        moved[:, :, part : part + 6] += 2
    window = new_head().statistics(torch.from_numpy(moved.astype(np.float32)))
    errors = []
    for known in (steps[None], np.stack([steps, augmented])):
        regressor = teacher_targets(new_head(), known, labels, other[:0]).regressor
        assert regressor is not None
        errors.append(np.abs(regressor(window)[:, :2].numpy() - hidden.values[:, -1]).mean())
    assert errors[1] < 0.7 * errors[0]


@torch.inference_mode()
def test_auxiliary_clips_are_weighted_and_not_in_the_support() -> None:
    """Auxiliary clips differ in one channel, and their labels are 0.5 higher."""
    steps, labels = clips(120)
    kind = np.zeros(120, bool)
    kind[60:] = True
    steps[kind, :, 8:10] += 6
    labels.values[kind] += 0.5
    other, hidden = clips(40, seed=1)
    other[:, :, 8:10] += 6
    window = new_head().statistics(torch.from_numpy(other.astype(np.float32)))

    def error(known: NDArray[np.int64], auxiliary: NDArray[np.bool_]) -> float:
        chosen = replace(labels.select(known), auxiliary=auxiliary[known])
        regressor = teacher_targets(
            new_head(), steps[None, known], chosen, other[:0], 1.0, 0.2
        ).regressor
        assert regressor is not None
        assert regressor.count == (~chosen.auxiliary).sum()
        return float(np.abs(regressor(window)[:, :2].numpy() - (hidden.values[:, -1] + 0.5)).mean())

    without = error(np.arange(60), kind)
    weighted = error(np.arange(120), kind)
    equal = error(np.arange(120), np.zeros(120, bool))
    assert equal < 0.8 * weighted < 0.6 * without
    # Scales and axes come from the primary clips.
    both = teacher_targets(
        new_head(), steps[None], replace(labels, auxiliary=kind), other[:0]
    ).regressor
    alone = teacher_targets(
        new_head(), steps[None, :60], labels.select(np.arange(60)), other[:0]
    ).regressor
    assert both is not None
    assert alone is not None
    torch.testing.assert_close(both.mean, alone.mean)
    torch.testing.assert_close(both.axes, alone.axes)


def test_a_regressor_is_attached_on_request() -> None:
    steps, labels = clips(30)
    no_clips = np.zeros((1, 0, *steps.shape[1:]), np.float16)
    attached = cross_fit(new_head(), steps[None], labels, no_clips, QUICK, seed=0)
    assert attached.config.regressor_windows == 30
    settings = replace(QUICK, regressor=False)
    plain = cross_fit(new_head(), steps[None], labels, no_clips, settings, seed=0)
    assert plain.regressor is None
    # Apart from the regressor, both heads are equal.
    for (name, a), b in zip(
        plain.state_dict().items(), attached.state_dict().values(), strict=False
    ):
        if name != "regressor_spread":
            assert torch.equal(a, b), name
    assert np.abs(predict(attached, steps) - predict(plain, steps)).max() > 0.01


def test_too_many_windows_are_thinned_by_whole_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, labels = clips(60)
    other, _ = clips(10, seed=1)
    monkeypatch.setattr(cross_fit_module, "MAX_WINDOWS", 40)
    result = teacher_targets(new_head(), steps[None], labels, other)
    assert result.regressor is not None
    assert result.regressor.count == 40  # twenty songs of two clips each
    assert np.isfinite(result.labelled).all()
    assert np.isfinite(result.unlabelled).all()


def test_a_head_learns_from_teacher_targets_of_unlabelled_clips() -> None:
    steps, labels = clips(24)
    other, _ = clips(40, seed=1)
    without = replace(QUICK, unlabelled_weight=0.0)
    with_clips, no_music, no_weight = (
        cross_fit(new_head(), steps[None], labels, clips_given[None], settings, seed=0)
        for clips_given, settings in ((other, QUICK), (other[:0], QUICK), (other, without))
    )
    used, absent, ignored = (predict(head, other) for head in (with_clips, no_music, no_weight))
    assert used.shape == (40, 20, 4, 21)
    assert np.isfinite(used).all()
    assert np.abs(used - absent).max() > 1e-4
    np.testing.assert_array_equal(ignored, absent)
    again = cross_fit(new_head(), steps[None], labels, other[None], QUICK, seed=0)
    np.testing.assert_array_equal(predict(again, other), used)


def test_teacher_targets_can_be_disabled() -> None:
    steps, labels = clips(24)
    no_clips = np.zeros((1, 0, *steps.shape[1:]), np.float16)
    settings = replace(QUICK, teacher_weight=0.0, unlabelled_weight=0.0)
    disabled = cross_fit(new_head(), steps[None], labels, no_clips, settings, seed=0)
    usual = cross_fit(new_head(), steps[None], labels, no_clips, QUICK, seed=0)
    assert np.abs(predict(disabled, steps) - predict(usual, steps)).max() > 1e-4
