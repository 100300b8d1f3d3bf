"""Shapes of calls, the ranges of shapes that an engine is built for, and the layout of tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_engine.errors import BackendError
from mer_engine.model_file import ModelInfo

# Names of the graph's inputs. Model files call the cached maps "held".
INPUTS = ("frames", "held", "past")
# Largest batch of updates.
MAX_BATCH = 256
# Largest batch of calls with up to a whole window of new steps, which occur when streams start.
MAX_WINDOW_BATCH = 16
# New steps of an update; updates are at most a second apart.
UPDATE_STEPS = 2
# Bytes to which the offsets of tensors in memory are aligned.
_ALIGNMENT = 256


class Shape(NamedTuple):
    """Sizes of a call: windows, new frames, frames with cached maps, past steps."""

    batch: int
    frames: int
    cached: int
    past: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A range of shapes that an engine is built for, which TensorRT calls optimisation profile.

    Attributes:
        smallest, typical, largest: ends of the range, and the shape that it is optimised for.
    """

    smallest: Shape
    typical: Shape
    largest: Shape

    def contains(self, shape: Shape) -> bool:
        """Return whether a shape is within the range."""
        ends = zip(self.smallest, shape, self.largest, strict=True)
        return all(low <= size <= high for low, size, high in ends)


def profiles(info: ModelInfo) -> tuple[Profile, ...]:
    """Return the profiles of a model's engine.

    These are: one stream; updates of many streams; whole new windows of several streams. Together
    they contain every lag order of the model, with any number of new steps. `split_call` cuts
    larger batches.
    """
    step, context = info.frames_per_step, info.map_context
    update = UPDATE_STEPS * step
    past = info.lag_order_max - 1
    window = info.lag_order_max * step

    def profile(batches: tuple[int, int, int], longest: int, typical: int) -> Profile:
        # With R - 1 cached frames the smallest shape has exactly zero new steps.
        return Profile(
            Shape(batches[0], 1, context - 1, 0),
            Shape(batches[1], typical, context, info.lag_order_max - typical // step),
            Shape(batches[2], longest, context + longest, past),
        )

    return (
        profile((1, 1, 1), window, update),
        profile((2, 32, MAX_BATCH), update, update),
        profile((2, 4, MAX_WINDOW_BATCH), window, window),
    )


def padded_batch(batch: int) -> int:
    """Return the next power of two. Padding to it keeps the number of different shapes small."""
    return 1 << (batch - 1).bit_length()


def split_call(shape: Shape, ranges: Sequence[Profile]) -> Iterator[tuple[slice, int, Shape]]:
    """Split a call into calls that the profiles contain.

    Args:
        shape: shape of the call.
        ranges: the engine's profiles.

    Yields:
        The windows of each part, the number of its profile, and its shape after padding.

    Raises:
        BackendError: no profile contains the shape, for any batch.
    """
    start = 0
    while start < shape.batch:
        for limit in (MAX_BATCH, MAX_WINDOW_BATCH, 1):
            count = min(limit, shape.batch - start)
            padded = shape._replace(batch=padded_batch(count))
            found = next((n for n, entry in enumerate(ranges) if entry.contains(padded)), None)
            if found is not None:
                yield slice(start, start + count), found, padded
                start += count
                break
        else:
            raise BackendError(
                f"the engine is not built for {shape.frames} new frames, {shape.cached} cached "
                f"frames and {shape.past} past steps"
            )


class Placement(NamedTuple):
    """Position of a tensor in a block of memory: offset in bytes, shape."""

    offset: int
    shape: tuple[int, ...]

    def view(self, memory: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the tensor in a block of memory, as a view."""
        size = 4 * math.prod(self.shape)
        return memory[self.offset : self.offset + size].view(np.float32).reshape(self.shape)


def lay_out(shapes: Sequence[tuple[int, ...]]) -> tuple[list[Placement], int]:
    """Place float32 tensors in one block of memory, so that one copy moves them all.

    Returns:
        The placement of each tensor, and the size of the block in bytes. A tensor without elements
        has a placement too.
    """
    placements, offset = [], 0
    for shape in shapes:
        placements.append(Placement(offset, shape))
        size = max(4 * math.prod(shape), 1)
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    return placements, offset


def input_shapes(info: ModelInfo, shape: Shape) -> list[tuple[int, ...]]:
    """Return the shapes of `INPUTS` in a call."""
    return [
        (shape.batch, shape.frames, info.frontend.width),
        (shape.batch, shape.cached, info.map_size),
        (shape.batch, shape.past, info.embedding_size),
    ]


def output_shapes(info: ModelInfo, shape: Shape) -> list[tuple[int, ...]]:
    """Return the shapes of `output_names(info)` in a call."""
    new = (shape.frames + shape.cached - info.map_context) // info.frames_per_step
    probabilities = (shape.batch, len(info.scores), len(info.bins))
    sound = [(shape.batch, len(info.sounds))] if info.sounds else []
    return [
        probabilities,
        (shape.batch, new, info.embedding_size),
        probabilities,
        (shape.batch, shape.frames, info.map_size),
        *sound,
    ]
