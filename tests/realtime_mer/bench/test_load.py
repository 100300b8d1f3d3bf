"""The load that benchmarks make: what is sent, and what is made of the answers."""

from __future__ import annotations

import numpy as np
import pytest
from websockets.frames import Frame, Opcode

from realtime_mer.bench.raw_websocket import BINARY, RawWebSocket, masked_frame
from realtime_mer.bench.stream_load import Seen, send_live, spread, sum_up
from realtime_mer.bench.streams import _search, in_time
from realtime_mer.errors import UserError

LATE = {"p50": 1.0, "p95": 2.0, "p99": 3.0}


@pytest.mark.parametrize("size", [0, 3, 125, 126, 4096, 65_535, 65_536])
def test_a_frame_is_what_the_library_reads(size: int) -> None:
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


def test_texts_are_told_with_the_time_of_their_end() -> None:
    frames = [
        Frame(Opcode.TEXT, b"a" * 10),
        Frame(Opcode.PING, b"p"),
        Frame(Opcode.TEXT, b"b" * 300),
        Frame(Opcode.TEXT, b"c" * 70_000),
    ]
    data = b"".join(frame.serialize(mask=False) for frame in frames)
    one = RawWebSocket(None)  # type: ignore[arg-type]
    one.heard = [(1.0, data[:5]), (2.0, data[5:100]), (3.0, data[100:])]
    assert [(now, text[0], len(text)) for now, text in one.texts()] == [
        (2.0, "a", 10), (3.0, "b", 300), (3.0, "c", 70_000),
    ]  # fmt: skip


def test_blocks_are_sent_in_turn_at_their_times() -> None:
    streams = spread(4)
    told: list[tuple[int, int]] = []
    waited: list[float] = []
    send_live(streams, 0.05, 0.2, lambda i, block: told.append((i, block)), waited.append)
    for i, stream in enumerate(streams):
        mine = [block for stream_number, block in told if stream_number == i]
        assert mine == list(range(len(stream.sent)))
        assert (np.diff(stream.sent) > 0.0).all()
    assert all(left > 0.0 for left in waited)


def test_lateness_is_from_the_block_that_holds_the_last_sample() -> None:
    # Blocks of a quarter of a second at 8 Hz: the first hop ends with block 3.
    stream = Seen(0.0, sent=[float(i) for i in range(12)], heard=[(1.0, 3.5), (3.0, 11.25)])
    result = sum_up([stream], 8, 2, 0.0, 20.0)
    assert result["estimates"] == 2
    assert result["missed"] == 1
    assert result["worst_ms"] == 500.0
    assert sum_up([stream], 8, 2, 0.0, 4.0)["missed"] == 0
    with pytest.raises(UserError, match="no estimate came"):
        sum_up([stream], 8, 2, 15.0, 20.0)


def test_the_search_ends_between_what_held_and_what_did_not() -> None:
    rows = _search(lambda n: {"streams": n, "in_time": n <= 130}, (50, 100, 200, 400), 3)
    assert [row["streams"] for row in rows] == [50, 100, 125, 137, 150, 200]
    assert _search(lambda n: {"streams": n, "in_time": True}, (1, 2), 3)[-1]["streams"] == 2
    assert [r["streams"] for r in _search(lambda n: {"streams": n, "in_time": False}, (2,), 3)] == [
        1,
        2,
    ]


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
def test_a_level_holds_where_nothing_is_late_lost_or_slowed(change: dict[str, object]) -> None:
    good = {"missed": 0, "losses": {}, "notices": {}, "lateness_ms": LATE, "closed": 0}
    assert in_time(good)
    assert not in_time({**good, **change})
