"""A recorded session as arrays: what all parts of a report are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.events import Event, Marker
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.core.types import VALUES, Estimate
from realtime_mer.recording.header import RecordingHeader
from realtime_mer.recording.lines import Losses, RecordedEnd, RecordedItem, RecordedNotice
from realtime_mer.recording.reader import SessionReader

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Overload lowers the rate of estimates to every fourth: what is longer is missing.
_GAP_HOPS = 4.5
_MIN_GAP_S = 2.0
GAP = "gap"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a session with one word.

    Attributes:
        start_s, end_s: stream time in seconds.
        word: the mood of music, the state without music, or `gap` for no estimates.
        first, last: the estimates of the span; `last` is before `first` in a gap.
        is_music: whether it is music, so that `word` is a mood.
    """

    start_s: float
    end_s: float
    word: str
    first: int
    last: int
    is_music: bool


class Session:
    """What a recording holds, in memory.

    Args:
        name: of the recording, for people.
        items: in order of time, with at least one estimate.
        hop_s: seconds between estimates.
        header: of the recording; None for a table without one.
        run_starts: when its later runs began, aware datetimes in order.
        remark: a sentence on what of the recording could not be read; "" for nothing.

    Attributes:
        estimates, events, markers, notices: the items.
        ends: why runs of the recording ended.
        losses: the counters of losses, added over the runs; without those that are 0.
        loss_times_s: stream times at which counters of losses had changed.
        t: stream times of the estimates, float64 [N].
        shown: float64 [N, 6] in the order of `VALUES`: the values as the page shows them, their
            place among music where the session has it, else raw.
        is_scaled: whether `shown` is the place among music.
    """

    def __init__(
        self,
        name: str,
        items: Iterable[RecordedItem],
        *,
        hop_s: float,
        header: RecordingHeader | None = None,
        run_starts: Sequence[datetime] = (),
        remark: str = "",
    ) -> None:
        self.name = name
        self.header = header
        self.hop_s = hop_s
        self._run_starts = run_starts
        self.estimates: list[Estimate] = []
        self.events: list[Event] = []
        self.markers: list[Marker] = []
        self.notices: list[RecordedNotice] = []
        self.ends: list[RecordedEnd] = []
        losses: list[Losses] = []
        for item in items:
            match item:
                case Estimate():
                    self.estimates.append(item)
                case Event():
                    self.events.append(item)
                case Marker():
                    self.markers.append(item)
                case RecordedNotice():
                    self.notices.append(item)
                case Losses():
                    losses.append(item)
                case RecordedEnd():
                    self.ends.append(item)
        self.markers.sort(key=lambda marker: marker.t)
        self.remark = remark
        self.losses = _total(losses)
        self.loss_times_s = [each.t for each in losses if any(each.counters.values())]
        self.t: Values = np.array([e.t for e in self.estimates])
        self.is_scaled = all(e.scaled is not None for e in self.estimates)
        shown = ((e.scaled or e) if self.is_scaled else e for e in self.estimates)
        self.shown: Values = np.array([[getattr(e, name) for name in VALUES] for e in shown])

    @property
    def valence(self) -> Values:
        """Shown valence, [N]."""
        return self.shown[:, 0]

    @property
    def arousal(self) -> Values:
        """Shown arousal, [N]."""
        return self.shown[:, 1]

    @property
    def duration_s(self) -> float:
        """From the start of the session to the last estimate."""
        return float(self.t[-1])

    @property
    def target(self) -> TargetTrajectory | None:
        """The trajectory that the recording was made with."""
        return None if self.header is None else self.header.target

    @cached_property
    def seconds(self) -> Values:
        """How much of the stream each estimate stands for, [N]; a gap belongs to none."""
        steps = np.diff(self.t, prepend=0.0)
        return np.where(steps > self.longest_step_s, min(self.hop_s, self.longest_step_s), steps)

    @cached_property
    def is_music(self) -> Mask:
        """Whether the values of an estimate come from music and are not repeated, [N]."""
        return np.array([not e.state.repeats for e in self.estimates])

    @cached_property
    def is_new_stretch(self) -> Mask:
        """Whether a gap is before an estimate, [N]."""
        return np.asarray(np.diff(self.t, prepend=0.0) > self.longest_step_s)

    @cached_property
    def spans(self) -> list[Span]:
        """The whole session, cut where mood, state or the flow of estimates change."""
        return list(self._spans())

    @cached_property
    def pauses(self) -> list[tuple[float, float]]:
        """Stream times between two runs of the recording, and for how many seconds it stood still.

        The time axis has no room for them.
        """
        moments = [moment_of(e.utc) for e in self.estimates]
        found = []
        for began in self._run_starts:
            after = next((n for n, m in enumerate(moments) if m is not None and m >= began), 0)
            if after and (before := moments[after - 1]) is not None and before < began:
                stood_s = (began - before).total_seconds()
                found.append((float(self.t[after - 1]), stood_s))
        return found

    @property
    def longest_step_s(self) -> float:
        """What is longer between two estimates is a gap."""
        return max(_GAP_HOPS * self.hop_s, _MIN_GAP_S)

    def _spans(self) -> Iterator[Span]:
        words = [
            (e.mood or "no mood") if music else str(e.state)
            for e, music in zip(self.estimates, self.is_music.tolist(), strict=True)
        ]
        starts = (self.t - self.seconds).tolist()
        new = self.is_new_stretch.tolist()
        first = 0
        end_s = 0.0
        for index in range(1, len(words) + 1):
            if index < len(words) and not new[index] and words[index] == words[first]:
                continue
            if new[first]:
                yield Span(end_s, starts[first], GAP, first, first - 1, is_music=False)
            end_s = float(self.t[index - 1])
            music = bool(self.is_music[first])
            yield Span(starts[first], end_s, words[first], first, index - 1, is_music=music)
            first = index


def read_session(path: Path) -> Session:
    """Read a whole recording.

    Args:
        path: as for `SessionReader`.

    Raises:
        UserError: it cannot be read or is not valid.
    """
    with SessionReader(path) as reader:
        items = list(reader)
        starts = [moment_of(part.header.started_utc) for part in reader.parts if part.header]
        return Session(
            (path.resolve().name if path.is_dir() else path.stem) or str(path),
            items,
            hop_s=reader.hop_s,
            header=reader.header,
            run_starts=sorted({start for start in starts if start is not None})[1:],
            remark=reader.remark,
        )


def moment_of(utc: str) -> datetime | None:
    """Return an ISO 8601 time as an aware datetime; None for something else."""
    try:
        moment = datetime.fromisoformat(utc)
    except ValueError:
        return None
    if not 1970 <= moment.year < 9000:  # there is no time before the first and after the last year
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _total(losses: list[Losses]) -> dict[str, int]:
    """Return counters that start again with each run, added over the runs."""
    total: Counter[str] = Counter()
    before: dict[str, int] = {}
    for each in losses:
        if any(each.counters.get(name, 0) < count for name, count in before.items()):
            before = {}
        for name, count in each.counters.items():
            total[name] += count - before.get(name, 0)
        before = dict(each.counters)
    return {name: count for name, count in total.items() if count}
