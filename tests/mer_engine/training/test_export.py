"""The exported graph computes what the network computes, for free sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from mer_engine import load_engine
from mer_engine.model_file import Prior
from mer_engine.network import SCORES, EmotionNetwork, NetworkConfig
from mer_engine.training.export import Calibration, ModelText, export_model

CALIBRATION = Calibration(
    coverage=0.8,
    interval_scale={"valence": (1.3,) * 20, "arousal": (1.2,) * 20},
    prior={"valence": Prior(0.1, -0.2, 0.4), "arousal": Prior(0.0, -0.3, 0.3)},
    line={"arousal": tuple((0.01 * n, 0.9) for n in range(20))},
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmotionNetwork, Path]:
    torch.manual_seed(1)
    network = EmotionNetwork(NetworkConfig(hidden=8, width=16, statistics=24, bins=11)).eval()
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    text = ModelText(name="trial", licence="none", training={"seed": 1})
    info = export_model(network, path, CALIBRATION, text)
    assert info.name == "trial"
    return network, path


@pytest.mark.parametrize(
    ("batch", "past", "steps"), [(1, 0, 1), (1, 0, 20), (1, 18, 2), (3, 5, 3), (2, 19, 1)]
)
def test_graph_equals_network(
    exported: tuple[EmotionNetwork, Path], batch: int, past: int, steps: int
) -> None:
    network, path = exported
    engine = load_engine(path)
    config = network.config
    rng = np.random.default_rng(batch + past)
    length = config.context_frames + steps * config.frames_per_step
    width = config.bands + config.pitch_classes
    frames = rng.uniform(0, 4, (batch, length, width)).astype(np.float32)
    before = rng.normal(size=(batch, past, config.embedding)).astype(np.float32)
    got, got_steps = engine.infer(frames, before)
    with torch.inference_mode():
        expected, expected_steps = network(torch.from_numpy(frames), torch.from_numpy(before))
    assert np.abs(got - expected.numpy()).max() < 1e-4
    assert np.abs(got_steps - expected_steps.numpy()).max() < 1e-4


def test_metadata_say_what_the_network_is(exported: tuple[EmotionNetwork, Path]) -> None:
    network, path = exported
    info = load_engine(path).info
    assert info.context_frames == network.config.context_frames
    assert info.embedding_size == network.config.embedding
    assert info.bins == pytest.approx(np.linspace(-1, 1, 11), abs=1e-6)
    assert info.scores == SCORES
    assert info.frames_per_step == 32
    assert info.step_s == 0.5
    assert info.prior == CALIBRATION.prior
    assert info.line == CALIBRATION.line
    assert info.training == {"seed": 1}


def test_the_graph_keeps_the_lstm_as_one_operator(exported: tuple[EmotionNetwork, Path]) -> None:
    operators = [node.op_type for node in onnx.load(exported[1]).graph.node]
    assert operators.count("LSTM") == 1
    assert "Loop" not in operators
    assert "If" not in operators
