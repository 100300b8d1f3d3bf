"""The tempo and the beats of an Ableton Link session (the extra `link`)."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import aalink

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.live.tempo_clock import beats_until

# The tempo of a session that nobody else is in. Whoever joins a session takes its tempo, so this is
# that of musicians who come later, until they change it.
FIRST_BPM = 120.0


class LinkClock(Closable):
    """Joins the Link session of the local network and follows it. Callable from any thread.

    It never sets the tempo and never starts or stops anything: the session belongs to the
    musicians. Link finds its peers by multicast (UDP 20808) on all network interfaces.

    Args:
        clock: the time source.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        # aalink wants a running event loop, and uses it only for what is not used here.
        with ThreadPoolExecutor(1) as thread:
            self._link: aalink.Link | None = thread.submit(asyncio.run, _new_link()).result()

    @property
    def peers(self) -> int:
        """Number of other programs in the session."""
        with self._lock:
            return 0 if self._link is None else int(self._link.num_peers)

    @property
    def bpm(self) -> float | None:
        """The tempo of the session in beats per minute; None without peers."""
        with self._lock:
            if self._link is None or not self._link.num_peers:
                return None
            return float(self._link.tempo)

    def seconds_to_beat(self, now_s: float, beats: int = 1) -> float | None:
        """See `TempoClock.seconds_to_beat`; multiples of `beats` are those of all peers."""
        with self._lock:
            if self._link is None or not self._link.num_peers:
                return None
            period_s = 60.0 / float(self._link.tempo)
            # Link keeps the phase within a quantum the same for all peers.
            self._link.quantum = float(beats)
            phase = float(self._link.phase)
            later = (now_s - self._clock.monotonic()) / period_s
        return beats_until(phase + later, beats) * period_s

    def close(self) -> None:
        """Leave the session."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.enabled = False


async def _new_link() -> aalink.Link:
    link = aalink.Link(FIRST_BPM)
    link.enabled = True
    return link
