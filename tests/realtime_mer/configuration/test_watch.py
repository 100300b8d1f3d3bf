"""The file is followed while the program runs; nothing that is wrong in it stops anything."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_support import TIMEOUT_S, wait_for

from realtime_mer.configuration import watch
from realtime_mer.configuration.configuration import Configuration, load
from realtime_mer.configuration.watch import CHANGED, REFUSED, ConfigurationWatch, changed_options
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub, Notice, Subscription


class Watched:
    """A watched file, what was applied, and the notices."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.hub = Hub()
        self.notices: Subscription = self.hub.subscribe_lossless()
        self.applied: list[Configuration] = []

    def apply(self, new: Configuration) -> list[str]:
        if any(output.name == "bad" for output in new.outputs):
            raise UserError("the output bad is not usable here")
        self.applied.append(new)
        return [f"{len(new.outputs)} outputs"] if new.outputs else []

    def notice(self) -> tuple[str, str]:
        (item,) = self.notices.wait(TIMEOUT_S)
        assert isinstance(item, Notice)
        return item.code, item.message


@contextmanager
def watched(file: Path, text: str = "") -> Iterator[Watched]:
    file.write_text(text)
    found = Watched(file)
    with ConfigurationWatch(load(file), found.apply, found.hub, period_s=0.01):
        yield found


def test_a_file_that_hangs_does_not_keep_the_program_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CLOSE_TIMEOUT_S", 0.01)
    hangs, answers = threading.Event(), threading.Event()

    def again(configuration: Configuration) -> Configuration:
        hangs.set()
        answers.wait(TIMEOUT_S)
        return configuration

    monkeypatch.setattr(Configuration, "again", again)
    with watched(tmp_path / "a.toml") as found:
        found.file.write_text('[[osc]]\nto = "h:1"\n')
        assert hangs.wait(TIMEOUT_S)
    answers.set()
    wait_for(lambda: not _is_watching(), "the end of the thread")
    assert found.applied == []


def _is_watching() -> bool:
    return any(thread.name == "configuration watch" for thread in threading.enumerate())


def test_changes_are_applied_and_told(tmp_path: Path) -> None:
    with watched(tmp_path / "a.toml") as found:
        found.file.write_text('[[osc]]\nto = "h:1"\n[server]\nport = 5\n[control.osc]\nport = 7\n')
        code, message = found.notice()
        assert code == CHANGED
        assert message == (
            f"{found.file.name} has changed: 1 outputs; [server] port, [control.osc] need a restart"
        )
        assert found.applied[-1].outputs[0] == load(found.file).outputs[0]
        # As many editors save: another file with the old name.
        draft = tmp_path / "draft"
        draft.write_text("[[jsonl]]\n[server]\nport = 6\n[control.osc]\nport = 7\n")
        draft.replace(found.file)
        assert found.notice()[1].endswith(": 1 outputs; [server] port needs a restart")
        assert found.applied[-1].outputs[0].rate_hz == 1.0
        found.file.write_text("[[jsonl]]\n[[jsonl]]")  # as at the start
        assert found.notice()[1].endswith(": 2 outputs")


def test_a_mistake_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    with watched(tmp_path / "a.toml", "[[jsonl]]") as found:
        found.file.write_text("[[jsonl]]\nrat = 1")
        code, message = found.notice()
        assert code == REFUSED
        assert "a.toml line 2: [[jsonl]] has no key rat" in message
        found.file.write_text("[[jsonl]]\nname = 'bad'")
        assert found.notice()[1].startswith("the output bad is not usable here; until that")
        found.file.unlink()
        assert "cannot be read (No such file" in found.notice()[1]
        assert found.applied == []
        found.file.write_text("[[jsonl]]\nname = 'good'")
        assert found.notice()[0] == CHANGED
        assert len(found.applied) == 1


def test_a_change_that_changes_nothing_is_not_told(tmp_path: Path) -> None:
    with watched(tmp_path / "a.toml") as found:
        found.file.write_text("# a comment")
        found.file.write_text("# a comment\n[server]\nport = 1")
        assert "[server] port needs" in found.notice()[1]


def test_a_change_between_reading_and_watching_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("")
    configuration = load(file)
    file.write_text("[[jsonl]]")
    os.utime(file, ns=(1, 1))
    found = Watched(file)
    with ConfigurationWatch(configuration, found.apply, found.hub, period_s=0.01):
        assert found.notice()[0] == CHANGED


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "[input]\ninput = 'demo'", ["[input] input"]),
        ("[server]\nport=1\nopen=true", "[server]\nport=2",
         ["[server] port", "[server] open"]),
        ("[estimation]\nhop = 1.0", "[estimation]\nhop = 1.0\n[[jsonl]]", []),
    ],
)  # fmt: skip
def test_what_needs_a_restart(before: str, after: str, said: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(before)
    old = load(file)
    file.write_text(after)
    assert changed_options(old, load(file)) == said
