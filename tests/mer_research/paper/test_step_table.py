"""From a folder of songs to a table, and to a file and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from deam_support import RATE, tone, write_deam
from mer_engine.datasets.audio import read_clip
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection
from mer_research.paper.descriptors import (
    FUNCTIONALS,
    SAMPLE_RATE_HZ,
    compute_descriptors,
    step_functionals,
)
from mer_research.paper.step_table import (
    StepTable,
    describe_collection,
    forward_fill,
    labelled_stretch,
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    full = load_collection(write_deam(tmp_path_factory.mktemp("data")))
    return replace(full, clips=full.clips[:4])


def test_descriptors_and_labels_are_aligned(collection: Collection, tmp_path: Path) -> None:
    seen = []
    table, left_out = describe_collection(
        collection, tmp_path, lambda done, total: seen.append((done, total))
    )
    assert left_out == []
    assert seen[-1] == (4, 4)
    assert table.columns == FUNCTIONALS
    assert table.longest == 20
    clip = collection.clips[0]
    song = next(song for song in table.songs if song.song == clip.song)
    np.testing.assert_array_equal(song.labels, collection.labels(clip, 20))
    expected = step_functionals(compute_descriptors(read_clip(clip, SAMPLE_RATE_HZ)))
    np.testing.assert_array_equal(song.features, expected)
    low, high = table.label_range["arousal"]
    values = np.concatenate([curves[1].values for curves in collection.curves.values()])
    assert (low, high) == (values.min(), values.max())


def test_descriptors_are_cached(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = describe_collection(collection, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(
            "mer_research.paper.step_table.compute_descriptors",
            lambda _: pytest.fail("computed again"),
        )
        repeated, _ = describe_collection(collection, tmp_path)
    assert repeated.fingerprint == first.fingerprint
    soundfile.write(collection.clips[0].path, 0.5 * tone(2, 10.0), RATE)
    other, _ = describe_collection(collection, tmp_path)
    assert other.fingerprint != first.fingerprint
    soundfile.write(collection.clips[0].path, tone(2, 10.0), RATE)


def test_a_longer_recording_is_read_from_its_first_label(tmp_path: Path) -> None:
    root = write_deam(tmp_path)
    soundfile.write(root / "audio" / "2.flac", tone(2, 45.0), RATE)
    collection = load_collection(root)
    clip = next(clip for clip in collection.clips if clip.song == "2")
    stretch, steps = labelled_stretch(collection, clip)
    assert (stretch.start_s, stretch.audio_offset_s, steps) == (14.5, 14.5, 61)
    labels = collection.labels(stretch, steps)
    assert np.isfinite(labels).all()


def test_a_song_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    root = write_deam(tmp_path)
    collection = load_collection(root)
    clips = collection.clips[:3]
    clips[1].path.write_text("not audio")
    table, left_out = describe_collection(replace(collection, clips=clips), tmp_path / "cache")
    assert len(table.songs) == 2
    assert left_out[0].startswith(f"song {clips[1].song}: ")
    assert "cannot be read as audio" in left_out[0]
    clips[0].path.write_text("not audio")
    with pytest.raises(DataError, match=r"no song in .* has two half seconds"):
        describe_collection(replace(collection, clips=clips[:2]), tmp_path / "cache")


def test_forward_fill() -> None:
    nan = np.nan
    values = np.array([[nan, 1], [2, nan], [nan, nan], [3, 4]], np.float32)
    np.testing.assert_array_equal(forward_fill(values), [[nan, 1], [2, 1], [2, 1], [3, 4]])


def test_labels_are_scaled_to_zero_to_one_over_the_data_set(table: StepTable) -> None:
    songs = np.concatenate([song.labels for song in table.songs])
    np.testing.assert_allclose(table.labels, (songs + 1) / 2, rtol=1e-6)


def test_saving_and_loading(table: StepTable, tmp_path: Path) -> None:
    path = tmp_path / "steps.npz"
    table.save(path)
    repeated = StepTable.load(path)
    assert repeated.fingerprint == table.fingerprint
    assert repeated.splits == table.splits
    assert [len(song) for song in repeated.songs] == [len(song) for song in table.songs]
    np.testing.assert_array_equal(repeated.features, table.features)
    few = table.only(["3", "25"])
    assert [song.song for song in few.songs] == ["3", "25"]
    assert few.splits == {"train": ("3",), "validation": ("25",), "test": ()}
    assert few.fingerprint != table.fingerprint
