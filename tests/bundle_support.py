"""Write a checkpoint in the tensor bundle format of TensorFlow, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
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
    """Return a table block with prefix-compressed keys, as TensorFlow writes it."""
    out, previous = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        previous = key
    return out + struct.pack("<II", 0, 1)


def write_bundle(
    folder: Path, tensors: Mapping[str, NDArray[np.generic]], prefix: str = "model"
) -> Path:
    """Write both files of a bundle and return the path of its index."""
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
    path = folder / f"{prefix}.index"
    path.write_bytes(body + footer)
    (folder / f"{prefix}.data-00000-of-00001").write_bytes(data)
    return path
