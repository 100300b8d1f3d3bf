"""The mood colour: the page's palette, told apart with every colour vision."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime_mer.core.colour import mood_colour
from realtime_mer.core.mood import SECTORS

PALETTE = Path(__file__).parents[3] / "web" / "mer_web" / "palette.js"
# Machado, Oliveira and Fernandes 2009, severity 1.0; for linear sRGB.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# The least distance (CIE76) between any two of the middle and the eight moods, a quarter of the way
# to the rim and at it. Side by side, two colours differ visibly from about 2 on.
MIN_DELTA_E = {
    "none": (22.0, 33.0),
    "protanopia": (6.5, 10.0),
    "deuteranopia": (5.5, 8.5),
    "tritanopia": (5.5, 8.0),
}
DISTANCES = (0.25, 1.0)
GRID = [k / 48 for k in range(-48, 49)]


def to_bytes(valence: float, arousal: float) -> list[int]:
    return [round(255 * part) for part in mood_colour(valence, arousal)]


@pytest.mark.parametrize(
    ("valence", "arousal", "expected"),
    [
        (1, 0, [204, 197, 35]),
        (1, 1, [254, 176, 81]),
        (-1, 1, [252, 121, 196]),
        (-1, -1, [43, 170, 251]),
        (1, -1, [33, 199, 110]),
        (0, 0, [177, 177, 177]),
        (3, -7, [33, 199, 110]),
    ],
)
def test_known_colours(valence: float, arousal: float, expected: list[int]) -> None:
    assert to_bytes(valence, arousal) == expected


def test_the_page_shows_the_same_colours() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    script = f"""
    import {{Palette}} from {json.dumps(PALETTE.as_uri())};
    const palette = new Palette("dark");
    const colours = [];
    for (let row = -48; row <= 48; row += 1)
      for (let column = -48; column <= 48; column += 1)
        colours.push(palette.bytes(column / 48, row / 48));
    console.log(JSON.stringify(colours));
    """
    done = subprocess.run(
        [node, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    page = np.array(json.loads(done.stdout))
    ours = [to_bytes(valence, arousal) for arousal in GRID for valence in GRID]
    assert np.abs(page - np.array(ours)).max() <= 1


def lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* of linear sRGB, white D65."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    scaled = to_xyz @ linear / to_xyz.sum(axis=1)
    f = np.where(scaled > 216 / 24389, np.cbrt(scaled), (24389 / 27 * scaled + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def linear(valence: float, arousal: float) -> NDArray[np.float64]:
    encoded = np.array(mood_colour(valence, arousal))
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("vision", COLOUR_BLINDNESS)
def test_moods_are_told_apart_with_every_colour_vision(vision: str) -> None:
    for distance, least in zip(DISTANCES, MIN_DELTA_E[vision], strict=True):
        points = {
            mood: (distance * math.cos(k * math.tau / 8), distance * math.sin(k * math.tau / 8))
            for k, mood in enumerate(SECTORS)
        }
        points["middle"] = (0.0, 0.0)
        seen = {
            mood: lab(np.clip(COLOUR_BLINDNESS[vision] @ linear(*point), 0, 1))
            for mood, point in points.items()
        }
        apart = {
            pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]]))
            for pair in combinations(seen, 2)
        }
        assert min(apart.values()) > least, (distance, apart)


def test_lightness_is_nearly_the_same_everywhere() -> None:
    """A lamp or a wall that shows the colour does not change its brightness with the mood."""
    lightness = [lab(linear(valence, arousal))[0] for valence in GRID for arousal in GRID]
    assert min(lightness) > 64.0
    assert max(lightness) < 81.0


def test_the_middle_half_of_the_plane_has_colours() -> None:
    for k in range(64):
        angle = k * math.tau / 64
        point = lab(linear(0.25 * math.cos(angle), 0.25 * math.sin(angle)))
        assert math.hypot(point[1], point[2]) > 20.0, angle
