"""Choice of clips from unlabelled music."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mer_engine.datasets.problems import DataError
from mer_engine.training import unlabelled
from mer_engine.training.examples import read_frames
from mer_engine.training.unlabelled import MAX_CLIPS_PER_FILE, find_music
from own_data_support import write_audio


def write_long(path: Path, seconds: float) -> None:
    """Write a long file of few bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * 8000), np.float32), 8000)


def test_clips_are_spread_over_each_file(tmp_path: Path) -> None:
    write_audio(tmp_path / "b" / "short.wav", 19.0)
    write_audio(tmp_path / "b" / "twenty.WAV", 20.0)
    write_long(tmp_path / "long.flac", 300.0)
    write_long(tmp_path / "a" / "middle.ogg", 45.0)
    (tmp_path / "notes.txt").write_text("no music")
    messages: list[str] = []
    clips = find_music(tmp_path, messages.append)
    assert messages == []
    found: dict[str, list[float]] = {}
    for clip in clips:
        assert clip.duration_s == 10
        found.setdefault(clip.song, []).append(clip.audio_offset_s)
    # In a fixed order, without the start and the end of a file.
    assert list(found) == ["a/middle.ogg", "b/twenty.WAV", "long.flac"]
    assert found["b/twenty.WAV"] == [5.0]
    assert found["a/middle.ogg"] == pytest.approx([8.75, 17.5, 26.25], abs=1e-3)
    assert len(found["long.flac"]) == MAX_CLIPS_PER_FILE
    assert all(b - a > 40 for a, b in pairwise(found["long.flac"]))
    assert 0 < min(found["long.flac"]) < max(found["long.flac"]) + 10 < 300
    assert find_music(tmp_path, messages.append) == clips
    read = read_frames(next(clip for clip in clips if clip.song == "b/twenty.WAV"))
    assert read is not None
    assert read[1] == 20


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    write_audio(tmp_path / "good.wav", 25.0)
    (tmp_path / "broken.mp3").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    messages: list[str] = []
    clips = find_music(tmp_path, messages.append)
    assert {clip.song for clip in clips} == {"good.wav"}
    assert len(messages) == 2
    assert f"left out: {tmp_path / 'broken.mp3'} cannot be read as audio" in messages[0]
    assert "empty.wav" in messages[1]


def test_folders_without_music_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unlabelled music .*none does not exist"):
        find_music(tmp_path / "none", print)
    write_audio(tmp_path / "short.wav", 12.0)
    with pytest.raises(DataError, match=r"no music of 20 seconds or more \(\.flac, \.mp3"):
        find_music(tmp_path, print)


def test_the_number_of_clips_of_a_folder_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlabelled, "MAX_CLIPS_PER_FOLDER", 7)
    for number in range(12):
        write_long(tmp_path / f"{number:02d}.flac", 61.0)
    clips = find_music(tmp_path, print)
    assert len(clips) == 7
    assert clips[0].song == "00.flac"
    assert clips[-1].song == "11.flac"
    assert len({clip.song for clip in clips}) == 7
