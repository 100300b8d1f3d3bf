"""A microphone without hardware: a PulseAudio of our own, whose only source hears what we play.

Use the fixture `virtual_microphone`; it skips with the reason where PulseAudio is missing.
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
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from numpy.typing import NDArray

SINK = "virtmic"
START_TIMEOUT_S = 20.0


def missing_for_pulse() -> str | None:
    """What this machine lacks for a virtual microphone, as a reason to skip; None if nothing."""
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


class VirtualMicrophone:
    """PulseAudio with a null sink, whose monitor is the default source; isolated from others.

    Attributes:
        environment: what a process needs in its environment to hear it (the own process has it).
    """

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket has to be short.
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

    def start(self) -> None:
        """Start the sound server and wait until it answers."""
        self._server = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
                *("--use-pid-file=no", "--disable-shm=yes", "--log-level=error"),
                *("-L", f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}"),
                *("-L", f"module-null-sink sink_name={SINK} rate=44100 channels=2"),
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
            time.sleep(0.05)  # pactl offers nothing to wait for
        self._pactl("set-default-source", f"{SINK}.monitor").check_returncode()

    def play(self, path: Path) -> subprocess.Popen[bytes]:
        """Play a sound file into the room; the process ends when it is over."""
        player = subprocess.Popen(
            ["paplay", f"--device={SINK}", str(path)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._players.append(player)
        return player

    def kill(self) -> None:
        """Unplug it: the sound server is gone at once."""
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
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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


def look_for_devices_again() -> None:
    """PortAudio looks at the devices only when it starts."""
    import sounddevice

    sounddevice._terminate()
    sounddevice._initialize()


def find_in(heard: NDArray[np.float32], played: NDArray[np.float32]) -> int:
    """Where in `heard` the music `played` begins, in frames; both float32 [n, channels]."""
    size = 1 << (len(heard) + len(played)).bit_length()
    spectrum = np.fft.rfft(heard[:, 0], size) * np.conj(np.fft.rfft(played[:, 0], size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard)]))


@contextlib.contextmanager
def virtual_microphone_environment() -> Iterator[VirtualMicrophone]:
    """A running virtual microphone that PortAudio in this process sees, and nothing else."""
    reason = missing_for_pulse()
    if reason is not None:
        pytest.skip(reason)
    with VirtualMicrophone() as microphone, pytest.MonkeyPatch.context() as patch:
        for name, value in microphone.environment.items():
            patch.setenv(name, value)
        look_for_devices_again()
        try:
            yield microphone
        finally:
            patch.undo()
            look_for_devices_again()
