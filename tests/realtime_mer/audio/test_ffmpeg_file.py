"""What ffprobe answers about a file is bounded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from memory_support import in_own_process, probe

from realtime_mer.audio import ffmpeg_file

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@needs_ffmpeg
def test_a_tag_of_many_megabytes_takes_no_memory(tmp_path: Path) -> None:
    """The tag is one of those that are asked for."""
    tags, path = tmp_path / "tags.txt", tmp_path / "a.opus"
    tags.write_text(f";FFMETADATA1\nDURATION={'9' * 20_000_000}\n")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=d=1"]
    command += ["-f", "ffmetadata", "-i", str(tags), "-map", "0:a", "-map_metadata:s:a", "1:g"]
    subprocess.run([*command, "-c:a", "flac", "-f", "ogg", str(path)], check=True, timeout=60)
    assert path.stat().st_size > 20_000_000
    problem, peak = in_own_process(probe, str(path))
    assert problem is None
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


def test_an_answer_that_nobody_can_read_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name)
    for answer in (b"no JSON", b"[" * 200_000, b"[]"):
        monkeypatch.setattr(ffmpeg_file, "_outputs", lambda command, answer=answer: (answer, b""))
        assert ffmpeg_file._probe("a.m4a") == ffmpeg_file._Probe()
