"""A network read back from a model file equals the one that was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from mer_engine import load_engine
from mer_engine.engine import silent_maps
from mer_engine.errors import ModelError
from mer_engine.model_file import Prior, write_metadata
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.network_import import RENAMED_PARTS, RENAMED_SIZES, load_network
from mer_engine.training.export import Calibration, ModelText, export_model
from onnx import numpy_helper

SIZES = NetworkConfig(
    timbral=((7, 38, 3), (7, 67, 2)), temporal=((32, 2),), residual_filters=4, tags=6,
    hidden=8, width=16, statistics=24, regressor_windows=7, regressor_rank=5,
    bins=11,
)  # fmt: skip
CALIBRATION = Calibration(
    coverage=0.8,
    interval_scale={"valence": (1.3,) * 20, "arousal": (1.2,) * 20},
    prior={"valence": Prior(0.1, -0.2, 0.4), "arousal": Prior(0.0, -0.3, 0.3)},
)


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    """Run torch in one thread, which is fastest for small networks on a busy processor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(config: NetworkConfig) -> EmotionNetwork:
    """Return a network whose tensors all differ from their initial values."""
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


def run(network: EmotionNetwork, past: int, steps: int) -> list[np.ndarray]:
    config = network.config
    rng = np.random.default_rng(past + steps)
    frames = rng.uniform(0, 4, (2, steps * config.frames_per_step, config.frame_width))
    cached_maps = rng.uniform(0, 4, (2, config.map_context, config.map_size))
    before = rng.normal(size=(2, past, config.embedding))
    with torch.inference_mode():
        results = network(*(torch.tensor(array).float() for array in (frames, cached_maps, before)))
    return [array.numpy() for array in results]


def test_every_tensor_is_read_back(written: tuple[EmotionNetwork, Path]) -> None:
    network, path = written
    copy, info = load_network(path)
    assert copy.config == network.config
    assert info.name == "trial"
    assert not copy.training
    expected = network.state_dict()
    assert copy.state_dict().keys() == expected.keys()
    for name, tensor in copy.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(("past", "steps"), [(0, 1), (0, 20), (18, 2)])
def test_outputs_are_the_same(written: tuple[EmotionNetwork, Path], past: int, steps: int) -> None:
    network, path = written
    copy, _ = load_network(path)
    for output, expected in zip(run(copy, past, steps), run(network, past, steps), strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-4)


def test_a_network_that_was_never_fitted(tmp_path: Path) -> None:
    # Many of its tensors are equal (zeros or ones): the exporter lets them share one.
    torch.manual_seed(0)
    check(EmotionNetwork(SIZES).eval(), tmp_path / "m.onnx")


def test_signs_of_filters_are_read_back(tmp_path: Path) -> None:
    network = trained(SIZES)
    for group in network.encoder.front:
        group.get_buffer("sign")[::2] = -1
    check(network, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "config",
    [
        replace(SIZES, level_frames=0),
        replace(SIZES, level_frames=40, chroma_every=4),
        replace(SIZES, sounds=True),
    ],
    ids=["no level", "others", "sounds"],
)
def test_networks_of_other_sizes(tmp_path: Path, config: NetworkConfig) -> None:
    check(trained(config), tmp_path / "m.onnx")


def check(network: EmotionNetwork, path: Path) -> None:
    """Write a network, read it back and compare weights and outputs."""
    text = ModelText(training={"network": asdict(network.config)})
    export_model(network, path, CALIBRATION, text)
    copy, _ = load_network(path)
    expected = network.state_dict()
    for name, tensor in copy.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6, msg=name)
    for output, reference in zip(run(copy, 2, 3), run(network, 2, 3), strict=True):
        np.testing.assert_allclose(output, reference, atol=1e-4)


def test_a_file_from_before_tags_existed(tmp_path: Path) -> None:
    network = trained(replace(SIZES, tags=0))
    sizes = asdict(network.config)
    del sizes["tags"], sizes["tagger_width"]
    export_model(network, tmp_path / "m.onnx", CALIBRATION, ModelText(training={"network": sizes}))
    copy, info = load_network(tmp_path / "m.onnx")
    assert copy.config == network.config
    assert info.embedding_size == SIZES.embedding - SIZES.tags


def test_training_can_start_from_the_shipped_model() -> None:
    network, info = load_network(None)
    engine = load_engine()
    assert info.sha256 == engine.info.sha256
    steps = 3
    frames = info.check_frames(steps)
    past = np.random.default_rng(0).normal(size=(1, 5, info.embedding_size)).astype(np.float32)
    inputs = frames, silent_maps(info), past
    expected = engine.infer(*inputs)
    with torch.inference_mode():
        results = network(*(torch.from_numpy(array) for array in inputs))
    tolerances = {"probabilities": 1e-4, "steps": 1e-3, "fast": 1e-4, "maps": 1e-3}
    for ours, (name, tolerance) in zip(results, tolerances.items(), strict=False):
        np.testing.assert_allclose(ours.numpy(), getattr(expected, name), atol=tolerance)
    # A fit changes the head, but not what its regressor knows of the collections.
    head = dict(network.head.named_parameters())
    fixed = {name for name, parameter in head.items() if not parameter.requires_grad}
    assert fixed == {"regressor.resemblance.weight", "regressor.resemblance.bias"}


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


def test_files_of_other_networks_are_refused(
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
    with pytest.raises(ModelError, match=r"it computes something else .* start from another model"):
        load_network(altered(path, other, '"level": 500.0'))


def test_a_file_without_the_sizes_of_its_network_is_refused(
    written: tuple[EmotionNetwork, Path], tmp_path: Path
) -> None:
    model = onnx.load(written[1])
    write_metadata(model, replace(load_engine(written[1]).info, training={}))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="does not say what network it holds"):
        load_network(tmp_path / "m.onnx")


def test_names_from_before_the_renaming_are_read(
    written: tuple[EmotionNetwork, Path], tmp_path: Path
) -> None:
    """As in the shipped file."""
    network, path = written
    model = onnx.load(path)
    old = {new: name for name, new in RENAMED_PARTS.items()}

    def rename(name: str) -> str:
        parts = re.split(r"([./])", name)
        return "".join(old.get(part, part) for part in parts)

    for node in model.graph.node:
        node.name = rename(node.name)
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for entry in model.graph.initializer:
        entry.name = rename(entry.name)
    sizes = asdict(network.config)
    for name, new in RENAMED_SIZES.items():
        sizes[name] = sizes.pop(new)
    write_metadata(model, replace(load_engine(path).info, training={"network": sizes}))
    onnx.save(model, tmp_path / "old.onnx")
    names = {entry.name for entry in model.graph.initializer}
    assert "reader.memory.parts.degrees.known" in names
    copy, _ = load_network(tmp_path / "old.onnx")
    assert copy.config == network.config
    for name, tensor in copy.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name], rtol=0, atol=1e-6, msg=name)
