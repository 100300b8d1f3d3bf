"""Training budgets of the experiments."""

from __future__ import annotations

from dataclasses import dataclass

from mer_research.paper.fitting import Budget
from mer_research.paper.words import WordSettings


@dataclass(frozen=True)
class Effort:
    """Budgets of all experiments.

    Attributes:
        table: of the comparison and the ablations, for all methods except the next.
        described: of the network that the text describes, with the batch and rate of the text.
        sweep: of each lag order, and of the word experiment.
        tuning: of each trial of a search.
        trees, rows: of the random forest.
        lag_step: step between lag orders; the longest is always included.
        population, rounds: of the sparrow search.
        tuning_every: the searches use every n-th song.
        words: vocabulary settings.
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


# The public code runs 40 epochs and halves its rate every two: it barely changes after fourteen.
# Eighteen epochs with a rate halved every four reach a lower loss in half the time.
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
# Maximum number of songs with --quick.
QUICK_SONGS = 90
