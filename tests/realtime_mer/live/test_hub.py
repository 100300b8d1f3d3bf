"""The hub: what each subscription keeps, and that the publisher never waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support import ESTIMATE

from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.pulse import Pulse
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import MAX_MARKS, MAX_PULSES, MAX_REMARKS, End, Hub, Item, Notice


def estimate(seq: int) -> Estimate:
    return replace(ESTIMATE, seq=seq)


def publish(hub: Hub, *seqs: int) -> None:
    for seq in seqs:
        hub.publish(estimate(seq))


def seqs(items: Sequence[Item]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Estimate)]


def test_latest_slot_keeps_the_newest_estimate_and_counts_the_lost_ones() -> None:
    hub = Hub()
    slot = hub.subscribe_latest()
    publish(hub, 0, 1, 2)
    assert slot.take() == [estimate(2)]
    assert slot.lost == 2
    assert slot.take() == []
    publish(hub, 3)
    assert slot.take() == [estimate(3)]
    assert slot.lost == 2


def test_estimates_never_replace_notices_or_the_end() -> None:
    hub = Hub()
    slot = hub.subscribe_latest()
    hub.publish(Notice("stalled", "no audio"))
    publish(hub, *range(50))
    hub.publish(End("over"))
    assert slot.take() == [Notice("stalled", "no audio"), estimate(49), End("over")]


def test_the_slot_keeps_the_newest_16_notices() -> None:
    hub = Hub()
    slot = hub.subscribe_latest()
    for number in range(1000):
        hub.publish(Notice("stalled", str(number)))
    assert [item.message for item in slot.take() if isinstance(item, Notice)] == [
        str(number) for number in range(984, 1000)
    ]


def test_bounded_queue_drops_the_oldest_and_counts_the_lost_ones() -> None:
    hub = Hub()
    queue = hub.subscribe_bounded(3)
    publish(hub, *range(5))
    assert seqs(queue.take()) == [2, 3, 4]
    assert queue.lost == 2
    with pytest.raises(ValueError, match="the capacity of the queue is 0"):
        hub.subscribe_bounded(0)


def test_lossless_queue_keeps_everything_in_order() -> None:
    hub = Hub()
    queue = hub.subscribe_lossless()
    publish(hub, *range(2000))
    assert seqs(queue.take()) == list(range(2000))
    assert queue.lost == 0


def test_wake_is_called_once_until_the_subscriber_takes() -> None:
    hub = Hub()
    calls: list[int] = []
    slot = hub.subscribe_latest(lambda: calls.append(1))
    publish(hub, 0, 1, 2)
    assert len(calls) == 1
    slot.take()
    publish(hub, 3)
    assert len(calls) == 2


def test_wait_returns_what_another_thread_publishes() -> None:
    hub = Hub()
    queue = hub.subscribe_lossless()
    publisher = threading.Thread(target=publish, args=(hub, 7))
    publisher.start()
    assert seqs(queue.wait(10.0)) == [7]
    publisher.join()
    assert queue.wait(0.0) == []


def test_a_subscriber_that_never_takes_does_not_affect_others() -> None:
    hub = Hub()
    stuck = hub.subscribe_latest()
    recorder = hub.subscribe_lossless()
    publish(hub, *range(20_000))
    assert len(recorder.take()) == 20_000
    assert seqs(stuck.take()) == [19_999]
    assert stuck.lost == 19_999


def test_pulses_go_only_to_those_that_want_them() -> None:
    hub, wakes = Hub(), []
    items = hub.subscribe_lossless()
    assert not hub.wants_pulses
    queue = hub.subscribe_pulses(lambda: wakes.append(1))
    assert hub.wants_pulses
    assert hub.subscribers == 1
    pulses = [Pulse(0.02 * k, -20.0, (0.0,) * 6, 0.0) for k in range(1, 61)]
    hub.publish_pulses(pulses[:2])
    hub.publish_pulses(pulses[2:3])
    assert len(wakes) == 2
    assert queue.take() == pulses[:3]
    assert queue.take() == []
    hub.publish_pulses(pulses)
    assert queue.take() == pulses[-MAX_PULSES:]
    hub.unsubscribe_pulses(queue)
    assert not hub.wants_pulses
    hub.publish_pulses(pulses)
    assert queue.take() == []
    assert items.take() == []
    assert hub.history() == ([], True)


def test_history_is_the_last_ten_minutes() -> None:
    hub = Hub(hop_s=0.5)
    publish(hub, *range(1500))
    kept, complete = hub.history()
    assert seqs(kept) == list(range(300, 1500))
    assert complete
    assert hub.latest == estimate(1499)


@pytest.mark.parametrize(
    ("since", "limit", "expected", "complete"),
    [
        (-1, None, [5, 6, 7, 8, 9], True),
        (6, None, [7, 8, 9], True),
        (4, None, [5, 6, 7, 8, 9], True),
        (3, None, [5, 6, 7, 8, 9], False),
        (9, None, [], True),
        (100, None, [], True),
        (6, 2, [7, 8], True),
        (-1, 2, [5, 6], True),
    ],
)
def test_history_since(since: int, limit: int | None, expected: list[int], complete: bool) -> None:
    hub = Hub(hop_s=1.0, history_s=5.0)
    publish(hub, *range(10))
    estimates, all_there = hub.history(since, limit)
    assert ([e.seq for e in estimates], all_there) == (expected, complete)


def test_an_empty_history() -> None:
    assert Hub().history() == ([], True)
    assert Hub().latest is None
    assert Hub().ended is None


def test_the_end_is_stored() -> None:
    hub = Hub()
    hub.publish(End("over"))
    assert hub.ended == End("over")


def test_no_items_after_unsubscribing() -> None:
    hub = Hub()
    slot = hub.subscribe_latest()
    assert hub.subscribers == 1
    hub.unsubscribe(slot)
    hub.unsubscribe(slot)
    publish(hub, 0)
    assert slot.take() == []
    assert hub.subscribers == 0


def test_publishing_while_others_subscribe_and_unsubscribe() -> None:
    hub = Hub()
    steady = hub.subscribe_lossless()
    stop = threading.Event()

    def subscribe_and_unsubscribe() -> None:
        while not stop.is_set():
            hub.unsubscribe(hub.subscribe_latest())

    threads = [threading.Thread(target=subscribe_and_unsubscribe) for _ in range(3)]
    for thread in threads:
        thread.start()
    publish(hub, *range(2000))
    stop.set()
    for thread in threads:
        thread.join()
    assert seqs(steady.take()) == list(range(2000))
    assert hub.subscribers == 1


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_marker_is_made_at_the_newest_estimate_or_at_an_earlier_moment() -> None:
    hub = Hub()
    assert hub.mark("nobody plays yet", NOW, 3.0).t == 0.0
    hub.publish(replace(ESTIMATE, seq=0, t=20.0))
    assert hub.mark("opens eyes", NOW) == Marker(20.0, "2026-01-02T03:04:05.000Z", "opens eyes")
    earlier = hub.mark("smiles", NOW, 15.5)
    assert earlier == Marker(15.5, "2026-01-02T03:04:00.500Z", "smiles")
    # A page that is ahead, as after a restart of the server, cannot mark the future.
    assert hub.mark("leans back", NOW, 999.0).t == 20.0
    with pytest.raises(UserError, match="the marker has no text"):
        hub.mark("  ", NOW)
    hub.publish(End("over"))
    with pytest.raises(UserError, match="the session has ended"):
        hub.mark("too late", NOW)


def test_events_and_markers_are_stored_as_long_as_the_estimates() -> None:
    hub = Hub(history_s=60.0)
    event = Event(EventKind.RISE, 1.0, 2.0, ESTIMATE.utc, 0.5)
    hub.publish(replace(ESTIMATE, seq=0, t=2.0))
    hub.publish(event)
    hub.publish(replace(ESTIMATE, seq=1, t=3.0))
    marker = hub.mark("opens eyes", NOW)
    assert hub.remarks() == [event, marker]
    assert hub.remarks(0) == [event, marker]
    assert hub.remarks(1) == [marker]  # what was published before is known already
    hub.publish(replace(ESTIMATE, seq=2, t=62.0))
    assert hub.remarks() == [marker]
    hub.publish(replace(ESTIMATE, seq=3, t=64.0))
    assert hub.remarks() == []


def test_a_flood_of_markers_is_refused() -> None:
    hub = Hub()
    for number in range(MAX_MARKS):
        hub.mark(str(number), NOW + timedelta(seconds=0.1 * number))
    with pytest.raises(UserError, match=r"20 markers within 10 s.*again"):
        hub.mark("one more", NOW + timedelta(seconds=9.9))
    assert len(hub.remarks()) == MAX_MARKS
    hub.mark("later", NOW + timedelta(seconds=10.0))
    hub.mark("the clock was set back", NOW - timedelta(hours=1))


def test_the_newest_500_remarks_are_stored() -> None:
    hub = Hub()
    for number in range(MAX_REMARKS + 10):
        hub.mark(str(number), NOW + timedelta(seconds=number))
    texts = [each.text for each in hub.remarks() if isinstance(each, Marker)]
    assert texts == [str(number) for number in range(10, MAX_REMARKS + 10)]
