"""The scenes that an operator adds to the page's stage mode."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime_mer.errors import UserError
from realtime_mer.server.stage_scenes import INDEX, StageScenes

SCENE = 'export const label = "Mine";\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.js").write_text(SCENE)
    (tmp_path / "notes.txt").write_text("not a scene")
    (tmp_path.parent / "secret.js").write_text("not in the folder")
    return tmp_path


def test_scenes_are_listed_and_read(folder: Path) -> None:
    scenes = StageScenes(folder)
    content_type, body = scenes.index()
    assert content_type == "application/json"
    assert json.loads(body) == {"scenes": ["mine"]}
    assert scenes.read("/scenes/mine.js") == SCENE.encode()


def test_a_scene_can_be_added_and_changed_while_serving(folder: Path) -> None:
    scenes = StageScenes(folder)
    (folder / "second.js").write_text("1;")
    (folder / "mine.js").write_text("2;")
    assert scenes.names() == ["mine", "second"]
    assert scenes.read("/scenes/mine.js") == b"2;"


@pytest.mark.parametrize(
    "path",
    [
        "/scenes/../secret.js",
        "/scenes/..%2fsecret.js",
        "/scenes//secret.js",
        "/scenes/notes.txt",
        "/scenes/missing.js",
        "/scenes/mine",
        "/scenes/.js",
        "/mine.js",
        "mine.js",
        INDEX,
    ],
)
def test_nothing_else_is_read(folder: Path, path: str) -> None:
    assert StageScenes(folder).read(path) is None


def test_without_a_folder_there_are_none() -> None:
    scenes = StageScenes()
    assert scenes.names() == []
    assert scenes.read("/scenes/mine.js") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My Scene.js", "the scene My Scene.js cannot be served"),
        ("rings.js", "the page has a scene rings already"),
        (None, "has no scene"),
    ],
)
def test_names_are_checked(tmp_path: Path, name: str | None, words: str) -> None:
    if name is not None:
        (tmp_path / name).write_text(SCENE)
    with pytest.raises(UserError, match=words):
        StageScenes(tmp_path)


def test_a_folder_is_needed(folder: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        StageScenes(folder / "mine.js")
