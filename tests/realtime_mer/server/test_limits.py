"""Limits by address: who waits, who gives way, and how many connections there may be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import ManualClock

from realtime_mer.live.stats import Counter, Stats
from realtime_mer.server import audio_connection, limits, viewer
from realtime_mer.server.http import MAX_REQUEST_BYTES
from realtime_mer.server.limits import (
    BURST_S,
    MAX_ADDRESSES,
    LargeMessages,
    Limit,
    Refusals,
    Turns,
    address_of,
    gives_way,
)
from realtime_mer.server.server import OPEN_TIMEOUT_S


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 4000), "192.0.2.7"),
        (("::ffff:192.0.2.7", 4000, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 4000, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 4000, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 4000, 0, 2), "fe80::/64"),
        ("/run/socket", "local"),
        (None, "local"),
    ],
)
def test_address(peer: object, address: str) -> None:
    assert address_of(peer) == address


@dataclass(eq=False)
class Place:
    """A connection of an address that takes a place."""

    address: str
    joined_at: float
    refused: list[Limit] = field(default_factory=list)

    def refuse(self, kind: Limit, code: int, reason: str) -> None:
        self.refused.append(kind)


def test_the_newest_of_the_largest_holder_gives_way() -> None:
    many = [Place("many", float(n)) for n in range(4)]
    few = [Place("few", 10.0 + n) for n in range(2)]
    assert gives_way([*many, *few], "new") is many[3]
    assert gives_way([*many, *few], "few") is many[3]
    assert gives_way([*many[:3], *few], "few") is None
    assert gives_way([*many, *few], "many") is None
    assert gives_way([Place("a", 0.0), Place("b", 1.0)], "c") is None
    assert gives_way([], "c") is None


def test_two_addresses_do_not_chase_each_other_away() -> None:
    """Whoever gave way for another address would not make that one give way in turn."""
    for held in range(1, 6):
        for own in range(5):
            places = [Place("a", float(n)) for n in range(held)]
            places += [Place("b", float(n)) for n in range(own)]
            leaving = gives_way(places, "b")
            if leaving is None or leaving.address == "b":
                continue
            places.remove(leaving)
            places.append(Place("b", 99.0))
            back = gives_way(places, "a")
            assert back is None or back.address != "b", (held, own)


def test_work_is_done_at_once_while_there_is_time_and_then_in_turn() -> None:
    clock = ManualClock()
    done: list[str] = []

    def work(name: str, seconds: float) -> None:
        clock.advance(seconds)
        done.append(name)

    async def main() -> None:
        turns = Turns(clock)
        assert turns.run("flood", lambda: work("first", 2 * BURST_S))
        for n in range(3):
            assert not turns.run("flood", lambda n=n: work(f"flood {n}", 2 * BURST_S))  # type: ignore[misc]
        assert not turns.run("honest", lambda: work("honest", 0.001))
        waiter = asyncio.create_task(turns.wait("other"))
        await asyncio.sleep(0)
        while len(done) < 5 or not waiter.done():
            clock.advance(1.0)
            await asyncio.sleep(0.001)
        clock.advance(1.0)
        assert turns.run("flood", lambda: work("last", 0.001))

    asyncio.run(asyncio.wait_for(main(), 60.0))
    # The flood's work waits behind that of everybody else.
    assert done == ["first", "honest", "flood 0", "flood 1", "flood 2", "last"]


def test_use_is_forgotten_and_its_memory_bounded() -> None:
    clock = ManualClock()
    done: list[str] = []

    async def main() -> None:
        turns = Turns(clock)
        turns.spend("long ago", 5.0)
        clock.advance(60.0)
        turns.spend("lately", 0.1)
        for name in ("lately", "long ago"):
            assert not turns.run(name, lambda name=name: done.append(name))  # type: ignore[misc]
        while len(done) < 2:
            clock.advance(1.0)
            await asyncio.sleep(0.001)
        for n in range(2 * MAX_ADDRESSES):
            turns.spend(f"address {n}", 0.001)
        assert len(turns._used) == MAX_ADDRESSES

    asyncio.run(asyncio.wait_for(main(), 60.0))
    assert done == ["long ago", "lately"]


def test_a_waiter_that_is_cancelled_leaves_the_others_their_turns() -> None:
    clock = ManualClock()

    async def main() -> None:
        turns = Turns(clock)
        turns.spend("a", 1.0)
        first, second = (asyncio.create_task(turns.wait("a")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        while not second.done():
            clock.advance(1.0)
            await asyncio.sleep(0.001)
        assert first.cancelled()

    asyncio.run(asyncio.wait_for(main(), 60.0))


def test_whoever_holds_the_most_large_messages_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LARGE_BYTES", 100)
    large = LargeMessages()
    flood = [Place("flood", float(n)) for n in range(3)]
    honest = Place("honest", 10.0)
    for place in flood:
        large.take(place, 30)
    large.take(honest, 20)
    assert [place.refused for place in [*flood, honest]] == [[], [], [Limit.MESSAGES], []]
    assert large.total == 80
    large.release(flood[0], 10)
    assert large.total == 70
    for place in (*flood, honest):
        large.forget(place)
        large.release(place, 5)
    assert large.total == 0


def test_the_end_of_a_burst_of_large_messages_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BURST_BYTES", 100)
    large, place = LargeMessages(), Place("flood", 0.0)
    large.take(place, 99)
    large.release(place, 99)
    assert not large.burst_is_over()
    for _ in range(2):
        large.take(place, 100)
        assert not large.burst_is_over()
        large.release(place, 100)
        assert not large.burst_is_over()  # it was going on since the last call
        assert large.burst_is_over()
        assert not large.burst_is_over()


def test_refusals_are_counted_and_logged_once_a_minute_of_each_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, stats = ManualClock(), Stats()
    refusals = Refusals(stats, clock)
    for kind in (Limit.FRAGMENTS, Limit.FRAGMENTS, Limit.VIEWERS):
        refusals.limited(kind, "192.0.2.7", "too many")
    assert len(caplog.records) == 2
    clock.advance(61.0)
    refusals.limited(Limit.FRAGMENTS, "192.0.2.7", "too many")
    assert len(caplog.records) == 3
    assert refusals.counts[Limit.FRAGMENTS] == 3
    assert stats[Counter.REFUSALS] == 4


def test_the_document_has_the_limits_of_the_code() -> None:
    text = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = text.partition("## Limits")[2].partition("## ")[0]
    frames, size = audio_connection, MAX_REQUEST_BYTES
    for words in (
        f"| {limits.SHARE * 100:.0f} % |",
        f"| {limits.PENDING_PER_VIEWER} a viewer, at least {limits.MAX_PENDING},",
        f"| a handshake | {OPEN_TIMEOUT_S:.0f} s |",
        f"| a request | {size} bytes |",
        f"| {frames.CONTROLS_PER_SECOND} a second, burst {frames.CONTROL_BURST} |",
        f"| {frames.FRAGMENTS_PER_SECOND} a second, burst {frames.FRAGMENT_BURST} |",
        f"| {viewer.TEXTS_PER_SECOND} a second, burst {viewer.TEXT_BURST} |",
        f"| {viewer.ERRORS_PER_SECOND} a second, burst {viewer.ERROR_BURST} |",
        f"a delay, and 1008 after {viewer.MAX_PENALTIES} |",
        f"burst {viewer.AUDIO_BURST_S:.0f} s; beyond that",
        f"above {frames.MAX_DIRECT_BYTES // 1024} KiB",
        f"| {limits.MAX_LARGE_BYTES // 2**20} MiB for all",
    ):
        assert words in table, words


def pending_with(soft: int, hard: int, viewers: int) -> subprocess.CompletedProcess[str]:
    """Ask in a process of its own, with its own limits of open files."""
    pytest.importorskip("resource", reason="this system has no limit of open files")
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "from realtime_mer.errors import UserError\n"
        "from realtime_mer.server.limits import pending_connections\n"
        "try:\n"
        f"    pending = pending_connections({viewers})\n"
        "    print(pending, resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )


@pytest.mark.parametrize(
    ("soft", "hard", "viewers", "pending", "files"),
    [(256, 4000, 200, 1200, 200 + 1200 + 128), (256, 600, 200, 600 - 200 - 128, 600)],
)
def test_the_limit_of_open_files_is_raised(
    soft: int, hard: int, viewers: int, pending: int, files: int
) -> None:
    assert pending_with(soft, hard, viewers).stdout.split() == [str(pending), str(files)]


def test_too_few_open_files_for_the_viewers_are_refused_with_a_remedy() -> None:
    said = pending_with(256, 300, 200).stdout
    assert "200 viewers need 360 open files" in said
    assert "at most 300; start with --max-viewers 140 or less" in said
    assert pending_with(256, 300, 140).stdout.split() == ["32", "300"]
