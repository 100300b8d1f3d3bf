"""Divides the event loop's time and the server's places among addresses.

Nobody has a fixed number of connections or requests: hundreds of visitors may share one address.
While there is room and time for all, nobody is limited. When there is not, whoever uses the most
waits or gives way, and everybody else notices nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Protocol, TypeVar

from realtime_mer.clock import Clock
from realtime_mer.errors import UserError
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.server.ip_address import network_of
from realtime_mer.server.protocol import CloseCode
from realtime_mer.server.rate_limit import RateLimit

logger = logging.getLogger(__name__)

# What clients send may take this share of the event loop's time, in bursts of this length. The rest
# is for sending estimates, and for the threads that make them.
SHARE, BURST_S = 0.7, 0.02
# Use of the event loop's time is forgotten with this time constant.
MEMORY_S = 2.0
# Addresses whose use is remembered; beyond that the least recent is forgotten.
MAX_ADDRESSES = 4096
# Assumed cost of work that runs after its turn, in tasks of their own.
TASK_COST_S = 0.0003
# Connections that have not finished their handshake: a browser opens up to six at once.
MAX_PENDING, MIN_PENDING, PENDING_PER_VIEWER = 1000, 32, 6
# Files other than connections: the model, the input, a recording, pipes.
OTHER_FILES = 128
# Large messages that are received or wait, of all connections together.
MAX_LARGE_BYTES = 64 * 2**20
# So many of them at once are a burst, after which memory is given back.
BURST_BYTES = 8 * 2**20
# The log has at most one line of each kind in this time, so that a scanner cannot fill a disk.
LOG_PERIOD_S = 60.0


class Limit(StrEnum):
    """Why a connection was closed or not accepted."""

    CONTROL_FRAMES = "control_frames"
    FRAGMENTS = "fragments"
    REQUEST_SIZE = "request_size"
    MESSAGES = "messages"
    PENDING = "pending"
    VIEWERS = "viewers"
    SESSIONS = "sessions"
    FILES = "files"


def address_of(peer: object) -> str:
    """Return the address that limits apply to, see `network_of`; "local" without one.

    Args:
        peer: the peer's address as a socket or a transport returns it.
    """
    if not isinstance(peer, tuple) or not peer or not isinstance(peer[0], str):
        return "local"
    return network_of(peer[0])


class Holder(Protocol):
    """Something that takes a place.

    Attributes:
        address: from `address_of`.
        joined_at: when it took the place (`Clock.monotonic`).
    """

    @property
    def address(self) -> str: ...
    @property
    def joined_at(self) -> float: ...


HolderT = TypeVar("HolderT", bound=Holder)


def gives_way(holders: Iterable[HolderT], address: str) -> HolderT | None:
    """Return who gives its place to a newcomer: the newest of the address that holds the most.

    None if the newcomer's own address would then hold as many or more.
    """
    held: Tally[str] = Tally(holder.address for holder in holders)
    if not held:
        return None
    largest, count = held.most_common(1)[0]
    if held[address] + 1 >= count:
        return None
    own = [holder for holder in holders if holder.address == largest]
    return max(own, key=lambda holder: holder.joined_at)


class LargeHolder(Holder, Protocol):
    """A connection that may receive large messages."""

    def refuse(self, kind: Limit, code: int, reason: str) -> None: ...


class LargeMessages:
    """Bounds the memory of large messages: whoever holds the most of it gives way."""

    def __init__(self) -> None:
        self._held: dict[LargeHolder, int] = {}
        self.total = 0
        # The most since the last call of `burst_is_over`, and whether there was a burst before.
        self._peak, self._burst = 0, False

    def take(self, holder: LargeHolder, size: int) -> None:
        """Count bytes that a connection receives; close connections while that is too much."""
        self._held[holder] = self._held.get(holder, 0) + size
        self.total += size
        self._peak = max(self._peak, self.total)
        while self.total > MAX_LARGE_BYTES:
            by_address: Tally[str] = Tally()
            for other, held in self._held.items():
                by_address[other.address] += held
            largest = by_address.most_common(1)[0][0]
            own = [other for other in self._held if other.address == largest]
            leaving = max(own, key=lambda other: other.joined_at)
            self.forget(leaving)
            leaving.refuse(Limit.MESSAGES, CloseCode.TRY_AGAIN_LATER, "too many large messages")

    def burst_is_over(self) -> bool:
        """Return whether a burst has ended before the last call, and nothing like it came since."""
        peak, self._peak = self._peak, self.total
        if peak >= BURST_BYTES:
            self._burst = True
            return False
        over, self._burst = self._burst, False
        return over

    def release(self, holder: LargeHolder, size: int) -> None:
        """Count bytes that a connection no longer holds."""
        if holder in self._held:
            self._held[holder] -= size
            self.total -= size

    def forget(self, holder: LargeHolder) -> None:
        """Release all that a connection holds: it closes."""
        self.total -= self._held.pop(holder, 0)


class Refusals:
    """Counts refusals by kind, and logs at most one a minute of each kind.

    Args:
        stats: the server's counters.
        clock: the time source.
    """

    def __init__(self, stats: Stats, clock: Clock) -> None:
        self._stats = stats
        self._clock = clock
        self._logged: dict[str, RateLimit] = {}
        self.counts = dict.fromkeys(Limit, 0)

    def log(self, kind: str, line: str, *details: object) -> None:
        """Count a refusal, and log it unless one of its kind was logged just now."""
        self._stats.add(Counter.REFUSALS)
        limit = self._logged.get(kind)
        if limit is None:
            limit = self._logged[kind] = RateLimit(LOG_PERIOD_S, self._clock)
        if limit.allows(LOG_PERIOD_S):
            logger.warning(line, *details)

    def limited(self, kind: Limit, address: str, reason: str) -> None:
        """Count and log that a connection of an address was closed or not accepted."""
        self.counts[kind] += 1
        self.log(kind, "closed a connection of %s: %s", address, reason)


class Turns:
    """Divides the time that the event loop spends on what clients send.

    While the time suffices, all work is done at once. When it does not, work waits for its turn.
    The address that has used the least time lately comes first, so that a flood waits behind
    everybody else. Estimates are sent without a turn. Call all methods in the event loop's thread.

    Args:
        clock: the time source.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._budget = RateLimit(BURST_S / SHARE, clock)
        # Time used lately, and when that was; the least recently active address comes first.
        self._used: dict[str, tuple[float, float]] = {}
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        # Addresses with waiting work, by `_rank` and order of arrival.
        self._order: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def run(self, address: str, work: Callable[[], None]) -> bool:
        """Do work of an address at once, or in its turn; return whether it was done at once.

        `work` must not raise.
        """
        if not self._waiting and self._free:
            self._do(address, work)
            return True
        self.run_later(address, work)
        return False

    def run_later(self, address: str, work: Callable[[], None]) -> None:
        """Do work of an address in its next turn. `work` must not raise."""
        waiting = self._waiting.get(address)
        if waiting is None:
            waiting = self._waiting[address] = deque()
            self._queue(address)
        waiting.append(work)
        self._start_timer()

    async def wait(self, address: str, cost_s: float = TASK_COST_S) -> None:
        """Wait for the turn of work that follows in this task, and spend its assumed cost."""
        turn: asyncio.Future[None] | None = None

        def grant() -> None:
            self.spend(address, cost_s)
            if turn is not None and not turn.done():
                turn.set_result(None)

        if not self.run(address, grant):
            turn = asyncio.get_running_loop().create_future()
            await turn

    @contextlib.contextmanager
    def work(self, address: str) -> Iterator[None]:
        """Measure work that is done without a turn; it must not await."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self.spend(address, self._clock.monotonic() - began)

    def spend(self, address: str, seconds: float) -> None:
        """Record time of the event loop that an address has used."""
        now = self._clock.monotonic()
        self._budget.delay_s(seconds / SHARE)
        used_s, at = self._used.pop(address, (0.0, now))
        self._used[address] = (used_s * math.exp((at - now) / MEMORY_S) + seconds, now)
        if len(self._used) > MAX_ADDRESSES:
            del self._used[next(iter(self._used))]

    @property
    def _free(self) -> bool:
        return self._budget.delay_s(0.0) <= 0.0

    def _do(self, address: str, work: Callable[[], None]) -> None:
        with self.work(address):
            work()

    def _queue(self, address: str) -> None:
        heapq.heappush(self._order, (self._rank(address), next(self._numbers), address))

    def _rank(self, address: str) -> float:
        # The logarithm of the time used, as it was at time 0: comparable at any later time.
        used_s, at = self._used.get(address, (0.0, 0.0))
        return math.log(used_s) + at / MEMORY_S if used_s > 0.0 else -math.inf

    def _start_timer(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._budget.delay_s(0.0), self._serve)

    def _serve(self) -> None:
        self._timer = None
        while self._order and self._free:
            address = heapq.heappop(self._order)[2]
            waiting = self._waiting[address]
            try:
                self._do(address, waiting.popleft())
            except Exception:
                # A fault with one connection must not stop the others of its address.
                logger.exception("work for a client failed")
            if waiting:
                self._queue(address)
            else:
                del self._waiting[address]
        if self._order:
            self._start_timer()


def pending_connections(max_viewers: int) -> int:
    """Return how many connections may be in their handshake, and let the process open so many.

    Raises:
        UserError: the process may not open enough files for the viewers.
    """
    pending = max(MAX_PENDING, PENDING_PER_VIEWER * max_viewers)
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return pending
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return pending
    wanted = max_viewers + pending + OTHER_FILES
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    left = soft - max_viewers - OTHER_FILES
    if left < MIN_PENDING:
        most = soft - OTHER_FILES - MIN_PENDING
        advice = f"start with --max-viewers {most} or less, or raise" if most > 0 else "raise"
        raise UserError(
            f"{max_viewers} viewers need {max_viewers + OTHER_FILES + MIN_PENDING} open files, but "
            f"this process may open at most {soft}; {advice} the limit (ulimit -n)"
        )
    return min(pending, left)
