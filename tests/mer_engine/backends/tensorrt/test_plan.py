"""Storing compiled engines, and loading one with a stand-in of the library."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from card_support import SimulatedStream
from mer_engine import Engine
from mer_engine.backends import cuda, plans
from mer_engine.backends.plans import PlanKey, save_plan
from mer_engine.backends.shapes import Shape, input_shapes, profiles
from mer_engine.backends.tensorrt import build as build_module
from mer_engine.backends.tensorrt import plan
from mer_engine.backends.tensorrt.build import Library, libraries
from mer_engine.backends.tensorrt.engine import TensorRtEngine
from mer_engine.engine import shipped_model
from mer_engine.errors import BackendError

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx is not installed (no wheel for this platform)",
)


@pytest.fixture(scope="module")
def rtx() -> Library:
    return next(library for library in libraries() if library.name == "tensorrt-rtx")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Engine) -> PlanKey:
    """The key of an engine whose compilation is simulated."""
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path / "cache"))
    made = PlanKey.of(engine.info, "tensorrt-rtx", "1.7.1", "sm89", "", "fp16")

    def compile_plan(path: Path, target: str, precision: str, announce: Any) -> None:
        assert (target, precision) == (made.target, made.precision)
        save_plan(made, b"newly compiled")

    monkeypatch.setattr(plan, "compile_plan", compile_plan)
    return made


def test_a_fresh_plan_is_not_compiled_again(key: PlanKey) -> None:
    messages: list[str] = []
    assert plan.fresh_plan(key, shipped_model(), messages.append) is None
    save_plan(key, b"compiled before")
    assert plan.fresh_plan(key, shipped_model(), messages.append) == b"compiled before"
    assert messages == []


def test_a_stale_plan_is_compiled_again(key: PlanKey) -> None:
    messages: list[str] = []
    save_plan(replace(key, version="1.6.0"), b"compiled before")
    assert plan.fresh_plan(key, shipped_model(), messages.append) == b"newly compiled"
    (sentence,) = messages
    assert "is stale (version 1.6.0 instead of 1.7.1); compiling it again" in sentence


def test_a_damaged_plan_is_compiled_again(key: PlanKey) -> None:
    messages: list[str] = []
    save_plan(key, b"compiled before").write_bytes(b"damaged")
    assert plan.fresh_plan(key, shipped_model(), messages.append) == b"newly compiled"
    (sentence,) = messages
    assert "compiling it again" in sentence


@needs_rtx
@pytest.mark.timeout(600)
def test_a_compiled_model_is_stored_under_its_key(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    rtx: Library,
    fast_engine: Engine,
    fast_model: Path,
) -> None:
    monkeypatch.setenv("REALTIME_MER_CACHE", str(tmp_path))
    monkeypatch.setattr(build_module, "profiles", lambda info: profiles(info)[:1])  # saves time
    messages: list[str] = []
    path = plan.compile_plan(fast_model, "sm89", "fp32", messages.append)
    assert "compiling small for sm89 in fp32 with tensorrt-rtx" in messages[0]
    assert str(path) in messages[1]
    key = PlanKey.of(fast_engine.info, rtx.name, rtx.version, "sm89", "", "fp32")
    assert path == key.path
    assert len(plans.load_plan(key)) > 5_000_000


@needs_rtx
@pytest.mark.skipif(cuda.missing() is None, reason="this machine has an NVIDIA driver")
def test_without_a_card_an_engine_is_not_loaded(rtx: Library) -> None:
    with pytest.raises(BackendError, match="tensorrt-rtx cannot load the engine"):
        plan.LoadedProgram(rtx, b"no plan")


@needs_rtx
def test_on_a_hopper_card_loading_names_the_way_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "find_card", lambda: cuda.Card("NVIDIA H100 80GB HBM3", "sm90"))
    with pytest.raises(BackendError, match="use --backend onnxruntime-cuda"):
        plan.open_engine(shipped_model(), print)


class CheckedObject:
    """A stand-in for an object of the library, which only accepts attributes of its class.

    Args:
        kind: class of the library.
        results: results of its methods, by name; True for all others.
        used: receives the name of each attribute that is used.
    """

    def __init__(self, kind: type, results: dict[str, Any], used: list[str]) -> None:
        self.__dict__.update(_kind=kind, _results=results, _used=used)

    def __getattr__(self, name: str) -> Any:
        assert hasattr(self._kind, name), f"{self._kind.__name__} has no {name}"
        self._used.append(name)
        return lambda *arguments: self._results.get(name, True)

    def __setattr__(self, name: str, value: Any) -> None:
        assert hasattr(self._kind, name), f"{self._kind.__name__} has no {name}"
        self._used.append(name)


@needs_rtx
@pytest.mark.parametrize("name", ["tensorrt-rtx", "tensorrt"])
def test_the_calls_on_a_card_exist_in_the_library(rtx: Library, engine: Engine, name: str) -> None:
    """Load and run an engine with objects that accept the library's methods only."""
    trt = rtx.module
    used: list[str] = []
    context = CheckedObject(
        trt.IExecutionContext, {"update_device_memory_size_for_shapes": 1000}, used
    )
    kernels = CheckedObject(trt.IRuntimeCache, {"serialize": b"kernels"}, used)
    settings = CheckedObject(trt.IRuntimeConfig, {"create_runtime_cache": kernels}, used)
    loaded = CheckedObject(
        trt.ICudaEngine,
        {"create_runtime_config": settings, "create_execution_context": context},
        used,
    )
    runtime = CheckedObject(trt.Runtime, {"deserialize_cuda_engine": loaded}, used)
    module = SimpleNamespace(
        ILogger=trt.ILogger,
        Runtime=lambda logger: runtime,
        ExecutionContextAllocationStrategy=trt.ExecutionContextAllocationStrategy,
    )
    if name == "tensorrt-rtx":
        module.CudaGraphStrategy = trt.CudaGraphStrategy
    program = plan.LoadedProgram(Library(name, "1", module, ()), b"plan", b"earlier kernels")
    assert program.records_itself == (name == "tensorrt-rtx")
    stream = SimulatedStream()
    info = engine.info
    running = TensorRtEngine(info, program, stream, "fp16", "a card")
    shapes = input_shapes(info, Shape(1, 64, info.map_context, 18))
    running.infer(*(np.zeros(shape, np.float32) for shape in shapes))
    assert program.kernels() == (b"kernels" if program.records_itself else b"")
    assert {
        "deserialize_cuda_engine", "create_execution_context", "set_optimization_profile_async",
        "set_input_shape", "set_tensor_address", "update_device_memory_size_for_shapes",
        "set_device_memory", "execute_async_v3",
    } <= set(used)  # fmt: skip
    assert ("create_runtime_cache" in used) == ("deserialize" in used) == program.records_itself
