"""The benchmark of onsets and beats: matching, scores, rendering, and from arguments to table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

mido = pytest.importorskip("mido", reason="the extra `midi` is not installed")

import beats  # noqa: E402
from tables import TABLES  # noqa: E402

from realtime_mer.audio.demo_piece import RENDERERS  # noqa: E402


def write_midi(folder: Path, tempi: tuple[float, ...]) -> Path:
    """Write a file with 8 crotchets at each tempo; its name has an odd SHA-256."""
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    for bpm in tempi:
        track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))
        for _ in range(8):
            track.append(mido.Message("note_on", note=60, velocity=100))
            track.append(mido.Message("note_on", note=64, velocity=100, time=5))
            track.append(mido.Message("note_off", note=60, time=470))
            track.append(mido.Message("note_off", note=64, time=5))
    folder.mkdir(exist_ok=True)
    path = folder / "piece 2.mid"
    file.save(path)
    return path


def test_each_time_is_in_one_pair() -> None:
    found, true = np.array([0.02, 0.06, 1.5, 2.96]), np.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(beats.matches(found, true, 0.05), [0.02, -0.04], atol=1e-9)
    assert len(beats.matches(found, true, 0.01)) == 0
    assert beats.f1(true, true) == 1.0


def test_the_times_of_a_score_follow_its_tempi(tmp_path: Path) -> None:
    onsets, quarters = beats.score(write_midi(tmp_path, (120.0, 60.0)))
    expected = np.concatenate((np.arange(8) * 0.5, 4.0 + np.arange(8)))
    np.testing.assert_allclose(onsets, expected, atol=1e-6)
    np.testing.assert_allclose(quarters[:16], expected, atol=1e-6)


@pytest.mark.skipif(shutil.which("fluidsynth") is None, reason="fluidsynth is not installed")
@pytest.mark.skipif(not beats.SOUNDFONT.is_file(), reason=f"{beats.SOUNDFONT} is not installed")
def test_a_rendered_score_has_its_onsets_beats_and_tempo(tmp_path: Path) -> None:
    path = write_midi(tmp_path, (120.0, 120.0, 120.0, 120.0))
    row = beats.Row("one")
    (piece,) = beats.rendered([path], beats.SOUNDFONT, with_beats=True)
    row.add(piece)
    result = row.to_dict()
    assert result["onsets"]["f1"] > 0.95
    assert result["metrical_f1"] > 0.9
    assert result["tempo"]["accuracy_2"] > 0.9


def test_from_arguments_to_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "METRONOME_BPM", (120,))
    monkeypatch.setattr(beats, "RENDERERS", {"joyful": RENDERERS["joyful"]})
    out = tmp_path / "new" / "beats.json"
    assert beats.main(["--out", str(out), "--seed", "3"]) == 0
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["seed"] == 3
    assert result["rows"][0]["tempo"]["accuracy_1"] == 1.0
    text = TABLES["beats"][1](result)
    assert text is not None
    assert "| metronome, 60 to 180 | 1 | 1.00 | 1.00 | 1.00 |" in text


def test_a_folder_without_midi_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert beats.main(["--vgmidi", str(tmp_path), "--out", str(tmp_path / "r.json")]) == 2
    assert "has no MIDI files to measure" in capsys.readouterr().err
    assert beats.held_out(write_midi(tmp_path, (90.0,)).parent, None)
