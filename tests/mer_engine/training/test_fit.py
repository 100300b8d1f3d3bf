"""Fits of the head: numbers, signs, offsets of scales, seeds and missing labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from mer_engine.network import RegressionHead
from mer_engine.training.examples import Labels
from mer_engine.training.fit import fit, fit_head
from mer_engine.training.predict import predict, window_statistics
from mer_engine.training.settings import FitSettings
from numpy.typing import NDArray
from training_support import CENTRES, labelled, new_head

SETTINGS = FitSettings(steps=3, batch=8, averaging=0.5, support=0)
LEARNING = FitSettings(steps=60, batch=32, learning_rate=5e-3, averaging=0.9, support=0)
Steps = NDArray[np.float16]


def values_of(head: RegressionHead, steps: Steps) -> np.ndarray:
    """Return the values of whole clips [n, 2]."""
    return np.asarray(predict(head, steps[0])[:, -1] @ CENTRES)


def r2(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(1 - ((truth - predicted) ** 2).mean(0) / truth.var(0))


def test_the_head_learns_numbers() -> None:
    (steps, labels), (others, truth) = labelled(64), labelled(32, 1)
    head = fit(new_head(), steps, labels, LEARNING, 0)
    assert head.regressor is None
    assert not head.training
    assert (r2(truth.values[:, -1], values_of(head, others)) > 0.6).all()


def test_the_head_learns_signs() -> None:
    (steps, labels), (others, truth) = labelled(96, signs=True), labelled(64, 1, signs=True)
    head, offsets = fit_head(new_head(), steps, labels, LEARNING, 0)
    assert offsets == {}
    right = np.sign(values_of(head, others)) == truth.signs
    assert (right.mean(0) > 0.8).all()


def test_the_offset_of_a_shifted_copy_is_learnt() -> None:
    steps, labels = labelled(64)
    _, shifted = labelled(64, collection="b", shift=(0.3, -0.2))
    both = np.concatenate([steps, steps], axis=1)
    settings = replace(LEARNING, steps=150)
    head, offsets = fit_head(new_head(), both, labels + shifted, settings, 0)
    np.testing.assert_allclose(offsets["b/"], [0.3, -0.2], atol=0.08)
    assert set(offsets) == {"b/"}
    # The values are on the scale of the first collection.
    bias = (values_of(head, steps) - labels.values[:, -1]).mean(0)
    np.testing.assert_allclose(bias, 0, atol=0.08)


def test_numbers_and_signs_teach_the_same_values() -> None:
    (steps, labels), (more, signs) = labelled(48), labelled(48, 1, collection="b", signs=True)
    both = np.concatenate([steps, more], axis=1)
    head = fit(new_head(), both, labels + signs, replace(LEARNING, support=60), 0)
    assert head.regressor is not None
    assert (head.regressor.count, head.regressor.collections) == (60, 2)
    assert head.config.regressor_windows == 60
    others, truth = labelled(32, 2)
    assert (r2(truth.values[:, -1], values_of(head, others)) > 0.5).all()


def test_a_seed_fixes_the_result_and_the_start_is_not_changed() -> None:
    steps, labels = labelled(versions=2)
    start = new_head()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    settings = replace(SETTINGS, support=10)
    one, two, other = (predict(fit(start, steps, labels, settings, s), steps[0]) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-6
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


def test_all_versions_are_used() -> None:
    steps, labels = labelled(versions=2)
    steps[1] = 0
    both, one = (fit(new_head(), some, labels, SETTINGS, 0) for some in (steps, steps[:1]))
    assert not torch.equal(both.scores, one.scores)


def test_statistics_are_normalised_only_on_request() -> None:
    steps, labels = labelled()
    fitted = fit(new_head(), steps, labels, SETTINGS, 0)
    rows = np.concatenate([window_statistics(fitted, steps[0], last) for last in (10, 15, 20)])
    np.testing.assert_allclose(fitted.statistic_mean, rows.mean(0), atol=1e-4)
    np.testing.assert_allclose(fitted.statistic_std, rows.std(0, ddof=1) + 1e-3, atol=1e-4)
    quieter = (steps / 2).astype(np.float16)
    again = fit(fitted, quieter, labels, SETTINGS, 0, normalise=False)
    assert torch.equal(again.statistic_mean, fitted.statistic_mean)
    assert not torch.equal(again.first.weight, fitted.first.weight)


def test_clips_of_small_weight_are_drawn_rarely() -> None:
    steps, labels = labelled(64)
    steps[:] = 0  # all clips look the same
    labels.values[:32], labels.values[32:] = 0.4, -0.4
    for weight, expected in ((1.0, 0.0), (0.05, 0.36)):
        weighted = replace(labels, weights=np.repeat([1.0, weight], 32))
        head = fit(new_head(), steps, weighted, replace(LEARNING, steps=80), 0)
        np.testing.assert_allclose(values_of(head, steps), expected, atol=0.1)


def test_clips_without_labels_leave_the_weights_finite() -> None:
    def finite(labels: Labels) -> bool:
        head = fit(new_head(), steps, labels, SETTINGS, 0)
        return all(bool(torch.isfinite(value).all()) for value in head.state_dict().values())

    steps, labels = labelled(shift=(0.1, 0.1))
    labels.values[::2] = np.nan
    labels.values[1, 12:] = np.nan
    assert finite(labels)
    labels.values[:] = np.nan
    assert finite(labels)


def test_progress_is_reported() -> None:
    reported: list[tuple[int, float]] = []
    settings = FitSettings(steps=102, batch=2)
    steps, labels = labelled(4)
    fit_head(new_head(), steps, labels, settings, 0, lambda *step: reported.append(step))
    assert [step for step, _ in reported] == [100, 102]
    assert all(np.isfinite(loss) for _, loss in reported)
