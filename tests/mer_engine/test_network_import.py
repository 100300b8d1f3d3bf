"""A model file read back is the network that was written."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from mer_engine import load_engine
from mer_engine.engine import silent_maps
from mer_engine.errors import ModelError
from mer_engine.model_file import Prior
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.network_import import load_network
from mer_engine.training.export import Calibration, ModelText, export_model
from mer_engine.training.transfer import init_encoder, normalise_pool
from onnx import numpy_helper
from tagger_support import make_tagger

SIZES = NetworkConfig(
    tags=50, hidden=8, width=16, statistics=24, regressor_windows=7, regressor_rank=5, bins=11
)
CALIBRATION = Calibration(
    coverage=0.8,
    interval_scale={"valence": (1.3,) * 20, "arousal": (1.2,) * 20},
    prior={"valence": Prior(0.1, -0.2, 0.4), "arousal": Prior(0.0, -0.3, 0.3)},
)


def trained(config: NetworkConfig) -> EmotionNetwork:
    """A network none of whose tensors is as it was made."""
    torch.manual_seed(3)
    network = EmotionNetwork(config).eval()
    for name, tensor in network.state_dict().items():
        if tensor.dtype.is_floating_point:
            positive = name.endswith(("running_var", "std"))
            tensor.add_(torch.rand_like(tensor) * 0.3 + (0.1 if positive else -0.15))
    return network


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmotionNetwork, Path]:
    network = trained(SIZES)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    text = ModelText(name="trial", training={"network": asdict(network.config)})
    export_model(network, path, CALIBRATION, text)
    return network, path


def outputs(network: EmotionNetwork, past: int, steps: int) -> list[np.ndarray]:
    config = network.config
    rng = np.random.default_rng(past + steps)
    frames = rng.uniform(0, 4, (2, steps * config.frames_per_step, config.frame_width))
    cached_maps = rng.uniform(0, 4, (2, config.map_context, config.map_size))
    before = rng.normal(size=(2, past, config.embedding))
    with torch.inference_mode():
        got = network(*(torch.tensor(array).float() for array in (frames, cached_maps, before)))
    return [array.numpy() for array in got]


def test_every_tensor_comes_back(written: tuple[EmotionNetwork, Path]) -> None:
    network, path = written
    copy, info = load_network(path)
    assert copy.config == network.config
    assert info.name == "trial"
    assert not copy.training
    expected = network.state_dict()
    assert copy.state_dict().keys() == expected.keys()
    # The two biases of an LSTM's gates count as their sum; the exporter keeps them apart.
    for name, tensor in copy.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(("past", "steps"), [(0, 1), (0, 20), (18, 2)])
def test_outputs_are_the_same(written: tuple[EmotionNetwork, Path], past: int, steps: int) -> None:
    network, path = written
    copy, _ = load_network(path)
    for got, expected in zip(
        outputs(copy, past, steps), outputs(network, past, steps), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_network_that_was_never_fitted(tmp_path: Path) -> None:
    # Many of its tensors are equal, zeros or ones: the exporter lets them share one.
    torch.manual_seed(0)
    check(EmotionNetwork(SIZES).eval(), tmp_path / "m.onnx")


def test_a_network_that_starts_from_a_tagger(tmp_path: Path) -> None:
    network = EmotionNetwork(SIZES)
    init_encoder(network, make_tagger())
    assert (network.encoder.front[0].sign < 0).any()
    rng = np.random.default_rng(0)
    normalise_pool(network, rng.uniform(0, 3, (2, 640, 109)).astype(np.float16))
    network.head.statistic_mean.normal_()
    check(network.eval(), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "config",
    [replace(SIZES, level_frames=0), replace(SIZES, level_frames=40, chroma_every=4)],
    ids=["no level", "others"],
)
def test_networks_of_other_sizes(tmp_path: Path, config: NetworkConfig) -> None:
    check(trained(config), tmp_path / "m.onnx")


def check(network: EmotionNetwork, path: Path) -> None:
    """Writes a network, reads it back and compares everything."""
    text = ModelText(training={"network": asdict(network.config)})
    export_model(network, path, CALIBRATION, text)
    copy, _ = load_network(path)
    expected = network.state_dict()
    for name, tensor in copy.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6, msg=name)
    for got, wanted in zip(outputs(copy, 2, 3), outputs(network, 2, 3), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_file_from_before_there_were_tags(tmp_path: Path) -> None:
    network = trained(replace(SIZES, tags=0))
    sizes = asdict(network.config)
    del sizes["tags"], sizes["tagger_width"]
    export_model(network, tmp_path / "m.onnx", CALIBRATION, ModelText(training={"network": sizes}))
    copy, info = load_network(tmp_path / "m.onnx")
    assert copy.config == network.config
    assert info.embedding_size == SIZES.embedding - SIZES.tags


def test_training_can_go_on_from_the_shipped_model() -> None:
    network, info = load_network(None)
    engine = load_engine()
    assert info.sha256 == engine.info.sha256
    steps = 3
    frames = info.check_frames(steps)
    past = np.random.default_rng(0).normal(size=(1, 5, info.embedding_size)).astype(np.float32)
    inputs = frames, silent_maps(info), past
    expected = engine.infer(*inputs)
    with torch.inference_mode():
        got = network(*(torch.from_numpy(array) for array in inputs))
    for ours, theirs, tolerance in zip(got, expected, (1e-4, 1e-3, 1e-4, 1e-3), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=tolerance)
    assert all(parameter.requires_grad for parameter in network.parameters())


def altered(path: Path, target: Path, change: str) -> Path:
    model = onnx.load(path)
    if change == "rename":
        (entry,) = (e for e in model.graph.initializer if e.name == "encoder.mean")
        entry.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(entry), "encoder.shift"))
        for node in model.graph.node:
            node.input[:] = [
                "encoder.shift" if name == "encoder.mean" else name for name in node.input
            ]
    else:
        for prop in model.metadata_props:
            before = '"level": 6000.0' if "level" in change else '"statistics": 24'
            assert before in prop.value
            prop.value = prop.value.replace(before, change)
    onnx.save(model, target)
    return target


def test_files_that_hold_something_else(
    written: tuple[EmotionNetwork, Path], tmp_path: Path
) -> None:
    _, path = written
    with pytest.raises(ModelError, match=r"none\.onnx"):
        load_network(tmp_path / "none.onnx")
    other = tmp_path / "other.onnx"
    with pytest.raises(ModelError, match=r"another kind of network .*'depth'"):
        load_network(altered(path, other, '"statistics": 24, "depth": 3'))
    with pytest.raises(ModelError, match=r"another kind of network .*head\.first\.weight is"):
        load_network(altered(path, other, '"statistics": 25'))
    with pytest.raises(ModelError, match=r"another kind of network .*: encoder\.mean is not in it"):
        load_network(altered(path, other, "rename"))
    with pytest.raises(ModelError, match=r"it computes something else .* train without --init"):
        load_network(altered(path, other, '"level": 500.0'))


def test_files_that_do_not_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_model(trained(SIZES), path, CALIBRATION, ModelText())
    with pytest.raises(ModelError, match="does not say what network it holds"):
        load_network(path)
