"""The range of a hall: what `realtime-mer calibrate` measures and the range `hall` uses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Span
from realtime_mer.user_folder import user_folder

PERCENTILES = (5.0, 95.0)
# Steady music would make the whole axis of its noise.
MIN_WIDTH = 0.1
MIN_LEVEL_WIDTH_DB = 6.0


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


def measured_hall(
    valence: Sequence[float], arousal: Sequence[float], level_db: Sequence[float]
) -> Hall:
    """Return the 5th to the 95th percentile of each, at least 0.1 or 6 dB wide.

    Args:
        valence, arousal: raw values of the model while there was music.
        level_db: levels of the same moments.
    """
    return Hall(
        _range(valence, MIN_WIDTH), _range(arousal, MIN_WIDTH), _range(level_db, MIN_LEVEL_WIDTH_DB)
    )


def default_hall_path() -> Path:
    """Return where the file of a hall is if no other is named."""
    return user_folder() / "hall.json"


def load_hall(path: Path) -> Hall:
    """Read the file of a hall.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        data = json.loads(path.read_bytes())
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


def _range(values: Sequence[float], min_width: float) -> Span:
    least, greatest = (float(value) for value in np.percentile(values, PERCENTILES))
    missing = max(0.0, min_width - (greatest - least)) / 2.0
    return least - missing, greatest + missing
