"""The audio of a recording: as it was heard, whatever happens to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from disk_support import mounted_disk
from live_support import ScriptedSource, wait_for
from mer_engine import Engine
from numpy.typing import NDArray
from recording_support import HEADER
from support import ESTIMATE, ManualClock, music

from realtime_mer.api import analyze
from realtime_mer.audio.source import Block, Input, InputKind
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub, Notice
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Stats
from realtime_mer.recording import audio_recorder as audio_recorder_module
from realtime_mer.recording.audio_file import AudioFile
from realtime_mer.recording.reader import SessionReader
from realtime_mer.recording.recorder import Recorder

RATE_HZ = 16_000
INPUT = Input(InputKind.MICROPHONE, "line-in", RATE_HZ, 2, paced=False, live=True)


def record(hub: Hub, folder: Path, source: Input = INPUT) -> Recorder:
    return Recorder(hub, folder, HEADER, stats=Stats(), audio=source)


def noise(seconds: float, channels: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """Noise of 24 bit, which does not become smaller in FLAC."""
    shape = (round(seconds * RATE_HZ), channels)
    whole = np.random.default_rng(seed).integers(-(2**23), 2**23, shape)
    return (whole / 2**23).astype(np.float32)


def read(path: Path) -> NDArray[np.float32]:
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate_hz == RATE_HZ
    return np.asarray(samples)


def test_the_audio_is_what_was_heard_and_losses_are_silence(tmp_path: Path) -> None:
    first, second = noise(0.5), noise(0.7, seed=1)
    with record(hub := Hub(), tmp_path) as recorder:
        assert recorder.audio_recorder is not None
        recorder.audio_recorder.feed(first)
        recorder.audio_recorder.skip(2 * RATE_HZ + 1)
        recorder.audio_recorder.feed(second)
        hub.publish(ESTIMATE)
    silence = np.zeros((2 * RATE_HZ + 1, 2), np.float32)
    np.testing.assert_array_equal(
        read(tmp_path / "audio.flac"), np.concatenate([first, silence, second])
    )
    assert soundfile.info(tmp_path / "audio.flac").subtype == "PCM_24"
    assert recorder.summary == f"1 estimate recorded in {tmp_path}; 3.2 s of audio"
    with SessionReader(tmp_path) as recording:
        assert [part.audio for part in recording.parts] == [tmp_path / "audio.flac"]


@pytest.mark.parametrize(
    ("rate_hz", "channels"),
    [(8_000, 1), (11_127, 1), (44_100, 8), (65_535, 1), (65_540, 1), (192_000, 2)],
)
def test_rates_and_channels_are_those_of_the_input(
    tmp_path: Path, rate_hz: int, channels: int
) -> None:
    source = replace(INPUT, sample_rate_hz=rate_hz, channels=channels)
    samples = noise(0.1, channels)
    with record(hub := Hub(), tmp_path, source) as recorder:
        assert recorder.audio_recorder is not None
        recorder.audio_recorder.feed(samples[:, 0] if channels == 1 else samples)
        hub.publish(ESTIMATE)
    found, rate = soundfile.read(tmp_path / "audio.flac", dtype="float32", always_2d=True)
    assert rate == rate_hz
    np.testing.assert_array_equal(found, samples)


def test_more_channels_than_flac_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 9 channels, and the FLAC of --record-audio holds at"):
        record(Hub(), tmp_path / "evening", replace(INPUT, channels=9))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate_hz", [65_537, 96_001, 191_999])
def test_a_rate_that_flac_cannot_state_is_refused(tmp_path: Path, rate_hz: int) -> None:
    source = replace(INPUT, sample_rate_hz=rate_hz)
    with pytest.raises(UserError, match=f"the input has {rate_hz} Hz.*steps of 10 Hz"):
        record(Hub(), tmp_path / "evening", source)
    assert not list(tmp_path.iterdir())


def test_what_is_no_sample_is_silence_and_what_is_too_loud_is_clipped(tmp_path: Path) -> None:
    with AudioFile(tmp_path / "audio.flac", RATE_HZ, 1) as file:
        file.write(np.array([[np.nan], [np.inf], [1e20], [1.5], [-1.5]], np.float32))
    top = 1.0 - 2.0**-23
    assert read(tmp_path / "audio.flac")[:, 0].tolist() == [0.0, 0.0, 0.0, np.float32(top), -1.0]


def test_recorded_audio_gives_the_recorded_values(engine: Engine, tmp_path: Path) -> None:
    """Also where input was lost for a moment."""
    samples = music(9.0, RATE_HZ, channels=2)
    clock = ManualClock()
    script = [Block(samples[at : at + 1600]) for at in range(0, len(samples), 1600)]
    script[40] = replace(script[40], dropped_before=3000)
    config = PipelineConfig(hop_s=0.5)
    with ScriptedSource(script, clock, sample_rate_hz=RATE_HZ, channels=2) as source:
        runner = LiveRunner(source, engine, config=config, clock=clock)
        header = replace(HEADER, hop_s=0.5)
        with Recorder(
            runner.hub, tmp_path, header, stats=runner.stats, audio=source.info
        ) as recorder:
            runner.audio_sink = recorder.audio_recorder
            with runner:
                assert runner.join(60.0)
    with SessionReader(tmp_path) as recording:
        live = list(recording.estimates())
    again = list(analyze(tmp_path / "audio.flac", hop_s=0.5))
    assert len(live) == len(again) == 18
    for one, other in zip(live, again, strict=True):
        assert (one.t, one.state) == (other.t, other.state)
        for name in ("valence", "arousal", "valence_low", "arousal_high"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-5)


def test_a_killed_program_leaves_what_it_had_written(tmp_path: Path) -> None:
    program = """
