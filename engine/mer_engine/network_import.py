"""Read a model file back into a network, so that training can start from it.

The exporter keeps the names of most weights. It transposes those of linear layers, packs and
reorders those of LSTMs and lets equal ones share a tensor; this is undone here, by the names of
the graph's nodes. What is returned was compared with the model file.
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
from mer_engine.engine import Inference, self_check, shipped_model
from mer_engine.errors import ModelError
from mer_engine.model_file import ModelInfo
from mer_engine.network import EmotionNetwork, NetworkConfig

# Of probabilities and of embeddings: numbers that hardly vary are stretched, with their rounding.
_TOLERANCES = {"probabilities": 1e-4, "steps": 1e-3, "fast": 1e-4, "maps": 1e-3}
# Places of torch's gates (input, forget, cell, output) in ONNX's (input, output, forget, cell).
_GATES = (0, 2, 3, 1)
_LSTM = re.compile(r"(?P<kind>weight_ih|weight_hh|bias_ih|bias_hh)_l0(?P<back>_reverse)?")

Array = NDArray[np.float32]


def load_network(path: Path | None) -> tuple[EmotionNetwork, ModelInfo]:
    """Make a network with the weights of a model file.

    Args:
        path: the model file; None for the shipped one.

    Returns:
        The network, at rest, and what the file says of itself.

    Raises:
        ModelError: the file is missing or damaged, or was made by another kind of network.
    """
    source = shipped_model() if path is None else path
    engine = OnnxRuntimeEngine(source)
    self_check(engine)
    info = engine.info
    network = EmotionNetwork(_config(info.training.get("network"), source))
    graph = onnx.load(source).graph
    network.load_state_dict(_state(graph, network, source))
    network.eval()

    config, steps = network.config, 4
    rng = np.random.default_rng(0)
    frames = rng.uniform(0, 4, (1, steps * config.frames_per_step, config.frame_width))
    held = rng.uniform(0, 4, (1, config.map_context, config.map_size))
    past = rng.normal(size=(1, 3, config.embedding))
    inputs = [array.astype(np.float32) for array in (frames, held, past)]
    expected = engine.infer(*inputs)
    with torch.inference_mode():
        got = network(*(torch.from_numpy(array) for array in inputs))
    for name, ours in zip(Inference._fields, got, strict=True):
        worst = np.abs(ours.numpy() - getattr(expected, name)).max()
        if not worst < _TOLERANCES[name]:
            raise ModelError(
                f"{source} cannot be read back into a network: it computes something else "
                f"(by {worst:.2g}); train without --init"
            )
    return network, info


def _config(sizes: Mapping[str, Any] | None, source: Path) -> NetworkConfig:
    if sizes is None:
        raise ModelError(
            f"{source} does not say what network it holds, so training cannot start from it"
        )
    try:
        return NetworkConfig(**{name: _tuples(value) for name, value in sizes.items()})
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{source} holds another kind of network than this version trains ({error})"
        ) from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _state(
    graph: onnx.GraphProto, network: EmotionNetwork, source: Path
) -> dict[str, torch.Tensor]:
    tensors = _tensors(graph)
    nodes = _nodes(graph)
    state = {}
    for name, wanted in network.state_dict().items():
        module, _, last = name.rpartition(".")
        found: NDArray[Any] | None
        if last == "num_batches_tracked":
            found = np.zeros((), np.int64)
        elif name in tensors:
            found = tensors[name]
        elif match := _LSTM.fullmatch(last):
            found = _lstm(nodes.get((module, "LSTM")), tensors, match)
        else:
            # The encoder's two parts are methods, so its modules are named without it.
            within = module.removeprefix("encoder.")
            node = nodes.get((module, "MatMul")) or nodes.get((within, "MatMul"))
            found = _matrix(node, tensors) if last == "weight" else None
        if found is None or found.shape != tuple(wanted.shape):
            raise ModelError(
                f"{source} holds another kind of network than this version trains: "
                + (f"{name} is not in it" if found is None else f"{name} is {found.shape}")
            )
        state[name] = torch.from_numpy(np.array(found)).to(wanted.dtype)
    return state


def _tensors(graph: onnx.GraphProto) -> dict[str, Array]:
    """Constants of the graph by name, also those that share the tensor of another."""
    tensors = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    return tensors


def _nodes(graph: onnx.GraphProto) -> dict[tuple[str, str], onnx.NodeProto]:
    """First node of each kind in each module: ("reader.attention.keys", "MatMul")."""
    nodes: dict[tuple[str, str], onnx.NodeProto] = {}
    for node in graph.node:
        module = node.name.rpartition("/")[0].strip("/").replace("/", ".")
        nodes.setdefault((module, node.op_type), node)
    return nodes


def _matrix(node: onnx.NodeProto | None, tensors: Mapping[str, Array]) -> Array | None:
    """The weights of a linear layer, which the exporter transposes."""
    constants = [tensors[name] for name in node.input if name in tensors] if node else []
    return constants[0].T if len(constants) == 1 else None


def _lstm(
    node: onnx.NodeProto | None, tensors: Mapping[str, Array], match: re.Match[str]
) -> Array | None:
    """One of torch's tensors of an LSTM, from ONNX's three."""
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
