"""Running a compiled engine, on a simulated card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from card_support import SimulatedCard
from mer_engine import Engine
from mer_engine.backends import parity
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.shapes import Shape, input_shapes
from mer_engine.backends.tensorrt.engine import TensorRtEngine
from mer_engine.engine import Inference, shipped_model
from numpy.typing import NDArray


def window(
    engine: Engine, batch: int, new: int, past: int, frames: int | None = None
) -> tuple[NDArray[np.float32], ...]:
    """Random arguments of a call with `new` steps, of which `frames` frames are new."""
    info = engine.info
    count = new * info.frames_per_step if frames is None else frames
    cached = info.map_context + new * info.frames_per_step - count
    rng = np.random.default_rng(batch)
    return tuple(
        rng.uniform(0, 3, shape).astype(np.float32)
        for shape in input_shapes(info, Shape(batch, count, cached, past))
    )


@pytest.fixture
def card(fast_model: Path) -> SimulatedCard:
    """A card with the small model, whose library does not record work itself."""
    return SimulatedCard(fast_model)


def assert_same(outputs: Inference, expected: Inference) -> None:
    for name, b in expected._asdict().items():
        a = getattr(outputs, name)
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("batch", [1, 3, 257])
def test_the_sound_output_comes_from_the_card(
    sound_engine: Engine, sound_model: Path, batch: int
) -> None:
    card = SimulatedCard(sound_model)
    call = window(sound_engine, batch, 2, 5)
    outputs = card.engine.infer(*call)
    assert outputs.sound is not None
    assert outputs.sound.shape == (batch, 3)
    assert_same(outputs, sound_engine.infer(*call))
    assert parity.check(card.engine).passed


@pytest.mark.parametrize("records_itself", [False, True], ids=["tensorrt", "tensorrt-rtx"])
def test_the_shipped_model_passes_the_gate_on_a_card(records_itself: bool) -> None:
    card = SimulatedCard(shipped_model(), records_itself=records_itself)
    assert parity.check(card.engine).passed


@pytest.mark.parametrize("records_itself", [False, True], ids=["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize(
    ("batch", "new", "past", "frames"),
    [(1, 2, 18, None), (3, 1, 19, 6), (5, 2, 0, None), (18, 20, 0, None), (300, 1, 3, None)],
)
def test_batches_are_padded_split_and_joined(
    fast_engine: Engine,
    fast_model: Path,
    records_itself: bool,
    batch: int,
    new: int,
    past: int,
    frames: int | None,
) -> None:
    card = SimulatedCard(fast_model, records_itself=records_itself)
    call = window(fast_engine, batch, new, past, frames)
    expected = fast_engine.infer(*call)
    for _ in range(3):  # bound; run again and recorded; replayed
        assert_same(card.engine.infer(*call), expected)


def test_repeated_calls_allocate_nothing_and_are_replayed(
    fast_engine: Engine, card: SimulatedCard
) -> None:
    call = window(fast_engine, 1, 2, 18)
    for _ in range(2):
        card.engine.infer(*call)
    allocations, contexts = card.stream.allocations, card.program.contexts
    earlier = card.engine.infer(*call)
    other = window(fast_engine, 1, 2, 18)[0] * 0.5, *call[1:]
    assert_same(card.engine.infer(*other), fast_engine.infer(*other))
    assert_same(earlier, fast_engine.infer(*call))  # later calls do not overwrite outputs
    assert card.stream.launches == 2
    assert (card.stream.allocations, card.program.contexts) == (allocations, contexts)


def test_work_is_not_recorded_where_the_library_records_itself(
    fast_engine: Engine, fast_model: Path
) -> None:
    card = SimulatedCard(fast_model, records_itself=True)
    call = window(fast_engine, 1, 2, 18)
    for _ in range(4):
        assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert card.stream.records == []
    assert card.stream.launches == 0


def test_work_that_cannot_be_recorded_runs_without(
    fast_engine: Engine, card: SimulatedCard
) -> None:
    card.stream.refuse_records = True
    call = window(fast_engine, 1, 1, 3)
    for _ in range(4):
        assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert card.stream.launches == 0


def test_a_larger_call_moves_the_buffers(fast_engine: Engine, card: SimulatedCard) -> None:
    small, large = window(fast_engine, 1, 1, 3), window(fast_engine, 16, 2, 18)
    for call in (small, small, large, small, small, small, large, large, large):
        assert_same(card.engine.infer(*call), fast_engine.infer(*call))
    assert len(card.stream.records) == 2
    assert len(card.stream.device_blocks) == 3  # the old blocks were freed
    assert len(card.stream.host_blocks) == 2


def test_the_number_of_bound_contexts_is_limited(fast_engine: Engine, card: SimulatedCard) -> None:
    calls = [window(fast_engine, 1, new, past) for past in range(14) for new in (1, 2)]
    kept = TensorRtEngine.max_bound_shapes
    assert len(calls) > kept
    # The longest window comes first, so that the buffers do not grow later.
    for call in [window(fast_engine, 1, 2, 18)] + [call for call in calls for _ in range(2)]:
        card.engine.infer(*call)
    assert len(card.stream.records) == kept
    contexts = card.program.contexts
    for call in calls[-kept:]:
        card.engine.infer(*call)
    assert card.program.contexts == contexts  # the newest ones are kept
    card.engine.infer(*calls[0])
    assert card.program.contexts == contexts + 1  # the oldest ones are dropped


def test_a_card_that_fails_is_replaced(fast_engine: Engine, card: SimulatedCard) -> None:
    messages: list[str] = []
    guarded = FallbackEngine(card.engine, fast_engine, messages.append)
    call = window(fast_engine, 2, 2, 18)
    assert_same(guarded.infer(*call), fast_engine.infer(*call))
    assert guarded.backend == "tensorrt"
    card.program.broken = True
    assert_same(guarded.infer(*call), fast_engine.infer(*call))
    assert guarded.backend == "onnxruntime"
    assert "TensorRT could not run the network" in messages[0]
