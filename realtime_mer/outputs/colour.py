"""The mood colour: the colour of a point of the plane, as on the page's dark theme.

Bilinear in OKLab between four corners, so that equal steps look equal. Arousal maps to lightness,
valence to the blue-yellow axis: both remain visible with red-green colour blindness, lightness
with any. `web/mer_web/palette.js` has the same numbers; a test compares the two.
"""

from __future__ import annotations

import math

Triple = tuple[float, float, float]


def _oklab(lightness: float, chroma: float, hue_deg: float) -> Triple:
    angle = math.radians(hue_deg)
    return lightness, chroma * math.cos(angle), chroma * math.sin(angle)


_TENSE = _oklab(0.715, 0.18, 335)
_JOYFUL = _oklab(0.87, 0.155, 88)
_SAD = _oklab(0.52, 0.15, 268)
_CALM = _oklab(0.69, 0.12, 160)


def mood_colour(valence: float, arousal: float) -> Triple:
    """Return the colour of a point of the plane.

    Args:
        valence, arousal: in [-1, 1]; values outside are clipped.

    Returns:
        sRGB, each 0 to 1, with the transfer function of screens applied.
    """
    x = (_spread(valence) + 1.0) / 2.0
    y = (_spread(arousal) + 1.0) / 2.0
    tense, joyful = y * (1.0 - x), y * x
    sad, calm = (1.0 - y) * (1.0 - x), (1.0 - y) * x
    # Written out, since each output calls this up to 50 times a second.
    lightness = tense * _TENSE[0] + joyful * _JOYFUL[0] + sad * _SAD[0] + calm * _CALM[0]
    a = tense * _TENSE[1] + joyful * _JOYFUL[1] + sad * _SAD[1] + calm * _CALM[1]
    b = tense * _TENSE[2] + joyful * _JOYFUL[2] + sad * _SAD[2] + calm * _CALM[2]
    # From OKLab to linear sRGB (Ottosson); all colours of the plane are in gamut.
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
    return (
        _encoded(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _encoded(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _encoded(-0.0041960863 * long - 0.7034186147 * medium + 1.707614701 * short),
    )


def hex_colour(valence: float, arousal: float) -> str:
    """Return the colour of a point of the plane as `#rrggbb`; arguments as of `mood_colour`."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in mood_colour(valence, arousal))


def _spread(value: float) -> float:
    """Stretch the middle of the axis, where most music lies."""
    value = min(1.0, max(-1.0, value))
    return value * (1.9 - 0.9 * abs(value))


def _encoded(linear: float) -> float:
    """Return a part of a colour with the transfer function of sRGB."""
    if linear <= 0.0031308:
        return max(0.0, 12.92 * linear)
    return min(1.0, 1.055 * math.pow(linear, 1.0 / 2.4) - 0.055)
