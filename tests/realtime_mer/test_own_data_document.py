"""The examples of docs/own-data.md work as shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.types import Collection
from own_data_support import write_audio

from realtime_mer.cli import build_parser

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"^```\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def block(first_line: str) -> str:
    (found,) = (text for text in BLOCKS if text.startswith(first_line + "\n"))
    return found


def load(folder: Path) -> Collection:
    write_audio(folder / "ballad.flac", 30.0, seed=1)
    write_audio(folder / "live" / "encore.mp3", 30.0, seed=2)
    return load_collection(f"csv={folder}")


def test_one_table_and_songs(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(block("file,time_s,valence,arousal"))
    (tmp_path / "songs.csv").write_text(block("file,artist,title,genre,split,valence,arousal"))
    own = load(tmp_path)
    assert own.left_out == own.notes == ()
    assert [(clip.song, clip.start_s, clip.duration_s) for clip in own.clips] == [
        ("ballad.flac", 0, 2),
        ("live/encore.mp3", 15, 3),
    ]
    encore = own.labels(own.clips[1], 6)
    np.testing.assert_allclose(encore[:, 0], [0.55, 0.57, 0.575, 0.58, 0.59, 0.60], atol=1e-6)
    # The empty cell is interpolated: the labels around it are two seconds apart.
    np.testing.assert_allclose(encore[:, 1], [0.71, 0.72, 0.725, 0.73, 0.735, 0.74], atol=1e-6)
    assert own.splits["test"] == ("live/encore.mp3",)
    assert own.songs["ballad.flac"].static == (-0.2, -0.4)


def test_a_table_beside_a_file(tmp_path: Path) -> None:
    (tmp_path / "ballad.csv").write_text(block("time_s,valence,arousal"))
    own = load(tmp_path)
    assert [clip.song for clip in own.clips] == ["ballad.flac"]


def test_the_report_of_excluded_songs(tmp_path: Path) -> None:
    shown = next(text for text in BLOCKS if text.startswith("csv: song")).splitlines()
    rows = block("file,time_s,valence,arousal")
    (tmp_path / "labels.csv").write_text(rows + "live/encore.mp3,19,3.5,0.5\n")
    write_audio(tmp_path / "intro.wav", 30.0, seed=3)
    own = load(tmp_path)
    first, second = own.left_out
    assert f"csv: {first}" == shown[0]
    line = f"csv: {second}".replace("line 10", "line 212")
    assert line.startswith(shown[1].removesuffix(" ..."))
    assert f"csv: {own.summary}" == shown[2].replace("48", "3")


def commands() -> list[str]:
    lines = [line for text in BLOCKS for line in text.splitlines()]
    return [line for line in lines if line.startswith("realtime-mer ")]


@pytest.mark.parametrize("line", commands())
def test_commands_are_valid(line: str) -> None:
    words = shlex.split(line.partition(">")[0])[1:]
    assert build_parser().parse_args(words).command == words[0]


def test_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert {line.split()[1] for line in commands()} == {"evaluate", "train", "listen", "export"}
    for command in ("train", "evaluate"):
        with pytest.raises(SystemExit):
            build_parser().parse_args([command, "--help"])
    help_text = capsys.readouterr().out
    options = set(re.findall(r"`(--[a-z]+)", PAGE))
    assert {"--init", "--fresh", "--licence"} <= options
    assert all(f"{option} " in help_text or f"{option}\n" in help_text for option in options)
