"""Cuts parts out of an ONNX graph. Needs no onnx package.

A model file has one graph for live updates: each call encodes the newest frames and infers one
window. Where nothing is live, the parts of the graph are cheaper apart: long stretches through the
filters, many windows through the head. A cut graph has the same nodes and weights, so it computes
the same numbers.

ONNX files are protocol buffers. Only the few fields that a cut needs are read and written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from mer_engine.errors import ModelError

# Numbers of fields, by message.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT = 1, 2
_TENSOR_NAME = 8
# A float32 tensor of any shape: TypeProto { tensor_type { elem_type: FLOAT } }.
_FLOAT_TENSOR = b"\x0a\x02\x08\x01"
_VARINT, _BYTES = 0, 2
_FIXED_SIZES = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a graph.

    Attributes:
        inputs, outputs: names of tensors, in order.
        content: the serialised node.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    content: bytes


class Graph:
    """The graph of a model file, to be cut.

    Args:
        content: the model file.

    Raises:
        ModelError: it is no ONNX model.
    """

    def __init__(self, content: bytes) -> None:
        self._rest: list[bytes] = []
        self._initializers: dict[str, bytes] = {}
        self._graph_rest: list[bytes] = []
        self.nodes: list[Node] = []
        try:
            for number, payload, whole in _fields(memoryview(content)):
                if number == _MODEL_GRAPH:
                    self._read_graph(payload)
                elif number != _MODEL_METADATA:
                    self._rest.append(bytes(whole))
        except (IndexError, KeyError, UnicodeDecodeError) as error:
            raise ModelError(
                f"the model file cannot be read as an ONNX model ({error!r})"
            ) from error

    def producer(self, tensor: str) -> Node:
        """Return the node that computes a tensor.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if tensor in node.outputs:
                return node
        raise KeyError(tensor)

    def joined(self, first: str, second: str) -> str:
        """Return the tensor that a node computes from exactly two tensors.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.inputs == (first, second):
                return node.outputs[0]
        raise KeyError((first, second))

    def cut(self, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """Return a model that computes some tensors from others, all of them float32.

        Args:
            inputs: names of tensors that the caller provides.
            outputs: names of tensors to return.
        """
        wanted = set(outputs)
        nodes: list[Node] = []
        for node in reversed(self.nodes):  # a graph lists its nodes in the order of computation
            if not wanted.isdisjoint(node.outputs) and set(inputs).isdisjoint(node.outputs):
                nodes.append(node)
                wanted.update(node.inputs)
        graph = b"".join(
            chain(
                (_field(_GRAPH_NODE, node.content) for node in reversed(nodes)),
                self._graph_rest,
                (
                    _field(_GRAPH_INITIALIZER, tensor)
                    for name, tensor in self._initializers.items()
                    if name in wanted
                ),
                (_field(_GRAPH_INPUT, _value(name)) for name in inputs),
                (_field(_GRAPH_OUTPUT, _value(name)) for name in outputs),
            )
        )
        return b"".join((*self._rest, _field(_MODEL_GRAPH, graph)))

    def _read_graph(self, content: memoryview) -> None:
        for number, payload, whole in _fields(content):
            if number == _GRAPH_NODE:
                fields = list(_fields(payload))
                self.nodes.append(
                    Node(_texts(fields, _NODE_INPUT), _texts(fields, _NODE_OUTPUT), bytes(payload))
                )
            elif number == _GRAPH_INITIALIZER:
                (name,) = _texts(_fields(payload), _TENSOR_NAME)
                self._initializers[name] = bytes(payload)
            elif number not in (_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO):
                self._graph_rest.append(bytes(whole))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield number, content and whole encoding of each field of a message."""
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        kind = key & 7
        begin = position
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind == _BYTES:
            length, begin = _varint(message, position)
            position = begin + length
        else:
            position += _FIXED_SIZES[kind]
        if position > len(message):
            raise IndexError("a field is cut off")
        yield key >> 3, message[begin:position], message[start:position]


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _texts(fields: Iterable[tuple[int, memoryview, memoryview]], number: int) -> tuple[str, ...]:
    return tuple(str(payload, "utf-8") for found, payload, _ in fields if found == number)


def _field(number: int, content: bytes) -> bytes:
    """Return a field with bytes, text or a message."""
    return _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _value(name: str) -> bytes:
    """Return the description of an input or output: ValueInfoProto { name, type }."""
    return _field(1, name.encode()) + _field(2, _FLOAT_TENSOR)
