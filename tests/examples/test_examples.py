"""The programs of examples/ run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from live_support import ArraySource, running_server
from mer_engine import Engine
from support import music

from realtime_mer.live.runner import LiveRunner

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16_000


def run_example(name: str, *arguments: str | Path, cwd: Path) -> list[str]:
    """Runs a program to its end; what it prints, line by line."""
    command = [sys.executable, "-W", "error::ResourceWarning", str(EXAMPLES / name)]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def test_every_example_is_tested() -> None:
    tested = set(re.findall(r'run_example\(\s*"(\w+\.py)"', Path(__file__).read_text("utf-8")))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_plot_song(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = run_example("plot_song.py", "demo", "--output", "pictures", cwd=tmp_path)
    assert lines[0] == "<Analysis of demo: 180 estimates, 90.0 s>"
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "over_time.png",
        "plane.png",
    }


def test_lights(tmp_path: Path) -> None:
    # In real time: it takes the newest estimate alone, and a busy machine would leave most out.
    lines = run_example("lights.py", "demo", "--seconds", "4", cwd=tmp_path)
    assert len(lines) > 1
    for line in lines:
        assert re.search(r"\x1b\[48;2;\d+;\d+;\d+m +\x1b\[0m #[0-9a-f]{6} [a-z]+$", line), line


def test_follow_server(engine: Engine, tmp_path: Path) -> None:
    runner = LiveRunner(ArraySource(music(3.0, RATE), RATE, loop=True), engine, speed=5.0)
    with running_server(engine, runner) as server, runner:
        lines = run_example("follow_server.py", server.url, "--count", "3", cwd=tmp_path)
    assert lines[0].startswith("file array, session ")
    assert len(lines) == 4


def test_folder_study(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    for album, song in (("first", "a"), ("first", "b"), ("second", "c")):
        (tmp_path / album).mkdir(exist_ok=True)
        soundfile.write(tmp_path / album / f"{song}.wav", music(3.0, RATE, seed=ord(song)), RATE)
    (tmp_path / "second" / "no music.mp3").write_text("text")
    lines = run_example("folder_study.py", tmp_path, "--csv", "songs.csv", cwd=tmp_path)
    assert lines[0].startswith("left out: ")
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["first", "a.wav"],
        ["first", "b.wav"],
        ["second", "c.wav"],
    ]
    assert [line.split()[0] for line in lines[-2:]] == ["first", "second"]
    assert len((tmp_path / "songs.csv").read_text().splitlines()) == 4


def test_folder_study_of_the_demo(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    assert any("demo" in line for line in run_example("folder_study.py", cwd=tmp_path))


@pytest.mark.parametrize("name", ["plot_song.py", "lights.py", "game_loop.py"])
def test_a_missing_file_gives_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_text("no music")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "song.wav"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "song.wav" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_game_loop(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", music(3.0, RATE), RATE)
    lines = run_example("game_loop.py", "song.wav", "--seconds", "2", cwd=tmp_path)
    assert lines[-2] == "120 frames, 0 blocks dropped"
    assert lines[-1].endswith("at 2.0 s") or lines[-1].endswith("at 1.5 s")
    assert run_example("game_loop.py", "--seconds", "1", cwd=tmp_path)[-2].startswith("60 frames")
