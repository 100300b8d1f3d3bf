"""Where tables and plots go, and in which format."""

from pathlib import Path

import pytest

from realtime_mer.commands.music_files import MusicFile
from realtime_mer.commands.output_paths import output_paths, refuse_overwriting, row_format
from realtime_mer.errors import UserError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(*places: str) -> list[MusicFile]:
    return [MusicFile(f"/music/{place}", Path(place)) for place in places]


@pytest.mark.parametrize(
    ("text", "chosen", "expected"),
    [
        (None, None, "csv"),
        (None, "jsonl", "jsonl"),
        ("x.csv", None, "csv"),
        ("x.CSV", "csv", "csv"),
        ("x.jsonl", None, "jsonl"),
        ("x.NDJSON", None, "jsonl"),
        ("x", None, "csv"),
        ("x", "jsonl", "jsonl"),
        ("x.txt", None, "csv"),
        ("folder.parquet/", None, "csv"),
    ],
)
def test_the_format_is_the_chosen_one_or_that_of_the_suffix(
    text: str | None, chosen: str | None, expected: str
) -> None:
    assert row_format(text, chosen, several=False) == expected


@pytest.mark.parametrize(
    "name", ["x.parquet", "x.json", "x.xlsx", "x.tsv", "x.csv.gz", "x.PNG", "x.db"]
)
@pytest.mark.parametrize("chosen", [None, "csv", "jsonl"])
def test_no_name_promises_another_format(name: str, chosen: str | None) -> None:
    with pytest.raises(UserError, match=r"is no format of tables; end it in \.csv"):
        row_format(name, chosen, several=False)


@pytest.mark.parametrize(("name", "chosen"), [("x.csv", "jsonl"), ("x.jsonl", "csv")])
def test_a_suffix_that_contradicts_the_format(name: str, chosen: str) -> None:
    with pytest.raises(UserError, match=f"--format is {chosen}; change one of them"):
        row_format(name, chosen, several=False)


@pytest.mark.parametrize("name", ["one.csv", "one.parquet", "plots.png"])
def test_several_inputs_do_not_fit_in_a_file(name: str) -> None:
    folder = name.partition(".")[0]
    with pytest.raises(UserError, match=f"name a folder instead, for example {folder}/"):
        output_paths(files("a.mp3", "b.mp3"), name, ".csv", several=True)
    assert not Path(name).exists()


def test_a_folder_may_have_any_name_if_it_exists_or_ends_in_a_slash() -> None:
    Path("vol.1").mkdir()
    for name in ("vol.1", "vol.2/", "Vol. 3", "new"):
        (path,) = output_paths(files("a.mp3"), name, ".csv", several=True)
        assert path == Path(name) / "a.csv"
        assert Path(name).is_dir()


def test_equal_names_are_kept_apart() -> None:
    places = ["song.mp3", "song.flac", "Song.FLAC", "song.flac", "x/song.mp3"]
    paths = output_paths(files(*places), "out", ".csv", several=True)
    assert [str(path) for path in paths] == [
        "out/song.csv",
        "out/song.flac.csv",
        "out/Song.FLAC-2.csv",
        "out/song.flac-3.csv",
        "out/x/song.csv",
    ]


def test_an_input_without_a_file_has_no_output() -> None:
    bad = MusicFile("nothing*", Path("nothing*"), error=UserError("no music matches"))
    assert output_paths([bad, *files("a.mp3")], "out", ".csv", several=True) == [
        None,
        Path("out/a.csv"),
    ]


@pytest.mark.parametrize("name", ["file/x", "a" * 300])
def test_a_folder_that_cannot_be_made(name: str) -> None:
    Path("file").touch()
    with pytest.raises(UserError, match="cannot be created"):
        output_paths(files("a.mp3", "b.mp3"), name, ".csv", several=True)


def test_an_input_is_never_overwritten() -> None:
    Path("song").touch()
    Path("link").symlink_to("song")
    refuse_overwriting([Path("other"), Path("a" * 300)], ["song", "a\0b", "demo"])
    with pytest.raises(UserError, match="link is an input file"):
        refuse_overwriting([Path("link")], ["missing", "song"])
