from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support import ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE

from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.outputs.recording_reader import RecordingReader
from realtime_mer.outputs.table_file import TableFile

SUFFIXES = ("csv", "jsonl", "ndjson")


def write(path: Path, estimates: list[Estimate]) -> Path:
    with TableFile(path, "csv" if path.suffix == ".csv" else "jsonl") as table:
        for estimate in estimates:
            table.write(estimate)
    return path


def numbered(count: int, estimate: Estimate = ESTIMATE) -> list[Estimate]:
    return [replace(estimate, seq=seq, t=(seq + 1) / 2) for seq in range(count)]


def read(path: Path) -> list[Estimate]:
    with RecordingReader(path) as recording:
        return list(recording)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "estimate", [ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE, replace(ESTIMATE, mood=None)]
)
def test_what_was_written_is_read_again(tmp_path: Path, suffix: str, estimate: Estimate) -> None:
    path = write(tmp_path / f"evening.{suffix}", numbered(3, estimate))
    with RecordingReader(path) as recording:
        assert recording.hop_s == 0.5
        found = list(recording)
        assert recording.remark == ""
    expected = [Estimate.from_dict(each.to_dict()) for each in numbered(3, estimate)]
    if suffix == "csv":  # it has no scaled fast values and no novelty
        expected = [
            replace(each, fast=each.fast and replace(each.fast, scaled=None), novelty=None)
            for each in expected
        ]
    assert found == expected


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_row_that_was_cut_off_is_told_and_left_out(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"evening.{suffix}", numbered(5))
    whole = path.read_bytes()
    lines = whole.count(b"\n")
    for cut in (1, 40, 2) if suffix == "csv" else (2, 40):
        path.write_bytes(whole[:-cut])
        with RecordingReader(path) as recording:
            assert len(list(recording)) == 4
            assert recording.remark == f"line {lines} of {path} was cut off and is left out"
    if suffix != "csv":
        path.write_bytes(whole[:-1])  # the last row is whole
        assert len(read(path)) == 5


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_continued_recording_is_one_stream(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"evening.{suffix}", [*numbered(3), *numbered(2)])
    assert [(each.seq, each.t) for each in read(path)] == [
        (0, 0.5), (1, 1.0), (2, 1.5), (3, 2.0), (4, 2.5),
    ]  # fmt: skip


def test_a_stall_is_no_new_part(tmp_path: Path) -> None:
    """The stream time stands still there."""
    stalls = [replace(each, t=min(each.t, 1.0)) for each in numbered(4)]
    assert read(write(tmp_path / "evening.jsonl", stalls)) == [
        Estimate.from_dict(each.to_dict()) for each in stalls
    ]


def test_other_messages_of_json_lines_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "evening.jsonl", numbered(2))
    event = json.dumps({"type": "event", "kind": "drop"})
    path.write_text(f"{event}\n{path.read_text()}{event}\n")
    assert len(read(path)) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("evening.txt", "", "must end in .csv, .jsonl, .ndjson"),
        ("missing.csv", None, "missing.csv cannot be read (No such file or directory)"),
        ("evening.csv", "", "evening.csv holds no estimate"),
        ("evening.jsonl", "\n", "evening.jsonl line 1 is no row of a recording"),
        ("evening.jsonl", '{"type": "est', "holds no estimate: line 1 of"),
        ("evening.jsonl", "[1]\n", "line 1 is no row of a recording"),
        ("evening.jsonl", '{"seq": 1}\n', "line 1: this is not an estimate: the field 't' is miss"),
        ("evening.csv", "a,b\n1,2\n", "line 2: this is not an estimate: the field 'seq' is missin"),
        ("evening.csv", "a,b\n1,2,3\n", "evening.csv line 2 is no row of a recording"),
        ("evening.csv", "\udcff\x00\n\udcfe\n", "line 2: this is not an estimate"),
        ("evening.csv", f"a,b\n1,{'2' * 200_000}\n", "line 2 is no row of a recording"),
        ("evening.jsonl", "[" * 100_000 + "\n", "line 1 is no row of a recording"),
    ],
)
def test_wrong_files_are_sentences(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as raised:
        read(path)
    assert message in str(raised.value)


def test_a_mood_from_elsewhere_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "evening.jsonl"
    path.write_text(json.dumps({**ESTIMATE.to_dict(), "mood": "calm\n\x1b[2J"}) + "\n")
    assert read(path)[0].mood == "calm\ufffd\ufffd[2J"


@pytest.mark.parametrize("wrong", [{"seq": 2**70}, {"seq": -1}, {"t": 1e15}, {"t": -1e15}])
def test_impossible_numbers_and_times_are_sentences(
    tmp_path: Path, wrong: dict[str, float]
) -> None:
    row = {**ESTIMATE.to_dict(), **wrong}
    path = tmp_path / "evening.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"line 1: seq .* at .* s is not possible"):
        read(path)


def test_a_wrong_row_is_told_when_it_comes(tmp_path: Path) -> None:
    path = write(tmp_path / "evening.jsonl", numbered(4))
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace('"settling"', '"asleep"')
    path.write_text("\n".join(lines) + "\n")
    with RecordingReader(path) as recording:
        estimates = iter(recording)
        assert [next(estimates).seq for _ in range(3)] == [0, 1, 2]
        with pytest.raises(UserError, match="line 4: this is not an estimate: 'asleep'"):
            next(estimates)
