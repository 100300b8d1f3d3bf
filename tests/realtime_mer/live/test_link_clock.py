"""A real Link session on this machine, where its network lets peers find each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from live_support import wait_for

aalink = pytest.importorskip("aalink", reason="the extra `link` is not installed")

from realtime_mer.live.link_clock import LinkClock  # noqa: E402

JOIN_S = 10.0


async def _peer(bpm: float) -> Any:
    link = aalink.Link(bpm)
    link.enabled = True
    return link


@pytest.fixture
def peer() -> Iterator[Any]:
    """A musician at 97 beats per minute, whose session is older than ours."""
    link = asyncio.run(_peer(97.0))
    wait_for(lambda: link.beat >= 2.0, "a second of the session")
    yield link
    link.enabled = False


def join(clock: LinkClock) -> None:
    deadline = time.monotonic() + JOIN_S
    while not clock.peers:
        if time.monotonic() > deadline:
            pytest.skip("two Link peers do not find each other by multicast on this machine")
        time.sleep(0.01)


def test_it_takes_the_tempo_and_the_phase_of_the_others(peer: Any) -> None:
    with LinkClock() as clock:
        join(clock)
        wait_for(lambda: clock.bpm == pytest.approx(97.0, abs=0.01), "the tempo of the peer")
        assert peer.tempo == pytest.approx(97.0, abs=0.01)
        peer.tempo = 133.0
        wait_for(lambda: clock.bpm == pytest.approx(133.0, abs=0.01), "the new tempo")
        bar_s = 4 * 60.0 / 133.0
        peer.quantum = 4.0

        def distance_s() -> float:
            """Return how far our next bar is from that of the peer."""
            before = time.monotonic()
            until = clock.seconds_to_beat(before, 4)
            assert until is not None
            apart: float = until - (4.0 - peer.phase) * 60.0 / 133.0
            return abs((apart + bar_s / 2) % bar_s - bar_s / 2)

        # On a busy machine time passes between the two readings.
        wait_for(lambda: distance_s() < 0.005, "the same bar")


def test_alone_no_tempo_is_known_and_a_closed_clock_has_left(peer: Any) -> None:
    clock = LinkClock()
    join(clock)
    clock.close()
    clock.close()
    assert clock.peers == 0
    assert clock.bpm is None
    assert clock.seconds_to_beat(time.monotonic()) is None
    wait_for(lambda: peer.num_peers == 0, "the end of our part")
