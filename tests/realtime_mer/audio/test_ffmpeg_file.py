"""What ffprobe answers about a file is bounded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from realtime_mer.audio import ffmpeg_file
from realtime_mer.audio.file import open_file

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@needs_ffmpeg
def test_a_tag_of_many_megabytes_takes_no_memory(tmp_path: Path) -> None:
    """The tag is one of those that are asked for."""
    wav, tags, path = (tmp_path / name for name in ("a.wav", "tags.txt", "a.mka"))
    soundfile.write(wav, np.zeros((44_100, 1), np.float32), 44_100)
    tags.write_text(f";FFMETADATA1\n[STREAM]\nDURATION={'9' * 20_000_000}\n")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(wav), "-i", str(tags)]
    command += ["-map", "0:a", "-map_metadata:s:a", "1:s:0", "-c:a", "flac", str(path)]
    subprocess.run(command, check=True, timeout=60)
    tracemalloc.start()
    try:
        with open_file(path) as source:
            assert source.info.sample_rate_hz == 44_100
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_that_writes_without_end_is_stopped(stream: str) -> None:
    program = f"import sys\nwhile True: sys.{stream}.write('x' * 1000)"
    outputs = ffmpeg_file._outputs([sys.executable, "-c", program])
    assert sorted(map(len, outputs)) == [0, ffmpeg_file._MAX_ANSWER_BYTES]


def test_a_program_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg_file, "_PROBE_TIMEOUT_S", 0.1)
    program = "import time; time.sleep(600)"
    assert ffmpeg_file._outputs([sys.executable, "-c", program]) == (b"", b"")
