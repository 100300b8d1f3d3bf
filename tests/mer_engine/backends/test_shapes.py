"""Profiles, padding and splitting of batches, and the layout of tensors in memory."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine import Engine
from mer_engine.backends.shapes import (
    MAX_BATCH,
    MAX_WINDOW_BATCH,
    Shape,
    lay_out,
    padded_batch,
    profiles,
    split_call,
)
from mer_engine.errors import BackendError


def test_the_profiles_contain_every_lag_order_and_batch(engine: Engine) -> None:
    info = engine.info
    size = info.frames_per_step
    ranges = profiles(info)
    for lag in range(1, info.lag_order_max + 1):
        for new in range(1, lag + 1):
            for batch in (1, 2, 3, 16, 17, 31, 255, 256, 257, 600):
                for frames in {1, 6, 7, size, new * size}:
                    cached = info.map_context + new * size - frames
                    shape = Shape(batch, min(frames, new * size), cached, lag - new)
                    parts = list(split_call(shape, ranges))
                    windows = [n for part, _, _ in parts for n in range(part.start, part.stop)]
                    assert windows == list(range(batch))
                    for part, number, padded in parts:
                        assert ranges[number].contains(padded)
                        assert part.stop - part.start <= padded.batch <= MAX_BATCH
                        assert padded[1:] == shape[1:]


def test_updates_of_many_streams_are_not_split(engine: Engine) -> None:
    info = engine.info
    update = Shape(MAX_BATCH, 2 * info.frames_per_step, info.map_context, 18)
    ((windows, number, padded),) = split_call(update, profiles(info))
    assert (windows, number, padded) == (slice(0, 256), 1, update)
    new_windows = Shape(40, 20 * info.frames_per_step, info.map_context, 0)
    sizes = [part.stop - part.start for part, _, _ in split_call(new_windows, profiles(info))]
    assert sizes == [MAX_WINDOW_BATCH, MAX_WINDOW_BATCH, 8]


def test_a_shape_outside_the_profiles_is_refused(engine: Engine) -> None:
    info = engine.info
    longer = Shape(1, 21 * info.frames_per_step, info.map_context, 0)
    with pytest.raises(BackendError, match="not built for 672 new frames"):
        list(split_call(longer, profiles(info)))


def test_batches_are_padded_to_powers_of_two() -> None:
    assert [padded_batch(n) for n in (1, 2, 3, 4, 5, 9, 200, 256)] == [1, 2, 4, 4, 8, 16, 256, 256]


def test_tensors_do_not_overlap_in_their_block() -> None:
    placements, size = lay_out([(2, 3), (1, 0, 7), (100,)])
    assert [placement.offset for placement in placements] == [0, 256, 512]
    assert size == 512 + 512
    memory = np.zeros(size, np.uint8)
    for number, placement in enumerate(placements):
        placement.view(memory)[...] = number
    assert placements[0].view(memory).tolist() == [[0.0] * 3] * 2
    assert placements[1].view(memory).shape == (1, 0, 7)
    assert (placements[2].view(memory) == 2).all()
