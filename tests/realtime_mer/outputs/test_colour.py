"""The mood colour: the page's palette, told apart with every colour vision."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime_mer.outputs.colour import mood_colour

PALETTE = Path(__file__).parents[3] / "web" / "mer_web" / "palette.js"
POINTS = {
    "tense": (-1.0, 1.0),
    "joyful": (1.0, 1.0),
    "sad": (-1.0, -1.0),
    "calm": (1.0, -1.0),
    "neutral": (0.0, 0.0),
}
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
# CIE76. Two colours side by side differ visibly from about 2 on. The least here: calm and neutral
# with deuteranopia, 15.6; any two corners, 19.9.
MIN_DELTA_E = 15.0


def to_bytes(valence: float, arousal: float) -> list[int]:
    return [round(255 * part) for part in mood_colour(valence, arousal)]


@pytest.mark.parametrize(
    ("valence", "arousal", "expected"),
    [
        (-1, 1, [229, 114, 207]),
        (1, 1, [255, 205, 71]),
        (-1, -1, [68, 97, 190]),
        (1, -1, [76, 178, 129]),
        (0, 0, [163, 155, 162]),
        (3, -7, [76, 178, 129]),
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
    for (let row = 0; row <= 48; row += 1)
      for (let column = 0; column <= 48; column += 1)
        colours.push(palette.bytes(column / 24 - 1, row / 24 - 1));
    console.log(JSON.stringify(colours));
    """
    done = subprocess.run(
        [node, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    page = np.array(json.loads(done.stdout))
    ours = [to_bytes(column / 24 - 1, row / 24 - 1) for row in range(49) for column in range(49)]
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


@pytest.mark.parametrize("vision", COLOUR_BLINDNESS)
def test_moods_are_told_apart_with_every_colour_vision(vision: str) -> None:
    seen = {}
    for name, point in POINTS.items():
        encoded = np.array(mood_colour(*point))
        linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
        seen[name] = lab(np.clip(COLOUR_BLINDNESS[vision] @ linear, 0, 1))
    distances = {
        pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(seen, 2)
    }
    assert min(distances.values()) > MIN_DELTA_E, distances
