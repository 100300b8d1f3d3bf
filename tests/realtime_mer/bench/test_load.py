"""The load generators: frames, timing and summaries."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from websockets.frames import Frame, Opcode

from realtime_mer.bench.measurement import Measurement
from realtime_mer.bench.raw_websocket import BINARY, RawWebSocket, masked_frame
from realtime_mer.bench.stream_load import (
    StreamTimes,
    lateness_summary,
    random_phases,
    send_live,
)
from realtime_mer.bench.streams import _search, in_time, measure_streams
from realtime_mer.bench.viewers import delay_summary
from realtime_mer.errors import UserError

LATE = {"p50": 1.0, "p95": 2.0, "p99": 3.0}


@pytest.mark.parametrize("size", [0, 3, 125, 126, 4096, 65_535, 65_536])
def test_the_websocket_library_parses_a_masked_frame(size: int) -> None:
    payload = np.random.default_rng(0).bytes(size)
    data = bytearray(masked_frame(BINARY, payload))

    def read_exact(count: int):  # type: ignore[no-untyped-def]
        yield from ()
        taken = bytes(data[:count])
        del data[:count]
        return taken

    parsing = Frame.parse(read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame = done.value.value
    assert frame.opcode is Opcode.BINARY
    assert bytes(frame.data) == payload
    assert not data


def test_a_text_has_the_time_of_its_last_byte() -> None:
    frames = [
        Frame(Opcode.TEXT, b"a" * 10),
        Frame(Opcode.PING, b"p"),
        Frame(Opcode.TEXT, b"b" * 300),
        Frame(Opcode.TEXT, b"c" * 70_000),
    ]
    data = b"".join(frame.serialize(mask=False) for frame in frames)
    client = RawWebSocket(None)  # type: ignore[arg-type]
    client.received = [(1.0, data[:5]), (2.0, data[5:100]), (3.0, data[100:])]
    assert [(now, text[0], len(text)) for now, text in client.texts()] == [
        (2.0, "a", 10), (3.0, "b", 300), (3.0, "c", 70_000),
    ]  # fmt: skip


def test_blocks_are_sent_in_order_and_in_real_time() -> None:
    streams = random_phases(4)
    sent: list[tuple[int, int]] = []
    waited: list[float] = []
    send_live(streams, 0.05, 0.2, lambda i, block: sent.append((i, block)), waited.append)
    for i, stream in enumerate(streams):
        blocks = [block for index, block in sent if index == i]
        assert blocks == list(range(len(stream.sent)))
        assert (np.diff(stream.sent) > 0.0).all()
    assert all(left > 0.0 for left in waited)


def test_lateness_counts_from_the_block_with_the_last_sample() -> None:
    # Blocks of 0.25 s at 8 Hz: the first hop ends with block 3.
    stream = StreamTimes(0.0, [float(i) for i in range(12)], [(1.0, 3.5), (3.0, 11.25)])
    result = lateness_summary([stream], 8, 2, 0.0, 20.0)
    assert result["estimates"] == 2
    assert result["missed"] == 1
    assert result["worst_ms"] == 500.0
    assert lateness_summary([stream], 8, 2, 0.0, 4.0)["missed"] == 0
    with pytest.raises(UserError, match="no estimate arrived"):
        lateness_summary([stream], 8, 2, 15.0, 20.0)


def test_the_search_bisects_between_pass_and_failure() -> None:
    def tried(limit: int, levels: tuple[int, ...]) -> list[int]:
        rows = _search(lambda n: {"streams": n, "in_time": n <= limit}, levels, 3)
        return [row["streams"] for row in rows]

    assert tried(130, (50, 100, 200, 400)) == [50, 100, 200, 150, 125, 137]
    assert tried(9, (1, 2)) == [1, 2]
    assert tried(0, (2,)) == [2, 1]


def test_streams_stopped_in_the_first_level_have_both_kinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("realtime_mer.bench.streams._over_websockets", stopped)
    measurement = Measurement()
    with pytest.raises(KeyboardInterrupt):
        measure_streams(levels=(2,), inside_levels=(2,), measurement=measurement)
    assert (measurement.result["websockets"], measurement.result["inside"]) == ([], [])


@pytest.mark.parametrize(
    "change",
    [
        {"missed": 1},
        {"losses": {"dropped_samples": 5}},
        {"notices": {"slower": 1}},
        {"not_sent_samples": 1024},
        {"lateness_ms": {**LATE, "p99": 250.0}},
    ],
)
def test_a_level_passes_only_if_nothing_is_late_lost_or_slowed(change: dict[str, object]) -> None:
    good = {"missed": 0, "losses": {}, "notices": {}, "lateness_ms": LATE, "closed": 0}
    assert in_time(good)
    assert not in_time({**good, **change})


def estimates_at(times_s: list[tuple[float, float]]) -> RawWebSocket:
    """Return a viewer that received an estimate per (time stamp, time of arrival)."""
    viewer = RawWebSocket(None)  # type: ignore[arg-type]
    for seq, (stamp, arrival) in enumerate(times_s):
        utc = datetime.fromtimestamp(stamp, UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"type": "estimate", "seq": seq, "utc": utc}, separators=(",", ":"))
        viewer.received.append((arrival, Frame(Opcode.TEXT, text.encode()).serialize(mask=False)))
    return viewer


def test_delays_and_missed_updates_over_all_viewers() -> None:
    first = estimates_at([(10.0, 10.02), (11.0, 11.04), (12.0, 12.9)])
    second = estimates_at([(10.0, 10.06)])
    summary = delay_summary([first, second], 9.5, 12.5)
    # The update at 12.0 s lies in the last second and does not count.
    assert summary["updates"] == 2
    assert summary["missed"] == 1
    assert summary["worst_ms"] == pytest.approx(60.0, abs=0.1)
    assert summary["delays_ms"]["p50"] == pytest.approx(40.0, abs=0.1)
    with pytest.raises(UserError, match="no update arrived"):
        delay_summary([first, second], 11.5, 12.5)
