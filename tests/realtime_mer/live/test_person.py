"""The file of a person, and which estimate a tap belongs to."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mer_engine import Engine
from support import ESTIMATE

from realtime_mer.clock import iso_utc
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.person import (
    MAX_AGE_S,
    MAX_TAPS,
    PIECE_S,
    REACTION_S,
    Person,
    paired_estimate,
    person_file,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def estimate(second: int, state: State = State.TRACKING) -> Estimate:
    value = second / 1000
    return replace(
        ESTIMATE, seq=second, t=float(second), utc=iso_utc(at(second)), state=state, valence=value
    )


class Session:
    """Estimates of a session, one a second."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.now = -1

    def play(self, seconds: int, state: State = State.TRACKING) -> None:
        for _ in range(seconds):
            self.now += 1
            self.hub.publish(estimate(self.now, state))

    def tap(self, person: Person, valence: float = 0.5, arousal: float = 0.25) -> None:
        person.tap(valence, arousal, self.hub, at(self.now))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people" / "anna.json"


@pytest.fixture
def person(file: Path, engine: Engine) -> Person:
    return Person(file, engine.info)


def test_a_tap_belongs_to_the_estimate_before_the_reaction() -> None:
    estimates = [estimate(second) for second in range(20)]
    assert paired_estimate(estimates, at(10.4)) == estimates[9]
    assert paired_estimate(estimates, at(10 + REACTION_S)) == estimates[10]


@pytest.mark.parametrize("state", [state for state in State if state is not State.TRACKING])
def test_taps_without_settled_music_are_refused(state: State) -> None:
    with pytest.raises(UserError, match="tap"):
        paired_estimate([estimate(0), estimate(1, state)], at(3))


def test_a_tap_in_the_first_second_of_settled_values_counts() -> None:
    estimates = [estimate(0, State.SETTLING), estimate(1)]
    assert paired_estimate(estimates, at(1.2)) == estimates[1]


def test_taps_without_new_estimates_are_refused() -> None:
    with pytest.raises(UserError, match="no new estimates"):
        paired_estimate([estimate(0)], at(MAX_AGE_S + REACTION_S + 1))
    with pytest.raises(UserError, match="no estimates yet"):
        paired_estimate([], at(0))


def test_taps_are_kept_privately_and_read_again(person: Person, file: Path, engine: Engine) -> None:
    session = Session()
    session.play(30)
    session.tap(person, 0.5, -0.25)
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data["model"]["sha256"] == engine.info.sha256
    assert data["every_tap"][0]["valence"] == 0.5
    assert data["every_tap"][0]["estimate"]["valence"] == 0.028  # of one second before
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Person(file, engine.info).map == person.map
    assert person.map.taps == 1


def test_pieces_end_with_a_pause_and_after_two_minutes(person: Person) -> None:
    session = Session()
    pieces = []

    def tapped() -> None:
        session.tap(person)
        pieces.append(person.map.pieces)

    session.play(20)
    tapped()
    session.play(20)
    tapped()  # the same
    session.play(3, State.SILENCE)
    session.play(10, State.SETTLING)
    session.play(5)
    tapped()
    session.play(int(PIECE_S) - 1)
    tapped()  # the same
    session.play(2)
    tapped()  # long enough for another
    other = Session()
    other.play(20)
    other.tap(person)
    assert [*pieces, person.map.pieces] == [1, 1, 2, 2, 3, 4]


def test_the_last_tap_is_taken_back(person: Person) -> None:
    session = Session()
    session.play(20)
    session.tap(person)
    first = person.map
    session.tap(person, -1.0, 1.0)
    person.undo()
    assert person.map == first
    person.undo()
    assert person.map.taps == 0
    with pytest.raises(UserError, match="no tap"):
        person.undo()


def test_a_reset_keeps_the_old_file(person: Person, file: Path, engine: Engine) -> None:
    session = Session()
    session.play(20)
    session.tap(person)
    old = file.read_bytes()
    person.reset()
    assert person.map.taps == 0
    assert not file.exists()
    assert file.with_name("anna.json.before").read_bytes() == old
    assert Person(file, engine.info).map.taps == 0
    person.reset()  # nothing to do


def test_a_file_that_cannot_be_written_changes_nothing(person: Person, file: Path) -> None:
    session = Session()
    session.play(20)
    file.parent.parent.joinpath("people").write_text("no folder", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be") as caught:
        session.tap(person)
    assert "anna" not in str(caught.value)  # viewers read it
    assert person.map.taps == 0


def changed(file: Path, change: Callable[[dict[str, object]], None]) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(json.dumps(data), encoding="utf-8")


def test_files_of_others_are_refused(person: Person, file: Path, engine: Engine) -> None:
    session = Session()
    session.play(20)
    session.tap(person)
    written = file.read_bytes()
    other = {"name": "mer-9", "version": "9.1", "sha256": "0" * 64}
    changed(file, lambda data: data.update(model=other))
    with pytest.raises(UserError, match=r"mer-9 9\.1 .*--model"):
        Person(file, engine.info)
    file.write_bytes(written)
    changed(file, lambda data: data.update(schema=2))
    with pytest.raises(UserError, match=r"schema 2.*schema 1"):
        Person(file, engine.info)
    with pytest.raises(UserError, match="schema 2") as caught:
        session.tap(person)
    assert "anna" not in str(caught.value)
    for broken in (b"", b"{", b"[]", b'{"type": "hall"}', written.replace(b'"utc"', b'"when"')):
        file.write_bytes(broken)
        with pytest.raises(UserError, match=r"anna\.json: this is not the file of a person"):
            Person(file, engine.info)
        assert file.read_bytes() == broken


def test_there_is_a_most_of_taps(person: Person, file: Path, engine: Engine) -> None:
    session = Session()
    session.play(20)
    session.tap(person)
    changed(file, lambda data: data.update(every_tap=[*data["every_tap"]] * MAX_TAPS))  # type: ignore[misc]
    assert Person(file, engine.info).map.taps == MAX_TAPS
    with pytest.raises(UserError, match="the most"):
        session.tap(person)


def test_names_and_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert person_file("Anna Müller").name == "Anna Müller.json"
    assert person_file("Anna Müller").parent.name == "people"
    assert person_file("taps/anna.json") == Path("taps/anna.json")
    for name in ("", ".hidden", "..", "a\nb", "x" * 61, "what?", "../anna", "anna/"):
        with pytest.raises(UserError, match="not a name"):
            person_file(name)
