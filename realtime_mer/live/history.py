"""The estimates of the last minutes of a session, stored compactly."""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Any

from realtime_mer.core.types import VALUES, Estimate, FastValues, Latency, ScaledValues, State

# The stored numbers of an estimate, of its latency, of its fast values, and of the scaled values of
# both; NaN where it has none.
_NUMBERS = ("t", *VALUES, "level_db")
_LATENCY = ("window_s", "buffer_ms", "compute_ms", "queue_ms")
_FAST = ("window_s", *VALUES)
_numbers, _latency, _fast, _scaled = (
    attrgetter(*names) for names in (_NUMBERS, _LATENCY, _FAST, VALUES)
)
_ROW = struct.Struct(f"<q{len(_NUMBERS)}d{len(_LATENCY)}d3d{len(_FAST)}d{2 * len(VALUES)}d")
_NO_WHOLE = (math.nan,) * 2
_NO_FAST = (math.nan,) * len(_FAST)
_NO_SCALED = (math.nan,) * len(VALUES)

_Row = tuple[bytes, str, str | None, State]


class History:
    """Stores the newest estimates and returns equal ones.

    An estimate consists of a dozen objects. For a thousand streams of ten minutes they would take
    more memory than everything else, so estimates are stored as packed numbers.

    Args:
        capacity: maximum number of estimates.
    """

    def __init__(self, capacity: int) -> None:
        self._rows: deque[_Row] = deque(maxlen=capacity)
        self.capacity = capacity
        self.latest: Estimate | None = None

    def append(self, estimate: Estimate) -> None:
        """Store the next estimate; above the capacity the oldest is discarded."""
        self._rows.append(_pack(estimate))
        self.latest = estimate

    def since(self, seq: int, limit: int | None) -> tuple[list[Estimate], bool]:
        """Return stored estimates after `seq`; see `Hub.history`."""
        if not self._rows:
            return [], True
        first: int = _ROW.unpack(self._rows[0][0])[0]
        start = max(0, seq + 1 - first)
        stop = None if limit is None else start + limit
        estimates = [_unpack(row) for row in islice(self._rows, start, stop)]
        return estimates, seq < 0 or seq + 1 >= first


def _pack(estimate: Estimate) -> _Row:
    scaled, fast = estimate.scaled, estimate.fast
    fast_scaled = None if fast is None else fast.scaled
    packed = _ROW.pack(
        estimate.seq,
        *_numbers(estimate),
        *_latency(estimate.latency),
        *(estimate.whole or _NO_WHOLE),
        math.nan if estimate.novelty is None else estimate.novelty,
        *(_NO_FAST if fast is None else _fast(fast)),
        *(_NO_SCALED if scaled is None else _scaled(scaled)),
        *(_NO_SCALED if fast_scaled is None else _scaled(fast_scaled)),
    )
    return packed, estimate.utc, estimate.mood, estimate.state


def _unpack(row: _Row) -> Estimate:
    packed, utc, mood, state = row
    seq, *rest = _ROW.unpack(packed)
    numbers = iter(rest)
    # Each call consumes as many numbers as it has names.
    own, latency = _named(_NUMBERS, numbers), _named(_LATENCY, numbers)
    whole, novelty = (next(numbers), next(numbers)), next(numbers)
    fast = _named(_FAST, numbers)
    scaled, fast_scaled = _scaled_values(numbers), _scaled_values(numbers)
    return Estimate(
        seq=seq,
        utc=utc,
        mood=mood,
        state=state,
        latency=Latency(**latency),
        whole=None if math.isnan(whole[0]) else whole,
        novelty=None if math.isnan(novelty) else novelty,
        fast=None if math.isnan(fast["window_s"]) else FastValues(**fast, scaled=fast_scaled),
        scaled=scaled,
        **own,
    )


def _scaled_values(numbers: Iterator[float]) -> ScaledValues | None:
    values = _named(VALUES, numbers)
    return None if math.isnan(values["valence"]) else ScaledValues(**values)


def _named(names: tuple[str, ...], numbers: Iterator[float]) -> dict[str, Any]:
    return {name: next(numbers) for name in names}
