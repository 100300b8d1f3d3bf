"""Compile a model with TensorRT, and find the installed package that can.

`tensorrt-rtx` compiles for cards of other machines and needs no card. `tensorrt` compiles for the
card of its own machine.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mer_engine.backends import cuda, plans
from mer_engine.backends.shapes import INPUTS, input_shapes, profiles
from mer_engine.cache import write_file
from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint
from mer_engine.model_file import ModelInfo

# Package names, and the names of their modules.
PACKAGES = {"tensorrt-rtx": "tensorrt_rtx", "tensorrt": "tensorrt"}
# The fastest first.
PRECISIONS = ("fp16", "fp32")
# Cards on which tensorrt-rtx multiplies matrices in half precision only.
HALF_ONLY = ("sm75",)
# Cards that tensorrt-rtx refuses: Hopper. It neither builds for them nor runs other engines there.
WITHOUT_RTX = ("sm90",)


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two packages, imported.

    Attributes:
        name, version: name and version of the package.
        module: the imported module.
        targets: kinds of card that it can build for without one; empty where it builds for the card
            of its own machine only.
    """

    name: str
    version: str
    module: Any
    targets: tuple[str, ...]

    def builds(self, target: str, card: cuda.Card | None) -> bool:
        """Return whether the package builds for a kind of card on this machine."""
        if self.targets:
            return target in self.targets
        return card is not None and card.target == target

    def precisions(self, target: str) -> tuple[str, ...]:
        """Return the precisions available on a kind of card, the fastest first."""
        return ("fp16",) if self.targets and target in HALF_ONLY else PRECISIONS


def libraries() -> list[Library]:
    """Import the installed packages and return them."""
    installed = []
    for name, module_name in PACKAGES.items():
        if importlib.util.find_spec(module_name) is None:
            continue
        try:
            module = importlib.import_module(module_name)
        except (ImportError, OSError):  # a package without its libraries
            continue
        kinds = getattr(module, "ComputeCapability", None)
        members = getattr(kinds, "__members__", {})
        targets = tuple(kind.lower() for kind in members if kind.startswith("SM"))
        installed.append(Library(name, str(module.__version__), module, targets))
    return installed


def not_installed() -> str | None:
    """Return why nothing can be built here; None where one of the packages is installed."""
    if any(importlib.util.find_spec(module) is not None for module in PACKAGES.values()):
        return None
    return (
        "neither tensorrt-rtx nor tensorrt is installed; on Linux or Windows with an NVIDIA card, "
        f"{install_hint('tensorrt')}"
    )


def missing() -> str | None:
    """Return why TensorRT is not available here; None where it may be."""
    return not_installed() or cuda.missing()


def library_for(target: str, card: cuda.Card | None) -> Library:
    """Return the package that builds for a kind of card on this machine.

    Raises:
        BackendError: no package does; the message says what to do.
    """
    installed = libraries()
    for library in installed:
        if library.builds(target, card):
            return library
    if not installed:
        raise BackendError(not_installed() or "TensorRT is installed, but cannot be imported")
    offered = sorted({name for library in installed for name in library.targets}, key=_number)
    names = " and ".join(f"{library.name} {library.version}" for library in installed)
    if target in WITHOUT_RTX and offered:
        raise BackendError(
            f"{names} supports no card of compute capability 9.0 ({target}: H100, H200, GH200); "
            "use --backend onnxruntime-cuda there, which needs no compilation"
        )
    if not offered:
        raise BackendError(f"{names} builds for the card of its own machine only, not for {target}")
    raise BackendError(
        f"{names} builds for {', '.join(offered)}, not for {target}; 'tensorrt' builds for the "
        "card of its own machine"
    )


