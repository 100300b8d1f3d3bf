"""Of clear music few steps are classified, and the others follow from these."""

import numpy as np
import pytest
from mer_engine.sparse_sounds import estimate_logits, log_odds, undecided
from numpy.typing import NDArray

MUSIC, SPEECH, VAGUE = (8.0, -6.0, -4.0), (-5.0, 7.0, -2.0), (1.0, 0.0, -1.0)


class Classifier:
    """Knows the logits of all steps, float32 [B, k, 3], and notes which it is asked for."""

    def __init__(self, streams: list[list[tuple[float, float, float]]]) -> None:
        self.logits = np.array(streams, dtype=np.float32)
        self.asked = np.zeros(self.logits.shape[:2], dtype=int)

    def __call__(self, wanted: NDArray[np.bool_]) -> NDArray[np.float32]:
        self.asked += wanted
        return self.logits[wanted]


def before(*steps: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array([[step] for step in steps], dtype=np.float32)


def test_between_clear_music_the_logits_are_interpolated() -> None:
    classify = Classifier([[SPEECH, (10.0, -8.0, -4.0)]])
    logits, classified = estimate_logits(before(MUSIC), 2, classify)
    assert classified.tolist() == [[False, True]]
    np.testing.assert_allclose(logits[0], [(9.0, -7.0, -4.0), (10.0, -8.0, -4.0)])


@pytest.mark.parametrize("ends", [(SPEECH, MUSIC), (MUSIC, SPEECH), (VAGUE, VAGUE)])
def test_where_an_end_is_not_clear_all_steps_are_classified(
    ends: tuple[tuple[float, float, float], tuple[float, float, float]],
) -> None:
    classify = Classifier([[VAGUE, ends[1]]])
    logits, classified = estimate_logits(before(ends[0]), 2, classify)
    assert classified.all()
    assert classify.asked.tolist() == [[1, 1]]
    np.testing.assert_array_equal(logits, classify.logits)


def test_each_stream_of_a_batch_is_decided_alone() -> None:
    streams = [[MUSIC, MUSIC], [VAGUE, MUSIC], [MUSIC, SPEECH]]
    classify = Classifier(streams)
    logits, classified = estimate_logits(before(MUSIC, SPEECH, MUSIC), 2, classify)
    assert classified.tolist() == [[False, True], [True, True], [True, True]]
    np.testing.assert_allclose(logits, classify.logits)


def test_of_a_long_burst_every_fourth_step_is_classified() -> None:
    classify = Classifier([[MUSIC] * 11])
    estimate_logits(before(MUSIC), 11, classify)
    assert np.flatnonzero(classify.asked[0]).tolist() == [2, 6, 10]
    # Without a step before, the first one is an end as well.
    classify = Classifier([[MUSIC] * 11])
    estimate_logits(before(MUSIC)[:, :0], 11, classify)
    assert np.flatnonzero(classify.asked[0]).tolist() == [0, 2, 6, 10]


@pytest.mark.parametrize("known", [0, 1])
def test_a_single_step_is_classified(known: int) -> None:
    classify = Classifier([[SPEECH]])
    logits, classified = estimate_logits(before(MUSIC)[:, :known], 1, classify)
    assert classified.all()
    np.testing.assert_array_equal(logits, classify.logits)


def test_a_window_is_decided_by_the_mean_of_its_newest_six_steps() -> None:
    windows = np.array([[SPEECH] * 5 + [MUSIC] * 6, [SPEECH] * 2 + [MUSIC] * 9], np.float32)
    windows[0, -3:] = SPEECH
    assert undecided(windows).tolist() == [True, False]
    assert undecided(windows[:, :4]).tolist() == [True, True]


def test_numbers_that_are_not_finite_are_not_clear() -> None:
    nothing = np.full((1, 2, 3), np.nan, np.float32)
    assert np.isnan(log_odds(nothing)).all()
    assert undecided(nothing).all()
