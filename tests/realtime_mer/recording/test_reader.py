"""Reading recordings: folders of parts, and tables."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from recording_support import HEADER, MARKER
from support import ESTIMATE, EVENT, FAST_ESTIMATE, SCALED_ESTIMATE

from realtime_mer import __version__
from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.target import TargetPoint, TargetTrajectory
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.outputs.table_file import TableFile
from realtime_mer.recording.header import SCHEMA, NewerSchemaError, RecordingHeader
from realtime_mer.recording.lines import Losses, RecordedEnd, RecordedItem, RecordedNotice
from realtime_mer.recording.reader import SessionReader

SUFFIXES = ("csv", "jsonl", "ndjson")


def write(path: Path, estimates: list[Estimate]) -> Path:
    with TableFile(path, "csv" if path.suffix == ".csv" else "jsonl") as table:
        for estimate in estimates:
            table.write(estimate)
    return path


def numbered(count: int, estimate: Estimate = ESTIMATE) -> list[Estimate]:
    return [replace(estimate, seq=seq, t=(seq + 1) / 2) for seq in range(count)]


def read(path: Path) -> list[Estimate]:
    with SessionReader(path) as recording:
        return list(recording.estimates())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "estimate", [ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE, replace(ESTIMATE, mood=None)]
)
def test_what_was_written_is_read_again(tmp_path: Path, suffix: str, estimate: Estimate) -> None:
    path = write(tmp_path / f"evening.{suffix}", numbered(3, estimate))
    with SessionReader(path) as recording:
        assert recording.hop_s == 0.5
        found = list(recording.estimates())
        assert recording.remark == ""
    expected = [Estimate.from_dict(each.to_dict()) for each in numbered(3, estimate)]
    if suffix == "csv":  # it has no scaled fast values and no novelty
        expected = [
            replace(each, fast=each.fast and replace(each.fast, scaled=None), novelty=None)
            for each in expected
        ]
    assert found == expected


def test_the_events_of_a_table_are_found_once_after_their_estimate(tmp_path: Path) -> None:
    moods = ["calm", "calm", "tense", "tense"]
    path = write(
        tmp_path / "evening.jsonl",
        [
            replace(ESTIMATE, seq=seq, t=seq + 1.0, mood=mood, state=State.TRACKING)
            for seq, mood in enumerate(moods)
        ],
    )
    with path.open("a", encoding="utf-8") as file:  # as some programs have kept them
        file.write(json.dumps(replace(EVENT, t=9.0).to_dict()) + "\n")
    with SessionReader(path) as recording:
        items = list(recording)
    kinds = [item.kind for item in items if isinstance(item, Event)]
    assert kinds.count(EventKind.MOOD_ENTER) == 2
    for before, item in pairwise(items):
        if isinstance(item, Event) and isinstance(before, Estimate):
            assert item.detected_t == before.t


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_row_that_was_cut_off_is_told_and_left_out(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"evening.{suffix}", numbered(5))
    whole = path.read_bytes()
    lines = whole.count(b"\n")
    for cut in (1, 40, 2) if suffix == "csv" else (2, 40):
        path.write_bytes(whole[:-cut])
        with SessionReader(path) as recording:
            assert len(list(recording.estimates())) == 4
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
    event = json.dumps({"type": "vital signs", "pulse": 60})
    path.write_text(f"{event}\n{path.read_text()}{event}\n")
    assert len(read(path)) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("evening.txt", "", "evening.txt is no recording, which is a folder of --record"),
        ("missing.csv", None, "missing.csv cannot be read (No such file or directory)"),
        ("evening.csv", "", "evening.csv holds no estimate"),
        ("evening.jsonl", "\n", "evening.jsonl line 1 is damaged: it is no line of a rec"),
        ("evening.jsonl", '{"type": "est', "holds no estimate: line 1 of"),
        ("evening.jsonl", "[1]\n", "line 1 is damaged: it is no line of a rec"),
        ("evening.jsonl", '{"seq": 1}\n', "line 1: this is not an estimate: the field 't' is miss"),
        ("evening.csv", "a,b\n1,2\n", "line 2: this is not an estimate: the field 'seq' is missin"),
        (
            "evening.csv",
            "a,b\n1,2,3\n",
            "evening.csv line 2 is damaged: it is no line of a recording",
        ),
        ("evening.csv", "\udcff\x00\n\udcfe\n", "line 2: this is not an estimate"),
        (
            "evening.csv",
            f"a,b\n1,{'2' * 200_000}\n",
            "line 2 is damaged: it is no line of a recording",
        ),
        ("evening.jsonl", "[" * 100_000 + "\n", "line 1 is damaged: it is no line of a rec"),
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
    with SessionReader(path) as recording:
        estimates = recording.estimates()
        assert [next(estimates).seq for _ in range(3)] == [0, 1, 2]
        with pytest.raises(UserError, match="line 4: this is not an estimate: 'asleep'"):
            next(estimates)


LATER = replace(HEADER, started_utc="2026-05-01T21:00:00.000Z")


def line(item: RecordingHeader | RecordedItem) -> str:
    return json.dumps(item.to_dict()) + "\n"


def record(folder: Path, parts: dict[str, list[RecordingHeader | RecordedItem]]) -> Path:
    folder.mkdir()
    for name, items in parts.items():
        (folder / name).write_text("".join(map(line, items)))
    return folder


def test_everything_of_a_session_is_read_in_order(tmp_path: Path) -> None:
    first, second = numbered(2)
    items: list[RecordedItem] = [
        RecordedNotice(0.0, MARKER.utc, "input_back", "it is back"),
        Estimate.from_dict(first.to_dict()),
        EVENT,
        MARKER,
        Losses(0.5, MARKER.utc, {"overflows": 2}),
        Estimate.from_dict(second.to_dict()),
        RecordedEnd(1.0, MARKER.utc, "song.wav is over"),
    ]
    target = TargetTrajectory((TargetPoint(0.0, -0.5, 0.5), TargetPoint(60.0, 0.5, -0.5)))
    header = replace(HEADER, target=target, audio="audio.flac")
    folder = record(tmp_path / "evening", {"estimates.jsonl": [header, *items]})
    for path in (folder, folder / "estimates.jsonl"):
        with SessionReader(path) as recording:
            assert recording.header == header
            assert recording.hop_s == 0.5
            assert [part.audio for part in recording.parts] == [folder / "audio.flac"]
            assert list(recording) == items
            assert recording.remark == ""
    assert header.started_local.isoformat() == "2026-05-01T22:15:00.250000+02:00"


def test_parts_are_one_session(tmp_path: Path) -> None:
    """The second part is a rotation, the third another run, and other files are no parts."""
    run = numbered(4)
    parts: dict[str, list[RecordingHeader | RecordedItem]] = {
        "estimates.jsonl": [HEADER, *run[:2]],
        "estimates-002.jsonl": [replace(HEADER, part=2), *run[2:]],
        "estimates-003.jsonl": [replace(LATER, part=3), replace(MARKER, t=0.0), EVENT, *run[:2]],
    }
    folder = record(tmp_path / "evening", parts)
    (folder / "estimates-copy.jsonl").write_text("precious")
    with SessionReader(folder) as recording:
        items = list(recording)
    assert [(each.seq, each.t) for each in items if isinstance(each, Estimate)] == [
        (0, 0.5), (1, 1.0), (2, 1.5), (3, 2.0), (4, 2.5), (5, 3.0),
    ]  # fmt: skip
    assert items[4] == replace(MARKER, t=2.0)
    assert items[5] == replace(EVENT, t=6.0, detected_t=6.0)


def test_a_line_that_was_cut_off_in_any_part_is_told(tmp_path: Path) -> None:
    folder = record(
        tmp_path / "evening",
        {"estimates.jsonl": [HEADER, *numbered(3)], "estimates-002.jsonl": [LATER, *numbered(3)]},
    )
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    (folder / "estimates-003.jsonl").write_text(line(LATER)[:50])
    (folder / "estimates-004.jsonl").write_text("")
    with SessionReader(folder) as recording:
        assert [each.seq for each in recording.estimates()] == [0, 1, 2, 3]
        assert recording.remark == "; ".join(
            [
                f"line 1 of {folder}/estimates-003.jsonl was cut off, so this part is left out",
                f"line 1 of {folder}/estimates-004.jsonl was cut off, so this part is left out",
                f"line 4 of {folder}/estimates.jsonl was cut off and is left out",
                f"line 4 of {folder}/estimates-002.jsonl was cut off and is left out",
            ]
        )


def test_a_damaged_line_is_told_with_its_part(tmp_path: Path) -> None:
    folder = record(
        tmp_path / "evening",
        {"estimates.jsonl": [HEADER, *numbered(3)], "estimates-002.jsonl": [LATER, *numbered(3)]},
    )
    path = folder / "estimates-002.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:40], lines[3], ""]))
    with SessionReader(folder) as recording:
        items = iter(recording)
        assert [next(items).t for _ in range(4)] == [0.5, 1.0, 1.5, 2.0]
        with pytest.raises(UserError, match=r"estimates-002\.jsonl line 3 is damaged"):
            next(items)


def test_a_newer_schema_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    folder = record(
        tmp_path / "evening",
        {"estimates.jsonl": [HEADER, *numbered(2)], "estimates-002.jsonl": [LATER, *numbered(2)]},
    )
    path = folder / "estimates-002.jsonl"
    path.write_text(
        path.read_text()
        .replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}')
        .replace('"version": "0.5.0"', '"version": "9.1.0"')
    )
    with pytest.raises(NewerSchemaError) as raised:
        SessionReader(folder)
    assert str(raised.value) == (
        f"{path}: the recording has schema {SCHEMA + 1} of realtime-mer 9.1.0, and this is "
        f"realtime-mer {__version__}, which reads schema {SCHEMA}; update it"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no recording: it has no estimates.jsonl; give a folder that --record wrote"),
        ("precious\n", "estimates.jsonl line 1: this is no header of a recording: the field 'vers"),
        (line(HEADER), "evening holds no estimate"),
        (line(HEADER).replace('"+02:00"', '"home"'), "line 1: this is no header of a recording: "),
        (line(HEADER).replace("0.5,", "0,"), "no header of a recording: hop_s is 0"),
        (line(HEADER).replace("0.5,", "NaN,"), "no header of a recording: hop_s is nan"),
        (line(replace(HEADER, coverage=math.nan)), "no header of a recording: coverage is nan"),
        (line(replace(HEADER, coverage=80.0)), "no header of a recording: coverage is 80"),
        (line(replace(HEADER, window_s=math.inf)), "no header of a recording: window_s is inf"),
        (
            line(replace(HEADER, audio="audio.flac", audio_start_s=math.nan)),
            "no header of a recording: audio_start_s is nan",
        ),
        (
            line(replace(HEADER, started_utc="9999-12-31T12:00:00Z")),
            "no header of a recording: started_utc is 9999-12-31T12:00:00Z",
        ),
        (
            line(HEADER) + json.dumps({**MARKER.to_dict(), "t": 10**400}) + "\n",
            "line 2: this is not a marker: int too large",
        ),
        (
            line(replace(HEADER, audio="../audio.flac")),
            "audio is '../audio.flac', which is no name",
        ),
        (
            line(HEADER) + '{"type": "notice"}\n',
            "line 2: this is no line of type notice: the field",
        ),
        (line(HEADER) + '{"type": "losses", "t": 1, "utc": "", "counters": 3}\n', "type losses: "),
        (line(HEADER) + line(replace(MARKER, t=-1.0)), "line 2: a time of -1 s is not possible"),
    ],
)
def test_wrong_folders_are_sentences(tmp_path: Path, content: str | None, message: str) -> None:
    folder = record(tmp_path / "evening", {})
    if content is not None:
        (folder / "estimates.jsonl").write_text(content)
    with pytest.raises(UserError) as raised:
        SessionReader(folder)
    assert message in str(raised.value)


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evening cannot be read \\(No such file or directory\\)"):
        SessionReader(tmp_path / "evening")
