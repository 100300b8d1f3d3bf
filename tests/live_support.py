"""Faulty sources, a server on a thread, and waiting for conditions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from mer_engine import Engine
from numpy.typing import NDArray
from support import ManualClock, blocks
from websockets.sync.client import ClientConnection, connect

from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.live.runner import LiveRunner
from realtime_mer.server.server import MerServer, ServerConfig
from realtime_mer.tls_socket import TlsConnection

# Long enough for slow machines: only a failing test waits this long.
TIMEOUT_S = 60.0


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until a condition is true; fail on a timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.002)


Step = Block | Exception | Callable[[], None] | None
"""A step of a scripted source: return a block, raise, call a function, or (None) time out."""


class ScriptedSource(SourceBase):
    """Follows a script and advances a manual clock.

    A `None` advances it by the timeout of the read; a block advances it by its duration unless the
    source is paced. The audio ends after the script.
    """

    def __init__(
        self,
        script: Iterable[Step],
        clock: ManualClock,
        *,
        sample_rate_hz: int = 16_000,
        channels: int = 1,
        paced: bool = False,
        live: bool = True,
        recorded: bool = False,
        reopenings: Iterable[Exception | Input | None] = (),
    ) -> None:
        self._info = Input(
            InputKind.FILE,
            "scripted",
            sample_rate_hz,
            channels,
            paced=paced,
            live=live,
            recorded=recorded,
        )
        self._script = iter(script)
        self._clock = clock
        self._reopenings = iter(reopenings)
        self.reopened_at: list[float] = []
        self.closed = 0

    def read(self, timeout_s: float) -> Block | None:
        if self.closed:
            raise EndOfStream
        for step in self._script:
            if step is None:
                self._clock.advance(timeout_s)
                return None
            if isinstance(step, Block):
                if not self._info.paced:
                    self._clock.advance(len(step.samples) / self._info.sample_rate_hz)
                return step
            if isinstance(step, Exception):
                raise step
            step()
        raise EndOfStream

    def reopen(self) -> None:
        self.reopened_at.append(self._clock.now)
        outcome = next(self._reopenings)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            self._info = outcome

    def close(self) -> None:
        self.closed += 1


def as_blocks(samples: NDArray[np.float32], sizes: tuple[int, ...] = (320,)) -> list[Block]:
    """Cut a signal into blocks without capture times."""
    return [Block(part) for part in blocks(samples, sizes)]


def lost(*, recoverable: bool = True) -> SourceLost:
    return SourceLost("the scripted input is gone", recoverable=recoverable)


class ArraySource(SourceBase):
    """Returns an array like a file: as fast as it is read."""

    def __init__(
        self, samples: NDArray[np.float32], sample_rate_hz: int, *, loop: bool = False
    ) -> None:
        self._info = Input(
            InputKind.FILE, "array", sample_rate_hz, samples.shape[1], paced=True, live=False
        )
        self._samples = samples
        self._position = 0
        self._loop = loop
        self._closed = False

    def read(self, timeout_s: float) -> Block | None:
        size = self._info.sample_rate_hz // 50
        part = self._samples[self._position : self._position + size]
        self._position += size
        if len(part) == 0 and self._loop and not self._closed:
            self._position = size
            part = self._samples[:size]
        if len(part) == 0 or self._closed:
            raise EndOfStream
        return Block(part)

    def close(self) -> None:
        self._closed = True


class HangingSource(SourceBase):
    """A live input that blocks until a test gives it audio."""

    def __init__(self, sample_rate_hz: int = 16_000) -> None:
        self._info = Input(
            InputKind.MICROPHONE, "hanging", sample_rate_hz, 1, paced=False, live=True
        )
        self._changed = threading.Condition()
        self._blocks: list[Block] = []
        self.closed = False

    def give(self, samples: NDArray[np.float32]) -> None:
        with self._changed:
            self._blocks.append(Block(samples, captured_at=time.monotonic()))
            self._changed.notify()

    def read(self, timeout_s: float) -> Block | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._blocks) or self.closed, timeout_s)
            if self._blocks:
                return self._blocks.pop(0)
            if self.closed:
                raise EndOfStream
            return None

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify()


@dataclass
class RunningServer:
    """A server with its event loop in a thread."""

    server: MerServer
    loop: asyncio.AbstractEventLoop
    port: int
    tasks: Callable[[], int] = field(repr=False)
    stop: Callable[[], None] = field(repr=False)

    @property
    def url(self) -> str:
        return f"{'wss' if self.server.uses_tls else 'ws'}://127.0.0.1:{self.port}/ws"

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the thread of the event loop and return its result."""

        async def inside() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(TIMEOUT_S)

    def connect(self, query: str = "", **options: Any) -> ClientConnection:
        # A client that a slow test has not read for long would miss the pongs, and close.
        options = {
            "close_timeout": 1.0, "ping_interval": None, "create_connection": TlsConnection,
            **options,
        }  # fmt: skip
        client: ClientConnection = connect(self.url + query, **options)
        return client


@contextlib.contextmanager
def running_server(
    engine: Engine,
    runner: LiveRunner | None = None,
    *,
    server: MerServer | None = None,
    **settings: Any,
) -> Iterator[RunningServer]:
    """Run a server on a free local port; fail if tasks are left at the end."""
    started: threading.Event = threading.Event()
    stopping: asyncio.Event
    running: RunningServer
    failures: list[BaseException] = []
    left: list[str] = []

    async def serve() -> None:
        nonlocal stopping, running
        stopping = asyncio.Event()
        this = server or MerServer(
            engine, runner, config=ServerConfig(port=settings.pop("port", 0), **settings)
        )
        async with this:
            loop = asyncio.get_running_loop()
            running = RunningServer(
                this,
                loop,
                this.port,
                tasks=lambda: len(asyncio.all_tasks(loop)),
                stop=partial(_set_from_thread, loop, stopping),
            )
            started.set()
            await stopping.wait()
        left.extend(
            repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()
        )

    def main() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=main, name="test-server")
    thread.start()
    assert started.wait(TIMEOUT_S)
    if failures:
        thread.join()
        raise failures[0]
    try:
        yield running
    finally:
        with contextlib.suppress(RuntimeError):  # the test may have stopped it
            running.stop()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), "the server did not stop"
    assert not failures, failures
    assert not left, f"tasks are left: {left}"


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


def receive(socket: ClientConnection, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Return the next message."""
    message: dict[str, Any] = json.loads(socket.recv(timeout_s))
    return message


def receive_until(
    socket: ClientConnection, kind: str, timeout_s: float = TIMEOUT_S
) -> list[dict[str, Any]]:
    """Return the messages up to and including the first of a kind."""
    messages = [receive(socket, timeout_s)]
    while messages[-1]["type"] != kind:
        messages.append(receive(socket, timeout_s))
    return messages


def receive_kind(
    socket: ClientConnection, kind: str, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Return the next message of a kind and discard those before it."""
    return receive_until(socket, kind, timeout_s)[-1]
