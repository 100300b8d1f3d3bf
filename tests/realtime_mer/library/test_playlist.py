"""Playlists: smooth, of the asked duration, without repeats, within any library's spread."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from library_support import summary, track

from realtime_mer.core.mood import WORDS
from realtime_mer.errors import UserError
from realtime_mer.library.playlist import (
    ARTIST_GAP,
    MIN_MUSIC_SHARE,
    Playlist,
    Song,
    Spread,
    place_of_mood,
    plan,
    playable,
    straight_way,
)
from realtime_mer.library.song_names import SongNames
from realtime_mer.library.track import Track


def library(
    count: int, *, centre: tuple[float, float] = (0.1, -0.1), sd: float = 0.2
) -> list[Track]:
    """Return rows of a library whose valence and arousal are related, as in music."""
    rng = np.random.default_rng(count)
    arousal = rng.normal(centre[1], sd, count)
    valence = centre[0] + 0.4 * (arousal - centre[1]) + rng.normal(0.0, 0.8 * sd, count)
    durations_s = rng.normal(230.0, 60.0, count).clip(60.0, 600.0)
    points = np.clip(np.stack([valence, arousal], axis=1), -1.0, 1.0).tolist()
    return [
        track(f"/music/{index % 40}/{index}.flac", summary(v, a, duration_s=duration_s))
        for index, ((v, a), duration_s) in enumerate(zip(points, durations_s.tolist(), strict=True))
    ]


def planned(tracks: list[Track], start: str, end: str, minutes: float) -> Playlist:
    songs = playable(tracks)
    spread = Spread(songs)
    total_s = minutes * 60
    song_s = sum(song.summary.duration_s for song in songs) / len(songs)
    way = straight_way(place_of_mood(start), place_of_mood(end), total_s=total_s, song_s=song_s)
    return plan(songs, spread, way, total_s=total_s, names=SongNames())


@pytest.mark.parametrize("count", [60, 500])
@pytest.mark.parametrize("minutes", [10, 45, 90])
def test_duration_smoothness_and_no_repeats(count: int, minutes: int) -> None:
    playlist = planned(library(count), "calm", "joyful", minutes)
    longest_s = max(song.summary.duration_s for song in playlist.songs)
    assert abs(playlist.duration_s - minutes * 60) <= longest_s / 2
    assert playlist.duration_s == pytest.approx(
        sum(song.summary.duration_s for song in playlist.songs)
    )
    paths = [song.track.path for song in playlist.songs]
    assert len(set(paths)) == len(paths)
    assert playlist.step < playlist.random_step


def test_the_steps_of_a_large_library_are_near_equal_and_on_the_way() -> None:
    tracks = library(3000)
    playlist = planned(tracks, "sad", "joyful", 45)
    spread = Spread(playable(tracks))
    places = [spread.place((song.valence, song.arousal)) for song in playlist.songs]
    assert math.dist(places[0], place_of_mood("sad")) < 0.15
    assert math.dist(places[-1], place_of_mood("joyful")) < 0.15
    steps = [math.dist(a, b) for a, b in pairwise(places)]
    assert max(steps) < 2 * playlist.step
    assert playlist.off_way < 0.1
    assert playlist.step < 0.4 * playlist.random_step


def test_quiet_piano_has_a_calm_and_a_joyful_end_too() -> None:
    """All of it is calm music on the plane; within it, there is still a way."""
    tracks = library(300, centre=(0.15, -0.55), sd=0.03)
    playlist = planned(tracks, "still", "excited", 40)
    arousal = [song.arousal for song in playlist.songs]
    values = [song.arousal for song in playable(tracks)]
    assert arousal[0] < np.quantile(values, 0.2)
    assert arousal[-1] > np.quantile(values, 0.8)


def test_the_order_of_the_rows_does_not_matter() -> None:
    tracks = library(200)
    first = planned(tracks, "calm", "tense", 60)
    assert planned(tracks[::-1], "calm", "tense", 60) == first


def test_a_small_library_gives_all_that_it_has() -> None:
    playlist = planned(library(3), "calm", "joyful", 300)
    assert len(playlist.songs) == 3
    one = planned(library(1), "calm", "joyful", 45)
    assert len(one.songs) == 1
    assert one.step == one.random_step == 0.0


def test_a_file_that_is_too_long_is_not_taken() -> None:
    long = track("/music/mix.mp3", summary(duration_s=7200.0))
    assert planned([long], "calm", "joyful", 45).songs == ()


def test_what_is_no_music_is_left_out() -> None:
    tracks = [
        track("/music/speech.mp3", summary(music_share=MIN_MUSIC_SHARE - 0.01)),
        track("/music/silent.mp3", summary(None, None, mood="")),
        track("/music/broken.mp3", None, skipped="damaged"),
        track("/music/song.mp3", summary()),
    ]
    assert [song.track.path for song in playable(tracks)] == ["/music/song.mp3"]


def tagged(path: Path, artist: str, title: str) -> str:
    path.parent.mkdir(exist_ok=True)
    with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC") as file:
        file.artist, file.title = artist, title
        file.write(np.zeros(100))
    return str(path)


def test_artists_are_apart_and_songs_come_once(tmp_path: Path) -> None:
    """At each place, one artist's song would be taken first; others come between."""
    pytest.importorskip("mutagen", reason="needs the extra library")
    tracks = []
    for index in range(60):
        place, turn = divmod(index, 3)
        artist = f"Artist {index}" if turn else "First"
        folder = tmp_path / f"{turn}-{place:02d}"
        path = tagged(folder / "song.flac", artist, f"Title {index}")
        tracks.append(track(path, summary(place / 20, 0.0)))
    # The same song in another folder.
    again = tagged(tmp_path / "again" / "song.flac", "FIRST", "title 30")
    tracks.append(track(again, summary(0.5, 0.0)))
    playlist = planned(tracks, "uneasy", "pleased", 60)
    names = SongNames()
    artists = [names.of(song.track.path).artist.casefold() for song in playlist.songs]
    positions = [index for index, artist in enumerate(artists) if artist == "first"]
    assert len(positions) >= 2
    assert all(b - a > ARTIST_GAP for a, b in pairwise(positions))
    keys = [names.key(song.track.path) for song in playlist.songs]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_a_place(word: str) -> None:
    radius = math.hypot(*place_of_mood(word))
    assert radius == pytest.approx(0.0 if word == "neutral" else 0.8)
    assert place_of_mood(f" {word.upper()}") == place_of_mood(word)


def test_the_ends_of_a_library_are_the_ends_of_its_spread() -> None:
    songs: list[Song] = playable(library(200))
    spread = Spread(songs)
    values = np.array([(song.valence, song.arousal) for song in songs])
    for share, place in ((0.05, -1.0), (0.5, 0.0), (0.95, 1.0)):
        valence, arousal = np.quantile(values, share, axis=0).tolist()
        assert spread.place((valence, arousal)) == pytest.approx((place, place), abs=1e-9)
    assert place_of_mood("-1, 0.25") == (-1.0, 0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clam", "'clam' is no mood and no valence,arousal from -1 to 1; did you mean calm"),
        ("0.5", "'0.5' is no mood"),
        ("1.5,0", "lies off the plane"),
        ("nan,0", "lies off the plane"),
        ("1,2,3", "is no mood"),
        ("", "is no mood"),
    ],
)
def test_what_is_no_place(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        place_of_mood(text)
