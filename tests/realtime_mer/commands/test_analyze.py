import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mer_engine import Engine
from PIL import Image
from support import music, values

from realtime_mer.audio.file import FileSource
from realtime_mer.audio.source import Block
from realtime_mer.cli import main
from realtime_mer.commands import analysis_progress
from realtime_mer.core.pipeline import Pipeline

RATE_HZ = 22_050


@pytest.fixture(autouse=True)
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine would take long enough to tell how far it is."""
    monkeypatch.setattr(analysis_progress, "LINE_PERIOD_S", math.inf)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, music(12.0, RATE_HZ, channels=2), RATE_HZ, subtype="FLOAT")
    return path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_equal_the_estimates_of_the_pipeline(
    song: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(song)]) == 0
    out, err = capsys.readouterr()
    table = rows(out)
    pipeline = Pipeline(engine, sample_rate_hz=RATE_HZ, channels=2)
    samples = soundfile.read(song, dtype="float32", always_2d=True)[0]
    expected = values([*pipeline.feed(samples), *pipeline.finish()])
    assert len(table) == 12
    for row, numbers in zip(table, expected, strict=True):
        assert float(row["t"]) == numbers[0]
        assert float(row["valence"]) == pytest.approx(numbers[1], abs=1e-5)
        assert float(row["arousal_high"]) == pytest.approx(numbers[6], abs=1e-5)
    assert err == ""  # no progress bar without a terminal


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
def test_formats(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"song{suffix}"
    rate_hz = 48_000 if suffix == ".opus" else 44_100
    subtype = "OPUS" if suffix == ".opus" else None
    form = "OGG" if suffix == ".opus" else None
    soundfile.write(path, 0.5 * music(3.2, rate_hz), rate_hz, subtype=subtype, format=form)
    assert main(["analyze", str(path), "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["t"] for line in lines] == [1.0, 2.0, 3.0]
    assert {line["type"] for line in lines} == {"estimate"}


def test_into_a_file_with_a_plot(song: Path, tmp_path: Path) -> None:
    table, plot = tmp_path / "out.jsonl", tmp_path / "out.png"
    assert main(["analyze", str(song), "-o", str(table), "--plot", str(plot)]) == 0
    assert len([json.loads(line) for line in table.read_text().splitlines()]) == 12
    with Image.open(plot) as image:
        assert image.size == (1600, 900)


def test_several_files_into_a_folder(song: Path, tmp_path: Path) -> None:
    other = tmp_path / "b" / "song.flac"
    other.parent.mkdir()
    soundfile.write(other, music(3.0, RATE_HZ), RATE_HZ)
    folder = tmp_path / "new" / "folder"
    assert main(["analyze", str(song), str(other), "-o", str(folder)]) == 0
    assert {path.name for path in folder.glob("*.csv")} == {"song.csv", "song.flac.csv"}
    assert len(rows((folder / "song.flac.csv").read_text())) == 3


def test_rows_of_many_files_equal_those_of_each_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More files than are open at once, the longest first, with several rates; one is too short."""
    lengths_s = (9.0, 2.0, 0.3, 6.0, 1.0, 4.0, 2.5, 3.0, 1.5, 2.0, 5.0, 1.0)
    names = []
    for number, length_s in enumerate(lengths_s):
        rate_hz = (22_050, 16_000, 44_100)[number % 3]
        names.append(str(tmp_path / f"{number}.wav"))
        samples = music(length_s, rate_hz, channels=1 + number % 2, seed=number)
        soundfile.write(names[-1], samples, rate_hz, subtype="FLOAT")
    assert main(["analyze", *names, "--hop", "0.5"]) == 2
    out, err = capsys.readouterr()
    together = rows(out)
    assert "1 of 12 files" in err
    assert "2.wav lasts 0.30 s; at least half a second" in err
    alone: list[dict[str, str]] = []
    for name in names:
        main(["analyze", name, "--hop", "0.5"])
        alone += [{"file": name, **row} for row in rows(capsys.readouterr().out)]
    assert [(row["file"], row["seq"]) for row in together] == [
        (row["file"], row["seq"]) for row in alone
    ]
    for column in ("t", "valence", "arousal", "valence_low", "arousal_high", "level_db"):
        got, expected = ([float(row[column]) for row in some] for some in (together, alone))
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_several_tables_equal_those_of_each_file_alone(song: Path, tmp_path: Path) -> None:
    names = []
    for number in range(10):
        names.append(tmp_path / f"{number}.flac")
        soundfile.write(names[-1], music(3.0 - number % 3, RATE_HZ, seed=number), RATE_HZ)
    folder = tmp_path / "tables"
    assert main(["analyze", *map(str, names), "-o", str(folder)]) == 0
    for number, name in enumerate(names):
        alone = tmp_path / "alone.csv"
        assert main(["analyze", str(name), "-o", str(alone)]) == 0
        got, expected = (rows(path.read_text()) for path in (folder / f"{number}.csv", alone))
        assert [row["t"] for row in got] == [row["t"] for row in expected]
        np.testing.assert_allclose(
            [float(row["valence"]) for row in got],
            [float(row["valence"]) for row in expected],
            atol=1e-5,
        )


