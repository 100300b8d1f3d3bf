"""The list of all streams of a server, once a second to the viewers that asked for it."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from realtime_mer.clock import Clock
from realtime_mer.live.session_pool import SessionPool
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.server import protocol
from realtime_mer.server.channel import Channel, EncodedMessage

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
MAX_LISTED = 64
"""Streams of clients in a list: the newest ones, which bounds the message to some 60 kB."""
# Whoever asks anew gets a list of this age without another being made.
_MAX_AGE_S = PERIOD_S / 2


class ListViewer(Protocol):
    """What the list needs of a viewer."""

    def offer_passing(self, message: EncodedMessage) -> bool: ...


class SessionList:
    """Tells viewers which streams there are. Each list is made once for all viewers.

    Its task runs in the event loop, and only while somebody wants the list.

    Args:
        own: the server's own channel, which is always listed first.
        pool: has the streams of clients; private ones are not listed.
        stats: counters of the server.
        clock: the time source.
    """

    def __init__(self, own: Channel, pool: SessionPool, *, stats: Stats, clock: Clock) -> None:
        self._own = own
        self._pool = pool
        self._stats = stats
        self._clock = clock
        self._started_at = clock.monotonic()
        self._viewers: dict[ListViewer, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._newest: tuple[float, EncodedMessage] | None = None

    def add(self, viewer: ListViewer) -> None:
        """Send a viewer the list from now on."""
        self._viewers[viewer] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def remove(self, viewer: ListViewer) -> None:
        """Send a viewer no more lists; do nothing if it gets none."""
        self._viewers.pop(viewer, None)
        if not self._viewers:
            self.close()

    def close(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def newest(self) -> EncodedMessage:
        """Return the list of now, or one that was made a moment ago."""
        now = self._clock.monotonic()
        if self._newest is None or now - self._newest[0] > _MAX_AGE_S:
            self._newest = now, EncodedMessage.from_text(protocol.dump(self._message(now)))
        return self._newest[1]

    def _message(self, now: float) -> dict[str, object]:
        clients = self._pool.listed()
        listed = [
            protocol.listed_session(
                self._own.session,
                self._own.info,
                own=True,
                uptime_s=now - self._started_at,
                estimate=self._own.hub.latest,
                ended=self._own.hub.ended,
            )
        ]
        listed += [
            protocol.listed_session(
                client.session,
                client.info,
                own=False,
                uptime_s=now - client.opened_at,
                estimate=client.hub.latest,
            )
            for client in reversed(clients[-MAX_LISTED:])
        ]
        return protocol.sessions(listed, total=1 + len(clients))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                message = self.newest()
                sent = sum([viewer.offer_passing(message) for viewer in tuple(self._viewers)])
            except Exception:
                # Watching must not end with one list.
                logger.exception("the list of the sessions failed")
                continue
            self._stats.add(Counter.MESSAGES_OUT, sent)
            self._stats.add(Counter.BYTES_OUT, sent * message.size)
