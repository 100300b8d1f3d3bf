"""A small table of songs whose features predict their labels."""

from __future__ import annotations

import numpy as np
from mer_research.paper.step_table import SongSteps, StepTable

SONGS = {"train": range(20), "validation": range(20, 26), "test": range(26, 32)}
STEPS = 8


def make_table(steps: int = STEPS, columns: int = 6) -> StepTable:
    """Make songs of `steps` half seconds; columns 0 and 1 are noisy valence and arousal."""
    rng = np.random.default_rng(0)
    songs = []
    for number in range(32):
        labels = rng.uniform(-0.8, 0.8, (1, 2)) + 0.01 * np.arange(steps)[:, None]
        features = rng.standard_normal((steps, columns))
        features[:, :2] = labels + 0.05 * rng.standard_normal((steps, 2))
        songs.append(SongSteps(str(number), features.astype(np.float32), labels.astype(np.float32)))
    return StepTable(
        "synthetic",
        tuple(f"column {number}" for number in range(columns)),
        tuple(songs),
        {name: tuple(map(str, numbers)) for name, numbers in SONGS.items()},
        {"valence": (-1.0, 1.0), "arousal": (-1.0, 1.0)},
    )
