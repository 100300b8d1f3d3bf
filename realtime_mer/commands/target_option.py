"""The option `--target`: the way over the plane that a session is meant to take."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path

if TYPE_CHECKING:
    from realtime_mer.core.target import TargetTrajectory
    from realtime_mer.core.types import Estimate


def add_target_argument(parser: argparse._ActionsContainer, default: str = "") -> None:
    """Add `--target`; `default` says what holds without it."""
    parser.add_argument(
        "--target",
        type=local_path,
        metavar="FILE",
        help="a TOML file of times and places on the plane (docs/recording.md): the way that the "
        f"session is meant to take, to compare it with{default}",
    )


def chosen_target(args: argparse.Namespace) -> TargetTrajectory | None:
    """Read the file of `--target`; None without the option.

    Raises:
        UserError: the file cannot be read or is not valid.
    """
    from realtime_mer.core.target import TargetTrajectory

    return None if args.target is None else TargetTrajectory.from_toml(args.target)


def target_text(target: TargetTrajectory, estimate: Estimate) -> str:
    """Return where an estimate should be and how far away that is: `target +0.20 -0.40, 0.34 away`.

    Places are those of the page: scaled where the estimate has scaled values.
    """
    valence, arousal = target.at(estimate.t)
    shown = estimate.scaled or estimate
    distance = math.hypot(shown.valence - valence, shown.arousal - arousal)
    return f"target {valence:+.2f} {arousal:+.2f}, {distance:.2f} away"
