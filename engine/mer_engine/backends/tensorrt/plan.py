"""Compile engines into the user's cache, find them there, and load them on the card.

A compiled engine is called plan, as TensorRT does. One that is stale or damaged is compiled again.
"""

from __future__ import annotations

import atexit
import contextlib
from pathlib import Path
from typing import Any

from mer_engine.backends import cuda, plans
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, read_model
from mer_engine.backends.plans import PlanKey, StaleError
from mer_engine.backends.tensorrt.build import Library, build, library_for, make_logger
from mer_engine.backends.tensorrt.engine import Context, TensorRtEngine
from mer_engine.cache import DamagedError, write_file
from mer_engine.engine import Announce
from mer_engine.errors import BackendError, NotCompiledError
from mer_engine.model_file import ModelInfo


class LoadedProgram:
    """A compiled engine on the card: all calls of TensorRT that need one.

    Args:
        library: the package that compiled the engine.
        plan: the compiled engine.
        kernels: kernels that the package made of it on this card before; may be empty.

    Raises:
        BackendError: the package cannot load the engine.
    """

    def __init__(self, library: Library, plan: bytes, kernels: bytes = b"") -> None:
        trt = library.module
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BackendError(f"{library.name} cannot load the engine: {self._logger.last}")
        # A context takes either the strategy alone, or settings that include it.
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
        """Return the kernels that were compiled for this card at run time; may be empty."""
        return b"" if self._kernels is None else bytes(self._kernels.serialize())


def compile_plan(
    path: Path, target: str, precision: str, announce: Announce, out: Path | None = None
) -> Path:
    """Compile a model file for a kind of card, store the engine and return its path.

    Args:
        path: the model file.
        target: kind of card, such as "sm89".
        precision: "fp32" or "fp16".
        announce: receives a line at the start and at the end.
        out: the folder to write to; None for the user's cache.

    Raises:
        BackendError: the model cannot be compiled, or the engine cannot be written.
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
    # An engine of tensorrt-rtx runs on every card of its kind, one of tensorrt on one card only.
    device = "" if library.targets or card is None else card.name
    return PlanKey.of(info, library.name, library.version, target, device, precision)


def open_engine(path: Path, announce: Announce, precision: str | None = None) -> TensorRtEngine:
    """Load the compiled engine of a model file on this machine's card.

    A stale or damaged engine is compiled again, and announced.

    Args:
        path: the model file.
        announce: receives a line where something takes long or failed.
        precision: "fp32" or "fp16"; None for the fastest that was compiled.

    Raises:
        NotCompiledError: no engine was compiled.
        BackendError: there is no card, or the engine cannot run on it.
        ModelError: the model file is missing or damaged.
    """
    card = cuda.find_card()
    library = library_for(card.target, card)
    info = OnnxRuntimeEngine(path).info
    precisions = library.precisions(card.target) if precision is None else (precision,)
    for choice in precisions:
        key = _key(info, library, card.target, card, choice)
        plan = fresh_plan(key, path, announce)
        if plan is not None:
            return _load_on_card(info, library, key, plan, card)
    raise NotCompiledError(
        f"nothing is compiled for {card.name} yet: 'realtime-mer compile' makes it faster"
    )


def fresh_plan(key: PlanKey, path: Path, announce: Announce) -> bytes | None:
    """Return the compiled engine of a key; None where nothing was compiled.

    A stale or damaged engine is compiled again.

    Raises:
        BackendError: it cannot be compiled again.
    """
    try:
        return plans.load_plan(key)
    except FileNotFoundError:
        return None
    except StaleError as error:
        announce(f"the compiled engine is stale ({error}); compiling it again")
    except DamagedError as error:
        announce(f"{error}; compiling it again")
    compile_plan(path, key.target, key.precision, announce)
    return plans.load_plan(key)


def _load_on_card(
    info: ModelInfo, library: Library, key: PlanKey, plan: bytes, card: cuda.Card
) -> TensorRtEngine:
    """Load a plan on the card, and store its kernels when the process ends."""
    path = plans.side_file(key, "kernels")
    owner = {"plan": plans.digest(plan), "device": card.name, "version": library.version}
    stored = plans.load_side(path, owner)
    stream = cuda.Cuda()
    program = LoadedProgram(library, plan, stored)

    def keep_kernels() -> None:
        with contextlib.suppress(Exception):  # the process ends: errors of a cache do not matter
            kernels = program.kernels()
            if kernels and kernels != stored:
                write_file(path, owner, kernels)

    atexit.register(keep_kernels)
    return TensorRtEngine(info, program, stream, key.precision, card.name)
