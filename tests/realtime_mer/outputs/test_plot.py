"""The plot of an analysis."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import ESTIMATE

from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.outputs.plot import HEIGHT, SERIES, SETTLING_SHADE, WIDTH, save_plot


def rows(count: int) -> list[Estimate]:
    return [
        replace(
            ESTIMATE,
            seq=index,
            t=float(index + 1),
            valence=math.sin(index / 5) / 2,
            valence_low=math.sin(index / 5) / 2 - 0.2,
            valence_high=math.sin(index / 5) / 2 + 0.2,
            mood="joyful" if index % 40 < 20 else "sad",
            state=State.TRACKING if index > 9 else State.SETTLING,
        )
        for index in range(count)
    ]


def pixels(path: Path, colour: str) -> NDArray[np.intp]:
    """Return the positions of a colour: [n, 2] as (row, column)."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    with Image.open(path) as image:
        assert image.size == (WIDTH, HEIGHT)
        picture = np.asarray(image.convert("RGB"), dtype=int)
    return np.argwhere(np.abs(picture - wanted).max(axis=2) < 12)


def test_lines_and_intervals_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    save_plot(rows(100), "a piece of music", path)
    for line, band in SERIES.values():
        assert len(pixels(path, line)) > 500
        assert len(pixels(path, band)) > 2_000


def test_higher_value_is_drawn_higher(tmp_path: Path) -> None:
    heights = []
    for value in (-0.8, 0.8):
        path = tmp_path / f"{value}.png"
        flat = [
            replace(e, valence=value, valence_low=value - 0.1, valence_high=value + 0.1)
            for e in rows(50)
        ]
        save_plot(flat, "flat", path)
        heights.append(pixels(path, SERIES["valence"][1])[:, 0].mean())
    assert heights[1] < heights[0] - 100


@pytest.mark.parametrize("count", [1, 2, 7200])
def test_any_length(tmp_path: Path, count: int) -> None:
    save_plot(rows(count), "x" * 300, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000


def test_no_estimates_and_unwritable_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to plot"):
        save_plot([], "nothing", tmp_path / "plot.png")
    (tmp_path / "file").touch()
    for name in ("file/plot.png", "a" * 300 + ".png"):
        with pytest.raises(UserError, match="cannot be written"):
            save_plot(rows(3), "x", tmp_path / name)


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    save_plot(rows(3), "x", tmp_path / "new" / "folder" / "plot.png")
    assert (tmp_path / "new" / "folder" / "plot.png").stat().st_size > 5_000


@pytest.mark.parametrize("title", ["caf\udce9.wav", "Café 🎵\n[b].wav"])
def test_any_name_is_a_title(tmp_path: Path, title: str) -> None:
    save_plot(rows(3), title, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    path.symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left on device"):
        save_plot(rows(3), "x", path)


def test_speech_is_grey_and_needs_no_mood(tmp_path: Path) -> None:
    shaded = []
    for state in (State.TRACKING, State.SPEECH, State.NOISE):
        path = tmp_path / f"{state}.png"
        save_plot([replace(e, state=state, mood=None) for e in rows(50)], "x", path)
        shaded.append(len(pixels(path, SETTLING_SHADE)))
    assert shaded[1] == shaded[2] > shaded[0] + 10_000
