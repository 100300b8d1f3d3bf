"""The checkpoint reader, on a bundle that the test writes byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from mer_engine.training.tensor_bundle import BundleError, read_bundle
from numpy.typing import NDArray

_DTYPE_NUMBERS = {"float32": 1, "int32": 3}


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A table block whose keys share prefixes, as the real writer's do."""
    out, previous = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        previous = key
    return out + struct.pack("<II", 0, 1)


def write_bundle(folder: Path, tensors: dict[str, NDArray[np.generic]]) -> Path:
    data, entries = b"", [(b"", field(1, 1))]
    for name, tensor in sorted(tensors.items()):
        shape = b"".join(field(2, field(1, size)) for size in tensor.shape)
        entry = field(1, _DTYPE_NUMBERS[tensor.dtype.name]) + field(2, shape)
        entry += field(4, len(data)) + field(5, tensor.nbytes)
        entry += b"\x35\0\0\0\0"  # field 6, a checksum of fixed size
        entries.append((name.encode(), entry))
        data += tensor.tobytes()
    body, handles = b"", []
    # Two data blocks, an empty meta-index block, and the index of the data blocks.
    for part in (entries[:2], entries[2:], []):
        content = block(part)
        handles.append(varint(len(body)) + varint(len(content)))
        body += content + b"\0" + b"\0\0\0\0"
    index = block([(b"m", handles[0]), (b"z", handles[1])])
    handles.append(varint(len(body)) + varint(len(index)))
    body += index + b"\0" + b"\0\0\0\0"
    footer = (handles[2] + handles[3]).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    path = folder / "model.index"
    path.write_bytes(body + footer)
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return path


def test_tensors_come_back(tmp_path: Path) -> None:
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


def test_damage_is_told(tmp_path: Path) -> None:
    path = write_bundle(tmp_path, {"a": np.ones(4, np.float32)})
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    with pytest.raises(BundleError, match="magic number"):
        read_bundle(path)
    path.write_bytes(whole[:20])
    with pytest.raises(BundleError, match="20 bytes"):
        read_bundle(path)
    path.write_bytes(whole)
    data = tmp_path / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(BundleError, match="'a' should have 16 bytes"):
        read_bundle(path)
