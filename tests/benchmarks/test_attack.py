"""The attacks: a real server, a real attack, and the musts of its row."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has all addresses of 127.0.0.0/8"
)


def test_one_attack_from_start_to_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from attack import main, missed

    out = tmp_path / "attack.json"
    code = main(["--only", "malformed", "--seconds", "1.5", "--json", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    (row,) = result["rows"]
    # Protocol errors and messages that are too long; how many depends on the machine's load.
    assert row["endings"]["1002"] > 0
    assert row["endings"]["1009"] > 0
    assert row["endings"]["1007"] > 0
    assert row["exceptions"] == 0
    assert 0.0 < row["p95_s"] <= row["max_s"]
    assert row["sent_mb"] >= 0.0
    assert row["missed"] == missed(row, alive=True)
    assert code == bool(row["missed"])
    assert len(result["model"]["sha256"]) == 64
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[:2])) <= 80


ROW: dict[str, Any] = {
    "max_s": 0.6, "same_address_max_s": 0.7, "newcomers": 3, "newcomers_refused": 0,
    "exceptions": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "alive", "sentence"),
    [
        ({}, True, None),
        ({"max_s": 1.2}, True, "1.20 s between two estimates at another address"),
        ({"same_address_max_s": 9.0}, True, "9.00 s between two estimates at the same address"),
        ({"newcomers_refused": 2}, True, "2 of 3 new viewers did not get in"),
        ({"newcomers": 0}, True, "0 of 0 new viewers did not get in"),
        ({"exceptions": 1}, True, "1 exceptions in the log"),
        ({}, False, "the server ended"),
    ],
)
def test_each_must_has_a_sentence(
    changed: dict[str, Any], alive: bool, sentence: str | None
) -> None:
    from attack import missed

    assert missed({**ROW, **changed}, alive=alive) == ([] if sentence is None else [sentence])


def test_a_viewer_that_gets_nothing_more_waits_until_the_end() -> None:
    from attack import intervals_s

    assert intervals_s([1.0, 1.5, 2.0, 9.0], started=1.6, until=6.0) == [0.5, 4.0]


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    from attack import main

    for arguments in (["--seconds", "0"], ["--only", "nothing"]):
        with pytest.raises(SystemExit):
            main(arguments)
    error = capsys.readouterr().err
    assert "--seconds is 0" in error
    assert "'nothing'" in error
