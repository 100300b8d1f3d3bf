"""Sessions as XDF 1.0, the files of LabRecorder: beside EEG and the like, read by pyxdf and EEGLAB.

Time stamps are seconds since 1970 (UTC) of the moment that the audio of an estimate ended. All
streams have the same clock, so their clock offsets are 0. Recordings of Lab Streaming Layer have
stamps of its own clock: align the two by a marker that both have, or record the LSL output live.
"""

from __future__ import annotations

import math
import struct
import uuid
from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar
from xml.sax.saxutils import escape

import numpy as np

from realtime_mer import __version__
from realtime_mer.core.types import VALUES, State
from realtime_mer.report.session import Session, Values, moment_of

_FILE_HEADER, _STREAM_HEADER, _SAMPLES, _CLOCK_OFFSET, _BOUNDARY, _STREAM_FOOTER = range(1, 7)
_BOUNDARY_ID = uuid.UUID("43a546dc-cbf5-410f-b30e-d5467383cbe4").bytes  # of the specification
_CHUNK_SAMPLES = 1000
_MOOD, _MARKERS = 1, 2
_STATES = tuple(State)
_T = TypeVar("_T")
CHANNELS = {
    **dict.fromkeys(VALUES, "-1 to 1"),
    **{f"scaled_{name}": "place among music" for name in VALUES},
    "level_db": "dB relative to full scale",
    "state": ", ".join(f"{number} {state}" for number, state in enumerate(_STATES)),
    "stream_time": "seconds",
}
"""Labels of the channels of the estimates, and their units. What a session lacks is NaN."""


def write_xdf(session: Session, file: BinaryIO) -> None:
    """Write two streams: the estimates (`Mood`), and changes and markers as strings (`Markers`).

    Raises:
        OSError: the file cannot be written.
    """
    stamps = utc_stamps(session)
    file.write(b"XDF:")
    _chunk(file, _FILE_HEADER, b'<?xml version="1.0"?><info><version>1.0</version></info>')
    labels = "".join(
        f"<channel><label>{label}</label><unit>{escape(unit)}</unit><type>Mood</type></channel>"
        for label, unit in CHANNELS.items()
    )
    _stream_header(file, _MOOD, "Mood", len(CHANNELS), "double64", f"<channels>{labels}</channels>")
    _stream_header(file, _MARKERS, "Markers", 1, "string", "")
    for stream in (_MOOD, _MARKERS):
        for stamp in (stamps[0], stamps[-1]):
            _chunk(file, _CLOCK_OFFSET, struct.pack("<Idd", stream, stamp, 0.0))
    rows = _rows(session)
    _samples(file, _MOOD, list(zip(stamps.tolist(), rows, strict=True)), lambda row: row.tobytes())
    markers = _markers(session, stamps)
    _samples(file, _MARKERS, markers, _string)
    _footer(file, _MOOD, stamps.tolist())
    _footer(file, _MARKERS, [stamp for stamp, _ in markers])


def utc_stamps(session: Session) -> Values:
    """Return when the audio of each estimate ended, seconds since 1970 [N].

    From the start of the session, stream time counts; where the recording stood still, so did it.
    """
    first = moment_of(session.header.started_utc if session.header else session.estimates[0].utc)
    start_s = 0.0 if first is None else first.timestamp()
    if session.header is None:
        start_s -= float(session.t[0])
    stamps = start_s + session.t
    for at_s, seconds in session.pauses:
        stamps = stamps + seconds * (session.t > at_s)
    return np.asarray(stamps)


def _rows(session: Session) -> list[Values]:
    rows = []
    for e in session.estimates:
        scaled = [math.nan if e.scaled is None else getattr(e.scaled, name) for name in VALUES]
        values = [getattr(e, name) for name in VALUES]
        rows.append(
            np.array([*values, *scaled, e.level_db, _STATES.index(e.state), e.t], dtype="<f8")
        )
    return rows


def _markers(session: Session, stamps: Values) -> list[tuple[float, str]]:
    """Return time stamps and texts, in order of time; changes are named as LSL's are."""
    texts = [(e.t, str(e.kind) if e.mood is None else f"{e.kind}/{e.mood}") for e in session.events]
    texts += [(m.t, m.text) for m in session.markers]
    texts.sort(key=lambda each: each[0])
    offsets = stamps - session.t
    place = np.searchsorted(session.t, [t for t, _ in texts]).clip(max=len(offsets) - 1).tolist()
    return [(t + float(offsets[n]), text) for n, (t, text) in zip(place, texts, strict=True)]


def _stream_header(
    file: BinaryIO, stream: int, kind: str, channels: int, sample_format: str, description: str
) -> None:
    xml = (
        f'<?xml version="1.0"?><info><name>realtime-mer</name><type>{kind}</type>'
        f"<channel_count>{channels}</channel_count><nominal_srate>0</nominal_srate>"
        f"<channel_format>{sample_format}</channel_format><source_id>realtime-mer/{kind}</source_id>"
        f"<desc><manufacturer>realtime-mer</manufacturer><version>{__version__}</version>"
        f"{description}</desc></info>"
    )
    _chunk(file, _STREAM_HEADER, struct.pack("<I", stream) + xml.encode())


def _samples(
    file: BinaryIO, stream: int, samples: Sequence[tuple[float, _T]], encode: Callable[[_T], bytes]
) -> None:
    """Write chunks of samples, each with its time stamp, and a boundary after each."""
    for first in range(0, len(samples), _CHUNK_SAMPLES):
        part = samples[first : first + _CHUNK_SAMPLES]
        content = [struct.pack("<IBI", stream, 4, len(part))]
        content += [b"\x08" + struct.pack("<d", stamp) + encode(value) for stamp, value in part]
        _chunk(file, _SAMPLES, b"".join(content))
        _chunk(file, _BOUNDARY, _BOUNDARY_ID)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return b"\x04" + struct.pack("<I", len(encoded)) + encoded


def _footer(file: BinaryIO, stream: int, stamps: Sequence[float]) -> None:
    ends = ((f"<first_timestamp>{stamps[0]!r}</first_timestamp>"
             f"<last_timestamp>{stamps[-1]!r}</last_timestamp>") if stamps else "")  # fmt: skip
    xml = (f'<?xml version="1.0"?><info>{ends}<sample_count>{len(stamps)}</sample_count>'
           "</info>")  # fmt: skip
    _chunk(file, _STREAM_FOOTER, struct.pack("<I", stream) + xml.encode())


def _chunk(file: BinaryIO, tag: int, content: bytes) -> None:
    """Write a chunk: the number of bytes of its length, its length with the tag, tag, content."""
    file.write(struct.pack("<BIH", 4, len(content) + 2, tag) + content)
