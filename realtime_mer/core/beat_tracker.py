"""Onsets and beats of one stream, from the frames of its `OnsetDetector`."""

from __future__ import annotations

from collections.abc import Iterable

from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.core.onset_detector import FRAMES_PER_SECOND, Frame
from realtime_mer.core.tempo_tracker import TempoTracker

# From a sound to the peak of its flux, in frames.
DELAY_FRAMES = 2.5
# After this much silence the tempo is not known.
SILENCE_FRAMES = 2 * FRAMES_PER_SECOND


class BeatTracker:
    """Finds onsets and beats, from the past alone. The same samples give the same rhythm.

    An onset comes 30 to 45 ms after its sound; its strength is its flux, relative to the highest
    of the last seconds. A beat comes at its own time, because it is predicted from those before;
    its strength is how regular the last seconds are. There are no beats while the tempo is unknown:
    in the first three seconds of sound, after two seconds of silence, and where nothing repeats.
    A frame that does not follow the one before is a new start.
    """

    def __init__(self) -> None:
        self._tempo = TempoTracker(lead_frames=DELAY_FRAMES)
        self._number = 0  # of the next frame
        self._tempo_start = 0  # frames before those of the tempo tracker
        self._silent_frames = SILENCE_FRAMES

    @property
    def bpm(self) -> float | None:
        """The tempo in beats per minute; None while it is not known."""
        return self._tempo.bpm

    def follow(self, frames: Iterable[Frame]) -> list[RhythmEvent]:
        """Take in the next frames and return the rhythm in them, in order."""
        rhythm = []
        for frame in frames:
            if frame.number != self._number:
                self._tempo.reset()
                self._tempo_start = frame.number - 1
                self._silent_frames = SILENCE_FRAMES
            self._number = frame.number + 1
            if frame.onset is not None:
                rhythm.append(self._event(RhythmKind.ONSET, frame, frame.number - 1, frame.onset))
            self._silent_frames = 0 if frame.is_loud else self._silent_frames + 1
            if self._silent_frames < SILENCE_FRAMES:
                beat = self._tempo.add(frame.flux)
                if beat is not None:
                    strength = min(1.0, self._tempo.confidence)
                    at = self._tempo_start + beat
                    rhythm.append(self._event(RhythmKind.BEAT, frame, at, strength))
            else:
                self._tempo.reset()
                self._tempo_start = frame.number
        return rhythm

    def _event(self, kind: RhythmKind, now: Frame, number: float, strength: float) -> RhythmEvent:
        t = now.t + (number - now.number - DELAY_FRAMES) / FRAMES_PER_SECOND
        return RhythmEvent(kind, max(0.0, t), strength, self._tempo.bpm)
