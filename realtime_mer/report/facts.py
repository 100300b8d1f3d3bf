"""What a report says about a recording in words: when, with what, and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from realtime_mer.clock import clock_text, duration_text
from realtime_mer.core.types import State
from realtime_mer.live.stats import HELP
from realtime_mer.report.session import GAP, Session, moment_of
from realtime_mer.report.text import MINUS

_MAX_LISTED = 10
_MAX_NOTICES = 40
_HELP = {str(counter): text for counter, text in HELP.items()}


def when(session: Session) -> str:
    """Return when a session took place, in the local time of its place, and how long it is."""
    duration = duration_text(session.duration_s)
    began = start_of(session)
    if began is None:
        return duration
    ended = began + timedelta(seconds=session.duration_s + _stood_s(session, session.duration_s))
    day = f"{began:%A} {_day(began)} {began.year}"
    if session.header is None and _is_faster_than_playing(session):
        return f"{duration}, analysed on {day}"
    offset = began.strftime("%z")
    zone = f"UTC{offset[:3]}:{offset[3:5]}".replace("-", MINUS) if began.utcoffset() else "UTC"
    last = "" if ended.date() == began.date() else f"{_day(ended)}, "
    return f"{day}, {began:%H:%M} to {last}{ended:%H:%M} ({zone}), {duration}"


def start_of(session: Session) -> datetime | None:
    """Return when a session began, in the local time of its place, else in UTC; None if unknown."""
    if session.header is not None:
        return session.header.started_local
    moment = moment_of(session.estimates[0].utc)
    return moment and moment.astimezone(UTC) - timedelta(seconds=float(session.t[0]))


def local_clock(session: Session, utc: str) -> str:
    """Return the time of day at a moment, in the local time of the place; "" if unknown.

    Args:
        session: the recording.
        utc: the moment, ISO 8601.
    """
    moment = moment_of(utc)
    if moment is None or session.header is None:
        return ""
    return f"{moment.astimezone(session.header.started_local.tzinfo):%H:%M:%S}"


def facts(session: Session) -> dict[str, str]:
    """Return what a session was made with, by names for people."""
    header = session.header
    if header is None:
        window_s = session.estimates[0].latency.window_s
        every = f"every {session.hop_s:g} s, window {window_s:g} s"
        return {"Recording": "a table of estimates", "Estimates": every, "Range": _range(session)}
    channels, rate_hz = header.input.get("channels"), header.input.get("sample_rate_hz")
    sound = f"{'mono' if channels == 1 else f'{channels} channels'}, {rate_hz} Hz"
    model = header.model
    versions = [f"{name} {version}" for name, version in header.versions.items()]
    return {
        "Input": f"{header.input.get('name', 'unknown')} ({sound})",
        "Model": f"{model.get('name')} {model.get('version')} ({str(model.get('sha256'))[:12]})",
        "Estimates": f"every {header.hop_s:g} s, window {header.window_s:g} s, {header.backend}",
        "Range": _range(session),
        "Recorded by": ", ".join([f"realtime-mer {header.version}", *versions]),
    }


def missing(session: Session) -> list[str]:
    """Return sentences on what a recording does not have."""
    sentences = [
        f"{_HELP.get(name, name).rstrip('.')}: {count}." for name, count in session.losses.items()
    ]
    gaps = [span for span in session.spans if span.word == GAP]
    if gaps:
        total = duration_text(sum(span.end_s - span.start_s for span in gaps))
        listed = [
            f"{clock_text(span.start_s)} to {clock_text(span.end_s)}" for span in gaps[:_MAX_LISTED]
        ]
        more = f" and {len(gaps) - _MAX_LISTED} more" if len(gaps) > _MAX_LISTED else ""
        sentences.append(f"No estimates for {total}: {', '.join(listed)}{more}.")
    stalled_s = sum(s.end_s - s.start_s for s in session.spans if s.word == State.STALLED)
    if stalled_s:
        sentences.append(
            f"No audio arrived for {duration_text(stalled_s)}; the last values were kept."
        )
    sentences += [
        f"At {clock_text(at_s)} the recording stood still for {duration_text(seconds)}; the time "
        "axis goes on without that."
        for at_s, seconds in session.pauses
    ]
    notices = session.notices[:_MAX_NOTICES]
    sentences += [f"At {clock_text(notice.t)}: {notice.message.rstrip('.')}." for notice in notices]
    if len(session.notices) > len(notices):
        more_notices = len(session.notices) - len(notices)
        sentences.append(f"{more_notices} more messages are in the recording.")
    if session.remark:
        sentences.append(f"{session.remark[0].upper()}{session.remark[1:]}.")
    return sentences


def _range(session: Session) -> str:
    return "place among music" if session.is_scaled else "raw"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B}"


def _stood_s(session: Session, t_s: float) -> float:
    """Return for how long the recording stood still before a stream time."""
    return sum(seconds for at_s, seconds in session.pauses if at_s < t_s)


def _is_faster_than_playing(session: Session) -> bool:
    """Return whether a table was made by an analysis, so that its times of day mean nothing."""
    first, last = (moment_of(session.estimates[index].utc) for index in (0, -1))
    if first is None or last is None:
        return False
    played_s = session.duration_s - float(session.t[0])
    return played_s > 0.0 and (last - first).total_seconds() < 0.9 * played_s
