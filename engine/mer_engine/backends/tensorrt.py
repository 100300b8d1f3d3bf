"""TensorRT on an NVIDIA card, by either of its packages: `tensorrt-rtx` or `tensorrt`.

Building needs no card where the package can build for others; running needs one. Work that does
not need one (shapes, profiles, sizes of buffers, which shapes share what was recorded) is kept
apart from the few lines that do, and those of CUDA are in `cuda.py`.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mer_engine.backends import cuda, plans
from mer_engine.backends.plans import PlanKey, StaleError
from mer_engine.cache import DamagedError, write_file
from mer_engine.engine import Inference
from mer_engine.errors import BackendError, NotCompiledError
from mer_engine.model_file import ModelInfo

PRECISIONS = ("fp16", "fp32")
INPUTS = ("frames", "held", "past")
OUTPUTS = Inference._fields
MAX_BATCH = 256
# Most windows at once of many new steps: such come when a stream begins anew, not in every update.
MAX_WHOLE_BATCH = 16
# New steps of an update, at most a second apart.
UPDATE_STEPS = 2
# Shapes whose buffers and recorded work are kept.
MAX_LANES = 24
# Cards on which tensorrt-rtx multiplies matrices in half precision only.
HALF_ONLY = ("sm75",)
_ALIGNMENT = 256
_PACKAGES = {"tensorrt-rtx": "tensorrt_rtx", "tensorrt": "tensorrt"}

Announce = Callable[[str], None]


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


class Context(Protocol):
    """TensorRT's execution context, as far as it is used here."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def update_device_memory_size_for_shapes(self) -> int: ...
    def set_device_memory(self, memory: int, size: int) -> None: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class Program(Protocol):
    """A compiled engine on a card.

    Attributes:
        records_itself: whether the library records and replays the work by itself.
    """

    records_itself: bool

    def context(self, profile: int, stream: int) -> Context:
        """A new context for shapes of a profile, whose memory is set from outside."""
        ...


class Stream(Protocol):
    """What `cuda.Cuda` does."""

    stream: int

    def host(self, size: int) -> NDArray[np.uint8]: ...
    def free_host(self, memory: NDArray[np.uint8]) -> None: ...
    def device(self, size: int) -> int: ...
    def free_device(self, address: int) -> None: ...
    def upload(self, memory: NDArray[np.uint8], address: int, size: int) -> None: ...
    def download(self, address: int, memory: NDArray[np.uint8], size: int) -> None: ...
    def wait(self) -> None: ...
    def record(self, work: Callable[[], None]) -> Any: ...
    def replay(self, recorded: Any) -> None: ...
    def forget(self, recorded: Any) -> None: ...


@dataclass(slots=True)
class _Lane:
    """What is kept for a shape: its places in the buffers, a context bound to them, a record."""

    inputs: list[NDArray[np.float32]]
    outputs: list[NDArray[np.float32]]
    input_bytes: int
    output_bytes: int
    context: Context
    recorded: Any = None
    calls: int = 0


