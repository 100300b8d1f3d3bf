"""Compile a model with TensorRT. Needs no card where the package builds for others."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mer_engine.backends import cuda, plans
from mer_engine.backends.tensorrt.shapes import INPUTS, input_shapes, profiles
from mer_engine.cache import write_file
from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint
from mer_engine.model_file import ModelInfo

PRECISIONS = ("fp16", "fp32")
# Cards on which tensorrt-rtx multiplies matrices in half precision only.
HALF_ONLY = ("sm75",)
_PACKAGES = {"tensorrt-rtx": "tensorrt_rtx", "tensorrt": "tensorrt"}
Announce = Callable[[str], None]


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
        "neither tensorrt-rtx nor tensorrt is installed; on Linux or Windows with an NVIDIA card, "
        f"{install_hint('tensorrt')}"
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
            "compiling in half precision needs the package onnx, which is not installed; use "
            f"--precision fp32, or {install_hint('tensorrt')}"
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
