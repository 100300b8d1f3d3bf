"""From a real microphone path to estimates: PulseAudio, PortAudio, runner, pipeline."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mer_engine import Engine
from numpy.typing import NDArray
from support import running_program
from support_pulse import VirtualMicrophone, find_in

from realtime_mer.audio.demo import SAMPLE_RATE_HZ, render_demo
from realtime_mer.audio.microphone import MicrophoneSource
from realtime_mer.audio.source import Block
from realtime_mer.cli import main
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.types import Estimate, State
from realtime_mer.live.hub import Item
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter

TIMEOUT_S = 60.0
# Silence in front of the music: a sound server may lose the first 10 ms of what it plays.
LEAD_S = 0.5
# A sound server may carry samples of 16 bits as floats.
SAMPLE_TOLERANCE = 1 / 65_536
# The recording of the microphone gives equal estimates.
SAME_TOLERANCE = 1e-5


class RecordedMicrophone(MicrophoneSource):
    """The default microphone with a recording of its blocks."""

    def __init__(self) -> None:
        super().__init__("default")
        self.blocks: list[Block] = []

    def read(self, timeout_s: float) -> Block | None:
        block = super().read(timeout_s)
        if block is not None:
            self.blocks.append(block)
        return block

    @property
    def recording(self) -> NDArray[np.float32]:
        return np.concatenate([block.samples for block in self.blocks])


def analyze(samples: NDArray[np.float32], hop_s: float, folder: Path) -> NDArray[np.float64]:
    """Return the estimates of the `analyze` command: rows of t, valence, arousal."""
    path = folder / "file.wav"
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    rows = folder / "rows.jsonl"
    assert main(["analyze", str(path), "--quiet", "--hop", str(hop_s), "-o", str(rows)]) == 0
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    return np.array(
        [[line["t"], line["valence"], line["arousal"]] for line in lines if "valence" in line]
    )


def is_in(recorded: NDArray[np.float32], played: NDArray[np.float32]) -> bool:
    """Return whether a recording holds these frames, sample by sample."""
    start = find_in(recorded, played)
    part = recorded[start : start + len(played)]
    return part.shape == played.shape and bool(np.abs(part - played).max() <= SAMPLE_TOLERANCE)


def test_microphone_equals_analyze(
    virtual_microphone: VirtualMicrophone, engine: Engine, tmp_path: Path
) -> None:
    music = render_demo()[15 * SAMPLE_RATE_HZ : 29 * SAMPLE_RATE_HZ]  # calm, then joyful
    song = tmp_path / "song.wav"
    lead = np.zeros((round(LEAD_S * SAMPLE_RATE_HZ), music.shape[1]), music.dtype)
    soundfile.write(song, np.concatenate([lead, music]), SAMPLE_RATE_HZ)
    microphone = RecordedMicrophone()
    assert microphone.info.sample_rate_hz == SAMPLE_RATE_HZ
    runner = LiveRunner(microphone, engine, config=PipelineConfig(hop_s=0.5))
    queue = runner.hub.subscribe_lossless()
    items: list[Item] = []
    deadline = time.monotonic() + TIMEOUT_S
    with runner:
        # The state is stalled until the device starts.
        while not any(isinstance(i, Estimate) and i.state == State.SILENCE for i in items):
            items += queue.wait(1.0)
            assert time.monotonic() < deadline
        player = virtual_microphone.play(song)
        while player.poll() is None:
            items += queue.wait(1.0)
            assert time.monotonic() < deadline
    items += queue.take()
    live = [item for item in items if isinstance(item, Estimate)]
    assert [estimate.seq for estimate in live] == list(range(len(live)))
    live = [estimate for estimate in live if estimate.state != State.STALLED]
    states = [estimate.state for estimate in live]
    assert [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]][:3] == [
        State.SILENCE,
        State.SETTLING,
        State.TRACKING,
    ]
    assert runner.stats[Counter.DROPPED_SAMPLES] == 0

    # The recording of the microphone gives the same estimates at the same times.
    recorded = {row[0]: row[1:] for row in analyze(microphone.recording, 0.5, tmp_path).tolist()}
    shared = [e for e in live if e.t in recorded and e.state != State.SILENCE]
    assert len(shared) > 20
    for estimate in shared:
        np.testing.assert_allclose(
            [estimate.valence, estimate.arousal], recorded[estimate.t], atol=SAME_TOLERANCE
        )

    # The recording is the music, sample by sample. On a busy machine the sound server may drop or
    # repeat a few milliseconds, in at most two of the 14 seconds.
    played = music.astype(np.float32) / np.float32(32768)
    found = [is_in(microphone.recording, second) for second in np.split(played, 14)]
    assert found.count(False) <= 2, found


PORTAUDIO = "from realtime_mer.audio import microphone; microphone.sound_server = lambda: None; "
LISTEN = "from realtime_mer.cli import main; raise SystemExit(main(['listen', '--input', 'pulse']))"


@pytest.mark.parametrize("program", [LISTEN, PORTAUDIO + LISTEN], ids=["libpulse", "portaudio"])
def test_a_terminal_shows_an_outage_in_words_and_nothing_of_portaudio(
    virtual_microphone: VirtualMicrophone, program: str
) -> None:
    """PortAudio's thread prints when a device vanishes."""
    terminal, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 160))
    shown = b""

    def read_until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            assert select.select([terminal], [], [], TIMEOUT_S)[0], shown
            shown += os.read(terminal, 65_536)

    with running_program(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": ""},
        # If the tests run in the background of a script, they and their children ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        os.close(theirs)
        try:
            read_until(b"SILENCE")
            virtual_microphone.kill()
            read_until(b"is gone")
            read_until(b"of audio missing")
            virtual_microphone.start()
            read_until(b"is back")
        finally:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of a terminal
            while data := os.read(terminal, 65_536):
                shown += data
    os.close(terminal)
    assert process.returncode == 0
    text = shown.decode()
    assert "Expression" not in text
    assert "ALSA" not in text
    assert re.search(r"is back; \d+\.\d s of audio are missing", text)
    assert re.search(r"lost: \d+\.\d s of audio missing\r\n$", text)
