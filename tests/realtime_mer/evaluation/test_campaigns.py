"""DEAM's campaigns by song number."""

from __future__ import annotations

import numpy as np

from realtime_mer.evaluation.campaigns import of_2013


def test_songs_up_to_1000_belong_to_the_first_campaign() -> None:
    songs = np.array(["deam/2", "deam/1000", "deam/1001", "deam/2058"])
    assert of_2013(songs).tolist() == [True, True, False, False]
    assert of_2013(songs[:0]).shape == (0,)
