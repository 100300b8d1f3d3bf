import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mer_engine import Engine, FrontEndConfig, ModelError, ModelInfo


def test_metadata_survives_json(engine: Engine) -> None:
    assert ModelInfo.from_json(engine.info.to_json(), sha256=engine.info.sha256) == engine.info


def test_the_metadata_has_what_a_stream_needs(engine: Engine) -> None:
    info = ModelInfo.from_json(engine.info.to_json())
    assert (info.map_context, info.silent_map) == (engine.info.map_context, engine.info.silent_map)
    data = json.loads(engine.info.to_json())
    assert data["lag_order"] == {"min": 1, "max": 20, "default": 20, "fast": 6}


def test_a_distribution_survives_json_and_old_files_have_none(engine: Engine) -> None:
    data = json.loads(engine.info.to_json())
    del data["distribution"]
    assert ModelInfo.from_json(json.dumps(data)).distribution == {}
    distribution = {"valence": (-0.5, 0.0, 0.0, 0.5), "arousal": (-0.25, 0.25)}
    info = dataclasses.replace(engine.info, distribution=distribution)
    assert ModelInfo.from_json(info.to_json()).distribution == distribution


def test_older_files_have_no_sounds(engine: Engine, sound_engine: Engine) -> None:
    data = json.loads(engine.info.to_json())
    del data["sounds"]
    assert ModelInfo.from_json(json.dumps(data)).sounds == ()
    assert ModelInfo.from_json(sound_engine.info.to_json()).sounds == ("music", "speech", "noise")


def drop_prior(data: dict[str, Any]) -> None:
    del data["prior"]


def another_format(data: dict[str, Any]) -> None:
    data["format"] = 99


def short_calibration(data: dict[str, Any]) -> None:
    data["interval"]["valence"] = [1.0]


def short_line(data: dict[str, Any]) -> None:
    data["line"] = {"whole_arousal": [[0.0, 1.0]] * 3}


def bent_line(data: dict[str, Any]) -> None:
    data["line"] = {"arousal": [[0.0, 1.0, 2.0]] * 20}


def endless_fast_window(data: dict[str, Any]) -> None:
    data["lag_order"]["fast"] = 21


def half_a_fast_window(data: dict[str, Any]) -> None:
    data["lag_order"]["fast"] = 2.5


def half_a_distribution(data: dict[str, Any]) -> None:
    data["distribution"] = {"valence": [-0.5, 0.5]}


def descending_distribution(data: dict[str, Any]) -> None:
    data["distribution"] = {"valence": [-0.5, 0.5], "arousal": [0.1, 0.0]}


def wide_distribution(data: dict[str, Any]) -> None:
    data["distribution"] = {"valence": [-0.5, 0.5], "arousal": [-1.5, 0.0]}


def short_distribution(data: dict[str, Any]) -> None:
    data["distribution"] = {"valence": [0.5], "arousal": [-0.5, 0.0]}


def steep_movement(data: dict[str, Any]) -> None:
    data["movement"] = {"arousal": 0.2}


def endless_movement(data: dict[str, Any]) -> None:
    data["movement"] = {"valence": float("nan")}


def other_movement(data: dict[str, Any]) -> None:
    data["movement"] = {"whole_arousal": 0.01}


def other_sounds(data: dict[str, Any]) -> None:
    data["sounds"] = ["music", "birds"]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (other_sounds, "tells the sounds music, birds apart; this version needs music, speech"),
        (drop_prior, "cannot be used"),
        (another_format, "another format than 2"),
        (short_calibration, "calibrates 1 window lengths of valence"),
        (short_line, "calibrates 3 window lengths of whole_arousal"),
        (bent_line, "cannot be used"),
        (endless_fast_window, "fast window is 21 steps; it must be a whole number from 1 to 20"),
        (half_a_fast_window, "fast window is 2.5 steps"),
        (half_a_distribution, "must have valence and arousal"),
        (descending_distribution, "distribution of arousal must be two or more ascending"),
        (wide_distribution, "distribution of arousal must be"),
        (steep_movement, "movement of arousal is 0.2 per dB; it must be a number from 0 to 0.1"),
        (endless_movement, "metadata cannot be used"),
        (other_movement, "movement has the dimension whole_arousal"),
        (short_distribution, "distribution of valence must be"),
    ],
)
def test_damaged_metadata_is_refused(
    engine: Engine, damage: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    data = json.loads(engine.info.to_json())
    damage(data)
    with pytest.raises(ModelError, match=sentence):
        ModelInfo.from_json(json.dumps(data))


def test_invalid_json_is_refused() -> None:
    with pytest.raises(ModelError, match="metadata cannot be used"):
        ModelInfo.from_json("{")


def test_values_are_means_and_intervals_scaled_deviations(engine: Engine) -> None:
    info = dataclasses.replace(
        engine.info,
        bins=(-1.0, 0.0, 1.0),
        interval_scale={"valence": (2.0,) * 20, "arousal": (1.0,) * 20},
        lag_order_max=20,
        line={},
    )
    probabilities = np.array([[[0.0, 0.75, 0.25], [0.0, 1.0, 0.0]]], dtype=np.float32)
    values = info.values(probabilities, steps=3)
    # valence: mean 0.25, variance 0.25 - 0.0625 = 0.1875; arousal is certain
    half = 2.0 * 0.1875**0.5
    np.testing.assert_allclose(values.mean, [[0.25, 0.0]])
    np.testing.assert_allclose(values.low, [[0.25 - half, 0.0]])
    np.testing.assert_allclose(values.high, [[1.0, 0.0]])  # 1.116, clipped to the scale


def test_another_front_end_is_refused(engine: Engine) -> None:
    with pytest.raises(ModelError, match="made for another front-end"):
        engine.info.check_fits(FrontEndConfig(log_scale=1.0))


def test_values_lie_on_the_line_of_their_score_and_window(engine: Engine) -> None:
    usual = ((0.0, 1.0),) * 20
    line: dict[str, tuple[tuple[float, float], ...]] = {
        "valence": (*usual[:3], (0.1, 0.5), *usual[4:]),
    }
    info = dataclasses.replace(engine.info, bins=(-1.0, 0.0, 1.0), line=line)
    probabilities = np.array([[[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]]], dtype=np.float32)
    before, after = info.values(probabilities, 3), info.values(probabilities, 4)
    np.testing.assert_allclose(before.mean, [[-0.25, 0.5]])
    np.testing.assert_allclose(after.mean, [[-0.025, 0.5]])
    assert (after.low < after.mean).all()
    assert (after.mean < after.high).all()
    assert ModelInfo.from_json(info.to_json(), sha256=info.sha256).line == line


def test_a_model_of_older_features_is_refused_as_such(engine: Engine) -> None:
    data = json.loads(engine.info.to_json())
    data["frontend_fingerprint"] = "0123456789abcdef"
    older = ModelInfo.from_json(json.dumps(data))
    with pytest.raises(ModelError, match=r"made for another front-end \(0123456789abcdef\)"):
        older.check_fits(older.frontend)


def test_movement_is_stored_and_missing_in_old_files(engine: Engine) -> None:
    movement = {"arousal": 0.02, "valence": 0.012}
    info = dataclasses.replace(engine.info, movement=movement)
    assert ModelInfo.from_json(info.to_json()).movement == movement
    old = json.loads(info.to_json())
    del old["movement"]
    assert ModelInfo.from_json(json.dumps(old)).movement == {}
