from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from mer_engine.backends import parity
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import shipped_model
from mer_engine.half import CONVOLUTIONS, PRODUCTS, halve
from onnx import TensorProto


@pytest.mark.parametrize(("kinds", "largest"), [(CONVOLUTIONS, 1e-3), (PRODUCTS, 3e-3)])
def test_half_precision_is_inside_the_gate(
    tmp_path: Path, kinds: tuple[str, ...], largest: float
) -> None:
    """ONNX Runtime rounds where a card would; what is missing is only the order of its sums."""
    path = tmp_path / "half.onnx"
    onnx.save(halve(onnx.load(shipped_model()), kinds), path)
    engine = OnnxRuntimeEngine(path)
    engine.precision = "fp16"  # type: ignore[attr-defined]
    verdict = parity.check(engine)
    assert verdict.passed
    assert 1e-5 < verdict.worst < largest


def test_only_what_was_named_is_halved() -> None:
    model = onnx.load(shipped_model())
    before = model.SerializeToString()
    halved = halve(model)
    assert model.SerializeToString() == before
    kinds = Counter(node.op_type for node in halved.graph.node)
    kinds_before = Counter(node.op_type for node in model.graph.node)
    assert kinds["Cast"] > kinds_before["Cast"]
    del kinds["Cast"], kinds_before["Cast"]
    assert kinds == kinds_before
    assert [entry.name for entry in halved.graph.input] == ["frames", "held", "past"]
    for entry in (*halved.graph.input, *halved.graph.output):
        assert entry.type.tensor_type.elem_type == TensorProto.FLOAT
    halves = {t.name for t in halved.graph.initializer if t.data_type == TensorProto.FLOAT16}
    convolutions = [node for node in halved.graph.node if node.op_type == "Conv"]
    assert convolutions
    assert all(node.input[1] in halves for node in convolutions)
    assert sum(t.ByteSize() for t in halved.graph.initializer) < sum(
        t.ByteSize() for t in model.graph.initializer
    )


def test_weights_beyond_half_precision_are_refused() -> None:
    model = onnx.load(shipped_model())
    name = next(node.input[1] for node in model.graph.node if node.op_type == "Conv")
    tensor = next(t for t in model.graph.initializer if t.name == name)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = 1e6
    tensor.raw_data = values.astype(np.float32).tobytes()
    with pytest.raises(ValueError, match=r"1e\+06, over float16's"):
        halve(model)
