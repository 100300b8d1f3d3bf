"""The last minutes of a session's estimates, in little memory."""

from __future__ import annotations

import math
import struct
from collections import deque
from itertools import islice

from realtime_mer.types import Estimate, FastValues, Latency, State

# seq; t, values, intervals, level; latency; whole; fast. What an estimate lacks is NaN.
_ROW = struct.Struct("<q8d4d2d7d")
_NO_WHOLE = (math.nan,) * 2
_NO_FAST = (math.nan,) * 7

_Row = tuple[bytes, str, str, State]


class History:
    """Remembers the newest estimates; they come back equal, to the last digit.

    An estimate is a dozen objects. With a thousand streams in one process and ten minutes of each
    they would take more memory than all else, so they are kept as packed numbers.

    Args:
        capacity: estimates that are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._rows: deque[_Row] = deque(maxlen=capacity)
        self.latest: Estimate | None = None

    @property
    def maxlen(self) -> int:
        """Estimates that are kept at most."""
        return self._rows.maxlen or 0

    def append(self, estimate: Estimate) -> None:
        """Takes the next estimate; the oldest gives way where there are too many."""
        self._rows.append(_pack(estimate))
        self.latest = estimate

    def since(self, seq: int, limit: int | None) -> tuple[list[Estimate], bool]:
        """See `Hub.history`."""
        if not self._rows:
            return [], True
        first: int = _ROW.unpack(self._rows[0][0])[0]
        start = max(0, seq + 1 - first)
        stop = None if limit is None else start + limit
        estimates = [_unpack(row) for row in islice(self._rows, start, stop)]
        return estimates, seq < 0 or seq + 1 >= first


def _pack(estimate: Estimate) -> _Row:
    latency, fast = estimate.latency, estimate.fast
    packed = _ROW.pack(
        estimate.seq,
        estimate.t,
        estimate.valence,
        estimate.arousal,
        estimate.valence_low,
        estimate.valence_high,
        estimate.arousal_low,
        estimate.arousal_high,
        estimate.level_db,
        latency.window_s,
        latency.buffer_ms,
        latency.compute_ms,
        latency.queue_ms,
        *(estimate.whole or _NO_WHOLE),
        *(_NO_FAST if fast is None else _fast_numbers(fast)),
    )
    return packed, estimate.utc, estimate.mood, estimate.state


def _fast_numbers(fast: FastValues) -> tuple[float, ...]:
    return (
        fast.window_s,
        fast.valence,
        fast.arousal,
        fast.valence_low,
        fast.valence_high,
        fast.arousal_low,
        fast.arousal_high,
    )


def _unpack(row: _Row) -> Estimate:
    packed, utc, mood, state = row
    seq, t, *values = _ROW.unpack(packed)
    whole, fast = values[11:13], values[13:]
    valence, arousal, valence_low, valence_high, arousal_low, arousal_high, level_db = values[:7]
    return Estimate(
        seq=seq,
        t=t,
        utc=utc,
        valence=valence,
        arousal=arousal,
        valence_low=valence_low,
        valence_high=valence_high,
        arousal_low=arousal_low,
        arousal_high=arousal_high,
        mood=mood,
        state=state,
        level_db=level_db,
        latency=Latency(*values[7:11]),
        whole=None if math.isnan(whole[0]) else (whole[0], whole[1]),
        fast=None if math.isnan(fast[0]) else FastValues(*fast),
    )
