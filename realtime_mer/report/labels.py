"""Sessions as labels for audio editors (Audacity) and as subtitles (SRT)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from realtime_mer.core.events import EventKind
from realtime_mer.report.measures import Means, Point
from realtime_mer.report.session import GAP, Session, Span
from realtime_mer.report.text import signed

# A subtitle stays at most this long before the values are renewed, and at least so long that it
# can be read.
MAX_CUE_S = 8.0
MIN_CUE_S = 2.0
_HELD_CUE_S = 4.0  # of a marker
# A mood's begin and end are spans, silence and music too.
_POINT_EVENTS = (EventKind.RISE, EventKind.DROP, EventKind.SECTION)


def audacity_labels(session: Session) -> str:
    """Return label lines: start and end in seconds and a text, separated by tabs.

    Moods and what is without music are spans; changes and markers are points. Audacity and Sonic
    Visualiser import them beside the audio of the session.
    """
    rows = [(span.start_s, span.end_s, span.word) for span in session.spans]
    rows += [(e.t, e.t, str(e.kind)) for e in session.events if e.kind in _POINT_EVENTS]
    rows += [(m.t, m.t, f"marker: {m.text}") for m in session.markers]
    rows.sort(key=lambda row: (row[0], -row[1]))
    return "".join(f"{start:.3f}\t{end:.3f}\t{_flat(text)}\n" for start, end, text in rows)


def subtitles(session: Session) -> str:
    """Return subtitles: the mood and the mean values of each piece of it, and the markers.

    A mood that lasts is shown again every few seconds with new values. One that is too short to
    read is shown with what is before it, so that no two subtitles are at the same time.
    """
    means = Means(session)
    cues = []
    for number, (start_s, end_s, word, is_music) in enumerate(_cues(session), start=1):
        lines = [word]
        values = means.mean(start_s, end_s) if is_music else None
        if values is not None:
            lines.append(_values(values))
        lines += [f"* {_flat(marker.text)}" for marker in session.markers
                  if start_s - _HELD_CUE_S < marker.t < end_s
                  and marker.t + _HELD_CUE_S > start_s]  # fmt: skip
        text = "\n".join(line.replace("-->", "->").replace("<", "(") for line in lines)
        cues.append(f"{number}\n{_srt_time(start_s)} --> {_srt_time(end_s)}\n{text}\n")
    return "\n".join(cues)


def _cues(session: Session) -> Iterator[tuple[float, float, str, bool]]:
    """Return start, end and word of each subtitle, and whether it has values."""
    spans: list[Span] = []
    for span in session.spans:
        short = span.end_s - span.start_s < MIN_CUE_S
        if spans and short and span.start_s - spans[-1].end_s < 1e-6:
            spans[-1] = _until(spans[-1], span.end_s)
        else:
            spans.append(span)
    for span in spans:
        inside = [m.t for m in session.markers if span.start_s < m.t < span.end_s]
        edges = [span.start_s]
        for edge in (*inside, span.end_s):
            while edge - edges[-1] > MAX_CUE_S:
                # The rest is not left shorter than can be read.
                edges.append(
                    min(edges[-1] + MAX_CUE_S, max(edge - MIN_CUE_S, edges[-1] + MIN_CUE_S))
                )
            if edge - edges[-1] >= MIN_CUE_S or (edge == span.end_s and len(edges) == 1):
                edges.append(edge)
        edges[-1] = span.end_s
        for start_s, end_s in pairwise(edges):
            word = "no estimates" if span.word == GAP else span.word
            yield start_s, end_s, word, span.is_music


def _until(span: Span, end_s: float) -> Span:
    return Span(span.start_s, end_s, span.word, span.first, span.last, span.is_music)


def _values(point: Point) -> str:
    return f"valence {signed(point[0])}  arousal {signed(point[1])}"


def _srt_time(t_s: float) -> str:
    milliseconds = round(1000.0 * t_s)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def _flat(text: str) -> str:
    """Return text in one line without tabs."""
    return " ".join(text.split())
