"""What all collections share: sources, splits, clips and summaries."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from deam_support import write_deam
from mer_engine.datasets.audio import read_channels, read_clip
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.load import load_collection, parse_source
from mer_engine.datasets.problems import NO_AUDIO, NO_LABELS, DataError, Problem, summarise
from mer_engine.datasets.types import (
    Clip,
    Collection,
    Song,
    cut,
    group_of,
    song_parts,
    split_by_name,
    split_of,
)


def test_sources(tmp_path: Path) -> None:
    assert parse_source("deam=a/b") == ("deam", Path("a/b"))
    assert parse_source("4q=a") == ("4q", Path("a"))
    assert parse_source("csv=my music") == ("csv", Path("my music"))
    assert parse_source("a/b") == parse_source(Path("a/b")) == ("deam", Path("a/b"))
    (tmp_path / "x=y").mkdir()
    assert parse_source(str(tmp_path / "x=y")) == ("deam", tmp_path / "x=y")
    with pytest.raises(DataError, match="no kind of data 'amg'; give one of deam=DIR, pmemo=DIR"):
        parse_source("amg=a")
    with pytest.raises(DataError, match="names no folder"):
        parse_source("csv=")


def test_a_plain_folder_is_deam(tmp_path: Path) -> None:
    write_deam(tmp_path, seconds=0.1)
    assert load_collection(tmp_path).name == load_collection(f"deam={tmp_path}").name == "deam"


def test_a_collection_without_a_usable_song_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,time_s,valence,arousal\na.wav,1,0,0\n")
    with pytest.raises(DataError, match=r"no song .* can be used: 1 of 1 songs was left out"):
        load_collection(f"csv={tmp_path}")


def test_splits_keep_artists_together_and_move_no_song() -> None:
    songs = [Song(str(n), artist=f"Artist {n % 400}") for n in range(2000)]
    splits = split_by_name(songs)
    assert sum(len(ids) for ids in splits.values()) == 2000
    shares = {name: len(ids) / 2000 for name, ids in splits.items()}
    assert shares["train"] == pytest.approx(0.70, abs=0.06)
    assert shares["test"] == pytest.approx(0.15, abs=0.05)
    split_by_song = {song: name for name, ids in splits.items() for song in ids}
    assert all(split_by_song[str(n)] == split_by_song[str(n + 400)] for n in range(1600))
    fewer = split_by_name(songs[::3])
    assert all(split_by_song[song] == name for name, ids in fewer.items() for song in ids)
    assert split_of(Song("1", artist="ABBA")) == split_of(Song("2", artist="abba"))
    assert len(Counter(split_of(Song(str(n))) for n in range(100))) == 3  # without artists, by song


def test_parts_keep_groups_together_and_are_balanced() -> None:
    # Seven artists with six songs each, and 58 with one.
    songs = {str(n): Song(str(n), artist=f"Artist {n if n > 41 else n % 7}") for n in range(100)}
    clips = tuple(Clip(name, Path(name), 0.0) for name in songs if name != "50")
    collection = Collection("csv", Path(), clips, (), songs, {}, {})
    parts = song_parts(collection)
    assert parts.keys() == songs.keys() - {"50"}
    assert sorted(Counter(parts.values())) == [0, 1, 2, 3, 4]
    assert sorted(Counter(parts.values()).values()) == [19, 20, 20, 20, 20]
    by_group = {group_of(songs[name]): part for name, part in parts.items()}
    assert all(by_group[group_of(songs[name])] == part for name, part in parts.items())
    backwards = Collection("csv", Path(), clips[::-1], (), songs, {}, {})
    assert song_parts(backwards) == parts


def test_recordings_are_cut_into_clips_where_they_have_labels() -> None:
    def clips_of(first: float, last: float, duration: float) -> list[tuple[float, float | None]]:
        curve = Curve.of((t, 0.1) for t in np.arange(first, last + 0.25, 0.5))
        clips = cut("a", Path("a"), duration, (curve, curve))
        assert all(clip.audio_offset_s == clip.start_s for clip in clips)
        return [(clip.start_s, clip.duration_s) for clip in clips]

    assert clips_of(15.5, 49.0, 49.14) == [(15, 10), (25, 10), (35, 10), (45, 4)]
    assert clips_of(0.5, 21.5, 30.0) == [(0, 10), (10, 10)]  # a second and a half is too short
    assert clips_of(0.0, 12.0, 30.0) == [(0, 10), (10, 2)]
    assert clips_of(0.5, 30.0, 8.04) == [(0, 8.04)]
    assert clips_of(5.5, 9.0, 5.0) == []
    gap = Curve.of([(0.5, 0), (1.0, 0), (28.5, 0), (29.0, 0)])
    assert [clip.start_s for clip in cut("a", Path("a"), 40, (gap, gap))] == [0, 20]
    assert cut("a", Path("a"), 40, (Curve.of([]), Curve.of([]))) == ()


def test_a_clip_is_read_from_its_offset(tmp_path: Path) -> None:
    ramp = np.linspace(-0.5, 0.5, 30_000).astype(np.float32)
    for suffix in ("wav", "flac"):
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, np.stack([ramp, ramp], axis=1), 1000)
        samples, rate = read_channels(Clip("a", path, 12.0, 10.0, 5.0))
        assert rate == 1000
        np.testing.assert_allclose(samples[:, 0], ramp[10_000:15_000], atol=1e-4)
        assert read_clip(Clip("a", path, 12.0, 25.0, 10.0), 1000).shape == (5000,)
    with pytest.raises(DataError, match=r"ends at 30\.00 s, before the clip at 31 s"):
        read_channels(Clip("a", path, 31.0, 31.0, 5.0))


def test_a_section_of_an_opus_file_equals_the_whole_decoded(tmp_path: Path) -> None:
    time_s = np.arange(48_000 * 12) / 48_000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 20 * time_s) * time_s)
    path = tmp_path / "a.opus"
    soundfile.write(path, wave, 48_000, format="OGG", subtype="OPUS")
    whole = read_clip(Clip("a", path, 0.0), 48_000)
    part = read_clip(Clip("a", path, 5.0, 5.0, 4.0), 48_000)
    assert len(part) == 48_000 * 4
    # The decoder needs a moment to converge after a seek.
    np.testing.assert_allclose(part[9600:], whole[48_000 * 5 + 9600 : 48_000 * 9], atol=0.02)


def test_a_clip_is_mixed_to_mono_and_resampled(tmp_path: Path) -> None:
    stereo = np.stack([np.full(48_000, 0.5), np.full(48_000, -0.1)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 48_000)
    samples = read_clip(Clip("a", tmp_path / "a.wav", 0.0), 16_000)
    assert samples.shape == (16_000,)
    assert samples.dtype == np.float32
    assert samples[8_000] == pytest.approx(0.2, abs=1e-3)
    (tmp_path / "b.mp3").write_text("no music")
    with pytest.raises(DataError, match=r"b\.mp3 cannot be read as audio"):
        read_clip(Clip("b", tmp_path / "b.mp3", 0.0), 16_000)


def test_summary_counts_problems_by_kind() -> None:
    problems = [Problem(str(n), NO_AUDIO, "") for n in range(8)]
    problems += [Problem("8", NO_LABELS, "none")]
    assert summarise(problems, 794) == (
        "9 of 794 songs were left out: 8 without audio, 1 without labels"
    )
    assert summarise([], 794) == ""
    assert str(problems[-1]) == "song 8: none"
