"""Problems in a data set: songs to leave out, and data that cannot be used at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


class DataError(Exception):
    """The data cannot be used. The message names the problem, the value and the remedy."""


# Why a song is left out, worded for the summary ("8 without audio").
NO_AUDIO = "without audio"
UNREADABLE_AUDIO = "with audio that cannot be read"
SHORT_AUDIO = "too short"
NO_LABELS = "without labels"
BAD_LABELS = "with labels that are not numbers"
OUTSIDE = "with labels outside their range"
BACKWARDS = "with times that go backwards"
CONTRADICTORY = "with contradictory rows"
BAD_SPLIT = "with an unknown split"


@dataclass(frozen=True, slots=True)
class Problem:
    """A song that is left out.

    Attributes:
        song: its name.
        kind: one of the reasons above.
        detail: what was found, with place and value.
    """

    song: str
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"song {self.song}: {self.detail}"


def summarise(problems: Iterable[Problem], songs: int) -> str:
    """Return one sentence: how many of `songs` songs are left out, and why; empty if none."""
    kinds = Counter(problem.kind for problem in problems)
    total = sum(kinds.values())
    if not total:
        return ""
    reasons = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    verb = "was" if total == 1 else "were"
    return f"{total} of {songs} songs {verb} left out: {reasons}"
