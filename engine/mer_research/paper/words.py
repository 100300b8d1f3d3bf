"""Word2Vec for audio: half seconds as words, songs as sentences.

The paper names Word2Vec as its first step and does not define a word. Here k-means clusters the
half seconds of the training part; a cluster is a word. Skip-gram with negative sampling (Mikolov et
al. 2013) learns a vector for each word from its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mer_research.paper.step_table import StepTable

INPUTS = ("descriptors", "words", "descriptors and words")
_CONTEXT = 2  # neighbours on each side
_NEGATIVES = 5
_BATCH = 1024
_LEARNING_RATE = 0.01


@dataclass(frozen=True, slots=True)
class WordSettings:
    """Size of the vocabulary.

    Attributes:
        words: number of clusters.
        width: length of a word vector.
        epochs: passes over all pairs of neighbours.
    """

    words: int = 128
    width: int = 16
    epochs: int = 2


def word_vectors(
    table: StepTable,
    scaled: NDArray[np.float32],
    training: NDArray[np.bool_],
    settings: WordSettings,
    seed: int,
) -> NDArray[np.float32]:
    """Return the word vector of each half second.

    Args:
        table: gives the boundaries of the songs.
        scaled: float32 [steps, columns].
        training: bool [steps]; words and vectors are fitted on these steps only.
        settings: sizes.
        seed: of clusters and vectors.

    Returns:
        float32 [steps, width], of unit variance over the training part.
    """
    words, count = _quantise(scaled, training, settings.words, seed)
    song = np.repeat(np.arange(len(table.songs)), np.diff(table.offsets))
    pairs = []
    for distance in range(1, _CONTEXT + 1):
        same_song = song[distance:] == song[:-distance]
        usable = same_song & training[distance:] & training[:-distance]
        pairs.append(np.stack([words[distance:][usable], words[:-distance][usable]], axis=1))
    vectors = _skip_gram(np.concatenate(pairs), count, settings, seed)[words]
    spread = vectors[training].std()
    return np.asarray(vectors / max(float(spread), 1e-6), dtype=np.float32)


def _quantise(
    scaled: NDArray[np.float32], training: NDArray[np.bool_], words: int, seed: int
) -> tuple[NDArray[np.int64], int]:
    from sklearn.cluster import MiniBatchKMeans

    known = scaled[training]
    count = min(words, len(known))
    clusters = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=2048)
    clusters.fit(known)
    return clusters.predict(scaled).astype(np.int64), count


def _skip_gram(
    pairs: NDArray[np.int64], words: int, settings: WordSettings, seed: int
) -> NDArray[np.float32]:
    """Learn vectors float32 [words, width] from pairs of neighbours, int64 [n, 2]."""
    generator = torch.Generator().manual_seed(seed)
    both_ways = torch.from_numpy(np.concatenate([pairs, pairs[:, ::-1]]))
    centre = (torch.rand(words, settings.width, generator=generator) - 0.5) / settings.width
    context = torch.zeros(words, settings.width)
    centre.requires_grad_(), context.requires_grad_()
    # Sample negatives by frequency to the power of 3/4, as in the original.
    frequency = torch.bincount(both_ways[:, 1], minlength=words).float().clamp(min=1e-3) ** 0.75
    optimiser = torch.optim.Adam([centre, context], lr=_LEARNING_RATE)
    for _ in range(settings.epochs):
        for batch in both_ways[torch.randperm(len(both_ways), generator=generator)].split(_BATCH):
            negatives = torch.multinomial(
                frequency, len(batch) * _NEGATIVES, replacement=True, generator=generator
            ).view(len(batch), _NEGATIVES)
            word = centre[batch[:, 0]]
            positive = (word * context[batch[:, 1]]).sum(1)
            negative = (context[negatives] @ word.unsqueeze(2)).squeeze(2)
            loss = -(
                functional.logsigmoid(positive).mean()
                + functional.logsigmoid(-negative).sum(1).mean()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return centre.detach().numpy()
