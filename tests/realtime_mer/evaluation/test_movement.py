"""Movement within clips, on sounds whose level and pitch are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.types import Clip, Collection, Song, constant_curves
from numpy.typing import NDArray

from realtime_mer.evaluation.movement import movement_metrics
from realtime_mer.evaluation.predictions import Predictions

RATE = 16_000
TIMES_S = np.arange(0.0, 10.5, 0.5)


def growing(path: Path) -> Path:
    """Write ten seconds of a sine that gets louder."""
    time_s = np.arange(10 * RATE) / RATE
    soundfile.write(path, 0.005 * 10 ** (time_s / 10) * np.sin(2 * np.pi * 440 * time_s), RATE)
    return path


def rising(by: float) -> Curve:
    return Curve(TIMES_S, by * TIMES_S / 10)


def predictions(clips: tuple[Clip, ...], values: NDArray[np.float64]) -> Predictions:
    nothing = np.full_like(values, np.nan)
    songs = tuple(clip.song for clip in clips)
    return Predictions(songs, values, nothing, nothing, nothing, fast=-values, clips=clips)


def test_only_labels_that_move_count(tmp_path: Path) -> None:
    path = growing(tmp_path / "a.wav")
    clips = tuple(Clip(song, path, 0.0) for song in ("a", "b", "a"))
    curves = {"a": (rising(0.1), rising(0.4)), "b": (rising(0.0), rising(-0.2))}
    songs = {name: Song(name) for name in curves}
    collection = Collection("csv", tmp_path, clips, (), songs, {}, curves)
    values = (
        np.repeat((TIMES_S[1:] / 10)[None, :, None], 2, axis=2)
        * np.array([1, 1, -1])[:, None, None]
    )
    # Half of valence's movement lies in the scored half of the clip.
    found = movement_metrics(collection, predictions(clips, values))
    assert found.keys() == {"arousal"}
    arousal = found["arousal"]
    assert arousal.songs == 2
    # Song a: one clip follows, one does not; song b: the label falls.
    assert arousal.settled == pytest.approx((0.0 - 1.0) / 2)
    assert arousal.fast == pytest.approx((0.0 + 1.0) / 2)
    assert arousal.level == pytest.approx((1.0 - 1.0) / 2, abs=0.01)
    assert arousal.centroid is not None


def test_marks_take_the_place_of_constant_labels(tmp_path: Path) -> None:
    clip = Clip("a", growing(tmp_path / "a.wav"), 0.0)
    curves = {"a": constant_curves((0.0, 0.0), 10.0)}
    collection = Collection(
        "fme24", tmp_path, (clip,), (), {"a": Song("a")}, {}, curves, labelled="mean"
    )
    still = predictions((clip,), np.full((1, 20, 2), 0.3))
    assert movement_metrics(collection, still) == {}
    marked = replace(collection, marks={"a": (rising(1.0), rising(0.0))})
    found = movement_metrics(marked, still)["valence"]
    assert found.settled == found.fast == 0.0
    assert found.level == pytest.approx(1.0, abs=0.01)
    nothing = replace(still, fast=np.full((1, 20, 2), np.nan))
    assert movement_metrics(marked, nothing)["valence"].fast is None
