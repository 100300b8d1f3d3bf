"""Read a model file back into a network, so that training can start from it.

The exporter keeps the names of most weights. It transposes the weights of linear layers, packs and
reorders those of LSTMs, and lets equal weights share a tensor. `load_network` undoes this with the
names of the graph's nodes, and compares the resulting network with the model file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import output_names, self_check, shipped_model
from mer_engine.errors import ModelError
from mer_engine.model_file import ModelInfo
from mer_engine.network import EmotionNetwork, NetworkConfig

# Names in model files from before a renaming, and the names of today: the sizes in the metadata
# (`training.network`), and the parts of the graph's names ("reader.memory.parts.degrees.known").
RENAMED_SIZES = {"memory": "regressor_windows", "memory_rank": "regressor_rank"}
RENAMED_PARTS = {
    "reader": "head",
    "memory": "regressor",
    "memory_spread": "regressor_spread",
    "questions": "queries",
    "degrees": "tonic_chroma",
    "density": "inverse_crest",
    "known": "support",
}
# Largest differences from the model file, by output. Embeddings and maps are allowed more: scaling
# by a small standard deviation also scales the rounding errors.
_TOLERANCES = {"probabilities": 1e-4, "steps": 1e-3, "fast": 1e-4, "maps": 1e-3, "sound": 1e-4}
# Positions of torch's gates (input, forget, cell, output) in ONNX's (input, output, forget, cell).
_GATES = (0, 2, 3, 1)
_LSTM = re.compile(r"(?P<kind>weight_ih|weight_hh|bias_ih|bias_hh)_l0(?P<back>_reverse)?")

Array = NDArray[np.float32]


def load_network(path: Path | None) -> tuple[EmotionNetwork, ModelInfo]:
    """Create a network with the weights of a model file.

    Args:
        path: the model file; None for the shipped one.

    Returns:
        The network in evaluation mode, and the file's metadata.

    Raises:
        ModelError: the file is missing or damaged, or holds another kind of network.
    """
    source = shipped_model() if path is None else path
    engine = OnnxRuntimeEngine(source)
    self_check(engine)
    info = engine.info
    network = EmotionNetwork(_config(info, source))
    graph = onnx.load(source).graph
    network.load_state_dict(_state(graph, network, source))
    network.eval()

    config, steps = network.config, 4
    rng = np.random.default_rng(0)
    frames = rng.uniform(0, 4, (1, steps * config.frames_per_step, config.frame_width))
    cached_maps = rng.uniform(0, 4, (1, config.map_context, config.map_size))
    past = rng.normal(size=(1, 3, config.embedding))
    inputs = [array.astype(np.float32) for array in (frames, cached_maps, past)]
    expected = engine.infer(*inputs)
    with torch.inference_mode():
        outputs = network(*(torch.from_numpy(array) for array in inputs))
    for name, output in zip(output_names(info), outputs, strict=True):
        difference = np.abs(output.numpy() - getattr(expected, name)).max()
        if not difference < _TOLERANCES[name]:
            raise ModelError(
                f"{source} cannot be read back into a network: it computes something else "
                f"(by {difference:.2g}); start from another model file"
            )
    return network, info


def _config(info: ModelInfo, source: Path) -> NetworkConfig:
    sizes: Mapping[str, Any] | None = info.training.get("network")
    if sizes is None:
        raise ModelError(
            f"{source} does not say what network it holds, so training cannot start from it"
        )
    try:
        return NetworkConfig(
            **{
                "scores": info.scores,
                **{RENAMED_SIZES.get(name, name): _tuples(value) for name, value in sizes.items()},
            }
        )
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{source} holds another kind of network than this version trains ({error})"
        ) from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _state(
    graph: onnx.GraphProto, network: EmotionNetwork, source: Path
) -> dict[str, torch.Tensor]:
    """Return the network's state dict, read from the graph."""
    tensors = _tensors(graph)
    weights = {_renamed(name): array for name, array in tensors.items()}
    nodes = _nodes(graph)
    state = {}
    for name, expected in network.state_dict().items():
        module, _, last = name.rpartition(".")
        found: NDArray[Any] | None
        if last == "num_batches_tracked":
            found = np.zeros((), np.int64)
        elif name == "head.regressor_spread" and network.head.regressor is None:
            found = expected.numpy()  # not in the graph, because nothing uses it
        elif name in weights:
            found = weights[name]
        elif match := _LSTM.fullmatch(last):
            found = _lstm(nodes.get((module, "LSTM")), tensors, match)
        else:
            # The encoder runs as two methods, so the names of its nodes lack "encoder".
            within = module.removeprefix("encoder.")
            node = nodes.get((module, "MatMul")) or nodes.get((within, "MatMul"))
            found = _matrix(node, tensors) if last == "weight" else None
        if found is None or found.shape != tuple(expected.shape):
            raise ModelError(
                f"{source} holds another kind of network than this version trains: "
                + (f"{name} is not in it" if found is None else f"{name} is {found.shape}")
            )
        state[name] = torch.from_numpy(np.array(found)).to(expected.dtype)
    return state


def _renamed(name: str) -> str:
    """Return today's name of a weight or module; names of today stay."""
    return ".".join(RENAMED_PARTS.get(part, part) for part in name.split("."))


def _tensors(graph: onnx.GraphProto) -> dict[str, Array]:
    """Return the constants of the graph by name, including names that share another's tensor."""
    tensors = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    return tensors


def _nodes(graph: onnx.GraphProto) -> dict[tuple[str, str], onnx.NodeProto]:
    """Return the first node of each operator in each module: ("head.attention.keys", "MatMul")."""
    nodes: dict[tuple[str, str], onnx.NodeProto] = {}
    for node in graph.node:
        module = node.name.rpartition("/")[0].strip("/").replace("/", ".")
        nodes.setdefault((_renamed(module), node.op_type), node)
    return nodes


def _matrix(node: onnx.NodeProto | None, tensors: Mapping[str, Array]) -> Array | None:
    """Return the weight of a linear layer, which the exporter transposes."""
    constants = [tensors[name] for name in node.input if name in tensors] if node else []
    return constants[0].T if len(constants) == 1 else None


def _lstm(
    node: onnx.NodeProto | None, tensors: Mapping[str, Array], match: re.Match[str]
) -> Array | None:
    """Return one of torch's tensors of an LSTM, from ONNX's three."""
    if node is None or any(name not in tensors for name in node.input[1:4]):
        return None
    inputs, recurrent, biases = (tensors[name] for name in node.input[1:4])
    direction = 1 if match["back"] else 0
    if len(inputs) <= direction:
        return None
    if match["kind"] == "weight_ih":
        packed = inputs[direction]
    elif match["kind"] == "weight_hh":
        packed = recurrent[direction]
    else:
        packed = np.split(biases[direction], 2)[match["kind"] == "bias_hh"]
    gates = np.split(packed, 4)
    return np.concatenate([gates[place] for place in _GATES])
