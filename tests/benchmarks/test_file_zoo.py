"""Files that are read by the project and by ffmpeg: verdicts, result and tables."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from file_zoo import Reading, main, verdict

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
WHOLE = Reading(60.0)
COMPLAINT = "breaks off"


@pytest.mark.parametrize(
    ("ours", "ffmpeg", "stated_s", "expected"),
    [
        (WHOLE, WHOLE, 60.0, "whole"),
        (Reading(59.6), WHOLE, 60.0, "whole"),
        (Reading(59.4), WHOLE, 60.0, "short in silence"),
        (Reading(4.85), Reading(5.0), 5.0, "short in silence"),
        (Reading(0.01), Reading(0.09), None, "whole"),
        (WHOLE, Reading(30.0, "damaged"), 60.0, "longer"),
        (Reading(30.0), Reading(30.0, "partial file"), 60.0, "less than stated"),
        (Reading(30.0, COMPLAINT), Reading(30.0), 60.0, "told"),
        (Reading(30.0, COMPLAINT), Reading(31.0, "damaged"), None, "told"),
        (Reading(60.0, COMPLAINT), WHOLE, 60.0, "told alone"),
        (Reading(30.0, COMPLAINT), WHOLE, 60.0, "false alarm"),
        (Reading(0.0, "not music"), WHOLE, None, "false alarm"),
        (Reading(0.0, "not music"), Reading(0.0, "invalid data"), None, "refused by both"),
        (Reading(0.0, "ValueError()", "crash"), WHOLE, 60.0, "crash"),
        (Reading(0.0, "no end", "hang"), Reading(0.0, "invalid data"), None, "hang"),
    ],
)
def test_verdicts(ours: Reading, ffmpeg: Reading, stated_s: float | None, expected: str) -> None:
    assert verdict(ours, ffmpeg, stated_s) == expected


@needs_ffmpeg
def test_files_of_all_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from file_tables import by_format, by_source, differences

    zoo = tmp_path / "zoo"
    (zoo / "project").mkdir(parents=True)
    tone = np.sin(np.arange(3 * 8000) / 10.0)
    soundfile.write(zoo / "project" / "tone.wav", np.stack([tone, tone], axis=1), 8000)
    soundfile.write(zoo / "tone.flac", tone, 8000)
    # A file of samples that are no numbers: a complaint of ours that ffmpeg does not have.
    soundfile.write(zoo / "nan.wav", np.append(tone, np.nan), 8000, subtype="FLOAT")
    (zoo / "text.mp3").write_text("no music\n")
    (zoo / "notes").write_text("no music\n")
    (zoo / "program.py").write_text("no music\n")
    convert = ["ffmpeg", "-v", "error", "-i", str(zoo / "tone.flac")]
    subprocess.run([*convert, "-f", "matroska", str(zoo / "no suffix: 'x'")], check=True)
    out = tmp_path / "new" / "result.json"
    assert main([str(zoo), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "told alone              3.00      3.00      3.00  zoo/nan.wav" in printed
    assert "we: nan.wav holds nan at 3.00 s" in printed
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["files"] == 5
    assert result["other_files"] == 1
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    assert {(row["source"], row["format"], row["verdict"]) for row in result["counts"]} == {
        ("project", "wav, pcm", "whole"),
        ("zoo", "flac", "whole"),
        ("zoo", "matroska, vorbis", "whole"),
        ("zoo", "wav, pcm", "told alone"),
        ("zoo", "mp3", "refused by both"),
    }
    assert [(row["name"], row["verdict"]) for row in result["differences"]] == [
        ("nan.wav", "told alone")
    ]
    assert "| others | 5 | 3 | | 1 | 1 | | |" in by_source(result)
    assert "| all | 5 | 3 | 0 | 1 | 1 | 0 | 0 |" in by_format(result)
    listed = differences(result)
    assert listed is not None
    assert "* told alone: `zoo/nan.wav`, 3.00 s, ffmpeg 3.00 s: nan.wav holds nan" in listed


@needs_ffmpeg
def test_a_fault_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Half of the samples are missing on our side only: what follows a value that is no number.
    samples = np.zeros(16_000)
    samples[8000] = np.inf
    soundfile.write(tmp_path / "inf.wav", samples, 8000, subtype="FLOAT")
    assert main([str(tmp_path), "--out", str(tmp_path / "result.json")]) == 1
    assert "false alarm: 1" in capsys.readouterr().out


@needs_ffmpeg
def test_a_folder_without_audio_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "result.json")]) == 2
    assert "there is no audio file below" in capsys.readouterr().err
    assert not (tmp_path / "result.json").exists()
