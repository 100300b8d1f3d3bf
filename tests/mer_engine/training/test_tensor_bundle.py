"""The reader of TensorFlow checkpoints, on a bundle written byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundle_support import write_bundle
from mer_engine.training.tensor_bundle import BundleError, read_bundle
from numpy.typing import NDArray


def test_tensors_are_read_unchanged(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[np.generic]] = {
        "conv2d/bias": np.arange(3, dtype=np.float32),
        "conv2d/kernel": np.random.default_rng(0).normal(size=(2, 300, 1)).astype(np.float32),
        "conv2d_1/bias": np.array([7, 8], dtype=np.int32),
        "step": np.array(5, dtype=np.int32),
    }
    read = read_bundle(write_bundle(tmp_path, tensors))
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        np.testing.assert_array_equal(read[name], tensor)


def test_damaged_files_are_rejected(tmp_path: Path) -> None:
    path = write_bundle(tmp_path, {"a": np.ones(4, np.float32)})
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(BundleError, match="magic number"):
        read_bundle(path)
    path.write_bytes(content[:20])
    with pytest.raises(BundleError, match="20 bytes"):
        read_bundle(path)
    path.write_bytes(content)
    data = tmp_path / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(BundleError, match="'a' should have 16 bytes"):
        read_bundle(path)
