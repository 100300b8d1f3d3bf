from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime_mer.core.target import TargetTrajectory
from realtime_mer.errors import UserError

TOML = """
[[point]]
t_s = 0
valence = -0.4
arousal = 0.6

[[point]]
t_s = 600
valence = 0.4
arousal = -0.2
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "target.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_way_between_points_is_straight(tmp_path: Path) -> None:
    target = TargetTrajectory.from_toml(written(tmp_path, TOML))
    assert target.at(0.0) == (-0.4, 0.6)
    assert target.at(300.0) == pytest.approx((0.0, 0.2))
    assert target.at(450.0) == pytest.approx((0.2, 0.0))
    assert target.at(600.0) == (0.4, -0.2)


def test_the_first_and_the_last_place_hold(tmp_path: Path) -> None:
    target = TargetTrajectory.from_toml(written(tmp_path, TOML.replace("t_s = 0", "t_s = 60")))
    assert target.at(5.0) == (-0.4, 0.6)
    assert target.at(9000.0) == (0.4, -0.2)


def test_a_message_gives_the_same_trajectory(tmp_path: Path) -> None:
    target = TargetTrajectory.from_toml(written(tmp_path, TOML))
    assert TargetTrajectory.from_dict(json.loads(json.dumps(target.to_dict()))) == target


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no points"),
        ("point = 3", "has no points"),
        ("point = [3]", "point 1 is no table"),
        ("[[point", "is not valid TOML"),
        (b"\xff\xfe", "is not valid TOML"),
        (TOML + "\n[goal]\nx = 1", "unknown key goal"),
        (TOML + "speed = 3", "point 2 has the unknown key speed"),
        (TOML + "valenc = 3", "did you mean valence?"),
        (TOML.replace("t_s = 600", ""), "point 2 has no t_s"),
        (TOML.replace("t_s = 600", "t_s = 0"), "point 2: t_s is 0, not after the 0 of the point"),
        (TOML.replace("t_s = 0", "t_s = -1"), "point 1: t_s is -1"),
        (TOML.replace("-0.4", "-1.2"), "valence is -1.2; it must lie between -1 and 1"),
        (TOML.replace("-0.4", "nan"), "valence is nan; it must be a number"),
        (TOML.replace("-0.4", "true"), "valence is True; it must be a number"),
        (TOML.replace("-0.4", "'low'"), "valence is 'low'; it must be a number"),
        (TOML.replace("-0.4", "9" * 400), "valence is inf; it must be a number"),
    ],
)
def test_a_bad_file_gets_a_sentence(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=r"^the target .*target\.toml") as caught:
        TargetTrajectory.from_toml(written(tmp_path, text))
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        TargetTrajectory.from_toml(tmp_path / "none.toml")


def test_more_points_than_a_message_should_hold_are_refused() -> None:
    points = [{"t_s": t, "valence": 0, "arousal": 0} for t in range(1001)]
    with pytest.raises(UserError, match="has 1001 points; at most 1000"):
        TargetTrajectory.from_dict({"points": points})
