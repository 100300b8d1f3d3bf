"""A card that fails while a server computes several streams: the processor goes on at once."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from card_support import SimulatedCard
from live_support import (
    TIMEOUT_S,
    HangingSource,
    RunningServer,
    receive,
    receive_kind,
    running_server,
)
from mer_engine import Engine
from mer_engine.backends import own_thread
from mer_engine.backends.by_batch import ByBatchEngine
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.own_thread import OwnThreadEngine
from mer_engine.engine import Inference, shipped_model
from mer_engine.errors import BackendError
from numpy.typing import NDArray
from support import ManualClock, blocks, music
from websockets.sync.client import ClientConnection

from realtime_mer.audio.format import AudioFormat
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.session_pool import SessionPool
from realtime_mer.live.stats import Counter

RATE = 16_000
HOP_S = 1.0
CONFIG = PipelineConfig(hop_s=HOP_S)
STREAMS = 3
HOPS, GOOD_HOPS = 6, 3


class Card:
    """The stand-in card, as `auto` guards it, with the processor ready beside it.

    Attributes:
        messages: what was announced.
        released: set to let a call that hangs return.
    """

    def __init__(self, processor: Engine) -> None:
        self.card = SimulatedCard(shipped_model())
        self.messages: list[str] = []
        self.released = threading.Event()
        self.own_thread = OwnThreadEngine(lambda: self.card.engine)
        self.guarded = FallbackEngine(self.own_thread, processor, self.messages.append)

    def falls_off_the_bus(self) -> None:
        self.card.program.broken = True

    def is_out_of_memory(self) -> None:
        def refuse(*_: object) -> None:
            raise BackendError("CUDA: out of memory")

        self.card.stream.upload = refuse  # type: ignore[assignment, method-assign]
        self.card.stream.replay = refuse  # type: ignore[assignment, method-assign]

    def returns_numbers_that_are_not_finite(self) -> None:
        engine = self.card.program.engine
        infer = engine.infer

        def wrong(
            frames: NDArray[np.float32],
            cached_maps: NDArray[np.float32],
            past: NDArray[np.float32],
        ) -> Inference:
            output = infer(frames, cached_maps, past)
            return output._replace(steps=np.full_like(output.steps, np.nan))

        engine.infer = wrong  # type: ignore[method-assign]

    def hangs(self) -> None:
        self.own_thread.impatient = True
        self.card.stream.wait = self.released.wait  # type: ignore[assignment, method-assign]


FAULTS: dict[str, tuple[Callable[[Card], None], str]] = {
    "bus": (Card.falls_off_the_bus, "TensorRT could not run the network"),
    "memory": (Card.is_out_of_memory, "CUDA: out of memory"),
    "numbers": (
        Card.returns_numbers_that_are_not_finite,
        "it returned numbers that are not finite",
    ),
    "hang": (Card.hangs, "a call has not returned for "),
}


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a call behind soon; the test lets calls be impatient only where one hangs."""
    monkeypatch.setattr(own_thread, "LIMIT_S", 0.1)
    monkeypatch.setattr(own_thread, "LIMIT_FACTOR", 0.0)
    monkeypatch.setattr(own_thread, "FIRST_LIMIT_S", 0.1)


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("fault", FAULTS)
def test_streams_go_on_on_the_processor_after_a_fault_of_the_card(
    engine: Engine, fault: str
) -> None:
    card = Card(engine)
    signals = [music(HOP_S * HOPS, RATE, seed=seed) for seed in range(STREAMS)]
    parts = [list(blocks(signal, (RATE,))) for signal in signals]
    runner = LiveRunner(HangingSource(), card.guarded, config=CONFIG)
    with running_server(card.guarded, runner) as running, ExitStack() as connections:
        viewers = [Viewer(connections.enter_context(running.connect())) for _ in signals]
        for hop in range(HOPS):
            if hop == GOOD_HOPS:
                assert metrics(running)['engine_windows_total{backend="tensorrt"}'] > 0
                FAULTS[fault][0](card)
            for viewer, own in zip(viewers, parts, strict=True):
                viewer.client.send(own[hop].tobytes())
            for viewer in viewers:
                viewer.read(estimates=hop + 1)
        for viewer in viewers:
            viewer.read(told=1)
        with running.connect() as late:
            hello = receive_kind(late, "hello")
        counted = metrics(running)
        stats = running.server.stats
    card.released.set()
    # Every estimate came, and each is that of the processor alone.
    for viewer, signal in zip(viewers, signals, strict=True):
        np.testing.assert_allclose(
            as_array(viewer.estimates), offline(engine, signal), atol=1e-4, rtol=0
        )
    assert stats[Counter.FAULTY_UPDATES] == stats[Counter.SKIPPED_UPDATES] == 0
    assert stats[Counter.ENGINE_STALLS] == 0
    assert stats[Counter.ENGINE_FAILURES] == counted["engine_failures_total"] == 1
    assert counted['engine_windows_total{backend="tensorrt"}'] >= GOOD_HOPS * STREAMS
    assert counted['engine_windows_total{backend="onnxruntime"}'] > 0
    # It is said once: in the log, to those who are there, to those who come.
    (message,) = card.messages
    assert f"the backend tensorrt failed while it was running ({FAULTS[fault][1]}" in message
    assert [viewer.told for viewer in viewers] == [[message]] * STREAMS
    assert (hello["backend"], hello["backend_note"]) == ("onnxruntime", message)


