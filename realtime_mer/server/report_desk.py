"""The report of a session for whoever asks over HTTP: heavy work, so one at a time, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass

from realtime_mer.clock import Clock
from realtime_mer.live import freed_memory
from realtime_mer.server.channel import Channel

# A request waits at most this long, less than an unfinished request may.
WAIT_S = 2.5
# A report serves everyone who asks for the same session within this time.
REUSE_S = 10.0
# After a report the machine rests as long as it took, so that reports take half its time at most.
MAX_REST_S = 30.0

ReportMaker = Callable[[Channel], str]
"""Makes the page of a report; raises UserError where there is nothing to report."""


@dataclass(slots=True, eq=False)
class _Job:
    session: str
    started_at: float
    ended: asyncio.Event
    ended_at: float = 0.0
    result: bytes | Exception = b""


class ReportDesk:
    """Makes reports in a thread. Call its methods in the event loop.

    The thread is not waited for when the server ends.

    Args:
        make: makes the page; runs in the thread.
        clock: the time source.
    """

    def __init__(self, make: ReportMaker, clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._job: _Job | None = None

    async def ask(self, channel: Channel) -> bytes | None:
        """Return the report of a session; None where it is not ready yet: ask again.

        Raises:
            UserError: there is nothing to report.
            Exception: of the maker.
        """
        job = self._job
        now = self._clock.monotonic()
        if job is None or (job.ended.is_set() and not self._reusable(job, channel, now)):
            if job is not None and now < job.ended_at + min(
                job.ended_at - job.started_at, MAX_REST_S
            ):
                return None
            job = self._job = self._start(channel, now)
        elif job.session != channel.session:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await job.ended.wait()
        if not job.ended.is_set():
            return None
        if isinstance(job.result, Exception):
            raise job.result
        return job.result

    def _reusable(self, job: _Job, channel: Channel, now: float) -> bool:
        fits = isinstance(job.result, bytes) and job.session == channel.session
        return fits and now < job.ended_at + REUSE_S

    def _start(self, channel: Channel, now: float) -> _Job:
        loop = asyncio.get_running_loop()
        job = _Job(channel.session, now, asyncio.Event())

        def end(result: bytes | Exception) -> None:
            job.result, job.ended_at = result, self._clock.monotonic()
            job.ended.set()

        def work() -> None:
            result: bytes | Exception
            # Everything waits for a full collection, which would look at each estimate of hours.
            gc.disable()
            try:
                result = self._make(channel).encode()
            except Exception as error:
                result = error
            finally:
                gc.enable()
                freed_memory.give_back()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(end, result)

        threading.Thread(target=work, name="report", daemon=True).start()
        return job
