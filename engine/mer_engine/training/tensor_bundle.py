"""Read the variables of a TensorFlow checkpoint without TensorFlow.

A checkpoint in the "tensor bundle" format is two files. ``PREFIX.index`` is a sorted string table
(the table format of LevelDB): blocks of prefix-compressed keys whose values give the position of
a tensor. ``PREFIX.data-00000-of-0000N`` contains the bytes of the tensors in sequence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FOOTER_BYTES = 48
_TABLE_MAGIC = 0xDB4775248B80FB57
_BLOCK_TRAILER_BYTES = 5  # one byte of compression type, four of checksum

# TensorFlow's DataType numbers of the types that occur in checkpoints of networks.
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 19: "<f2"}


class BundleError(ValueError):
    """The files are not a supported tensor bundle; the message gives the reason."""


def read_bundle(index: Path) -> dict[str, NDArray[np.generic]]:
    """Return the tensors of a bundle by name.

    Args:
        index: path of the ``.index`` file, with the ``.data-*`` files beside it.

    Raises:
        BundleError: the table is damaged or compressed, or contains an unsupported type.
        OSError: a file cannot be read.
    """
    entries = dict(_table_entries(index.read_bytes()))
    header = dict(_fields(entries.pop(b"", b"")))
    shards = _as_int(header.get(1, 1))
    prefix = index.name[: -len(".index")]
    data = [
        (index.parent / f"{prefix}.data-{shard:05d}-of-{shards:05d}").read_bytes()
        for shard in range(shards)
    ]
    return {name.decode("utf-8"): _tensor(name, value, data) for name, value in entries.items()}


def _tensor(name: bytes, entry: bytes, data: list[bytes]) -> NDArray[np.generic]:
    fields: dict[int, int | bytes] = dict(_fields(entry))
    dtype_number = _as_int(fields.get(1, 0))
    if dtype_number not in _DTYPES:
        raise BundleError(f"tensor {name!r} has the unsupported data type number {dtype_number}")
    dtype = np.dtype(_DTYPES[dtype_number])
    shape = []
    for number, dimension in _fields(_as_bytes(fields.get(2, b""))):
        if number == 2:
            shape.append(_as_int(dict(_fields(_as_bytes(dimension))).get(1, 0)))
    shard, offset, size = (_as_int(fields.get(number, 0)) for number in (3, 4, 5))
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size != expected or shard >= len(data) or offset + size > len(data[shard]):
        raise BundleError(
            f"tensor {name!r} should have {expected} bytes; its entry gives {size} bytes"
            f" at offset {offset} of shard {shard}"
        )
    return np.frombuffer(data[shard], dtype, expected // dtype.itemsize, offset).reshape(shape)


def _table_entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(table) < _FOOTER_BYTES:
        raise BundleError(f"the index has {len(table)} bytes, fewer than a table's footer")
    footer = table[-_FOOTER_BYTES:]
    (magic,) = struct.unpack("<Q", footer[40:])
    if magic != _TABLE_MAGIC:
        raise BundleError(f"the index ends with {magic:#x} instead of the magic number of a table")
    position = 0
    handle = []
    for _ in range(4):  # offset and size of the meta-index block, then of the index block
        number, position = _varint(footer, position)
        handle.append(number)
    for _, block_handle in _block_entries(_block(table, handle[2], handle[3])):
        offset, position = _varint(block_handle, 0)
        size, _ = _varint(block_handle, position)
        yield from _block_entries(_block(table, offset, size))


def _block(table: bytes, offset: int, size: int) -> bytes:
    if offset + size + _BLOCK_TRAILER_BYTES > len(table):
        raise BundleError(
            f"a block of {size} bytes at {offset} goes beyond the end of the index file"
        )
    compression = table[offset + size]
    if compression != 0:
        raise BundleError(
            f"a block is compressed (type {compression}); only uncompressed blocks are supported"
        )
    return table[offset : offset + size]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    position = 0
    key = b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        value_size, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + value_size]
        position += value_size


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protocol buffer message without groups."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
        elif wire_type == 2:
            size, position = _varint(message, position)
            yield number, message[position : position + size]
            position += size
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4  # checksums are skipped
        else:
            raise BundleError(f"a message has a field of the unknown wire type {wire_type}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise BundleError("a number in the index is cut off or too long")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _as_int(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    raise BundleError("the index contains bytes instead of a number")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise BundleError("the index contains a number instead of bytes")
