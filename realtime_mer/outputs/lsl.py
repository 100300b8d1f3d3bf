"""Lab Streaming Layer: values and changes of the music for recordings beside EEG and the like.

Two streams, which a receiver finds by their types:

* `Mood`: float32, irregular rate, one sample a frame, with the channels of `CHANNELS`. What is not
  known (`bpm`) is NaN.
* `Markers`: one string for each change of the music: its kind, and for moods the word after a
  slash, such as `rise` or `mood_enter/calm`.

Time stamps are those of `local_clock`. A sample of `Mood` has the moment at which it was sent; the
newest audio behind it ends at `stream_time`. A marker has the moment of the change: that at which
it was sent, less the time that detecting it took. A `delay_s` moves both by its length.
"""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass

from realtime_mer import __version__
from realtime_mer.audio.quiet import filter_c_messages
from realtime_mer.core.events import Event, Marker, RhythmEvent
from realtime_mer.core.types import State
from realtime_mer.outputs.output import Frame, Output, OutputSettings

try:
    import pylsl
except (OSError, RuntimeError) as error:  # pylsl is there, liblsl is not
    raise ImportError(str(error), name="pylsl with liblsl") from error

STATES = tuple(State)
CHANNELS = {
    "valence": "-1 to 1",
    "arousal": "-1 to 1",
    "valence_width": "0 to 2, width of the interval",
    "arousal_width": "0 to 2, width of the interval",
    "level": "0 to 1",
    "bpm": "beats per minute",
    "state": ", ".join(f"{number} {state}" for number, state in enumerate(STATES)),
    "stream_time": "seconds",
}
"""Labels of the channels and their units."""


@dataclass(frozen=True, kw_only=True)
class LslSettings(OutputSettings):
    """Values and changes of the music as streams of Lab Streaming Layer.

    Attributes:
        name: of the streams, too; "" for realtime-mer. Two programs on one computer need two names,
            because a receiver that lost a stream looks for one of the same name and computer.
        rate_hz: samples per second.
    """

    rate_hz: float = 10.0


class LslOutput(Output):
    """Offers the streams; receivers may come and go. Without a receiver nothing is kept.

    Args:
        settings: of the output.
    """

    kind = "lsl"

    def __init__(self, settings: LslSettings) -> None:
        super().__init__(settings.name or "realtime-mer")
        self._mood: pylsl.StreamOutlet | None = None
        self._markers: pylsl.StreamOutlet | None = None

    def open(self) -> None:
        """Offer the streams."""
        filter_c_messages()  # liblsl prints that it starts
        mood = self._info("Mood", len(CHANNELS), pylsl.cf_float32)
        channels = mood.desc().append_child("channels")
        for label, unit in CHANNELS.items():
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("unit", unit)
            channel.append_child_value("type", "Mood")
        self._mood = pylsl.StreamOutlet(mood)
        self._markers = pylsl.StreamOutlet(self._info("Markers", 1, pylsl.cf_string))

    def send(self, frame: Frame) -> None:
        """Send a sample of all channels."""
        assert self._mood is not None
        sample = [
            2.0 * frame.valence - 1.0,
            2.0 * frame.arousal - 1.0,
            2.0 * frame.valence_width,
            2.0 * frame.arousal_width,
            frame.level,
            math.nan if frame.bpm is None else frame.bpm,
            STATES.index(frame.state),
            frame.t,
        ]
        self._mood.push_sample(sample, pylsl.local_clock())
        self.sent += 1
        self.answer = "is received" if self._mood.have_consumers() else "nobody receives"

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:
        """Send a marker for a change of the music or a remark; onsets and beats are left out."""
        if not isinstance(event, RhythmEvent):
            assert self._markers is not None
            stamp_s = pylsl.local_clock()
            if isinstance(event, Marker):
                marker = f"marker/{event.text}"
            else:
                marker = str(event.kind) if event.mood is None else f"{event.kind}/{event.mood}"
                stamp_s -= event.detected_t - event.t
            self._markers.push_sample([marker], stamp_s)
            self.sent += 1

    def close(self) -> None:
        """Withdraw the streams."""
        self._mood = self._markers = None

    def _info(self, kind: str, channels: int, sample_format: int) -> pylsl.StreamInfo:
        info = pylsl.StreamInfo(
            self.name,
            kind,
            channels,
            pylsl.IRREGULAR_RATE,
            sample_format,
            f"realtime-mer/{socket.gethostname()}/{self.name}/{kind}",
        )
        info.desc().append_child_value("manufacturer", "realtime-mer")
        info.desc().append_child_value("version", __version__)
        return info
