"""What Word2Vec can mean for audio: half seconds as words, and words known by their neighbours.

The paper names Word2Vec as its first step and does not say what a word is. Here the half seconds
of the training part are sorted into groups of like sound; a group is a word, a song a sentence, and
skip-gram with negative sampling (Mikolov et al. 2013) gives each word a vector from the words
beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mer_research.paper.step_table import StepTable

INPUTS = ("descriptors", "words", "descriptors and words")
_REACH = 2  # words before and after that count as neighbours
_NEGATIVES = 5
_BATCH = 1024
_RATE = 0.01


@dataclass(frozen=True, slots=True)
class WordSettings:
    """Size of the vocabulary.

    Attributes:
        words: groups of half seconds.
        width: numbers of a word's vector.
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
    """Each half second's word vector.

    Args:
        table: tells where songs begin and end.
        scaled: float32 [steps, columns].
        training: bool [steps]; nothing else is looked at to make the words.
        settings: sizes.
        seed: of groups and vectors.

    Returns:
        float32 [steps, width], of unit variance over the training part.
    """
    words, count = _quantise(scaled, training, settings.words, seed)
    song = np.repeat(np.arange(len(table.songs)), np.diff(table.offsets))
    pairs = []
    for reach in range(1, _REACH + 1):
        both = (song[reach:] == song[:-reach]) & training[reach:] & training[:-reach]
        pairs.append(np.stack([words[reach:][both], words[:-reach][both]], axis=1))
    vectors = _skip_gram(np.concatenate(pairs), count, settings, seed)[words]
    spread = vectors[training].std()
    return np.asarray(vectors / max(float(spread), 1e-6), dtype=np.float32)


def _quantise(
    scaled: NDArray[np.float32], training: NDArray[np.bool_], words: int, seed: int
) -> tuple[NDArray[np.int64], int]:
    from sklearn.cluster import MiniBatchKMeans

    learnt = scaled[training]
    count = min(words, len(learnt))
    groups = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=2048)
    groups.fit(learnt)
    return groups.predict(scaled).astype(np.int64), count


def _skip_gram(
    pairs: NDArray[np.int64], words: int, settings: WordSettings, seed: int
) -> NDArray[np.float32]:
    """float32 [words, width] from pairs of neighbours, int64 [n, 2]."""
    chance = torch.Generator().manual_seed(seed)
    both = torch.from_numpy(np.concatenate([pairs, pairs[:, ::-1]]))
    centre = (torch.rand(words, settings.width, generator=chance) - 0.5) / settings.width
    beside = torch.zeros(words, settings.width)
    centre.requires_grad_(), beside.requires_grad_()
    # Negatives by frequency to the power of 3/4, as in the original.
    often = torch.bincount(both[:, 1], minlength=words).float().clamp(min=1e-3) ** 0.75
    optimiser = torch.optim.Adam([centre, beside], lr=_RATE)
    for _ in range(settings.epochs):
        for batch in both[torch.randperm(len(both), generator=chance)].split(_BATCH):
            other = torch.multinomial(
                often, len(batch) * _NEGATIVES, replacement=True, generator=chance
            ).view(len(batch), _NEGATIVES)
            word = centre[batch[:, 0]]
            near = (word * beside[batch[:, 1]]).sum(1)
            far = (beside[other] @ word.unsqueeze(2)).squeeze(2)
            loss = -functional.logsigmoid(near).mean() - functional.logsigmoid(-far).sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return centre.detach().numpy()
