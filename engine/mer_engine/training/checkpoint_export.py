"""The model within a training run's checkpoint.

A run's state holds under `MODEL` the network that it has so far, with all that a model file needs,
from the moment on that it has a fitted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mer_engine.datasets.problems import DataError
from mer_engine.model_file import DIMENSIONS, ModelInfo, Prior
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.export import LAG_MAX, Calibration, ModelText, export_model

MODEL = "model"
_COVERAGE = 0.8
_NORMAL = 1.2816  # half-width of 80 % of a normal distribution, in standard deviations


def model_state(
    network: EmotionNetwork, calibration: Calibration | None, text: ModelText
) -> dict[str, Any]:
    """What a checkpoint holds under `MODEL`.

    Args:
        network: the network so far; best the running average of its weights.
        calibration: None before it is measured.
        text: name, report and legal text of the model file.
    """
    return {
        "network": asdict(network.config),
        "weights": {name: value.detach().cpu() for name, value in network.state_dict().items()},
        "calibration": None if calibration is None else asdict(calibration),
        "text": asdict(text),
    }


def export_checkpoint(path: Path, out: Path) -> tuple[ModelInfo, bool]:
    """Write the model within a checkpoint as a model file.

    Returns:
        What the file says of itself, and whether its intervals are calibrated.

    Raises:
        DataError: the checkpoint is missing or damaged, holds no fitted network yet, or one of
            another version.
    """
    state = read_checkpoint(path)["state"].get(MODEL)
    if state is None:
        raise DataError(
            f"{path} holds no fitted network yet; let the training go on: start it again with the "
            "same options"
        )
    try:
        network = EmotionNetwork(NetworkConfig(**state["network"]))
        network.load_state_dict(state["weights"])
        text = ModelText(**state["text"])
        stored = state["calibration"]
        calibration = None if stored is None else read_calibration(stored)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} was written by another version of the training ({reason})"
        ) from error
    calibrated = calibration is not None
    if not calibrated:
        text = replace(
            text, training={**text.training, "intervals": "not calibrated: the run was unfinished"}
        )
    return export_model(network.eval(), out, calibration or _ignorant(), text), calibrated


def read_calibration(stored: Mapping[str, Any]) -> Calibration:
    """The calibration that `model_state` stored."""
    prior = {name: Prior(**values) for name, values in stored["prior"].items()}
    return Calibration(**{**stored, "prior": prior})


def _ignorant() -> Calibration:
    """Of an unfinished run: intervals as the network has them, nothing known of the music."""
    return Calibration(
        coverage=_COVERAGE,
        interval_scale=dict.fromkeys(DIMENSIONS, (_NORMAL,) * LAG_MAX),
        prior={name: Prior(0.0, -_COVERAGE, _COVERAGE) for name in DIMENSIONS},
    )
