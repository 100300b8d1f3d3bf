"""The three other collections: reading them, and measuring the model on them."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from deam_support import tone, write_deam, write_table
from generality import (
    EMOTIONS,
    correlation,
    estimate_file,
    load_emotify,
    load_pieces,
    mean_estimate,
    measure_choruses,
    measure_emotify,
    measure_vgmidi,
    render,
)
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Song, split_of

SOUNDFONT = next(
    (
        p
        for p in map(
            Path, ("/usr/share/sounds/sf2/TimGM6mb.sf2", "/usr/share/sounds/sf2/default-GM.sf2")
        )
        if p.is_file()
    ),
    None,
)


def write_emotify(folder: Path) -> Path:
    """Write four excerpts; more listeners chose power for the excerpts with more arousal."""
    (folder / "audio").mkdir(parents=True)
    rows: list[list[object]] = []
    for number, song in enumerate((2001, 2002, 2003, 2004), start=1):
        track = 100 + number  # tracks of the second genre
        soundfile.write(folder / "audio" / f"rock_{number}.flac", tone(song, 7.0), 16_000)
        for listener in range(5):
            power = int(listener < number)
            chosen = [
                int(e == "power") * power + int(e == "calmness") * (1 - power) for e in EMOTIONS
            ]
            rows.append([track, "rock", *chosen, 3])
    rows.append([399, "pop", *[0] * 9, 3])
    write_table(
        folder / "ratings.csv", ["track id", " genre", *(f" {e}" for e in EMOTIONS), " mood"], rows
    )
    return folder


def write_midi(path: Path, notes: int) -> None:
    """Write a scale of half-second notes at the default tempo of 120 per minute."""
    events = bytearray()
    for number in range(notes):
        events += bytes([0x00, 0x90, 60 + number % 12, 100, 0x60, 0x80, 60 + number % 12, 0])
    events += bytes([0x00, 0xFF, 0x2F, 0x00])
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96)
    path.write_bytes(header + b"MTrk" + struct.pack(">I", len(events)) + bytes(events))


def split_of_game(game: str) -> str:
    return split_of(Song("", artist=f"A_B_{game}"))


# Names of pieces in the test split, and in the other splits.
TEST_PIECES, TRAINING_PIECES = (
    [f"A_B_{game}_Title" for game in map(str, range(60)) if (split_of_game(game) == "test") == test]
    for test in (True, False)
)


def write_vgmidi(folder: Path, pieces: int = 3) -> Path:
    (folder / "midi").mkdir(parents=True)
    rows: list[list[object]] = []
    names = [*TEST_PIECES[:pieces], TRAINING_PIECES[0]]
    for piece, name in enumerate(names):
        write_midi(folder / "midi" / f"{name}.mid", 24)
        rows += [
            # Each part of the data set numbers its pieces from zero.
            [
                1 + piece % 2,
                f"piece{piece // 2}",
                f"{name}.mid",
                m,
                2 * m,
                2 * m + 2,
                piece / 10,
                m / 10 - piece / 10,
            ]
            for m in range(6)
        ]
    rows.append([1, "gone", f"{TEST_PIECES[pieces]}.mid", 0, 0, 2, 0, 0])
    rows.append([1, "loud", f"{TEST_PIECES[pieces + 1]}.mid", 0, 0, 2, 0, 3])
    header = ["set", "piece", "midi", "measure", "t0_s", "t1_s", "valence_mean", "arousal_mean"]
    write_table(folder / "measure_curves.csv", header, rows)
    return folder


def test_shares_are_computed_over_the_listeners(tmp_path: Path) -> None:
    excerpts, left_out = load_emotify(write_emotify(tmp_path / "emotify"))
    assert [e.track for e in excerpts] == [101, 102, 103, 104]
    assert [e.path.name for e in excerpts][:2] == ["rock_1.flac", "rock_2.flac"]
    assert excerpts[2].shares[EMOTIONS.index("power")] == pytest.approx(3 / 5)
    assert excerpts[2].shares[EMOTIONS.index("calmness")] == pytest.approx(2 / 5)
    assert left_out == [f"track 399: no audio file pop_99 in {tmp_path / 'emotify' / 'audio'}"]


def test_correlations_of_emotions_with_estimates(tmp_path: Path, engine: Engine) -> None:
    excerpts, _ = load_emotify(write_emotify(tmp_path / "emotify"))
    result = measure_emotify(engine, excerpts)
    power = next(row for row in result["rows"] if row["emotion"] == "power")
    calm = next(row for row in result["rows"] if row["emotion"] == "calmness")
    values = [mean_estimate(engine, excerpt.path)[1] for excerpt in excerpts]
    expected = np.corrcoef(values, [0.2, 0.4, 0.6, 0.8])[0, 1]
    assert power["arousal"]["r"] == pytest.approx(expected)
    assert calm["arousal"]["r"] == pytest.approx(-expected)
    assert power["arousal"]["r_within"] == pytest.approx(expected)  # there is only one genre
    assert result["excerpts"] == 4
    assert result["as_expected"]["of"] == 12
    with pytest.raises(DataError, match="needs three or more"):
        measure_emotify(engine, excerpts[:2])


def test_correlation_computed_by_hand() -> None:
    assert correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert correlation(np.array([1.0, 2, 3]), np.array([1.0, 0, 1])) == pytest.approx(0)
    assert correlation(np.array([1.0, 2, 3]), np.zeros(3)) == 0


def test_silence_has_no_estimates(tmp_path: Path, engine: Engine) -> None:
    signal = np.concatenate([tone(2001, 6.0), np.zeros(5 * 16_000, dtype=np.float32)])
    soundfile.write(tmp_path / "a.flac", signal, 16_000)
    times, values = estimate_file(engine, tmp_path / "a.flac")
    assert times[0] == 1.0
    assert 6.0 <= times[-1] <= 7.0
    assert values.shape == (len(times), 2)
    with pytest.raises(DataError, match="cannot be read"):
        estimate_file(engine, tmp_path / "none.flac")


def test_only_usable_test_pieces_are_loaded(tmp_path: Path) -> None:
    pieces, left_out = load_pieces(write_vgmidi(tmp_path))
    # No pieces of games that the shipped model was trained on.
    assert {piece.name for piece in pieces} == set(TEST_PIECES[:3])
    assert any(f"{TEST_PIECES[3]}.mid is missing" in sentence for sentence in left_out)
    assert any("3 is outside [-1, 1]" in sentence for sentence in left_out)
    assert len(left_out) == 2
    # The end of a measure belongs to it.
    piece = next(piece for piece in pieces if piece.name == TEST_PIECES[1])
    at = piece.measures.at(np.array([0.5, 2.0, 2.5, 12.0, 12.5]))
    np.testing.assert_allclose(at[:, 1], [-0.1, -0.1, 0.0, 0.4, np.nan])
    with pytest.raises(DataError, match=r"ratings\.csv is missing"):
        load_emotify(tmp_path)


@pytest.mark.skipif(
    shutil.which("fluidsynth") is None or SOUNDFONT is None,
    reason="fluidsynth or its soundfont is not installed",
)
def test_pieces_are_rendered_and_measured(tmp_path: Path, engine: Engine) -> None:
    assert SOUNDFONT is not None
    pieces, _ = load_pieces(write_vgmidi(tmp_path))
    render(pieces[0].midi, SOUNDFONT, tmp_path / "a.wav")
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 44_100
    assert 12.0 <= len(samples) / rate <= 20.0
    assert np.abs(samples[: 10 * rate]).max() > 0.01
    result = measure_vgmidi(engine, pieces, SOUNDFONT)
    assert result["pieces"] == 3
    # All three pieces are identical, so the means do not correlate; arousal labels rise within.
    assert result["arousal"]["between"]["r"] == pytest.approx(0, abs=1e-6)
    assert result["arousal"]["varying"] == 3
    assert result["valence"]["varying"] == 0
    assert result["valence"]["within"] is None


def test_missing_fluidsynth_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_midi(tmp_path / "a.mid", 2)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="fluidsynth is not installed"):
        render(tmp_path / "a.mid", tmp_path / "none.sf2", tmp_path / "a.wav")


def test_choruses_have_a_row_per_song(tmp_path: Path, engine: Engine) -> None:
    collection = load_collection(write_deam(tmp_path))
    collection = replace(collection, clips=collection.clips[::5])
    result = measure_choruses(engine, collection)
    assert result["songs"] == len(result["rows"]) == len(collection.clips)
    labels = [row["arousal"]["label"] for row in result["rows"]]
    estimates = [row["arousal"]["estimate"] for row in result["rows"]]
    between = result["per_song"]["arousal"]["between"]
    assert between["r"] == pytest.approx(np.corrcoef(labels, estimates)[0, 1])
