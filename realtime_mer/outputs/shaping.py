"""Shapes estimates for one output."""

from __future__ import annotations

from collections.abc import Callable

from realtime_mer.core.events import Event, Pulse
from realtime_mer.core.types import Estimate
from realtime_mer.live.show import ControlState
from realtime_mer.outputs.output import Frame, OutputSettings


class Shaper:
    """Turns estimates into frames. Used by one thread.

    Args:
        settings: of the output.
        hop_s: seconds between estimates.
        control: returns what was set by hand for this output.
    """

    def __init__(
        self,
        settings: OutputSettings,
        *,
        hop_s: float,
        control: Callable[[], ControlState] = ControlState,
    ) -> None:
        self.settings = settings
        self.hop_s = hop_s
        self._control = control
        self._latest: Estimate | None = None
        self._bpm: float | None = None

    @property
    def muted(self) -> bool:
        """Whether nothing is to be sent."""
        return self._control().mute

    def add(self, estimate: Estimate, now_s: float) -> None:
        """Take in the next estimate at a monotonic time in seconds."""
        self._latest = estimate

    def add_event(self, event: Event | Pulse) -> None:
        """Take in a change of the music, an onset or a beat."""
        if isinstance(event, Pulse):
            self._bpm = event.bpm

    def frame(self, now_s: float) -> Frame | None:
        """Return the values at a monotonic time; None before the first estimate and when muted."""
        latest = self._latest
        if latest is None:
            return None
        values = latest.scaled or latest
        return Frame(
            t=latest.t,
            valence=(values.valence + 1) / 2,
            arousal=(values.arousal + 1) / 2,
            level=min(1.0, max(0.0, 1.0 + latest.level_db / 60.0)),
            valence_width=(values.valence_high - values.valence_low) / 2,
            arousal_width=(values.arousal_high - values.arousal_low) / 2,
            mood=latest.mood,
            state=latest.state,
            color=(1.0, 1.0, 1.0),
            dimmer=1.0,
            bpm=self._bpm,
        )

    def last(self) -> Frame | None:
        """Return what is sent at the end; None to leave the receiver as it is."""
        return None
