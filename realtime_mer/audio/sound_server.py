"""Sources of PulseAudio or PipeWire, listed by `pactl` and recorded by `parec`.

Such a sound server moves a recording to another source when its own is removed. PortAudio does not
say so; parec does, on standard error, before it passes on the first sample of the other source.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

INSTALL_HINT = (
    "install pactl and parec (Debian, Ubuntu: apt install pulseaudio-utils; Fedora: dnf install "
    "pulseaudio-utils)"
)

_TIMEOUT_S = 2.0  # a sound server that hangs counts as absent
_LATENCY_MS = 20
_READ_BYTES = 65_536
_LOG_TAIL = 1_000  # characters; longer than any line about a device
# Nothing in these texts may be translated. (The JSON of pactl 16 has no name with an umlaut.)
_LANGUAGE = {"LC_ALL": "C"}
_FORMAT = re.compile(r"(\d+)ch (\d+)Hz")
_CONNECTED = re.compile(r"Connected to device (.+) \(index: ")
_MOVED = re.compile(r"Stream moved to device ")


@dataclass(frozen=True, slots=True)
class ServerSource:
    """A source of the sound server: a microphone, a line input or the monitor of an output.

    Attributes:
        name: the server's name; it stays when the source is removed and comes back.
        description: the name for users.
        channels: number of channels.
        sample_rate_hz: the native sample rate in Hz.
        is_monitor: whether it records what an output plays.
    """

    name: str
    description: str
    channels: int
    sample_rate_hz: int
    is_monitor: bool


@dataclass(frozen=True, slots=True)
class SoundServer:
    """What the sound server offers at one moment.

    Attributes:
        program: "PulseAudio" or "PipeWire".
        default_source: name of the source that `PULSE_SOURCE` or the user's settings choose.
        sources: all sources.
    """

    program: str
    default_source: str
    sources: tuple[ServerSource, ...]


def sound_server() -> SoundServer | None:
    """Return the running sound server; None if there is none, or pactl or parec is missing."""
    if not tools_installed():
        return None
    info = _pactl("info")
    listed = _pactl("list", "sources")
    if info is None or listed is None:
        return None
    about = _fields(info)
    sources = (_fields(text) for text in re.split(r"^Source #", listed, flags=re.MULTILINE)[1:])
    return SoundServer(
        program="PipeWire" if "PipeWire" in about.get("Server Name", "") else "PulseAudio",
        default_source=os.environ.get("PULSE_SOURCE") or about.get("Default Source", ""),
        sources=tuple(_source(fields) for fields in sources),
    )


def tools_installed() -> bool:
    """Return whether pactl and parec are installed."""
    return shutil.which("pactl") is not None and shutil.which("parec") is not None


class Recording:
    """A recording of one source. It ends when the source is removed, and never changes to another.

    Args:
        source: the server's name of the source.
        sample_rate_hz, channels: the format wanted; the server resamples. Fewer channels than the
            source has are its first ones.
        on_audio: called with float32 [n, channels], in a thread of the recording.
        on_end: called in the same thread when no more audio will come.
    """

    def __init__(
        self,
        source: str,
        sample_rate_hz: int,
        channels: int,
        on_audio: Callable[[NDArray[np.float32]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._source = source
        self._channels = channels
        self._on_audio = on_audio
        self._on_end = on_end
        self._log = ""
        self._process = subprocess.Popen(
            [
                *("parec", "--verbose", f"--device={source}", "--client-name=realtime-mer"),
                *("--format=float32le", f"--rate={sample_rate_hz}", f"--channels={channels}"),
                *("--no-remap", f"--latency-msec={_LATENCY_MS}"),
                # PipeWire then does not move the recording in the first place.
                "--property=node.dont-reconnect=true",
            ],
            env={**os.environ, **_LANGUAGE},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is not for parec
        )
        self._thread = threading.Thread(target=self._run, name="source reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the recording and wait for its thread."""
        self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        audio, log = self._process.stdout, self._process.stderr
        assert audio is not None
        assert log is not None
        with contextlib.ExitStack() as stack:
            stack.callback(self._on_end)
            stack.callback(self._process.wait)
            stack.callback(self._process.kill)
            stack.enter_context(audio)
            stack.enter_context(log)
            self._pass_on(audio, log)

    def _pass_on(self, audio: IO[bytes], log: IO[bytes]) -> None:
        """Pass the samples on until the recording ends or leaves its source."""
        os.set_blocking(log.fileno(), False)
        frame_bytes = 4 * self._channels
        rest = b""
        with selectors.DefaultSelector() as ready:
            ready.register(audio, selectors.EVENT_READ)
            ready.register(log, selectors.EVENT_READ)
            while True:
                data = b""
                if any(key.fileobj is audio for key, _ in ready.select()):
                    data = os.read(audio.fileno(), _READ_BYTES)
                    if not data:
                        return
                # After the samples: a message about another source is older than its samples.
                if not self._read_log(log):
                    return
                data = rest + data
                whole = len(data) - len(data) % frame_bytes
                rest = data[whole:]
                if whole:
                    samples = np.frombuffer(data[:whole], dtype="<f4")
                    self._on_audio(samples.reshape(-1, self._channels))

    def _read_log(self, log: IO[bytes]) -> bool:
        """Read what parec says; return whether it still records the source."""
        try:
            text = os.read(log.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        self._log += text.decode(errors="replace")
        if not text or _MOVED.search(self._log):
            return False
        connected = _CONNECTED.search(self._log)
        if connected is not None and connected[1] != self._source:
            return False
        self._log = self._log[-_LOG_TAIL:]
        return True


def _pactl(*arguments: str) -> str | None:
    """Return what pactl prints; None if no sound server answers."""
    try:
        run = subprocess.run(
            ["pactl", *arguments],
            env={**os.environ, **_LANGUAGE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.decode(errors="replace") if run.returncode == 0 else None


def _fields(text: str) -> dict[str, str]:
    """Return the lines "Name: value" of a text of pactl; the first of a name counts."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.strip().partition(": ")
        if colon:
            fields.setdefault(name, value)
    return fields


def _source(fields: dict[str, str]) -> ServerSource:
    name = fields.get("Name", "")
    form = _FORMAT.search(fields.get("Sample Specification", ""))
    channels, rate = (int(form[1]), int(form[2])) if form else (2, 48_000)
    return ServerSource(
        name=name,
        description=fields.get("Description", name),
        channels=channels,
        sample_rate_hz=rate,
        is_monitor=fields.get("Monitor of Sink", "n/a") != "n/a",
    )
