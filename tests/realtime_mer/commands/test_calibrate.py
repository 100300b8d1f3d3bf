"""`realtime-mer calibrate`, from the music to an output that uses its file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import music, running_program

from realtime_mer.cli import main
from realtime_mer.outputs.hall import default_hall_path, load_hall

RATE_HZ = 22_050
# A window of half a second is full of music soon.
QUICK = ["--hop", "0.1", "--lag-order", "1"]


@pytest.fixture
def song(tmp_path: Path) -> str:
    path = tmp_path / "song.wav"
    soundfile.write(path, music(4.0, RATE_HZ), RATE_HZ, subtype="FLOAT")
    return str(path)


@pytest.fixture
def short_music_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_mer.outputs.hall.MIN_MUSIC_S", 1.0)


@pytest.mark.usefixtures("short_music_suffices")
def test_the_file_has_the_range_of_the_music(
    song: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "halls" / "club.json"
    arguments = ["--input", song, *QUICK, "--duration", "1.5", "-o", str(path)]
    assert main(["calibrate", *arguments]) == 0
    out, err = capsys.readouterr()
    assert f'range = "hall" and hall = "{path}"' in out
    assert "s of music: valence " in err
    hall = load_hall(path)
    assert -1 <= hall.valence[0] < hall.valence[1] <= 1
    assert -60 < hall.level_db[0] < hall.level_db[1] < 0


@pytest.mark.usefixtures("short_music_suffices")
def test_the_end_of_the_audio_ends_it(
    song: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["calibrate", "--input", song, *QUICK]) == 0
    assert load_hall(default_hall_path()).valence
    assert 'range = "hall" uses it' in capsys.readouterr().out


def test_too_little_music(song: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hall.json"
    path.write_text("the old one")
    assert main(["calibrate", "--input", song, *QUICK, "-o", str(path)]) == 2
    assert "s of music were heard, and 60 s are needed" in capsys.readouterr().err
    assert path.read_text() == "the old one"


def test_ctrl_c_says_what_is_missing(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    silence = np.zeros(60 * RATE_HZ, np.float32)
    soundfile.write(song, silence, RATE_HZ)
    command = [sys.executable, "-m", "realtime_mer", "calibrate", "--input", str(song)]
    with running_program(
        [*command, "-o", str(tmp_path / "hall.json")], stderr=subprocess.PIPE, text=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("listening to"):
                break
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
        rest = process.stderr.read()
    assert process.returncode == 2
    assert "only 0 s of music were heard" in rest
    assert not (tmp_path / "hall.json").exists()


def test_bad_arguments(song: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--input", song, "--duration", "5"]) == 2
    assert "the duration is 5 s; it must be at least 60" in capsys.readouterr().err
    assert main(["calibrate", "--input", song, "--duration", "inf"]) == 2
    assert "the duration is inf s; " in capsys.readouterr().err
    assert main(["calibrate", "--input", song, "-o", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("")
    assert main(["calibrate", "--input", song, "-o", str(file / "hall.json")]) == 2
    assert "give another file with -o" in capsys.readouterr().err


def test_an_output_without_its_hall(
    song: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "show.toml"
    missing = os.fspath(tmp_path / "none.json")
    config.write_text(f'[[jsonl]]\nrange = "hall"\nhall = {json.dumps(missing)}\n')
    for check in ([], ["--check"]):
        assert main(["listen", "--input", song, "--config", str(config), *check]) == 2
        assert "make it with: realtime-mer calibrate" in capsys.readouterr().err