class TensorRtEngine:
    """Runs a compiled engine.

    All calls go through one stream and one set of buffers: page-locked memory here and memory on
    the card, bound once. A shape that comes again finds its context bound and its work recorded, so
    a call is one copy into the buffers, one launch and one copy out. Buffers grow to the next power
    of two when a larger shape comes, which happens a few times in a life.

    Args:
        info: of the model.
        program: the compiled engine.
        stream: where it runs.
        precision: what it was compiled in.
        device: the card's name.
    """

    backend = "tensorrt"

    def __init__(
        self, info: ModelInfo, program: Program, stream: Stream, precision: str, device: str
    ) -> None:
        self.info = info
        self.precision = precision
        self.device = device
        self._program = program
        self._cuda = stream
        self._profiles = profiles(info)
        self._lanes: OrderedDict[Shape, _Lane] = OrderedDict()
        self._buffers = _Buffers(stream)
        self._lock = threading.Lock()

    def infer(
        self, frames: NDArray[np.float32], held: NDArray[np.float32], past: NDArray[np.float32]
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        shape = Shape(frames.shape[0], frames.shape[1], held.shape[1], past.shape[1])
        with self._lock:
            told = [
                self._run(number, filled, [array[windows] for array in (frames, held, past)])
                for windows, number, filled in pieces(shape, self._profiles)
            ]
        if len(told) == 1:
            return told[0]
        return Inference(*(np.concatenate(parts) for parts in zip(*told, strict=True)))

    def _run(self, profile: int, shape: Shape, arrays: list[NDArray[np.float32]]) -> Inference:
        lane = self._lane(profile, shape)
        count = len(arrays[0])
        for place, array in zip(lane.inputs, arrays, strict=True):
            place[:count] = array
            place[count:] = array[:1]  # filled up with music, not with what was there before
        self._launch(lane)
        self._cuda.wait()
        # Callers keep what they are told; the buffers are for the next call.
        return Inference(*(place[:count].copy() for place in lane.outputs))

    def _launch(self, lane: _Lane) -> None:
        if lane.recorded is not None:
            self._cuda.replay(lane.recorded)
            return
        self._queue(lane)
        if self._program.records_itself:
            return
        lane.calls += 1
        # TensorRT finishes what a new shape needs in the first call; from the second on, the work
        # is the same each time. What cannot be recorded runs as well, only slower.
        if lane.calls == 2:
            with contextlib.suppress(BackendError):
                lane.recorded = self._cuda.record(lambda: self._queue(lane))

    def _queue(self, lane: _Lane) -> None:
        buffers = self._buffers
        self._cuda.upload(buffers.host_in, buffers.device_in, lane.input_bytes)
        if not lane.context.execute_async_v3(self._cuda.stream):
            raise BackendError("TensorRT could not run the network")
        self._cuda.download(buffers.device_out, buffers.host_out, lane.output_bytes)

    def _lane(self, profile: int, shape: Shape) -> _Lane:
        lane = self._lanes.get(shape)
        if lane is not None:
            self._lanes.move_to_end(shape)
            return lane
        inputs, input_bytes = lay_out(input_shapes(self.info, shape))
        outputs, output_bytes = lay_out(output_shapes(self.info, shape))
        context = self._program.context(profile, self._cuda.stream)
        for name, piece in zip(INPUTS, inputs, strict=True):
            if not context.set_input_shape(name, piece.shape):
                raise BackendError(f"TensorRT refuses {name} of shape {piece.shape}")
        work_bytes = max(int(context.update_device_memory_size_for_shapes()), 1)
        if not self._buffers.hold(input_bytes, output_bytes, work_bytes):
            # Everything that was bound to the old ones goes first.
            self._drop_lanes()
            self._buffers.grow(input_bytes, output_bytes, work_bytes)
        buffers = self._buffers
        context.set_device_memory(buffers.work, buffers.work_bytes)
        for names, places, base in (
            (INPUTS, inputs, buffers.device_in),
            (OUTPUTS, outputs, buffers.device_out),
        ):
            for name, piece in zip(names, places, strict=True):
                context.set_tensor_address(name, base + piece.offset)
        lane = _Lane(
            [piece.view(buffers.host_in) for piece in inputs],
            [piece.view(buffers.host_out) for piece in outputs],
            input_bytes,
            output_bytes,
            context,
        )
        self._lanes[shape] = lane
        while len(self._lanes) > MAX_LANES:
            self._forget(self._lanes.popitem(last=False)[1])
        return lane

    def _drop_lanes(self) -> None:
        self._cuda.wait()
        while self._lanes:
            self._forget(self._lanes.popitem()[1])

    def _forget(self, lane: _Lane) -> None:
        if lane.recorded is not None:
            self._cuda.forget(lane.recorded)


class _Buffers:
    """The memory of all lanes, which take turns: inputs and outputs on both sides, work space."""

    def __init__(self, stream: Stream) -> None:
        self._cuda = stream
        self.host_in = self.host_out = np.zeros(0, np.uint8)
        self.device_in = self.device_out = self.work = 0
        self.work_bytes = 0

    def hold(self, input_bytes: int, output_bytes: int, work_bytes: int) -> bool:
        """Whether they are large enough."""
        return (
            len(self.host_in) >= input_bytes
            and len(self.host_out) >= output_bytes
            and self.work_bytes >= work_bytes
        )

    def grow(self, input_bytes: int, output_bytes: int, work_bytes: int) -> None:
        """Become large enough; what was in them is lost, and their places change."""
        sizes = (
            max(_power_of_two(input_bytes), len(self.host_in)),
            max(_power_of_two(output_bytes), len(self.host_out)),
            max(_power_of_two(work_bytes), self.work_bytes),
        )
        self._free()
        self.host_in, self.device_in = self._cuda.host(sizes[0]), self._cuda.device(sizes[0])
        self.host_out, self.device_out = self._cuda.host(sizes[1]), self._cuda.device(sizes[1])
        self.work, self.work_bytes = self._cuda.device(sizes[2]), sizes[2]

    def _free(self) -> None:
        for memory in (self.host_in, self.host_out):
            if len(memory):
                self._cuda.free_host(memory)
        for address in (self.device_in, self.device_out, self.work):
            if address:
                self._cuda.free_device(address)
        self.host_in = self.host_out = np.zeros(0, np.uint8)
        self.device_in = self.device_out = self.work = 0


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two packages, imported.

    Attributes:
        name, version: of the package.
        module: what it is imported as.
        targets: kinds of card that it builds for wherever it runs; empty where only for this one.
    """

    name: str
    version: str
    module: Any
    targets: tuple[str, ...]

    def builds(self, target: str, card: cuda.Card | None) -> bool:
        """Whether it builds for a kind of card on this machine."""
        if self.targets:
            return target in self.targets
        return card is not None and card.target == target

    def precisions(self, target: str) -> tuple[str, ...]:
        """What it computes in on a kind of card, the fastest first."""
        return ("fp16",) if self.targets and target in HALF_ONLY else PRECISIONS


def libraries() -> list[Library]:
    """The packages that are installed."""
    found = []
    for name, module_name in _PACKAGES.items():
        if importlib.util.find_spec(module_name) is None:
            continue
        try:
            module = importlib.import_module(module_name)
        except (ImportError, OSError):  # a package without its libraries
            continue
        kinds = getattr(module, "ComputeCapability", None)
        members = getattr(kinds, "__members__", {})
        targets = tuple(kind.lower() for kind in members if kind.startswith("SM"))
        found.append(Library(name, str(module.__version__), module, targets))
    return found


def not_installed() -> str | None:
    """Why nothing can be built here; None where one of the packages is installed."""
    if any(importlib.util.find_spec(module) is not None for module in _PACKAGES.values()):
        return None
    return (
        "neither tensorrt-rtx nor tensorrt is installed; with an NVIDIA card on Linux or Windows: "
        "pip install 'realtime-mer[tensorrt]'"
    )


def missing() -> str | None:
    """Why TensorRT cannot run here; None where it may."""
    return not_installed() or cuda.missing()


def library_for(target: str, card: cuda.Card | None) -> Library:
    """The package that builds for a kind of card on this machine.

    Raises:
        BackendError: none does, and what to do.
    """
    installed = libraries()
    for library in installed:
        if library.builds(target, card):
            return library
    if not installed:
        raise BackendError(not_installed() or "TensorRT is installed, but cannot be imported")
    offered = sorted({name for library in installed for name in library.targets}, key=_number)
    names = " and ".join(f"{library.name} {library.version}" for library in installed)
    if not offered:
        raise BackendError(f"{names} builds for the card of its own machine only, not for {target}")
    raise BackendError(
        f"{names} builds for {', '.join(offered)}, not for {target}; 'tensorrt' builds for the "
        "card of its own machine"
    )


def targets() -> tuple[str, ...]:
    """Kinds of card that can be built for without one."""
    found = {target for library in libraries() for target in library.targets}
    return tuple(sorted(found, key=_number))


def _number(target: str) -> int:
    return int(target.removeprefix("sm")) if target.removeprefix("sm").isdigit() else 0


def build(
    library: Library,
    model: bytes,
    info: ModelInfo,
    target: str,
    precision: str,
    timing: Path | None = None,
) -> bytes:
    """Compile a model.

    Args:
        library: one of the packages.
        model: content of the model file.
        info: of the model.
        target: kind of card.
        precision: "fp32" or "fp16".
        timing: where measurements are kept for the next build; tensorrt-rtx makes none.

    Raises:
        BackendError: it cannot be compiled so; what TensorRT says.
    """
    if precision not in library.precisions(target):
        raise BackendError(
            f"{library.name} computes in half precision only on {target}; use --precision fp16"
        )
    if precision == "fp16":
        model = _halved(model, products=precision_needs_products(library, target))
    logger = make_logger(library.module)
    recipe = prepare(library, logger, model, info, target)
    cache = _load_timing(library, recipe.config, timing, target)
    plan = recipe.builder.build_serialized_network(recipe.network, recipe.config)
    if plan is None:
        raise BackendError(f"{library.name} cannot compile the model for {target}: {logger.last}")
    if cache is not None and timing is not None:
        with contextlib.suppress(OSError):
            write_file(timing, _timing_owner(library, target), bytes(cache.serialize()))
    return bytes(plan)


class Recipe(NamedTuple):
    """What is to be compiled, and how: TensorRT's own objects.

    Attributes:
        ranges: its optimisation profiles, as `profiles` has them.
        parser: kept as long as the network, which holds on to what it read.
    """

    builder: Any
    network: Any
    config: Any
    ranges: list[Any]
    parser: Any


def prepare(library: Library, logger: Any, model: bytes, info: ModelInfo, target: str) -> Recipe:
    """Parse a model and say what is to be made of it.

    Raises:
        BackendError: TensorRT cannot read the model, or refuses a range of shapes.
    """
    trt = library.module
    builder = trt.Builder(logger)
    # Numbers stay of the types that the graph gives them.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(str(parser.get_error(n).desc()) for n in range(parser.num_errors))
        raise BackendError(f"{library.name} cannot read the model: {errors}")
    config = builder.create_builder_config()
    # It would round single precision to three digits.
    config.clear_flag(trt.BuilderFlag.TF32)
    if library.targets:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
    ranges = []
    for entry in profiles(info):
        profile = builder.create_optimization_profile()
        ends = [input_shapes(info, shape) for shape in (entry.least, entry.usual, entry.most)]
        for name, least, usual, most in zip(INPUTS, *ends, strict=True):
            profile.set_shape(name, least, usual, most)
        if config.add_optimization_profile(profile) < 0:
            raise BackendError(f"{library.name} refuses a range of shapes: {logger.last}")
        ranges.append(profile)
    return Recipe(builder, network, config, ranges, parser)


def precision_needs_products(library: Library, target: str) -> bool:
    """Whether half precision must go beyond the convolutions, to the products of matrices."""
    return "fp32" not in library.precisions(target)


def _halved(model: bytes, *, products: bool) -> bytes:
    if importlib.util.find_spec("onnx") is None:
        raise BackendError(
            "compiling in half precision needs the package onnx; pip install "
            "'realtime-mer[tensorrt]', or use --precision fp32"
        )
    import onnx

    from mer_engine.half import CONVOLUTIONS, PRODUCTS, halve

    loaded = onnx.load_model_from_string(model)
    halved: bytes = halve(loaded, PRODUCTS if products else CONVOLUTIONS).SerializeToString()
    return halved


def _load_timing(library: Library, config: Any, path: Path | None, target: str) -> Any:
    """Measurements of an earlier build, or a place for those of this one."""
    # tensorrt-rtx measures nothing while it builds: it finishes its kernels on the card, and those
    # are kept (`LoadedProgram.kernels`).
    if path is None or library.targets:
        return None
    known = plans.load_side(path, _timing_owner(library, target))
    cache = config.create_timing_cache(known)
    if cache is None:
        return None
    return cache if config.set_timing_cache(cache, False) else None


def _timing_owner(library: Library, target: str) -> dict[str, Any]:
    return {"library": library.name, "version": library.version, "target": target}


def make_logger(trt: Any) -> Any:
    """Takes what TensorRT says and keeps the last error; nothing goes to the terminal."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = "it does not say why"

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last = message.splitlines()[0][:300]

    return Logger()


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
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, read_model

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
