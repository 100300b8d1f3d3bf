"""Store the current model in a training checkpoint, and export it from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mer_engine.datasets.problems import DataError
from mer_engine.model_file import DIMENSIONS, ModelInfo, Prior
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.training.calibrate import COVERAGE, NORMAL_HALF_WIDTH
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.export import LAG_MAX, Calibration, ModelText, export_model

# Key of the model in a checkpoint's state, from the first fitted network on.
MODEL = "model"


def model_state(
    network: EmotionNetwork, calibration: Calibration | None, text: ModelText
) -> dict[str, Any]:
    """Return the state to store under `MODEL`.

    Args:
        network: the current network.
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
    """Write the model of a checkpoint as a model file.

    Returns:
        The metadata of the file, and whether its intervals are calibrated.

    Raises:
        DataError: the checkpoint is missing or damaged, contains no fitted network yet, or was
            written by another version.
    """
    state = read_checkpoint(path)["state"].get(MODEL)
    if state is None:
        raise DataError(
            f"{path} contains no fitted network yet; resume the training with the same options"
        )
    try:
        network = EmotionNetwork(NetworkConfig(**state["network"]))
        network.load_state_dict(state["weights"])
        text = ModelText(**state["text"])
        stored = state["calibration"]
        calibration = None if stored is None else _read_calibration(stored)
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
    return export_model(network.eval(), out, calibration or uncalibrated(), text), calibrated


def _read_calibration(stored: Mapping[str, Any]) -> Calibration:
    prior = {name: Prior(**values) for name, values in stored["prior"].items()}
    return Calibration(**{**stored, "prior": prior})


def uncalibrated() -> Calibration:
    """Return default intervals and a wide prior, for an unfinished run."""
    return Calibration(
        coverage=COVERAGE,
        interval_scale=dict.fromkeys(DIMENSIONS, (NORMAL_HALF_WIDTH,) * LAG_MAX),
        prior={name: Prior(0.0, -COVERAGE, COVERAGE) for name in DIMENSIONS},
    )
