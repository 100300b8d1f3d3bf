from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support import ESTIMATE

from realtime_mer.cli import main
from realtime_mer.core.types import State
from realtime_mer.outputs.table_file import TableFile

CONFIGURATION = """
[[osc]]
name = "resolume"
to = "127.0.0.1:7000"

[[scene]]
name = "storm"
when = { mood = "tense", arousal = ">0.5", for_s = 2 }
quantise = "bar"
dwell_s = 0
do = [{ output = "resolume", address = "/column/3", args = [1] }]

[[scene]]
name = "a name that is longer than the column has room for"
when = { mood = "calm" }
dwell_s = 2

[profile.quiet]
[[profile.quiet.scene]]
name = "quiet"
when = { state = "silence" }
"""
MOODS = ["calm", "calm", "tense", "tense", "tense", "tense", "calm"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and a recording of seven seconds, in both formats."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "show.toml").write_text(CONFIGURATION)
    for suffix in ("csv", "jsonl"):
        with TableFile(tmp_path / f"evening.{suffix}", suffix) as table:
            for seq, mood in enumerate(MOODS):
                estimate = replace(
                    ESTIMATE, seq=seq, t=seq + 1.0, mood=mood, arousal=0.7, state=State.TRACKING
                )
                table.write(estimate)
    return tmp_path


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_the_table(files: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenes", "show.toml", "--on", f"evening.{suffix}"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "     time  scene             what    why",
        "   0:01.0  a name that is …  starts  mood is calm",
        "   0:03.0  a name that is …  ends    mood is tense, not calm",
        "   0:05.0  storm             starts  mood is tense, arousal 0.70 is above 0.5",
        "   0:07.0  storm             ends    mood is calm, not tense",
        "   0:07.0  a name that is …  starts  mood is calm",
        "   0:07.0  a name that is …  stays   the recording ends",
        "",
        "storm               1 starts       2.0 s",
        "a name that is …    2 starts       2.0 s",
    ]
    assert err == (
        "a recording has no beats: scenes that wait for the beat or bar start at once (storm)\n"
    )


def test_why_not_in_80_columns(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenes", "show.toml", "--on", "evening.csv", "--why"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    start = lines.index(
        "   0:03.0  storm             not     mood is tense, arousal 0.70 is above 0.5,"
    )
    assert lines[start + 1] == 37 * " " + "but only for 0 of 2 s"


def test_a_profile_and_a_scene_that_never_starts(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenes", "show.toml", "--on", "evening.csv", "--profile", "quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["", "quiet  never"]


@pytest.mark.parametrize(("suffix", "expected"), [("csv", True), ("jsonl", False)])
def test_csv_shows_fewer_sections(
    files: Path, suffix: str, expected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "show.toml").write_text('[[scene]]\nname = "a"\nany_of = [{ event = "section" }]')
    assert main(["scenes", "show.toml", "--on", f"evening.{suffix}"]) == 0
    assert ("fewer sections" in capsys.readouterr().err) is expected


def test_a_recording_that_was_cut_off(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = files / "evening.csv"
    recording.write_bytes(recording.read_bytes()[:-5])
    assert main(["scenes", "show.toml", "--on", "evening.csv"]) == 0
    out, err = capsys.readouterr()
    assert "storm             stays   the recording ends" in out
    assert "line 8 of evening.csv was cut off and is left out\n" in err


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ("", "show.toml has no [[scene]]; docs/scenes.md has examples"),
        ("[[scene]]\nname = 'a'\nwhen = { mod = 'calm' }",
         "show.toml line 3: [[scene]] when of the scene a has no key 'mod'; did you mean mood?"),
        ("[[scene]]\nname = 'a'\n[[scene]]\nname = 'a'", "there are 2 scenes a; give each its own"),
    ],
)  # fmt: skip
def test_wrong_configurations_are_sentences(
    files: Path, configuration: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "show.toml").write_text(configuration)
    assert main(["scenes", "show.toml", "--on", "evening.csv"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"realtime-mer scenes: {message}")
    assert err.count("\n") == 1


def test_wrong_recordings_are_sentences(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, message in (("missing.csv", "cannot be read"), ("show.toml", "is no recording")):
        assert main(["scenes", "show.toml", "--on", name]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