def test_large_batches_move_to_the_processor_too(engine: Engine) -> None:
    """Streams that are due together share calls of the card; then it fails."""
    card = Card(engine)
    both = ByBatchEngine(engine, card.guarded, 2, card.messages.append)
    signals = [music(HOP_S * HOPS, RATE, seed=seed) for seed in range(6)]
    with SessionPool(both, config=CONFIG, workers=1, clock=ManualClock()) as pool:
        sessions = [pool.open(AudioFormat(RATE, 1), f"stream {n}") for n in range(len(signals))]
        queues = [session.hub.subscribe_lossless() for session in sessions]
        got: list[list[Estimate]] = [[] for _ in sessions]
        for hop in range(HOPS):
            if hop == GOOD_HOPS:
                assert pool.watch.windows["tensorrt"] > 0
                card.falls_off_the_bus()
            for session, signal in zip(sessions, signals, strict=True):
                pool.push(session, signal[RATE * hop : RATE * (hop + 1)])
            for number, queue in enumerate(queues):
                while len(got[number]) <= hop:
                    items = queue.wait(TIMEOUT_S)
                    assert items
                    got[number] += [item for item in items if isinstance(item, Estimate)]
        windows = pool.watch.windows
    for number, signal in enumerate(signals):
        found = as_array([each.to_dict() for each in got[number]])
        np.testing.assert_allclose(found, offline(engine, signal), atol=1e-4, rtol=0)
    assert sum(windows.values()) == HOPS * len(signals)
    assert len([each for each in card.messages if "failed while it was running" in each]) == 1
    assert both.backend == "onnxruntime"
    assert both.largest_batch == 8


class Viewer:
    """A client with a stream of its own.

    Attributes:
        client: its connection.
        estimates: of its audio; those of a stall on a busy machine are left out.
        told: the messages of its warnings that another backend took over.
    """

    def __init__(self, client: ClientConnection) -> None:
        self.client = client
        self.estimates: list[dict[str, Any]] = []
        self.told: list[str] = []
        self._streams = False
        message = {"type": "start", "sample_rate_hz": RATE, "channels": 1, "format": "f32le"}
        client.send(json.dumps({**message, "name": "me"}))
        self.read()

    def read(self, *, estimates: int = 0, told: int = 0) -> None:
        """Read until the stream runs, and so many estimates and sentences are there."""
        while not self._streams or len(self.estimates) < estimates or len(self.told) < told:
            message = receive(self.client)
            if message["type"] == "hello":
                self._streams = message["input"]["kind"] == "browser"
            if message["type"] == "estimate" and message["state"] != "stalled":
                self.estimates.append(message)
            if message["type"] == "warning" and message["code"] == "backend_fallback":
                self.told.append(message["message"])


def as_array(estimates: list[dict[str, Any]]) -> NDArray[np.float64]:
    names = ("t", "valence", "arousal", "valence_low", "arousal_high", "level_db")
    return np.array([[each[name] for name in names] for each in estimates])


def offline(engine: Engine, signal: NDArray[np.float32]) -> NDArray[np.float64]:
    pipeline = Pipeline(engine, sample_rate_hz=RATE, channels=1, config=CONFIG)
    return as_array([each.to_dict() for each in pipeline.feed(signal)])


def metrics(running: RunningServer) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("realtime_mer_"): float(value) for name, value in samples}
