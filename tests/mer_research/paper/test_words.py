"""Similar half seconds are one word; the test part does not influence the words."""

from __future__ import annotations

import numpy as np
from mer_research.paper.step_table import SongSteps, StepTable
from mer_research.paper.words import WordSettings, word_vectors
from numpy.typing import NDArray

SETTINGS = WordSettings(words=2, width=3, epochs=1)


def sounds() -> tuple[StepTable, NDArray[np.bool_]]:
    """Make two songs in which two sounds alternate, and a third song with another sound."""
    one, two, three = np.zeros(4), np.full(4, 5.0), np.full(4, 50.0)
    features = [np.array([one, two] * 6), np.array([two, one] * 6), np.array([three] * 12)]
    labels = np.linspace(0, 1, 24, dtype=np.float32).reshape(12, 2)
    songs = tuple(
        SongSteps(str(n), part.astype(np.float32), labels) for n, part in enumerate(features)
    )
    splits = {"train": ("0", "1"), "validation": (), "test": ("2",)}
    ranges = {"valence": (0.0, 1.0), "arousal": (0.0, 1.0)}
    table = StepTable("synthetic", tuple("abcd"), songs, splits, ranges)
    return table, np.repeat([True, True, False], 12)


def test_word_vectors() -> None:
    table, training = sounds()
    vectors = word_vectors(table, table.features, training, SETTINGS, seed=0)
    assert vectors.shape == (36, 3)
    assert len(np.unique(vectors, axis=0)) == 2
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[24], vectors[1])  # the nearest training word
    repeated = word_vectors(table, table.features, training, SETTINGS, seed=0)
    np.testing.assert_array_equal(vectors, repeated)
    changed = table.features.copy()
    changed[24:] = -3
    np.testing.assert_array_equal(
        word_vectors(table, changed, training, SETTINGS, seed=0)[:24], vectors[:24]
    )
