"""The way over the plane that a session is meant to take, as the iso principle of therapy asks."""

from __future__ import annotations

import math
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from realtime_mer.errors import UserError, nearest

MAX_POINTS = 1000
MAX_T_S = 1e6
_MAX_BYTES = 1_000_000
_FIELDS = ("t_s", "valence", "arousal")
_FORM = "write [[point]] tables with t_s, valence and arousal"


@dataclass(frozen=True, slots=True)
class TargetPoint:
    """A place on the plane and when it is to be reached.

    Attributes:
        t_s: seconds from the start of the session.
        valence, arousal: in [-1, 1], on the scale of the plane that the page shows.
    """

    t_s: float
    valence: float
    arousal: float


@dataclass(frozen=True, slots=True)
class TargetTrajectory:
    """Places on the plane, with a straight way at constant speed from each to the next.

    Attributes:
        points: 1 to 1000, in ascending order of time.
    """

    points: tuple[TargetPoint, ...]

    def at(self, t_s: float) -> tuple[float, float]:
        """Return valence and arousal at a time; the first and the last place hold outside.

        Args:
            t_s: seconds from the start of the session.
        """
        after = bisect_right(self.points, t_s, key=lambda point: point.t_s)
        if after in (0, len(self.points)):
            point = self.points[min(after, len(self.points) - 1)]
            return point.valence, point.arousal
        a, b = self.points[after - 1], self.points[after]
        share = (t_s - a.t_s) / (b.t_s - a.t_s)
        return (
            a.valence + share * (b.valence - a.valence),
            a.arousal + share * (b.arousal - a.arousal),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        points = [{field: getattr(point, field) for field in _FIELDS} for point in self.points]
        return {"points": points}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the trajectory of a message; the inverse of `to_dict`.

        Raises:
            UserError: a point is missing or not valid.
        """
        return cls(_points(data.get("points"), "the target"))

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a TOML file of `[[point]]` tables with `t_s`, `valence` and `arousal`.

        Raises:
            UserError: the file cannot be read or is not valid.
        """
        label = f"the target {path}"
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise UserError(f"{label} cannot be read ({error.strerror})") from error
        if len(raw) > _MAX_BYTES:
            raise UserError(f"{label} is larger than 1 MB; {_FORM}")
        try:
            data = tomllib.loads(raw.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, 5000 brackets
            raise UserError(f"{label} is not valid TOML: {error}; {_FORM}") from error
        if unknown := next((key for key in data if key != "point"), None):
            raise UserError(f"{label} has the unknown key {unknown}; {_FORM}")
        return cls(_points(data.get("point"), label))


def _points(rows: object, label: str) -> tuple[TargetPoint, ...]:
    """Return checked points.

    Raises:
        UserError: a point is missing or not valid.
    """
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{label} has no points; {_FORM}")
    if len(rows) > MAX_POINTS:
        raise UserError(f"{label} has {len(rows)} points; at most {MAX_POINTS} are possible")
    points = [_point(row, f"{label}, point {number}") for number, row in enumerate(rows, start=1)]
    for number, (before, point) in enumerate(pairwise(points), start=2):
        if point.t_s <= before.t_s:
            raise UserError(
                f"{label}, point {number}: t_s is {point.t_s:g}, not after the {before.t_s:g} of "
                "the point before it; put the points in order of time"
            )
    return tuple(points)


def _point(row: object, label: str) -> TargetPoint:
    if not isinstance(row, Mapping):
        raise UserError(f"{label} is no table; {_FORM}")
    if unknown := next((key for key in row if key not in _FIELDS), None):
        raise UserError(f"{label} has the unknown key {unknown}; {nearest(str(unknown), _FIELDS)}")
    point = TargetPoint(*(_number(row, field, label) for field in _FIELDS))
    if not 0.0 <= point.t_s <= MAX_T_S:
        raise UserError(f"{label}: t_s is {point.t_s:g}; give seconds from the start, 0 or more")
    for field in ("valence", "arousal"):
        if not abs(value := getattr(point, field)) <= 1.0:
            raise UserError(f"{label}: {field} is {value:g}; it must lie between -1 and 1")
    return point


def _number(row: Mapping[str, object], field: str, label: str) -> float:
    if field not in row:
        raise UserError(f"{label} has no {field}; {_FORM}")
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{label}: {field} is {value!r}; it must be a number")
    try:
        number = float(value)
    except OverflowError:  # an integer of 400 digits
        number = math.inf
    if not math.isfinite(number):
        raise UserError(f"{label}: {field} is {number}; it must be a number")
    return number
