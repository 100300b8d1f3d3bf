"""The scenes that an operator adds to the page's stage mode."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from realtime_mer.errors import UserError
from realtime_mer.server.stage_scenes import INDEX, MAX_SCENE_BYTES, StageScenes

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
        "/scenes/./mine.js",
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


def test_only_files_of_the_folder_itself_and_of_a_scenes_size_are_read(folder: Path) -> None:
    scenes = StageScenes(folder)
    (folder / "folder.js").mkdir()
    with (folder / "huge.js").open("wb") as file:
        file.truncate(MAX_SCENE_BYTES + 1)
    with (folder / "large.js").open("wb") as file:
        file.truncate(MAX_SCENE_BYTES)
    wrong = ["folder", "huge"]
    if sys.platform != "win32":
        # Reading a pipe would wait for ever.
        os.mkfifo(folder / "pipe.js")
        (folder / "outside.js").symlink_to(folder.parent / "secret.js")
        (folder / "nowhere.js").symlink_to(folder / "gone.js")
        (folder / "again.js").symlink_to(folder / "mine.js")
        wrong += ["pipe", "outside", "nowhere"]
        assert scenes.read("/scenes/again.js") == SCENE.encode()
    assert not set(wrong) & set(scenes.names())
    for name in wrong:
        assert scenes.read(f"/scenes/{name}.js") is None
    large = scenes.read("/scenes/large.js")
    assert large is not None
    assert len(large) == MAX_SCENE_BYTES


def test_a_file_that_cannot_be_a_scene_is_told_at_the_start(folder: Path) -> None:
    (folder / "folder.js").mkdir()
    with pytest.raises(UserError, match=r"the scene folder\.js cannot be served: .* 1 MiB"):
        StageScenes(folder)


def test_a_folder_behind_a_link(folder: Path, tmp_path: Path) -> None:
    link = tmp_path.parent / "link"
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(folder)
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    assert StageScenes(link).names() == ["mine"]


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
