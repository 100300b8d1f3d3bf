"""The test part must not influence the scale, except in the paper's scaling."""

from __future__ import annotations

import numpy as np
from mer_research.paper.scaling import PAPER, TRAINING, scale

FEATURES = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0], [100.0, 7.0]], np.float32)
IN_TRAINING = np.array([True, True, True, False])


def test_z_scores_use_the_training_part_only() -> None:
    scaled = scale(FEATURES, IN_TRAINING, TRAINING)
    np.testing.assert_allclose(scaled[:3, 0], [-1.2247, 0, 1.2247], atol=1e-4)
    assert scaled[3, 0] == 6.0  # clipped
    assert (scaled[:, 1] == 0).all()  # constant in training
    other = FEATURES.copy()
    other[3] = -50
    np.testing.assert_array_equal(scale(other, IN_TRAINING, TRAINING)[:3], scaled[:3])


def test_the_papers_scaling_uses_all_data() -> None:
    scaled = scale(FEATURES, IN_TRAINING, PAPER)
    np.testing.assert_allclose(scaled[:, 0], [0, 0.02, 0.04, 1], atol=1e-6)
    np.testing.assert_allclose(scaled[:, 1], [0, 0, 0, 1], atol=1e-6)


def test_missing_values_become_the_middle_of_the_scale() -> None:
    features = FEATURES.copy()
    features[1, 0] = np.nan
    assert scale(features, IN_TRAINING, TRAINING)[1, 0] == 0
    assert scale(features, IN_TRAINING, PAPER)[1, 0] == 0.5
