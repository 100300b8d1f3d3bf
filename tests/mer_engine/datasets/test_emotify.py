"""The loader of Emotify, on small generated excerpts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_support import write_emotify
from mer_engine.datasets.emotify import EMOTIONS, PROXY_SD
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError

CHOICES = [
    [["calmness"], ["calmness", "tenderness"]],
    [["sadness"], ["sadness", "nostalgia"], ["sadness"]],
    [["power", "joyful_activation"], ["joyful_activation"]],
    [["tension"], ["tension", "power"], []],
]
NAMES = ("classical_100", "rock_1", "rock_2", "rock_3")


def test_choices_become_proxies_on_their_own_scale(tmp_path: Path) -> None:
    found = load_collection(f"emotify={write_emotify(tmp_path, CHOICES)}")
    assert (found.name, found.labelled, found.scale) == ("emotify", "mean", "own")
    assert found.problems == ()
    assert tuple(found.songs) == NAMES
    assert [found.songs[name].raters for name in NAMES] == [2, 3, 2, 3]
    # Sums of the shares of the listeners, with signs.
    valence = np.array([1.5, -1.0, 1.0, -2 / 3])
    arousal = np.array([-1.5, -4 / 3, 1.5, 1.0])
    for column, sums in enumerate((valence, arousal)):
        wanted = PROXY_SD * (sums - sums.mean()) / sums.std()
        proxies = [(found.songs[name].static or ())[column] for name in NAMES]
        np.testing.assert_allclose(proxies, wanted)
    clips = [clip for clip in found.clips if clip.song == "rock_2"]
    assert [clip.start_s for clip in clips] == [0.0, 10.0]
    static = found.songs["rock_2"].static
    assert static is not None
    labels = found.labels(clips[1], 20)
    np.testing.assert_allclose(labels, np.tile(static, (20, 1)), atol=1e-6)


def test_equal_choices_give_equal_proxies(tmp_path: Path) -> None:
    found = load_collection(f"emotify={write_emotify(tmp_path, [[['power']], [['power']]])}")
    assert [song.static for song in found.songs.values()] == [(0.0, 0.0), (0.0, 0.0)]


def test_unusable_tracks_are_named(tmp_path: Path) -> None:
    write_emotify(tmp_path, CHOICES)
    zeros = ",".join(["0"] * len(EMOTIONS))
    with (tmp_path / "ratings.csv").open("a") as table:
        table.write(f"104,rock,{zeros},\n")
        table.write(f"103,rock,2{zeros[1:]},\n")
        table.write(f"202,rock,{zeros},\n")
    found = load_collection(f"emotify={tmp_path}")
    details = dict(sentence.removeprefix("song ").split(": ", 1) for sentence in found.left_out)
    assert details["rock_4"].startswith("no audio file in")
    assert details["rock_3"].endswith("amazement: '2' is not 0 or 1")
    assert details["rock_2"].endswith("track 202 has the name of 102")
    assert {clip.song for clip in found.clips} == {"classical_100", "rock_1"}
    assert found.songs["rock_3"].static is None


def test_a_folder_without_emotify_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give the folder of Emotify"):
        load_collection(f"emotify={tmp_path / 'gone'}")
    (tmp_path / "ratings.csv").write_text("track id,genre,amazement\n")
    with pytest.raises(DataError, match="has no column solemnity"):
        load_collection(f"emotify={tmp_path}")
