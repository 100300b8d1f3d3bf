"""A virtual microphone: an isolated PulseAudio server whose default source records what tests play.

Use the fixture `virtual_microphone`; it skips the test with a reason if PulseAudio is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime_mer.closable import Closable

SINK = "virtmic"
START_TIMEOUT_S = 60.0


def missing_for_pulse() -> str | None:
    """Return what a virtual microphone needs and this machine lacks, or None."""
    for program in ("pulseaudio", "pactl", "paplay"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: apt install pulseaudio pulseaudio-utils)"
    folders = (Path("/usr/lib"), Path("/usr/lib64"))
    if not any(
        found for folder in folders for found in folder.glob("**/libasound_module_pcm_pulse.so")
    ):
        return "ALSA's pulse device is not installed (Debian: apt install libasound2-plugins)"
    try:
        import sounddevice  # noqa: F401
    except OSError:
        return "PortAudio is not installed (Debian: apt install libportaudio2)"
    return None


class VirtualMicrophone(Closable):
    """An isolated PulseAudio server with a null sink, whose monitor is the default source.

    More sinks can be added and removed; the monitor of the sink NAME is the source NAME.monitor.

    Attributes:
        environment: environment variables of a process that uses the server.
    """

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="mer-pulse-"))
        self.environment = {
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder),
            "XDG_CONFIG_HOME": str(self._folder),
            "PULSE_RUNTIME_PATH": str(self._folder),
            "PULSE_SERVER": f"unix:{self._folder}/native",
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []
        self._modules: dict[str, str] = {}

    def start(self) -> None:
        """Start the sound server and wait until it responds."""
        self._server = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
                *("--use-pid-file=no", "--disable-shm=yes", "--log-level=error"),
                *("-L", f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}"),
            ],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._pactl("info").returncode != 0:
            code = self._server.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"PulseAudio does not start (code {code})")
            time.sleep(0.05)  # pactl has no way to wait
        self.add_sink(SINK)
        self.set_default(SINK)

    def add_sink(
        self,
        name: str,
        description: str = "Null Output",
        *,
        rate_hz: int = 44_100,
        channels: int = 2,
    ) -> None:
        """Add a sink that plays to nowhere, and its monitor."""
        added = self._pactl(
            *("load-module", "module-null-sink", f"sink_name={name}"),
            *(f"rate={rate_hz}", f"channels={channels}"),
            f"sink_properties=\"device.description='{description}'\"",
        )
        added.check_returncode()
        self._modules[name] = added.stdout.decode().strip()

    def remove_sink(self, name: str) -> None:
        """Remove a sink and its monitor."""
        self._pactl("unload-module", self._modules.pop(name)).check_returncode()

    def set_default(self, sink: str) -> None:
        """Make the monitor of a sink the default source."""
        self._pactl("set-default-source", f"{sink}.monitor").check_returncode()

    def move_recordings(self, sink: str) -> list[bool]:
        """Try to move all recordings to the monitor of a sink; return whether they moved."""
        listed = self._pactl("list", "short", "source-outputs").stdout.decode().splitlines()
        return [
            self._pactl("move-source-output", line.split()[0], f"{sink}.monitor").returncode == 0
            for line in listed
        ]

    def suspend(self, sink: str, suspended: bool) -> None:
        """Suspend a sink and its monitor, or resume them."""
        self._pactl("suspend-sink", sink, str(int(suspended))).check_returncode()

    def play(self, path: Path, sink: str = SINK) -> subprocess.Popen[bytes]:
        """Play a sound file; the process ends with the file."""
        player = subprocess.Popen(
            ["paplay", f"--device={sink}", str(path)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._players.append(player)
        return player

    def kill(self) -> None:
        """Kill the sound server, as if the microphone were unplugged."""
        for process in [*self._players, *([self._server] if self._server else [])]:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        self._players = []
        self._server = None
        self._socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def _socket(self) -> Path:
        return self._folder / "native"

    def _pactl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["pactl", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            timeout=START_TIMEOUT_S,
        )


def refresh_devices() -> None:
    """Restart PortAudio, which lists the devices only when it starts."""
    import sounddevice

    sounddevice._terminate()
    sounddevice._initialize()


def find_in(recorded: NDArray[np.float32], played: NDArray[np.float32]) -> int:
    """Return the frame of `recorded` at which `played` starts; both are float32 [n, channels]."""
    size = 1 << (len(recorded) + len(played)).bit_length()
    spectrum = np.fft.rfft(recorded[:, 0], size) * np.conj(np.fft.rfft(played[:, 0], size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(recorded)]))


@contextlib.contextmanager
def virtual_microphone_environment() -> Iterator[VirtualMicrophone]:
    """Run a virtual microphone as the only sound server of this process."""
    reason = missing_for_pulse()
    if reason is not None:
        pytest.skip(reason)
    with VirtualMicrophone() as microphone, pytest.MonkeyPatch.context() as patch:
        for name, value in microphone.environment.items():
            patch.setenv(name, value)
        refresh_devices()
        try:
            yield microphone
        finally:
            patch.undo()
            refresh_devices()
