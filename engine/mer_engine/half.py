"""Convert selected operators of a model's graph to float16; the others stay in float32."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Nearly all of the arithmetic is in the convolutions.
CONVOLUTIONS = ("Conv",)
# The operators that some cards compute in half precision only.
PRODUCTS = ("Conv", "MatMul", "Gemm", "LSTM")
_LARGEST = float(np.finfo(np.float16).max)


def halve(model: onnx.ModelProto, kinds: Collection[str] = CONVOLUTIONS) -> onnx.ModelProto:
    """Return a copy of a model that computes some operators in float16.

    The graph's inputs and outputs stay float32. Constants of these operators are stored in half
    precision, their other inputs are cast to it, and their outputs are cast back.

    Args:
        model: an ONNX model, not changed; these operators take float32 only in it.
        kinds: names of the operators.

    Raises:
        ValueError: a constant is larger than half precision can hold.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    graph = halved.graph
    constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in list(graph.node):
        if node.op_type not in kinds:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            # An empty name is an optional input that the graph does not use.
            if not name:
                continue
            half = f"{name}.half"
            if half not in done:
                done.add(half)
                if name in constants:
                    graph.initializer.append(_half(constants[name], half))
                else:
                    nodes.append(_cast(name, half, TensorProto.FLOAT16))
            node.input[place] = half
        full = [name for name in node.output if name]
        for place, name in enumerate(node.output):
            if name:
                node.output[place] = f"{name}.half"
        nodes.append(node)
        nodes.extend(_cast(f"{name}.half", name, TensorProto.FLOAT) for name in full)
        done.update(f"{name}.half" for name in full)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    onnx.checker.check_model(halved)
    return halved


def _half(values: np.ndarray, name: str) -> TensorProto:
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= _LARGEST:
        raise ValueError(f"{name} has a value of {largest:.3g}, over float16's {_LARGEST:g}")
    return numpy_helper.from_array(values.astype(np.float16), name)


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the constants in full precision that no node uses any more."""
    used = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
