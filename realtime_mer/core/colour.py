"""The mood colour: the colour of a point of the plane, as on the page's dark theme.

The direction from the middle decides the hue and the distance the chroma, which rises quickly from
a grey middle: most music lies near it. Valence runs from blue to yellow, which every red-green
colour blindness keeps; lightness changes by 0.055 at most. `web/mer_web/palette.js` has the same
numbers; a test compares the two.
"""

from __future__ import annotations

import math

Triple = tuple[float, float, float]


def _oklab(lightness: float, chroma: float, hue_deg: float) -> Triple:
    angle = math.radians(hue_deg)
    return lightness, chroma * math.cos(angle), chroma * math.sin(angle)


_MIDDLE_LIGHTNESS = 0.76
# At distance 1, counter-clockwise from positive valence, as the mood words: pleased, joyful,
# excited, tense, uneasy, sad, still, calm. The straight ways between them stay in gamut.
_RIM = (
    _oklab(0.805, 0.165, 107),
    _oklab(0.815, 0.142, 69),
    _oklab(0.786, 0.12, 21),
    _oklab(0.75, 0.18, 347),
    _oklab(0.715, 0.18, 313),
    _oklab(0.71, 0.158, 243),
    _oklab(0.705, 0.115, 202),
    _oklab(0.73, 0.18, 153),
)
# The distance from the middle at which the chroma is 0.6 of that of the rim.
_RISE = 0.2


def mood_colour(valence: float, arousal: float) -> Triple:
    """Return the colour of a point of the plane.

    Args:
        valence, arousal: in [-1, 1]; values outside are clipped.

    Returns:
        sRGB, each 0 to 1, with the transfer function of screens applied.
    """
    valence = min(1.0, max(-1.0, valence))
    arousal = min(1.0, max(-1.0, arousal))
    eighths = math.atan2(arousal, valence) / (math.tau / 8.0) % 8.0
    first = int(eighths)
    share = eighths - first
    one, other = _RIM[first % 8], _RIM[(first + 1) % 8]
    distance = min(1.0, math.hypot(valence, arousal))
    strength = distance * (1.0 + _RISE) / (distance + _RISE)
    # Written out, since each output calls this up to 50 times a second.
    rim_lightness = one[0] + share * (other[0] - one[0])
    lightness = _MIDDLE_LIGHTNESS + strength * (rim_lightness - _MIDDLE_LIGHTNESS)
    a = strength * (one[1] + share * (other[1] - one[1]))
    b = strength * (one[2] + share * (other[2] - one[2]))
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


def _encoded(linear: float) -> float:
    """Return a part of a colour with the transfer function of sRGB."""
    if linear <= 0.0031308:
        return max(0.0, 12.92 * linear)
    return min(1.0, 1.055 * math.pow(linear, 1.0 / 2.4) - 0.055)