def targets() -> tuple[str, ...]:
    """Return the kinds of card that can be built for without one, in ascending order."""
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
        library: the package to use.
        model: content of the model file.
        info: metadata of the model.
        target: kind of card, such as "sm89".
        precision: "fp32" or "fp16".
        timing: file of the timing cache, for the next build; tensorrt-rtx has none.

    Raises:
        BackendError: the model cannot be compiled; the message has TensorRT's reason.
    """
    if precision not in library.precisions(target):
        raise BackendError(
            f"{library.name} computes in half precision only on {target}; use --precision fp16"
        )
    if precision == "fp16":
        # Where single precision is missing, all products of matrices must be in half precision.
        model = _to_half(model, products="fp32" not in library.precisions(target))
    logger = make_logger(library.module)
    prepared = prepare(library, logger, model, info, target)
    cache = _load_timing(library, prepared.config, timing, target)
    plan = prepared.builder.build_serialized_network(prepared.network, prepared.config)
    if plan is None:
        raise BackendError(f"{library.name} cannot compile the model for {target}: {logger.last}")
    if cache is not None and timing is not None:
        with contextlib.suppress(OSError):
            write_file(timing, _timing_owner(library, target), bytes(cache.serialize()))
    return bytes(plan)


class Prepared(NamedTuple):
    """TensorRT's objects of a build.

    Attributes:
        profiles: optimisation profiles, in the order of `shapes.profiles`.
        parser: must live as long as the network, which uses the parser's memory.
    """

    builder: Any
    network: Any
    config: Any
    profiles: list[Any]
    parser: Any


def prepare(library: Library, logger: Any, model: bytes, info: ModelInfo, target: str) -> Prepared:
    """Parse a model and configure its build; arguments as in `build`.

    Raises:
        BackendError: TensorRT cannot read the model, or refuses a profile.
    """
    trt = library.module
    builder = trt.Builder(logger)
    # Strongly typed: TensorRT uses the types of the graph.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(str(parser.get_error(n).desc()) for n in range(parser.num_errors))
        raise BackendError(f"{library.name} cannot read the model: {errors}")
    config = builder.create_builder_config()
    # TF32 would round single precision to three digits.
    config.clear_flag(trt.BuilderFlag.TF32)
    if library.targets:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
    made = []
    for entry in profiles(info):
        profile = builder.create_optimization_profile()
        ends = (entry.smallest, entry.typical, entry.largest)
        shapes = [input_shapes(info, shape) for shape in ends]
        for name, smallest, typical, largest in zip(INPUTS, *shapes, strict=True):
            profile.set_shape(name, smallest, typical, largest)
        if config.add_optimization_profile(profile) < 0:
            raise BackendError(f"{library.name} refuses a range of shapes: {logger.last}")
        made.append(profile)
    return Prepared(builder, network, config, made, parser)


def _to_half(model: bytes, *, products: bool) -> bytes:
    """Convert the convolutions of a model to half precision, and its matrix products on demand."""
    if importlib.util.find_spec("onnx") is None:
        raise BackendError(
            "compiling in half precision needs the package onnx, which is not installed; use "
            f"--precision fp32, or {install_hint('tensorrt')}"
        )
    import onnx

    from mer_engine.half import CONVOLUTIONS, PRODUCTS, halve

    loaded = onnx.load_model_from_string(model)
    halved: bytes = halve(loaded, PRODUCTS if products else CONVOLUTIONS).SerializeToString()
    return halved


def _load_timing(library: Library, config: Any, path: Path | None, target: str) -> Any:
    """Load the timing cache of an earlier build, or create one; None where the library has none."""
    # tensorrt-rtx measures nothing while it builds. It compiles its kernels on the card, and
    # `LoadedProgram.kernels` keeps them.
    if path is None or library.targets:
        return None
    content = plans.load_side(path, _timing_owner(library, target))
    cache = config.create_timing_cache(content)
    if cache is None:
        return None
    return cache if config.set_timing_cache(cache, False) else None


def _timing_owner(library: Library, target: str) -> dict[str, Any]:
    return {"library": library.name, "version": library.version, "target": target}


def make_logger(trt: Any) -> Any:
    """Return a logger that keeps TensorRT's last error and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = "TensorRT gives no reason"

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last = message.splitlines()[0][:300]

    return Logger()
