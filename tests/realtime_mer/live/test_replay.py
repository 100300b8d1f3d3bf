from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from live_support import wait_for
from support import ESTIMATE, ManualClock

from realtime_mer.clock import SystemClock
from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.live.hub import STOPPED, End, Hub, Item, LosslessQueue, Notice
from realtime_mer.live.replay import (
    RecordedSession,
    Replay,
    ReplayItem,
    recorded_input,
)


def estimates(*moods: str) -> Iterator[Estimate]:
    for seq, mood in enumerate(moods):
        yield replace(ESTIMATE, seq=seq, t=seq + 1.0, mood=mood, state=State.TRACKING)


def ended(subscription: LosslessQueue) -> list[Item]:
    """All items up to the end."""
    items: list[Item] = []

    def has_ended() -> bool:
        items.extend(subscription.take())
        return bool(items) and isinstance(items[-1], End)

    wait_for(has_ended, "the replay ends")
    return items


def test_all_is_published_at_the_pace_of_the_recording() -> None:
    hub, clock = Hub(), SystemClock()
    subscription = hub.subscribe_lossless()
    started = clock.monotonic()
    with Replay(estimates(*["calm"] * 5), hub, speed=20.0) as replay:
        replay.start()
        items = ended(subscription)
    assert clock.monotonic() - started >= 4 / 20
    assert [item.seq for item in items if isinstance(item, Estimate)] == [0, 1, 2, 3, 4]
    assert items[-1] == End("the recording has ended")
    assert replay.error is None


def test_the_first_estimate_comes_at_once_and_the_next_in_time() -> None:
    hub, clock = Hub(), ManualClock()
    with Replay(estimates("calm", "calm"), hub, clock=clock) as replay:
        replay.start()
        wait_for(lambda: hub.latest is not None, "the first estimate")
        assert hub.latest is not None
        assert hub.latest.seq == 0
    # It is stopped while it waits for the second.
    assert hub.ended == End(STOPPED)
    assert hub.latest.seq == 0
    replay.close()


def test_a_bad_row_ends_the_replay() -> None:
    def broken() -> Iterator[Estimate]:
        yield from estimates("calm")
        raise UserError("line 2 is no row of a recording")

    hub = Hub()
    subscription = hub.subscribe_lossless()
    with Replay(broken(), hub) as replay:
        replay.start()
        assert ended(subscription)[-1] == End("line 2 is no row of a recording")
    assert str(replay.error) == "line 2 is no row of a recording"


def test_a_replay_that_was_never_started_can_be_closed() -> None:
    Replay(estimates("calm"), Hub()).close()


def test_what_was_recorded_beside_the_estimates_comes_in_order() -> None:
    first, second = estimates("calm", "calm")
    event = Event(EventKind.RISE, 1.0, 2.0, first.utc, 0.5)
    marker = Marker(1.5, first.utc, "opens eyes")
    notice = Notice("input_lost", "the microphone is gone")
    items: list[ReplayItem] = [first, notice, marker, second, event, End("the file has ended")]
    hub = Hub()
    subscription = hub.subscribe_lossless()
    with Replay(items, hub, speed=1000.0) as replay:
        replay.start()
        found = ended(subscription)
    assert found == [*items[:-1], End("the recording has ended: the file has ended")]
    assert hub.remarks() == [marker, event]


def test_the_end_of_a_part_is_not_the_end() -> None:
    first, second = estimates("calm", "calm")
    hub = Hub()
    with Replay([first, End("power failure"), second, End(STOPPED)], hub, speed=1000.0) as replay:
        replay.start()
        wait_for(lambda: replay.ended, "the replay ends")
    # Not "stopped", with which a server says that it stops itself.
    assert hub.ended == End("the recording has ended")


def test_losses_of_all_runs_add_up() -> None:
    first, second = estimates("calm", "calm")
    session = RecordedSession(
        info=recorded_input("evening", 48_000, 2), model={}, hop_s=1.0, window_s=10.0,
        coverage=0.8, value_range="raw",
    )  # fmt: skip
    losses = ({"overflows": 2, "dropped_samples": 48_000}, {"overflows": 3}, {"overflows": 1})
    items: list[ReplayItem] = [first, *losses, {"of a later version": 7}, second]
    with Replay(items, Hub(), session=session, speed=1000.0) as replay:
        replay.start()
        wait_for(lambda: replay.ended, "the replay ends")
    assert replay.stats.losses()["overflows"] == 4  # 3, and 1 in a run that began after it
    assert replay.stats.loss_text() == "1.0 s of audio missing, overflows 4"
