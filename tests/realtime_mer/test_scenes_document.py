"""The examples of docs/scenes.md work as shown, and its tables are complete."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from realtime_mer.cli import main
from realtime_mer.configuration.configuration import load
from realtime_mer.core.events import EventKind
from realtime_mer.core.mood import WORDS
from realtime_mer.core.types import State
from realtime_mer.scenes.conditions import KEYS
from realtime_mer.scenes.settings import SceneSettings

PAGE = (Path(__file__).parents[2] / "docs" / "scenes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)


def rows_of(table: str) -> list[tuple[str, str, float]]:
    """Scene, what it does, and the time in seconds of each row of a dry run."""
    found = re.findall(r"^ +(\d+):([\d.]+)  (\w+) +(\w+)  ", table, flags=re.MULTILINE)
    return [(scene, what, 60 * int(m) + float(s)) for m, s, scene, what in found]


def test_the_dry_run_of_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("show.toml").write_text(EXAMPLES[0])
    assert main(["analyze", "demo", "-o", "demo.jsonl"]) == 0
    capsys.readouterr()
    assert main(["scenes", "show.toml", "--on", "demo.jsonl"]) == 0
    found = rows_of(capsys.readouterr().out)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    expected = rows_of(shown)
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    # Another processor may decide an estimate later.
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected], abs=1.0)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_valid(example: str, tmp_path: Path) -> None:
    file = tmp_path / "show.toml"
    file.write_text(example)
    assert load(file).scenes


def test_all_keys_and_words_are_there() -> None:
    text = " ".join(PAGE.split())
    for field in dataclasses.fields(SceneSettings):
        assert f"| `{field.name}`" in text or f", `{field.name}`" in text, field.name
    for key in KEYS:
        assert f"`{key}`" in text, key
    for word in (*WORDS, *State, *EventKind):
        assert re.search(rf"\b{word}\b", text), word
    for field in dataclasses.fields(SceneSettings):
        if isinstance(field.default, str):
            assert f'| `{field.name}` | `"{field.default}"` |' in text
        elif isinstance(field.default, int | float):
            assert f"| `{field.name}` | {field.default:g} |" in text
