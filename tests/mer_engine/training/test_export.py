"""The exported graph equals the network for all input sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fast_support import without_fast
from mer_engine import Engine, audioset_network, load_engine
from mer_engine.backends import parity
from mer_engine.engine import output_names, shipped_model
from mer_engine.errors import ModelError
from mer_engine.model_file import DIMENSIONS, SOUNDS, Prior, write_metadata
from mer_engine.network import FAST_STEPS, EmotionNetwork, NetworkConfig
from mer_engine.training.export import Calibration, ModelText, export_model, renew_reference

CALIBRATION = Calibration(
    coverage=0.8,
    interval_scale={"valence": (1.3,) * 20, "arousal": (1.2,) * 20},
    prior={"valence": Prior(0.1, -0.2, 0.4), "arousal": Prior(0.0, -0.3, 0.3)},
    line={"arousal": tuple((0.01 * n, 0.9) for n in range(20))},
    distribution={name: tuple(n / 20 - 1 for n in range(41)) for name in ("valence", "arousal")},
    movement={"valence": 0.01, "arousal": 0.02},
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmotionNetwork, Path]:
    torch.manual_seed(1)
    config = NetworkConfig(hidden=8, width=16, statistics=24, bins=11, sounds=True)
    network = EmotionNetwork(config).eval()
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
    length = steps * config.frames_per_step
    frames = rng.uniform(0, 4, (batch, length - 5, config.frame_width)).astype(np.float32)
    cached_shape = (batch, config.map_context + 5, config.map_size)
    cached_maps = rng.uniform(0, 3, cached_shape).astype(np.float32)
    before = rng.normal(size=(batch, past, config.embedding)).astype(np.float32)
    actual = engine.infer(frames, cached_maps, before)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(array) for array in (frames, cached_maps, before)))
    assert actual.fast.shape == actual.probabilities.shape
    assert len(expected) == len(output_names(engine.info))
    for output, reference in zip(actual, expected, strict=False):
        assert output is not None
        assert np.abs(output - reference.numpy()).max() < 1e-4


def random_inputs(engine: Engine, steps: int, past: int) -> tuple[np.ndarray, ...]:
    info = engine.info
    rng = np.random.default_rng(steps + past)
    frames = rng.uniform(0, 4, (1, steps * info.frames_per_step, info.frontend.width))
    cached_maps = rng.uniform(0, 4, (1, info.map_context, info.map_size))
    before = rng.normal(size=(1, past, info.embedding_size))
    return frames.astype(np.float32), cached_maps.astype(np.float32), before.astype(np.float32)


def test_the_fast_output_uses_the_newest_steps_alone(
    exported: tuple[EmotionNetwork, Path],
) -> None:
    engine = load_engine(exported[1])
    assert engine.info.fast_lag_order == FAST_STEPS == 6
    frames, cached_maps, before = random_inputs(engine, 2, 18)
    full = engine.infer(frames, cached_maps, before)
    alone = engine.infer(frames, cached_maps, before[:, -4:])
    np.testing.assert_allclose(full.fast, alone.probabilities, atol=1e-5)
    np.testing.assert_allclose(alone.fast, alone.probabilities, atol=1e-6)
    assert np.abs(full.fast - full.probabilities).max() > 1e-3
    # With fewer steps, it uses all of them.
    short = engine.infer(*random_inputs(engine, 3, 0))
    np.testing.assert_allclose(short.fast, short.probabilities, atol=1e-6)


def test_a_file_without_a_declared_output_is_rejected(
    exported: tuple[EmotionNetwork, Path], tmp_path: Path
) -> None:
    path = without_fast(exported[1], tmp_path / "cut.onnx")
    with pytest.raises(ModelError, match=r"damaged: its graph lacks the output fast; get it again"):
        load_engine(path)


def test_metadata_describe_the_network(exported: tuple[EmotionNetwork, Path]) -> None:
    network, path = exported
    info, config = load_engine(path).info, network.config
    assert (info.map_context, info.map_size) == (config.map_context, config.map_size)
    assert info.embedding_size == network.config.embedding
    assert info.bins == pytest.approx(np.linspace(-1, 1, 11), abs=1e-6)
    assert info.scores == DIMENSIONS
    assert info.sounds == SOUNDS
    assert info.notice == audioset_network.NOTICE
    assert info.frames_per_step == 32
    assert info.step_s == 0.5
    assert info.prior == CALIBRATION.prior
    assert info.line == CALIBRATION.line
    assert info.distribution == CALIBRATION.distribution
    assert info.movement == CALIBRATION.movement
    assert info.training == {"seed": 1}


def test_the_reference_is_renewed_and_the_graph_is_unchanged(tmp_path: Path) -> None:
    older, newer = onnx.load(shipped_model()), tmp_path / "newer.onnx"
    write_metadata(older, replace(load_engine().info, parity=None))
    onnx.save(older, tmp_path / "older.onnx")
    assert not parity.has_reference(load_engine(tmp_path / "older.onnx").info)
    info = renew_reference(tmp_path / "older.onnx", newer)
    assert info.parity is not None
    assert info == load_engine(newer).info
    assert parity.check(load_engine(newer)).passed
    assert onnx.load(newer).graph.SerializeToString() == older.graph.SerializeToString()


def test_a_network_that_amplifies_rounding_is_written_without_reference(
    exported: tuple[EmotionNetwork, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity.LIMITS, "fp32", 0.0)  # no backend is as exact as this
    path = tmp_path / "model.onnx"
    info = export_model(exported[0], path, CALIBRATION, ModelText(name="rough"))
    engine = load_engine(path)
    assert engine.info == info
    assert not parity.has_reference(info)
    messages: list[str] = []
    load_engine(path, backend="auto", announce=messages.append)
    assert messages[0].startswith(
        "backend: onnxruntime; rounding errors alone change the outputs of the model rough"
    )


def test_the_graph_keeps_the_lstm_as_one_operator(exported: tuple[EmotionNetwork, Path]) -> None:
    operators = [node.op_type for node in onnx.load(exported[1]).graph.node]
    assert operators.count("LSTM") == 2  # one for each of the two windows
    assert "Loop" not in operators
    assert "If" not in operators


def test_the_fast_output_needs_no_second_encoder_and_no_copy_of_the_weights(
    exported: tuple[EmotionNetwork, Path], tmp_path: Path
) -> None:
    bare = without_fast(exported[1], tmp_path / "bare.onnx")
    with_fast, bare_graph = (onnx.load(path).graph for path in (exported[1], bare))
    for kind in ("Conv", "MaxPool"):
        counts = [[n.op_type for n in g.node].count(kind) for g in (with_fast, bare_graph)]
        assert counts[0] == counts[1] > 0
    assert exported[1].stat().st_size < bare.stat().st_size + 50_000