import time
from dataclasses import replace
from pathlib import Path
import numpy as np
from live_support import wait_for
from recording_support import HEADER
from support import ESTIMATE
from realtime_mer.audio.source import Input, InputKind
from realtime_mer.live.hub import Hub
from realtime_mer.live.stats import Stats
from realtime_mer.recording.recorder import Recorder
hub = Hub()
source = Input(InputKind.MICROPHONE, "line-in", 16000, 2, paced=False, live=True)
recorder = Recorder(hub, Path("evening"), replace(HEADER, hop_s=0.1), stats=Stats(), audio=source)
block = np.tile(np.arange(1600, dtype=np.float32)[:, None] / 2048, (1, 2))
for seq in range(50):
    recorder.audio_recorder.feed(block)
    hub.publish(replace(ESTIMATE, seq=seq, t=seq / 10 + 0.1))
wait_for(lambda: recorder.estimates == 50, "the estimates are written")
def stated():
    return int.from_bytes(Path("evening/audio.flac").read_bytes()[21:26], "big") % 2**36
wait_for(lambda: stated() == 19 * 4096, "the audio, too")
print("written", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.wait()
    process.stdout.close()
    folder = tmp_path / "evening"
    with SessionReader(folder) as recording:
        assert [each.seq for each in recording.estimates()] == list(range(50))
        assert recording.remark == ""
    found = read(folder / "audio.flac")
    assert len(found) == 19 * 4096  # libFLAC keeps the last block, of 2176 samples
    np.testing.assert_array_equal(found[1600:3200, 0] * 2048, np.arange(1600))
    assert len(analyze(folder / "audio.flac", hop_s=1.0)) == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    with mounted_disk(tmp_path / "disk", 512) as folder:
        yield folder


def test_a_full_disk_stops_the_audio_and_a_new_file_goes_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_recorder_module, "_SPACE_S", 1.0)
    hub = Hub()
    heard = hub.subscribe_lossless()
    notices: dict[str, str] = {}

    def said(code: str) -> bool:
        notices.update((n.code, n.message) for n in heard.take() if isinstance(n, Notice))
        return code in notices

    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 300_000)
    with record(hub, small_disk) as recorder:
        assert recorder.audio_recorder is not None
        hub.publish(replace(ESTIMATE, seq=0, t=1.0))
        for second in range(6):
            recorder.audio_recorder.feed(noise(1.0, seed=second))
        wait_for(lambda: said("audio_recording_stopped"), "the audio stops with a sentence")
        assert "(No space left on device)" in notices["audio_recording_stopped"]
        filler.unlink()
        (small_disk / "audio.flac").unlink()
        wait_for(lambda: said("audio_recording_resumed"), "it goes on")
        recorder.audio_recorder.feed(noise(1.0, seed=9))
        hub.publish(replace(ESTIMATE, seq=1, t=7.0))
    with SessionReader(small_disk) as recording:
        assert [each.seq for each in recording if isinstance(each, Estimate)] == [0, 1]
        second_part = recording.parts[1]
    assert second_part.header is not None
    assert second_part.header.audio == "audio-002.flac"
    assert second_part.header.audio_start_s == 6.0
    np.testing.assert_array_equal(read(small_disk / "audio-002.flac"), noise(1.0, seed=9))
    assert "s missing" in recorder.summary
    assert recorder.missing == 0


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted")
def test_audio_that_is_deleted_goes_on_in_another_file(tmp_path: Path) -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    codes: list[str] = []

    def said(code: str) -> bool:
        codes.extend(item.code for item in heard.take() if isinstance(item, Notice))
        return code in codes

    with record(hub, tmp_path) as recorder:
        assert recorder.audio_recorder is not None
        hub.publish(ESTIMATE)
        recorder.audio_recorder.feed(noise(0.5))
        (tmp_path / "audio.flac").unlink()
        wait_for(lambda: said("audio_recording_stopped"), "it is said")
        recorder.audio_recorder.feed(noise(0.5))  # which is missing
        wait_for(lambda: said("audio_recording_resumed"), "it goes on")
        recorder.audio_recorder.feed(noise(0.25, seed=1))
    np.testing.assert_array_equal(read(tmp_path / "audio-002.flac"), noise(0.25, seed=1))
    with SessionReader(tmp_path) as recording:
        header = recording.parts[1].header
    assert header is not None
    assert header.audio_start_s == 1.0


def test_a_slow_drive_loses_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into the memory is silence of the same length."""
    monkeypatch.setattr(audio_recorder_module, "BACKLOG_S", 0.5)
    with record(hub := Hub(), tmp_path) as recorder:
        audio = recorder.audio_recorder
        assert audio is not None
        hub.publish(ESTIMATE)
        with audio._writing:  # as if a write did not return
            audio.feed(noise(0.1))  # which the thread takes
            wait_for(lambda: not audio._waiting, "the thread waits for the drive")
            for seed in range(1, 20):
                audio.feed(noise(0.1, seed=seed))
    found = read(tmp_path / "audio.flac")
    assert len(found) == 2 * RATE_HZ
    np.testing.assert_array_equal(found[1600:3200], noise(0.1, seed=1))
    assert not found[-1600:].any()
    assert "silent, the drive was slow" in recorder.summary
