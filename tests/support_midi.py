"""MIDI ports without devices: of an isolated JACK server, or of ALSA's sequencer.

Use the fixture `midi_system`; it skips the test with a reason where there is none.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_support import TIMEOUT_S, wait_for

from realtime_mer.closable import Closable


@contextlib.contextmanager
def midi_environment(interface: str) -> Iterator[None]:
    """Let rtmidi use one interface only: `UNIX_JACK` with a server of its own, or `LINUX_ALSA`."""
    pytest.importorskip("rtmidi", reason="python-rtmidi is not installed (extra midi)")
    pytest.importorskip("mido", reason="mido is not installed (extra midi)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RTMIDI_API", interface)
        if interface == "LINUX_ALSA":
            if not Path("/dev/snd/seq").exists():
                pytest.skip("ALSA's sequencer is not there (sudo modprobe snd-seq)")
            yield
            return
        patch.setenv("JACK_DEFAULT_SERVER", f"mer-test-{os.getpid()}")
        patch.setenv("JACK_NO_START_SERVER", "1")
        with _jack_server():
            yield


# Sample frames of a cycle, 170 ms. JACK drops the messages of a cycle that a busy machine misses.
PERIOD = "8192"


@contextlib.contextmanager
def _jack_server() -> Iterator[None]:
    """Run a JACK server without a sound card, of the name that the environment has."""
    for program in ("jackd", "jack_wait"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt install jackd2)")
    name = os.environ["JACK_DEFAULT_SERVER"]
    # Clients of one server fail while another one starts or stops: both use the same registry.
    with (Path(tempfile.gettempdir()) / "mer-test-jack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _running_server(name):
            yield


@contextlib.contextmanager
def _running_server(name: str) -> Iterator[None]:
    server = subprocess.Popen(
        ["jackd", "--no-realtime", "--no-mlock", "-n", name, "-d", "dummy", "-p", PERIOD],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_server(server)
        yield
    finally:
        server.terminate()
        try:
            server.wait(5.0)
        except subprocess.TimeoutExpired:  # it may miss a signal while it starts or stops
            server.kill()
            server.wait(TIMEOUT_S)


def _wait_for_server(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    # An attempt can come too early for a server that is starting, so it has a short limit.
    command = ["jack_wait", "--wait", "--timeout", "2"]
    while subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).returncode != 0:
        if server.poll() is not None:
            pytest.skip(f"jackd does not run here (code {server.returncode})")
        assert time.monotonic() < deadline, "jackd does not start"


class MidiDevice(Closable):
    """A MIDI device or program at the other end of a connection.

    Args:
        make: `rtmidi.MidiIn` or `rtmidi.MidiOut`.
        name: of a virtual port to have.
        port: part of the name of a port to connect to, instead.
    """

    def __init__(self, make: Any, *, name: str = "", port: str = "") -> None:
        self._client = make(name="device", rtapi=midi_interface())
        if name:
            self._client.open_virtual_port(name)
        else:
            wait_for(lambda: any(port in each for each in self._client.get_ports()), port)
            ports = self._client.get_ports()
            self._client.open_port(next(i for i, each in enumerate(ports) if port in each))

    def send(self, *message: int) -> None:
        """Send a message of bytes."""
        self._client.send_message(list(message))

    def take(self) -> tuple[int, ...] | None:
        """Return the bytes of a message that has arrived; None without one."""
        received = self._client.get_message()
        return None if received is None else tuple(received[0])

    def receive(self) -> tuple[int, ...]:
        """Wait for a message and return its bytes."""
        received: list[tuple[int, ...]] = []

        def arrived() -> bool:
            message = self.take()
            received.extend([] if message is None else [message])
            return bool(received)

        wait_for(arrived, "a MIDI message")
        return received[0]

    def receive_all(self, count: int) -> list[tuple[int, ...]]:
        """Wait for messages and return their bytes."""
        return [self.receive() for _ in range(count)]

    def close(self) -> None:
        if self._client is not None:
            self._client.close_port()
            self._client.delete()
        self._client = None


def midi_interface() -> int:
    """Return rtmidi's number of the interface that the environment asks for."""
    from rtmidi.midiutil import get_api_from_environment

    interface: int = get_api_from_environment()
    return interface


def wait_for_connection(send: Callable[[int], None], arrived: Callable[[int], bool]) -> None:
    """Wait until messages pass: JACK connects some time after it was asked to.

    Args:
        send: sends a message that holds a number from 0 to 127.
        arrived: returns whether the message with this number has arrived.
    """
    numbers = itertools.cycle(range(128))

    def passes() -> bool:
        send(number := next(numbers))
        give_up = time.monotonic() + 1.0
        while not arrived(number):
            if time.monotonic() > give_up:
                return False
        return True

    wait_for(passes, "the connection of MIDI ports")
