"""How much is spent on each experiment."""

from __future__ import annotations

from dataclasses import dataclass

from mer_research.paper.fitting import Budget
from mer_research.paper.words import WordSettings


@dataclass(frozen=True)
class Effort:
    """Budgets.

    Attributes:
        table: of the comparison and the ablations; the same for all methods but the next.
        described: of the network that the text describes, with the text's batch and rate.
        sweep: of each lag order, and of the words.
        tuning: of each try of a search.
        trees, rows: of the random forest.
        lag_step: lag orders 1, 1 + step ... and always the longest.
        population, rounds: of the sparrow search.
        tuning_every: the searches see every so many-th song.
        words: the vocabulary.
        every: all experiments see every so many-th song only.
    """

    table: Budget
    described: Budget
    sweep: Budget
    tuning: Budget
    trees: int
    rows: int
    lag_step: int
    population: int
    rounds: int
    tuning_every: int
    words: WordSettings
    every: int = 1


# The public code runs 40 epochs and halves its rate every two: after fourteen it hardly moves.
# Halved every four, eighteen epochs in all come further in half of the time.
FULL = Effort(
    table=Budget(epochs=18, halve_every=4),
    described=Budget(epochs=6, batch=32, rate=0.001, halve_every=0, noise=0.1, patience=2),
    sweep=Budget(epochs=5, halve_every=2, patience=2),
    tuning=Budget(epochs=3, halve_every=0),
    trees=40,
    rows=4000,
    lag_step=1,
    population=5,
    rounds=1,
    tuning_every=10,
    words=WordSettings(),
)
_SHORT = Budget(epochs=2, halve_every=1)
QUICK = Effort(
    table=_SHORT,
    described=Budget(epochs=1, batch=32, rate=0.001, halve_every=0, noise=0.1),
    sweep=Budget(epochs=1),
    tuning=Budget(epochs=1, halve_every=0),
    trees=5,
    rows=500,
    lag_step=10,
    population=2,
    rounds=1,
    tuning_every=2,
    words=WordSettings(words=16, width=4, epochs=1),
)
# With --quick, no more songs than this are looked at.
QUICK_SONGS = 90
