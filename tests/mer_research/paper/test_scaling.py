"""What the test part holds must not show in the scale, unless the paper's way is asked for."""

from __future__ import annotations

import numpy as np
from mer_research.paper.scaling import PAPER, TRAINING, scale

FEATURES = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0], [100.0, 7.0]], np.float32)
LEARNT = np.array([True, True, True, False])


def test_z_scores_know_the_training_part_alone() -> None:
    scaled = scale(FEATURES, LEARNT, TRAINING)
    np.testing.assert_allclose(scaled[:3, 0], [-1.2247, 0, 1.2247], atol=1e-4)
    assert scaled[3, 0] == 6.0  # far out, cut off
    assert (scaled[:, 1] == 0).all()  # does not vary where it was learnt
    other = FEATURES.copy()
    other[3] = -50
    np.testing.assert_array_equal(scale(other, LEARNT, TRAINING)[:3], scaled[:3])


def test_the_papers_scale_runs_over_all_data() -> None:
    scaled = scale(FEATURES, LEARNT, PAPER)
    np.testing.assert_allclose(scaled[:, 0], [0, 0.02, 0.04, 1], atol=1e-6)
    np.testing.assert_allclose(scaled[:, 1], [0, 0, 0, 1], atol=1e-6)


def test_what_is_missing_is_in_the_middle() -> None:
    features = FEATURES.copy()
    features[1, 0] = np.nan
    assert scale(features, LEARNT, TRAINING)[1, 0] == 0
    assert scale(features, LEARNT, PAPER)[1, 0] == 0.5
