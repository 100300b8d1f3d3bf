"""Compares how much audio a live input delivers with the time that passes."""

from __future__ import annotations

_GAP_S = 1.0
"""A pause between blocks that is longer by this than their audio is a gap, not jitter."""
_BACKLOG_S = 1.0  # how long a device may take to deliver what it has kept during a gap
_PERIOD_S = 15.0
_SLOW, _FULL = 0.9, 0.97  # seconds of audio a second
_PAUSE_S = 5.0  # a longer one is told as a stall


class Reception:
    """What a live input still owes: the time in which it delivered nothing.

    During a gap (the program was stopped, the network hung), a device loses the audio that it
    cannot keep. A connection brings all audio later, and stays late; that is lost with the
    connection, because a new one starts in the present.

    Args:
        now: the time (`Clock.monotonic`).
        passes: see `Input.passes`; nothing else owes anything.
        is_device: whether gaps are lost at once.

    Attributes:
        heard_until: when the last sample arrived (`Clock.monotonic`).
    """

    def __init__(self, now: float, *, passes: bool, is_device: bool) -> None:
        self.heard_until = now
        self._passes = passes
        self._is_device = is_device
        self._has_begun = False  # a device may take seconds to start
        self._owed_s = 0.0
        self._settles_at = 0.0
        self._rate = _Rate()

    def hear(self, audio_s: float, arrived_at: float, *, waited_s: float) -> float:
        """Note a block; return the seconds of audio that turn out to be lost before it.

        Args:
            audio_s: length of the block and of what was counted as lost before it.
            arrived_at: when its last sample arrived.
            waited_s: how long the reader waited for it.
        """
        late_s = arrived_at - self.heard_until - audio_s
        self.heard_until = arrived_at
        if not self._has_begun or late_s >= _PAUSE_S:
            self._rate = _Rate()
        else:
            self._rate.add(audio_s, audio_s + late_s, waited_s)
        if not self._passes or not self._has_begun:
            self._has_begun = True
            return 0.0
        if not self._owed_s:
            if late_s < _GAP_S:
                return 0.0
            self._settles_at = arrived_at + _BACKLOG_S
        self._owed_s = max(0.0, self._owed_s + late_s)
        return self.lose() if self._is_device and arrived_at >= self._settles_at else 0.0

    def lose(self) -> float:
        """Return what the input owes, in seconds; it is lost, and no longer owed."""
        owed_s, self._owed_s = self._owed_s, 0.0
        return owed_s

    def slow_rate(self) -> float | None:
        """Return the seconds of audio a second of an input that has just become too slow."""
        return self._rate.take_news()


class _Rate:
    """How many seconds of audio arrive in a second; slow is what is slow for two periods."""

    def __init__(self) -> None:
        self._audio_s = self._passed_s = self._waited_s = 0.0
        self._slow_periods = 0
        self._news: float | None = None

    def add(self, audio_s: float, passed_s: float, waited_s: float) -> None:
        self._audio_s += audio_s
        self._passed_s += passed_s
        self._waited_s += waited_s
        if self._passed_s < _PERIOD_S:
            return
        rate = self._audio_s / self._passed_s
        # Otherwise the reader is slow, and not the input.
        is_waited_for = self._waited_s > 0.5 * (self._passed_s - self._audio_s)
        if rate < _SLOW and is_waited_for:
            self._slow_periods += 1
            self._news = rate if self._slow_periods == 2 else None
        elif rate > _FULL:
            self._slow_periods = 0
        self._audio_s = self._passed_s = self._waited_s = 0.0

    def take_news(self) -> float | None:
        news, self._news = self._news, None
        return news
