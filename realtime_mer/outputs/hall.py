"""The range of a hall: what `realtime-mer calibrate` measures and the range `hall` uses."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Span
from realtime_mer.user_folder import user_folder

PERCENTILES = (5.0, 95.0)
# Of valence, arousal and level in dB: steady music would stretch its noise over the whole axis.
MIN_WIDTHS = np.array((0.1, 0.1, 6.0))
MIN_MUSIC_S = 60.0
_MAX_BYTES = 10_000  # a file of a hall has a hundred


@dataclass(frozen=True)
class Hall:
    """The values that become 0 and 1, (least, greatest).

    Attributes:
        valence, arousal: raw values of the model, in [-1, 1].
        level_db: dB relative to full scale.

    Raises:
        UserError: a range is empty or not finite.
    """

    valence: Span
    arousal: Span
    level_db: Span

    def __post_init__(self) -> None:
        for name, (least, greatest) in asdict(self).items():
            if not (math.isfinite(least + greatest) and least < greatest):
                raise UserError(f"{name} is {least:g} to {greatest:g}; the first must be smaller")

    def to_dict(self) -> dict[str, Span]:
        """Return the JSON form, with three decimals."""
        return {
            name: (round(least, 3), round(greatest, 3))
            for name, (least, greatest) in asdict(self).items()
        }


class HallMeter:
    """Measures the range of a hall from the estimates of its music.

    Args:
        hop_s: seconds between estimates.
    """

    def __init__(self, hop_s: float) -> None:
        self._hop_s = hop_s
        self._points: list[tuple[float, float, float]] = []

    @property
    def music_s(self) -> float:
        """Seconds of music so far."""
        return len(self._points) * self._hop_s

    def add(self, estimate: Estimate) -> None:
        """Take in an estimate; it counts if the whole window is music."""
        if estimate.state is State.TRACKING:
            self._points.append((estimate.valence, estimate.arousal, estimate.level_db))

    def measured(self) -> Hall:
        """Return the 5th to the 95th percentile of each, at least 0.1 or 6 dB wide.

        Raises:
            UserError: there was less than a minute of music.
        """
        if self.music_s < MIN_MUSIC_S:
            raise UserError(
                f"only {self.music_s:.0f} s of music were heard, and {MIN_MUSIC_S:.0f} s are "
                "needed; nothing was written. Play music for longer, or check the input with: "
                "realtime-mer listen"
            )
        valence, arousal, level_db = self._spans()
        return Hall(valence, arousal, level_db)

    def text(self) -> str:
        """Return what was measured so far, in words."""
        if not self._points:
            return "0 s of music"
        (v_low, v_high), (a_low, a_high), (l_low, l_high) = self._spans()
        return (
            f"{self.music_s:.0f} s of music: valence {v_low:+.2f} to {v_high:+.2f}, "
            f"arousal {a_low:+.2f} to {a_high:+.2f}, level {l_low:.0f} to {l_high:.0f} dB"
        )

    def _spans(self) -> tuple[Span, Span, Span]:
        least, greatest = np.percentile(np.array(self._points), PERCENTILES, axis=0)
        missing = np.maximum(0.0, MIN_WIDTHS - (greatest - least)) / 2.0
        valence, arousal, level_db = np.stack((least - missing, greatest + missing), 1).tolist()
        return tuple(valence), tuple(arousal), tuple(level_db)


def default_hall_path() -> Path:
    """Return where the file of a hall is if no other is named."""
    return user_folder() / "hall.json"


def load_hall(path: Path) -> Hall:
    """Read the file of a hall.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MAX_BYTES))
        spans = [tuple(map(float, data[name])) for name in ("valence", "arousal", "level_db")]
        valence, arousal, level_db = ((least, greatest) for least, greatest in spans)
        return Hall(valence, arousal, level_db)
    except OSError as error:
        raise UserError(
            f"the file of the hall {path} cannot be read ({error.strerror}); make it with: "
            "realtime-mer calibrate"
        ) from error
    except (ValueError, TypeError, KeyError, RecursionError, UserError) as error:
        raise UserError(
            f"{path} is not a file of a hall ({error}); make it again with: realtime-mer calibrate"
        ) from error
