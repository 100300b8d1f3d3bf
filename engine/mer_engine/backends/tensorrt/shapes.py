"""Shapes of calls, ranges of shapes, and how tensors lie in memory. Needs no card."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Inference
from mer_engine.errors import BackendError
from mer_engine.model_file import ModelInfo

INPUTS = ("frames", "held", "past")
OUTPUTS = Inference._fields
MAX_BATCH = 256
# Most windows at once of many new steps: such come when a stream begins anew, not in every update.
MAX_WHOLE_BATCH = 16
# New steps of an update, at most a second apart.
UPDATE_STEPS = 2
_ALIGNMENT = 256


class Shape(NamedTuple):
    """Sizes of a call: windows, new frames, held frames, past steps."""

    batch: int
    frames: int
    held: int
    past: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A range of shapes that an engine is made for.

    Attributes:
        least, usual, most: the ends, and what it is made fastest for.
    """

    least: Shape
    usual: Shape
    most: Shape

    def holds(self, shape: Shape) -> bool:
        """Whether a shape lies within."""
        ends = zip(self.least, shape, self.most, strict=True)
        return all(low <= size <= high for low, size, high in ends)


def profiles(info: ModelInfo) -> tuple[Profile, ...]:
    """One stream; the updates of many at once; windows that begin anew, of several at once.

    Together they hold every lag order of the model, with any number of new steps. A larger batch
    than the last one takes is cut in pieces.
    """
    step, context = info.frames_per_step, info.map_context
    usual = UPDATE_STEPS * step
    past = info.lag_order_max - 1
    whole = info.lag_order_max * step

    def profile(batches: tuple[int, int, int], most: int, opt: int) -> Profile:
        # The fewest held frames are R - 1: then the least shape is a whole number of steps, none.
        return Profile(
            Shape(batches[0], 1, context - 1, 0),
            Shape(batches[1], opt, context, info.lag_order_max - opt // step),
            Shape(batches[2], most, context + most, past),
        )

    return (
        profile((1, 1, 1), whole, usual),
        profile((2, 32, MAX_BATCH), usual, usual),
        profile((2, 4, MAX_WHOLE_BATCH), whole, whole),
    )


def padded(batch: int) -> int:
    """The batch that a number of windows is filled up to: a power of two, so that shapes recur."""
    return 1 << (batch - 1).bit_length()


def pieces(shape: Shape, ranges: Sequence[Profile]) -> Iterator[tuple[slice, int, Shape]]:
    """Cut a call into such as the profiles hold.

    Yields:
        Which windows, the number of the profile, and the shape that they are filled up to.

    Raises:
        BackendError: no profile holds it, however few the windows.
    """
    start = 0
    while start < shape.batch:
        for most in (MAX_BATCH, MAX_WHOLE_BATCH, 1):
            count = min(most, shape.batch - start)
            filled = shape._replace(batch=padded(count))
            found = next((n for n, entry in enumerate(ranges) if entry.holds(filled)), None)
            if found is not None:
                yield slice(start, start + count), found, filled
                start += count
                break
        else:
            raise BackendError(
                f"the engine is not made for windows of {shape.frames} new frames, {shape.held} "
                f"held ones and {shape.past} steps before"
            )


class Piece(NamedTuple):
    """Where a tensor lies in a block of memory: first byte, shape."""

    offset: int
    shape: tuple[int, ...]

    def view(self, memory: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The tensor in a block of memory."""
        size = 4 * math.prod(self.shape)
        return memory[self.offset : self.offset + size].view(np.float32).reshape(self.shape)


def lay_out(shapes: Sequence[tuple[int, ...]]) -> tuple[list[Piece], int]:
    """Lay float32 tensors into one block of memory, so that one copy moves them all.

    Returns:
        Where each lies, and how many bytes the block has; a tensor without elements has a place.
    """
    pieces, offset = [], 0
    for shape in shapes:
        pieces.append(Piece(offset, shape))
        size = max(4 * math.prod(shape), 1)
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    return pieces, offset


def input_shapes(info: ModelInfo, shape: Shape) -> list[tuple[int, ...]]:
    """Shapes of `INPUTS` in a call."""
    return [
        (shape.batch, shape.frames, info.frontend.width),
        (shape.batch, shape.held, info.map_size),
        (shape.batch, shape.past, info.embedding_size),
    ]


def output_shapes(info: ModelInfo, shape: Shape) -> list[tuple[int, ...]]:
    """Shapes of `OUTPUTS` in a call."""
    new = (shape.frames + shape.held - info.map_context) // info.frames_per_step
    told = (shape.batch, len(info.scores), len(info.bins))
    return [
        told,
        (shape.batch, new, info.embedding_size),
        told,
        (shape.batch, shape.frames, info.map_size),
    ]
