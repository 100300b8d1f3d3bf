"""`realtime-mer report`: files that it writes, and what it refuses."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from report_support import TARGET, music, recording, utc_at

from realtime_mer.cli import main
from realtime_mer.core.events import Marker
from realtime_mer.outputs.table_file import TableFile

POINTS = [(-0.4, 0.6, "tense")] * 10 + [(0.4, -0.4, "calm")] * 10
TOML = "".join(
    f"[[point]]\nt_s = {p.t_s}\nvalence = {p.valence}\narousal = {p.arousal}\n"
    for p in TARGET.points
)


@pytest.fixture
def evening(tmp_path: Path) -> Path:
    """The folder of a recording."""
    return recording(tmp_path / "evening", [*music(POINTS), Marker(12.0, utc_at(12), "eyes open")])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return the sentence with which the arguments are refused."""
    assert main(["report", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("realtime-mer report: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_the_page_goes_into_the_folder(evening: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(evening)]) == 0
    assert capsys.readouterr().out == f"{evening / 'report.html'}\n"
    assert "eyes open" in (evening / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(evening)]) == 0  # it is replaced


def test_a_folder_whose_name_is_no_unicode(evening: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        evening.rename(folder)
    except OSError:
        pytest.skip("this file system takes only Unicode")
    assert main(["report", str(folder)]) == 0
    assert "<h1>caf\ufffd</h1>" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_of_a_table_goes_beside_it(tmp_path: Path) -> None:
    with TableFile(tmp_path / "song.csv", "csv") as table:
        for each in music(POINTS):
            table.write(each)
    assert main(["report", str(tmp_path / "song.csv")]) == 0
    assert "<h1>song</h1>" in (tmp_path / "song.html").read_text(encoding="utf-8")


def test_every_file_that_is_asked_for_is_written_and_no_other(
    evening: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "folder"
    names = ("a.csv", "a.txt", "a.srt", "a.xdf")
    options = zip(("--csv", "--labels", "--srt", "--xdf"), names, strict=True)
    arguments = [text for option, name in options for text in (option, str(out / name))]
    assert main(["report", str(evening), *arguments]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    assert not (evening / "report.html").exists()
    with (out / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mood"] for row in rows] == ["tense"] * 10 + ["calm"] * 10
    assert "12.000\t12.000\tmarker: eyes open\n" in (out / "a.txt").read_text(encoding="utf-8")
    assert "* eyes open" in (out / "a.srt").read_text(encoding="utf-8")
    assert (out / "a.xdf").read_bytes().startswith(b"XDF:")


def test_what_was_cut_off_is_said(
    evening: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = evening / "estimates.jsonl"
    part.write_bytes(part.read_bytes()[:-9])
    labels = tmp_path / "labels.txt"
    assert main(["report", str(evening), "--labels", str(labels)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{labels}\n"
    assert printed.err == f"line 22 of {part} was cut off and is left out\n"


def test_two_recordings_and_a_target(evening: Path, tmp_path: Path) -> None:
    other = recording(tmp_path / "tuesday", music(POINTS))
    target = tmp_path / "target.toml"
    target.write_text(TOML, encoding="utf-8")
    page = tmp_path / "both.html"
    assert main(["report", str(evening), str(other), "--target", str(target), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "evening and tuesday" in text
    assert "Distance to the target" in text


def test_recordings_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read" in refusal(capsys, tmp_path / "none.jsonl")
    assert "holds no recording" in refusal(capsys, tmp_path)
    song = tmp_path / "song.flac"
    song.write_bytes(b"fLaC")
    assert "is no recording, which is a folder of --record" in refusal(capsys, song)


def test_nothing_that_was_recorded_is_overwritten(
    evening: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = evening / "estimates.jsonl"
    before = part.read_bytes()
    (evening / "audio.flac").write_bytes(b"fLaC")
    target = tmp_path / "target.toml"
    target.write_text(TOML, encoding="utf-8")
    for option in ("-o", "--csv", "--labels", "--srt", "--xdf"):
        assert "is an input file" in refusal(capsys, evening, option, part)
    assert "is an input file" in refusal(capsys, evening, "--csv", evening / "audio.flac")
    assert "is an input file" in refusal(capsys, evening, "--target", target, "-o", target)
    assert part.read_bytes() == before


def test_outputs_that_cannot_be(
    evening: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = tmp_path / "same"
    assert "for two different files" in refusal(capsys, evening, "--csv", same, "--srt", same)
    assert "is a folder; name a file in it" in refusal(capsys, evening, "-o", tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "cannot be written" in refusal(capsys, evening, "-o", tmp_path / "file" / "a.html")
    sentence = refusal(capsys, evening, evening, "--csv", tmp_path / "a.csv")
    assert "only the page compares" in sentence


def test_a_target_that_is_none(
    evening: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target.toml"
    target.write_text(TOML.replace("arousal = 0.6", "arousal = 6"), encoding="utf-8")
    sentence = refusal(capsys, evening, "--target", target)
    assert "point 1: arousal is 6; it must lie between -1 and 1" in sentence
    assert not (evening / "report.html").exists()
