"""The annotation campaigns of DEAM, by song number. Each campaign had different raters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAST_OF_2013, LAST_OF_2014, LAST_OF_2015 = 1000, 2000, 2058


def of_2013(songs: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return a mask [n] of the songs, each "deam/number", of the first campaign."""
    return np.array([int(song.split("/", 1)[1]) <= LAST_OF_2013 for song in songs.tolist()], bool)
