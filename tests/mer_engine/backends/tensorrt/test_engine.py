"""TensorRT: engines really built from the shipped file, and run on a card in ordinary memory."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from card_support import SimulatedProgram, SimulatedStream
from mer_engine import Engine
from mer_engine.backends import cuda, parity, plans
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.plans import PlanKey, save_plan
from mer_engine.backends.tensorrt import build as build_module
from mer_engine.backends.tensorrt import plan
from mer_engine.backends.tensorrt.build import (
    Library,
    build,
    libraries,
    library_for,
    make_logger,
    prepare,
)
from mer_engine.backends.tensorrt.engine import MAX_BOUND_CONTEXTS, TensorRtEngine
from mer_engine.backends.tensorrt.shapes import (
    INPUTS,
    MAX_BATCH,
    MAX_WHOLE_BATCH,
    OUTPUTS,
    Shape,
    input_shapes,
    lay_out,
    output_shapes,
    padded,
    pieces,
    profiles,
)
from mer_engine.engine import Inference, shipped_model
from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint
from numpy.typing import NDArray

RTX = importlib.util.find_spec("tensorrt_rtx") is not None
needs_rtx = pytest.mark.skipif(not RTX, reason="tensorrt-rtx is not installed (no wheel for here)")
# As tensorrt-rtx 1.7 has them; one that is dropped is noticed.
TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")


def window(
    engine: Engine, batch: int, new: int, past: int, frames: int | None = None
) -> tuple[NDArray[np.float32], ...]:
    """A call of k new steps of random features, of which so many frames are new."""
    info = engine.info
    count = new * info.frames_per_step if frames is None else frames
    held = info.map_context + new * info.frames_per_step - count
    rng = np.random.default_rng(batch)
    return tuple(
        rng.uniform(0, 3, shape).astype(np.float32)
        for shape in input_shapes(info, Shape(batch, count, held, past))
    )


class Card:
    """An engine on a simulated card."""

    def __init__(self, *, records_itself: bool = False) -> None:
        self.stream = SimulatedStream()
        info = _info()
        self.program = SimulatedProgram(
            shipped_model(), self.stream, profiles(info), records_itself=records_itself
        )
        self.engine = TensorRtEngine(info, self.program, self.stream, "fp32", "a simulated card")


def _info() -> Any:
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(shipped_model()).info


@pytest.fixture(params=[False, True], ids=["tensorrt", "tensorrt-rtx"])
def card(request: pytest.FixtureRequest) -> Card:
    return Card(records_itself=request.param)


def assert_same(ours: Inference, theirs: Inference) -> None:
    for name, a, b in zip(OUTPUTS, ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-4, err_msg=name)


# Shapes


def test_the_profiles_hold_every_lag_order_and_batch(engine: Engine) -> None:
    info = engine.info
    size = info.frames_per_step
    for lag in range(1, info.lag_order_max + 1):
        for new in range(1, lag + 1):
            for batch in (1, 2, 3, 16, 17, 31, 255, 256, 257, 600):
                for frames in {1, 6, 7, size, new * size}:
                    held = info.map_context + new * size - frames
                    shape = Shape(batch, min(frames, new * size), held, lag - new)
                    cut = list(pieces(shape, profiles(info)))
                    windows = [n for part, _, _ in cut for n in range(part.start, part.stop)]
                    assert windows == list(range(batch))
                    for part, number, filled in cut:
                        assert profiles(info)[number].holds(filled)
                        assert part.stop - part.start <= filled.batch <= MAX_BATCH
                        assert filled[1:] == shape[1:]


def test_updates_of_many_streams_are_not_cut(engine: Engine) -> None:
    info = engine.info
    update = Shape(MAX_BATCH, 2 * info.frames_per_step, info.map_context, 18)
    ((windows, number, filled),) = pieces(update, profiles(info))
    assert (windows, number, filled) == (slice(0, 256), 1, update)
    whole = Shape(40, 20 * info.frames_per_step, info.map_context, 0)
    sizes = [part.stop - part.start for part, _, _ in pieces(whole, profiles(info))]
    assert sizes == [MAX_WHOLE_BATCH, MAX_WHOLE_BATCH, 8]


def test_what_no_profile_holds_is_refused(engine: Engine) -> None:
    info = engine.info
    longer = Shape(1, 21 * info.frames_per_step, info.map_context, 0)
    with pytest.raises(BackendError, match="not made for windows of 672 new frames"):
        list(pieces(longer, profiles(info)))


def test_batches_are_filled_up_to_few_sizes() -> None:
    assert [padded(n) for n in (1, 2, 3, 4, 5, 9, 200, 256)] == [1, 2, 4, 4, 8, 16, 256, 256]


def test_tensors_lie_apart_in_one_block() -> None:
    places, size = lay_out([(2, 3), (1, 0, 7), (100,)])
    assert [place.offset for place in places] == [0, 256, 512]
    assert size == 512 + 512
    memory = np.zeros(size, np.uint8)
    for number, place in enumerate(places):
        place.view(memory)[...] = number
    assert places[0].view(memory).tolist() == [[0.0] * 3] * 2
    assert places[1].view(memory).shape == (1, 0, 7)
    assert (places[2].view(memory) == 2).all()


# Running


def test_on_the_card_it_passes_the_gate(card: Card) -> None:
    assert parity.check(card.engine).passed


@pytest.mark.parametrize(
    ("batch", "new", "past", "frames"),
    [(1, 2, 18, None), (3, 1, 19, 6), (5, 2, 0, None), (18, 20, 0, None), (300, 1, 3, None)],
)
def test_batches_are_filled_cut_and_put_together(
    engine: Engine, card: Card, batch: int, new: int, past: int, frames: int | None
) -> None:
    call = window(engine, batch, new, past, frames)
    for _ in range(3):  # bound; run again and recorded; replayed
        assert_same(card.engine.infer(*call), engine.infer(*call))


def test_steady_calls_allocate_nothing_and_are_replayed(engine: Engine) -> None:
    card = Card()
    call = window(engine, 1, 2, 18)
    for _ in range(2):
        card.engine.infer(*call)
    allocations, contexts = card.stream.allocations, card.program.contexts
    kept = card.engine.infer(*call)
    other = window(engine, 1, 2, 18)[0] * 0.5, *call[1:]
    assert_same(card.engine.infer(*other), engine.infer(*other))
    assert_same(kept, engine.infer(*call))  # what was told before is not overwritten
    assert card.stream.launches == 2
    assert (card.stream.allocations, card.program.contexts) == (allocations, contexts)


def test_the_library_that_records_by_itself_is_left_to_it(engine: Engine) -> None:
    card = Card(records_itself=True)
    call = window(engine, 1, 2, 18)
    for _ in range(4):
        assert_same(card.engine.infer(*call), engine.infer(*call))
    assert card.stream.records == []
    assert card.stream.launches == 0


def test_what_cannot_be_recorded_runs_all_the_same(engine: Engine) -> None:
    card = Card()
    card.stream.refuse_records = True
    call = window(engine, 1, 1, 3)
    for _ in range(4):
        assert_same(card.engine.infer(*call), engine.infer(*call))
    assert card.stream.launches == 0


def test_a_larger_call_moves_the_buffers_and_what_was_bound(engine: Engine) -> None:
    card = Card()
    small, large = window(engine, 1, 1, 3), window(engine, 16, 2, 18)
    for call in (small, small, large, small, small, small, large, large, large):
        assert_same(card.engine.infer(*call), engine.infer(*call))
    assert len(card.stream.records) == 2
    assert len(card.stream._device) == 3  # the old blocks were given back
    assert len(card.stream._host) == 2


def test_only_so_many_shapes_are_kept(engine: Engine) -> None:
    card = Card()
    for _ in range(2):
        for past in range(19):
            for new in (1, 2):
                if past + new <= 20:
                    card.engine.infer(*window(engine, 1, new, past))
    assert len(card.engine._lanes) == MAX_BOUND_CONTEXTS
    for _ in range(3):
        card.engine.infer(*window(engine, 1, 2, 18))
    assert len(card.stream.records) <= MAX_BOUND_CONTEXTS


def test_a_card_that_fails_is_replaced(engine: Engine) -> None:
    card, told = Card(), list[str]()
    guarded = FallbackEngine(card.engine, lambda: engine, told.append)
    call = window(engine, 2, 2, 18)
    assert_same(guarded.infer(*call), engine.infer(*call))
    card.program.broken = True
    assert_same(guarded.infer(*call), engine.infer(*call))
    assert guarded.backend == "onnxruntime"
    assert "TensorRT could not run the network" in told[0]


# Compiling


@pytest.fixture(scope="module")
def rtx() -> Library:
    return next(library for library in libraries() if library.name == "tensorrt-rtx")


@needs_rtx
def test_it_builds_for_cards_that_are_not_here(rtx: Library) -> None:
    assert rtx.targets == TARGETS == build_module.targets()
    assert library_for("sm89", None) == rtx
    with pytest.raises(BackendError, match=r"builds for sm75, sm80, .*, not for sm90"):
        library_for("sm90", None)


@needs_rtx
@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", TARGETS)
def test_the_shipped_file_becomes_an_engine(rtx: Library, engine: Engine, target: str) -> None:
    precision = rtx.precisions(target)[-1]
    plan = build(rtx, shipped_model().read_bytes(), engine.info, target, precision)
    assert len(plan) > 5_000_000
    for name in (*INPUTS, *OUTPUTS):
        assert name.encode() in plan
    # Of each further profile the engine has inputs and outputs of its own.
    assert b"probabilities [profile 2]" in plan
    assert b"probabilities [profile 3]" not in plan


@needs_rtx
@pytest.mark.timeout(600)
def test_half_precision_becomes_another_engine(rtx: Library, engine: Engine) -> None:
    model = shipped_model().read_bytes()
    half = build(rtx, model, engine.info, "sm89", "fp16")
    full = build(rtx, model, engine.info, "sm89", "fp32")
    assert len(half) < len(full) - 100_000


@needs_rtx
@pytest.mark.parametrize("target", TARGETS)
def test_inputs_outputs_and_profiles(rtx: Library, engine: Engine, target: str) -> None:
    info, trt = engine.info, rtx.module
    logger = make_logger(trt)
    recipe = prepare(rtx, logger, shipped_model().read_bytes(), info, target)
    network, config = recipe.network, recipe.config
    inputs = {network.get_input(n).name: network.get_input(n) for n in range(network.num_inputs)}
    outputs = {network.get_output(n).name: network.get_output(n) for n in range(len(OUTPUTS))}
    assert tuple(inputs) == INPUTS
    assert tuple(outputs) == OUTPUTS
    assert network.num_outputs == len(OUTPUTS)
    for tensor in (*inputs.values(), *outputs.values()):
        assert tensor.dtype == trt.float32
    usual = Shape(1, 64, info.map_context, 18)
    for name, shape in zip(INPUTS, input_shapes(info, usual), strict=True):
        assert tuple(inputs[name].shape) == (-1, -1, shape[2])
    for name, shape in zip(OUTPUTS, output_shapes(info, usual), strict=True):
        assert outputs[name].shape[0] == -1
        assert outputs[name].shape[-1] == shape[-1]
    assert config.num_optimization_profiles == len(profiles(info)) == 3
    for made, wanted in zip(recipe.ranges, profiles(info), strict=True):
        assert made
        ends = [input_shapes(info, shape) for shape in (wanted.least, wanted.usual, wanted.most)]
        for name, *shapes in zip(INPUTS, *ends, strict=True):
            assert [tuple(dims) for dims in made.get_shape(name)] == shapes
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.num_compute_capabilities == 1
    assert config.get_compute_capability(0) == getattr(trt.ComputeCapability, target.upper())


@needs_rtx
def test_what_a_card_cannot_compute_in_is_refused(rtx: Library, engine: Engine) -> None:
    with pytest.raises(BackendError, match="half precision only on sm75; use --precision fp16"):
        build(rtx, shipped_model().read_bytes(), engine.info, "sm75", "fp32")


@needs_rtx
def test_what_is_no_model_is_refused(rtx: Library, engine: Engine) -> None:
    with pytest.raises(BackendError, match="tensorrt-rtx cannot read the model"):
        build(rtx, b"no model", engine.info, "sm89", "fp32")


@needs_rtx
@pytest.mark.skipif(cuda.missing() is None, reason="this machine has an NVIDIA driver")
def test_without_a_card_an_engine_is_not_loaded(rtx: Library) -> None:
    with pytest.raises(BackendError, match="tensorrt-rtx cannot load the engine"):
        plan.LoadedProgram(rtx, b"no plan")


@needs_rtx
def test_what_is_asked_of_the_library_on_a_card_is_there(rtx: Library) -> None:
    """Only a card can call these; that they exist can be seen without."""
    trt = rtx.module
    asked = {
        trt.Runtime: ("deserialize_cuda_engine",),
        trt.ICudaEngine: ("create_runtime_config", "create_execution_context"),
        trt.IRuntimeConfig: (
            "cuda_graph_strategy",
            "create_runtime_cache",
            "set_runtime_cache",
            "set_execution_context_allocation_strategy",
        ),
        trt.IRuntimeCache: ("serialize", "deserialize"),
        trt.IExecutionContext: (
            "set_optimization_profile_async",
            "set_input_shape",
            "set_tensor_address",
            "update_device_memory_size_for_shapes",
            "set_device_memory",
            "execute_async_v3",
        ),
        trt.CudaGraphStrategy: ("WHOLE_GRAPH_CAPTURE",),
        trt.ExecutionContextAllocationStrategy: ("USER_MANAGED",),
    }
    folder = Path(str(plan.__file__)).parent
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    for kind, names in asked.items():
        for name in names:
            assert hasattr(kind, name), (kind, name)
            assert f".{name}" in source, name


def test_without_a_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "_PACKAGES", {"tensorrt-rtx": "no_such_package"})
    assert install_hint("tensorrt") in str(build_module.missing())
    with pytest.raises(BackendError, match="neither tensorrt-rtx nor tensorrt is installed"):
        library_for("sm89", None)


def test_a_package_that_builds_for_its_own_card_only() -> None:
    card = cuda.Card("H100", "sm90")
    library = Library("tensorrt", "11.4", object(), ())
    assert library.builds("sm90", card)
    assert not library.builds("sm89", card)
    assert not library.builds("sm90", None)
    assert library.precisions("sm75") == ("fp16", "fp32")


# What was compiled before


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Engine) -> PlanKey:
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path / "cache"))
    compiled: list[str] = []

    def compile_plan(path: Path, target: str, precision: str, announce: Any) -> None:
        compiled.append(f"{target} {precision}")
        save_plan(made, b"newly compiled")

    monkeypatch.setattr(plan, "compile_plan", compile_plan)
    made = PlanKey.of(engine.info, "tensorrt-rtx", "1.7.1", "sm89", "", "fp16")
    return made


def test_a_fresh_plan_is_taken_as_it_is(key: PlanKey) -> None:
    told: list[str] = []
    assert plan.fresh_plan(key, shipped_model(), told.append) is None
    save_plan(key, b"compiled before")
    assert plan.fresh_plan(key, shipped_model(), told.append) == b"compiled before"
    assert told == []


def test_a_stale_plan_is_compiled_again(key: PlanKey) -> None:
    from dataclasses import replace

    told: list[str] = []
    save_plan(replace(key, version="1.6.0"), b"compiled before")
    assert plan.fresh_plan(key, shipped_model(), told.append) == b"newly compiled"
    (sentence,) = told
    assert "is stale (version 1.6.0 instead of 1.7.1); it is compiled again" in sentence


def test_a_damaged_plan_is_discarded_and_compiled_again(key: PlanKey) -> None:
    told: list[str] = []
    save_plan(key, b"compiled before").write_bytes(b"damaged")
    assert plan.fresh_plan(key, shipped_model(), told.append) == b"newly compiled"
    (sentence,) = told
    assert "it is discarded and compiled again" in sentence


@needs_rtx
@pytest.mark.timeout(600)
def test_a_compiled_model_is_kept_under_its_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rtx: Library, engine: Engine
) -> None:
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path))
    told: list[str] = []
    path = plan.compile_plan(shipped_model(), "sm89", "fp32", told.append)
    assert "compiling mer-1 for sm89 in fp32 with tensorrt-rtx" in told[0]
    assert str(path) in told[1]
    key = PlanKey.of(engine.info, rtx.name, rtx.version, "sm89", "", "fp32")
    assert path == key.path
    assert len(plans.load_plan(key)) > 5_000_000