def test_one_bad_file_does_not_stop_the_others(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.wav"
    assert main(["analyze", str(missing), str(song)]) == 2
    out, err = capsys.readouterr()
    assert {row["file"] for row in rows(out)} == {str(song)}
    assert "1 of 2 files could not be analysed" in err
    assert "missing.wav" in err


def broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.wav"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path = tmp_path / "text.mp3"
        path.write_text("this is not music\n" * 500)
    elif kind == "short":
        soundfile.write(path, music(0.2, RATE_HZ), RATE_HZ)
    elif kind == "nan":
        samples = music(2.0, RATE_HZ)
        samples[30_000] = np.nan
        soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    elif kind == "infinite":
        samples = music(2.0, RATE_HZ)
        samples[30_000] = np.inf
        soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    elif kind == "truncated":
        soundfile.write(path, music(5.0, RATE_HZ), RATE_HZ)
        path.write_bytes(path.read_bytes()[:100_000])
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "text", "short", "nan", "infinite", "truncated", "folder"]
)
def test_bad_files_give_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken(tmp_path, kind)
    assert main(["analyze", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("realtime-mer analyze: ")
    assert path.name in err
    assert "Traceback" not in err


def test_estimates_before_the_damage_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(broken(tmp_path, "truncated"))]) == 2
    out, err = capsys.readouterr()
    assert [row["t"] for row in rows(out)] == ["1.0", "2.0"]
    assert "breaks off" in err


def test_a_file_with_a_spike_is_told_and_all_its_estimates_are_kept(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, _ = soundfile.read(song, dtype="float32")
    tables = []
    for value, code in ((0.0, 0), (1e20, 2)):
        samples[20_000] = value
        path, table = tmp_path / f"{code}.wav", tmp_path / f"{code}.csv"
        soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
        assert main(["analyze", str(path), "-o", str(table)]) == code
        names = ("t", "valence", "arousal_low", "level_db")
        tables.append([[row[name] for name in names] for row in rows(table.read_text())])
    err = capsys.readouterr().err
    assert "2.wav: sample 20000 is 1e+20, far above the full scale of 1" in err
    assert "Traceback" not in err
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hop", "0.05"], "the hop is 0.05 s"),
        (["--lag-order", "21"], "the lag order is 21"),
        (["--silence-db", "10"], "the silence level is 10.0 dB"),
        (["--plot", "x.gif"], "must end in .png"),
        (["-o", "x.parquet"], "x.parquet ends in .parquet, which is no format of tables"),
        (["-o", "x.csv", "--format", "jsonl"], "x.csv ends in .csv, but --format is jsonl"),
        (["-o", "a" * 300], "File name too long"),
        (["--model", "nowhere.onnx"], "nowhere.onnx cannot be read"),
        (["-o", "/dev/null/x"], "cannot be written"),
    ],
)
def test_bad_options_give_one_line(
    song: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(song), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("options", [["--range", "music"], ["--adapt"]])
def test_a_model_without_a_distribution_has_only_raw_values(
    song: Path, options: list[str], fast_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(song), "--model", str(fast_model), *options]) == 2
    err = capsys.readouterr().err
    assert "has no distribution of its values over music" in err
    assert err.count("\n") == 1


