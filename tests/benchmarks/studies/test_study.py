"""The shared parts of the studies."""

from __future__ import annotations

import importlib

import numpy as np


def test_songs_up_to_1000_belong_to_the_first_campaign() -> None:
    study = importlib.import_module("study")
    songs = np.array(["deam/2", "deam/1000", "deam/1001", "deam/2058"])
    assert study.of_2013(songs).tolist() == [True, True, False, False]
    assert study.of_2013(songs[:0]).shape == (0,)
