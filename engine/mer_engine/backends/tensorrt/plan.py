"""Compiled engines on disk: make them, find them again, and load them on a card."""

from __future__ import annotations

import atexit
import contextlib
from pathlib import Path
from typing import Any

from mer_engine.backends import cuda, plans
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, read_model
from mer_engine.backends.plans import PlanKey, StaleError
from mer_engine.backends.tensorrt.build import (
    Announce,
    Library,
    build,
    library_for,
    make_logger,
)
from mer_engine.backends.tensorrt.engine import Context, TensorRtEngine
from mer_engine.cache import DamagedError, write_file
from mer_engine.errors import BackendError, NotCompiledError
from mer_engine.model_file import ModelInfo


class LoadedProgram:
    """A compiled engine on the card. Every line needs one.

    Args:
        library: the package that compiled it.
        plan: what it made.
        kernels: what it made of it on this card before; may be empty.
    """

    def __init__(self, library: Library, plan: bytes, kernels: bytes = b"") -> None:
        trt = library.module
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BackendError(f"{library.name} cannot load the engine: {self._logger.last}")
        # Either this alone or settings with it, as a context takes them.
        self._settings = strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self.records_itself = hasattr(trt, "CudaGraphStrategy")
        self._kernels = None
        if self.records_itself:
            self._settings = self._engine.create_runtime_config()
            self._settings.set_execution_context_allocation_strategy(strategy)
            self._settings.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._kernels = self._settings.create_runtime_cache()
            if kernels:
                self._kernels.deserialize(kernels)
            self._settings.set_runtime_cache(self._kernels)

    def context(self, profile: int, stream: int) -> Context:
        """See `Program.context`."""
        context: Context | None = self._engine.create_execution_context(self._settings)
        if context is None or not self._choose(context, profile, stream):
            raise BackendError(f"TensorRT makes no context: {self._logger.last}")
        return context

    def _choose(self, context: Any, profile: int, stream: int) -> bool:
        return bool(context.set_optimization_profile_async(profile, stream))

    def kernels(self) -> bytes:
        """What was compiled for this card while running, to be kept; empty where nothing is."""
        return b"" if self._kernels is None else bytes(self._kernels.serialize())


def compile_plan(
    path: Path, target: str, precision: str, announce: Announce, out: Path | None = None
) -> Path:
    """Compile a model file for a kind of card, and keep it; returns where.

    Args:
        path: the model file.
        target: kind of card, such as "sm89".
        precision: "fp32" or "fp16".
        announce: takes a line when it begins and when it is done.
        out: a folder to write to, in place of the user's cache.

    Raises:
        BackendError: it cannot be compiled so, or not be kept.
        ModelError: the model file is missing or damaged.
    """
    info = OnnxRuntimeEngine(path).info
    card = None if cuda.missing() else cuda.find_card()
    library = library_for(target, card)
    key = _key(info, library, target, card, precision)
    announce(f"compiling {info.name} for {target} in {precision} with {library.name} ...")
    timing = plans.side_file(key, "timing")
    plan = build(library, read_model(path), info, target, precision, timing)
    written = plans.save_plan(key, plan, None if out is None else out / key.name)
    announce(f"compiled: {written} ({len(plan) / 1e6:.0f} MB)")
    return written


def _key(
    info: ModelInfo, library: Library, target: str, card: cuda.Card | None, precision: str
) -> PlanKey:
    # What tensorrt-rtx makes runs on every card of a kind; tensorrt's on the one it was made on.
    device = "" if library.targets or card is None else card.name
    return PlanKey.of(info, library.name, library.version, target, device, precision)


def open_engine(path: Path, announce: Announce, precision: str | None = None) -> TensorRtEngine:
    """The compiled engine of a model file on this machine's card.

    What was compiled with another version is compiled again; what is damaged is discarded and
    compiled again; both are told.

    Args:
        path: the model file.
        announce: takes a line where something takes long or went wrong.
        precision: "fp32" or "fp16"; None for the fastest that was compiled.

    Raises:
        NotCompiledError: nothing was compiled.
        BackendError: there is no card, or it refuses.
        ModelError: the model file is missing or damaged.
    """
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    card = cuda.find_card()
    library = library_for(card.target, card)
    info = OnnxRuntimeEngine(path).info
    wanted = library.precisions(card.target) if precision is None else (precision,)
    for choice in wanted:
        key = _key(info, library, card.target, card, choice)
        plan = fresh_plan(key, path, announce)
        if plan is not None:
            return _run_plan(info, library, key, plan, card)
    raise NotCompiledError(
        f"nothing is compiled for {card.name} yet: 'realtime-mer compile' makes it faster"
    )


def fresh_plan(key: PlanKey, path: Path, announce: Announce) -> bytes | None:
    """The compiled engine of a key, compiled again where it is stale or damaged; None if none was.

    Raises:
        BackendError: it cannot be compiled again.
    """
    try:
        return plans.load_plan(key)
    except FileNotFoundError:
        return None
    except StaleError as error:
        announce(f"the compiled engine is stale ({error}); it is compiled again")
    except DamagedError as error:
        announce(f"{error}; it is discarded and compiled again")
    compile_plan(path, key.target, key.precision, announce)
    return plans.load_plan(key)


def _run_plan(
    info: ModelInfo, library: Library, key: PlanKey, plan: bytes, card: cuda.Card
) -> TensorRtEngine:
    """Load a plan on the card. Every line needs one."""
    path = plans.side_file(key, "kernels")
    owner = {"plan": plans.digest(plan), "device": card.name, "version": library.version}
    known = plans.load_side(path, owner)
    stream = cuda.Cuda()
    program = LoadedProgram(library, plan, known)

    def keep_kernels() -> None:
        with contextlib.suppress(Exception):  # the process ends; a cache is no reason to complain
            kernels = program.kernels()
            if kernels and kernels != known:
                write_file(path, owner, kernels)

    atexit.register(keep_kernels)
    return TensorRtEngine(info, program, stream, key.precision, card.name)