def test_an_input_file_is_never_overwritten(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = song.read_bytes()
    link = song.with_suffix(".csv")
    link.symlink_to(song)
    assert main(["analyze", str(song), "-o", str(link)]) == 2
    assert "would destroy it" in capsys.readouterr().err
    assert song.read_bytes() == before


def test_a_file_where_a_folder_is_needed(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("")
    assert main(["analyze", str(song), "demo", "-o", str(table)]) == 2
    assert "name a folder instead" in capsys.readouterr().err
    assert main(["analyze", str(tmp_path), "-o", str(tmp_path / "new.csv")]) == 2
    assert "name a folder instead" in capsys.readouterr().err
    assert not (tmp_path / "new.csv").exists()


def library(folder: Path) -> list[str]:
    """Make two songs of one name in different folders, and what is no music."""
    for place, seconds in (("album", 2.0), ("album/second", 1.0)):
        (folder / place).mkdir()
        soundfile.write(folder / place / "1.flac", music(seconds, RATE_HZ), RATE_HZ)
    (folder / "album" / "cover.jpg").write_bytes(b"no music")
    (folder / "album" / "._1.flac").write_bytes(b"no music")
    return [str(folder / "album" / name) for name in ("1.flac", "second/1.flac")]


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    songs = library(tmp_path)
    assert main(["analyze", str(tmp_path / "album"), *songs]) == 0
    out, err = capsys.readouterr()
    assert [row["file"] for row in rows(out)] == [songs[0], songs[0], songs[1]]
    assert err == ""
    outputs = tmp_path / "out"
    paths = ["-o", str(outputs), "--plot", str(outputs)]
    assert main(["analyze", str(tmp_path / "album"), *paths]) == 0
    made = [path.relative_to(outputs).as_posix() for path in outputs.rglob("*.*")]
    assert sorted(made) == [".realtime-mer.jsonl", "1.csv", "1.png", "second/1.csv", "second/1.png"]
    assert len(rows((outputs / "1.csv").read_text())) == 2


def test_a_playlist_with_bad_entries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    songs = library(tmp_path)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "\n".join(["#EXTM3U", "album/missing.mp3", *songs, "https://x.example/a.mp3"])
    )
    assert main(["analyze", str(playlist)]) == 2
    out, err = capsys.readouterr()
    assert [row["file"] for row in rows(out)] == [songs[0], songs[0], songs[1]]
    assert "2 of 4 files could not be analysed:" in err
    assert "there is no file" in err
    assert "'https://x.example/a.mp3' is a network address" in err
    assert err.count("\n") == 3


def test_every_failure_is_told_and_every_other_file_is_complete(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names and folders that make the system itself fail, damage, and no room for a table."""
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    last = tmp_path / "last.wav"
    soundfile.write(last, music(1.0, RATE_HZ), RATE_HZ)
    blocked = tmp_path / "blocked.wav"
    soundfile.write(blocked, music(1.0, RATE_HZ), RATE_HZ)
    folder = tmp_path / "out"
    (folder / "blocked.csv").mkdir(parents=True)
    names = [
        "a" * 300 + ".wav", circle / "x.wav", song, song / "x.wav", broken(tmp_path, "truncated"),
        blocked, tmp_path / "no*.wav", broken(tmp_path, "infinite"), last,
    ]  # fmt: skip
    assert main(["analyze", *map(str, names), "-o", str(folder)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "realtime-mer analyze: 7 of 9 files could not be analysed:"
    expected = [
        "File name too long", "Too many levels of symbolic links", "Not a directory",
        "breaks off at", "blocked.csv cannot be written (Is a directory)", "no music matches",
        "not a finite number",
    ]  # fmt: skip
    for line, words in zip(lines[1:], expected, strict=True):
        assert words in line
    assert len(rows((folder / "song.csv").read_text())) == 12
    assert len(rows((folder / "truncated.csv").read_text())) == 2
    assert len(rows((folder / "last.csv").read_text())) == 1


def test_a_file_that_breaks_off_has_its_plot_and_is_named_with_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, plot = broken(tmp_path, "truncated"), tmp_path / "plot.png"
    assert main(["analyze", str(path), "--plot", str(plot)]) == 2
    assert f"{path} breaks off at" in capsys.readouterr().err
    with Image.open(plot) as image:
        assert image.size == (1600, 900)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), OSError("the card is gone")])
def test_an_error_of_the_system_in_the_middle_of_a_file(
    error: OSError,
    song: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For example, a network drive that goes away."""
    bad = tmp_path / "bad.wav"
    soundfile.write(bad, music(3.0, RATE_HZ), RATE_HZ)
    read = FileSource.read

    def failing_read(source: FileSource, timeout_s: float) -> Block | None:
        block = read(source, timeout_s)
        if source.info.name == bad.name and source._position > 2.0 * RATE_HZ:
            raise error
        return block

    monkeypatch.setattr(FileSource, "read", failing_read)
    assert main(["analyze", str(bad), str(song)]) == 2
    out, err = capsys.readouterr()
    assert [row["file"] for row in rows(out)].count(str(song)) == 12
    assert f"bad.wav cannot be read ({error.strerror or error})" in err
    assert "Traceback" not in err


def test_a_fault_of_the_program_loses_no_other_file(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.wav"
    soundfile.write(bad, music(3.0, RATE_HZ), RATE_HZ)
    read = FileSource.read

    def failing_read(source: FileSource, timeout_s: float) -> Block | None:
        if source.info.name == bad.name:
            raise ZeroDivisionError
        return read(source, timeout_s)

    monkeypatch.setattr(FileSource, "read", failing_read)
    with pytest.raises(ZeroDivisionError):
        main(["analyze", str(bad), str(song)])
    assert len(rows(capsys.readouterr().out)) == 12


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(song), "-o", "/dev/full"]) == 2
    assert "/dev/full cannot be written (No space left on device)" in capsys.readouterr().err
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "song.csv").symlink_to("/dev/full")
    other = tmp_path / "other.wav"
    soundfile.write(other, music(1.0, RATE_HZ), RATE_HZ)
    assert main(["analyze", str(song), str(other), "-o", str(folder)]) == 2
    assert "1 of 2 files could not be analysed" in capsys.readouterr().err
    assert len(rows((folder / "other.csv").read_text())) == 1
