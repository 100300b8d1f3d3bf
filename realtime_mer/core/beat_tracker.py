"""Onsets and beats of one stream, in the blocks in which it comes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.core.onset_detector import FRAMES_PER_SECOND, OnsetPicker, SpectralFlux
from realtime_mer.core.tempo_tracker import TempoTracker

# From a sound to the peak of its flux, in frames.
DELAY_FRAMES = 2.5
# After this much silence the tempo is not known.
SILENCE_FRAMES = 2 * FRAMES_PER_SECOND
# Lost input up to this length is replaced by silence. A longer loss ends the tempo.
MAX_FILLED_LOSS_S = 0.5


class BeatTracker:
    """Finds onsets and beats, from the past alone. The same samples give the same rhythm.

    An onset comes 30 to 45 ms after its sound; its strength is its flux, relative to the highest
    of the last seconds. A beat comes at its own time, because it is predicted from those before;
    its strength is how regular the last seconds are. There are no beats while the tempo is unknown:
    in the first three seconds of sound, after two seconds of silence, and where nothing repeats.

    Args:
        sample_rate_hz: of the stream, 8,000 to 192,000.
        start: sample frames of the stream before the first one that is fed.
    """

    def __init__(self, sample_rate_hz: int, *, start: int = 0) -> None:
        self._rate_hz = sample_rate_hz
        self._flux = SpectralFlux(sample_rate_hz)
        self._tempo = TempoTracker(lead_frames=DELAY_FRAMES)
        self._restart(start)

    def _restart(self, start: int) -> None:
        self._start = start
        self._fed = 0
        self._flux.reset()
        self._picker = OnsetPicker()
        self._tempo.reset()
        self._frame = 0
        self._tempo_start = 0  # frames before those of the tempo tracker
        self._silent_frames = SILENCE_FRAMES

    @property
    def bpm(self) -> float | None:
        """The tempo in beats per minute; None while it is not known."""
        return self._tempo.bpm

    def feed(self, samples: NDArray[np.float32]) -> list[RhythmEvent]:
        """Take in the next samples, float32 [n], any n, and return the rhythm in them, in order."""
        self._fed += len(samples)
        rhythm = []
        for flux, is_loud in self._flux.feed(samples):
            self._frame += 1
            strength = self._picker.add(flux)
            if strength is not None:
                rhythm.append(self._event(RhythmKind.ONSET, self._frame - 1, strength))
            self._silent_frames = 0 if is_loud else self._silent_frames + 1
            if self._silent_frames < SILENCE_FRAMES:
                beat = self._tempo.add(flux)
                if beat is not None:
                    strength = min(1.0, self._tempo.confidence)
                    rhythm.append(self._event(RhythmKind.BEAT, self._tempo_start + beat, strength))
            else:
                self._tempo.reset()
                self._tempo_start = self._frame
        return rhythm

    def skip(self, samples: int) -> list[RhythmEvent]:
        """Account for lost samples: up to 0.5 s count as silence, more ends the tempo."""
        if samples <= MAX_FILLED_LOSS_S * self._rate_hz:
            return self.feed(np.zeros(samples, dtype=np.float32))
        self._restart(self._start + self._fed + samples)
        return []

    def _event(self, kind: RhythmKind, frame: float, strength: float) -> RhythmEvent:
        t = self._start / self._rate_hz + (frame - DELAY_FRAMES) / FRAMES_PER_SECOND
        return RhythmEvent(kind, max(0.0, t), strength, self._tempo.bpm)
