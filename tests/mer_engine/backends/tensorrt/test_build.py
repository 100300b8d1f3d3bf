"""Compiling with tensorrt-rtx, which needs no card."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from mer_engine import Engine
from mer_engine.backends import cuda
from mer_engine.backends.shapes import (
    INPUTS,
    Shape,
    input_shapes,
    output_shapes,
    profiles,
)
from mer_engine.backends.tensorrt import build as build_module
from mer_engine.backends.tensorrt.build import (
    Library,
    build,
    libraries,
    library_for,
    make_logger,
    prepare,
)
from mer_engine.engine import output_names, shipped_model
from mer_engine.errors import BackendError
from mer_engine.install_hint import install_hint

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx is not installed (no wheel for this platform)",
)
# The targets of tensorrt-rtx 1.7. The test fails where a later version drops one.
TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")


@pytest.fixture(scope="module")
def rtx() -> Library:
    return next(library for library in libraries() if library.name == "tensorrt-rtx")


@pytest.fixture
def single_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile for the profile of one stream only, in a third of the time."""
    monkeypatch.setattr(build_module, "profiles", lambda info: profiles(info)[:1])


@needs_rtx
def test_tensorrt_rtx_builds_for_cards_of_other_machines(rtx: Library) -> None:
    assert rtx.targets == TARGETS == build_module.targets()
    assert library_for("sm89", None) == rtx
    with pytest.raises(BackendError, match=r"builds for sm75, sm80, .*, not for sm100"):
        library_for("sm100", None)


@needs_rtx
@pytest.mark.parametrize("card", [None, cuda.Card("NVIDIA H100 80GB HBM3", "sm90")])
def test_hopper_is_refused_with_the_way_that_works(card: cuda.Card | None) -> None:
    with pytest.raises(BackendError, match=r"9\.0 \(sm90: .*; use --backend onnxruntime-cuda"):
        library_for("sm90", card)


@needs_rtx
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("precision", "count"), [("fp16", 3), ("fp32", 1)])
def test_the_shipped_model_compiles_for_all_targets(
    monkeypatch: pytest.MonkeyPatch, rtx: Library, engine: Engine, precision: str, count: int
) -> None:
    """One build for all targets: it fails where one target lacks an operator.

    Turing (sm75) has no products of matrices in single precision, and needs a model of its own.
    `test_compile.py` compiles that. The time grows with the number of profiles.
    """

    def prepare_all(*arguments: Any) -> build_module.Prepared:
        prepared = prepare(*arguments)
        kinds = [name for name in TARGETS if precision in rtx.precisions(name) and name != "sm75"]
        assert len(kinds) == 5
        prepared.config.num_compute_capabilities = len(kinds)
        for number, kind in enumerate(kinds):
            capability = getattr(rtx.module.ComputeCapability, kind.upper())
            prepared.config.set_compute_capability(capability, number)
        return prepared

    monkeypatch.setattr(build_module, "prepare", prepare_all)
    monkeypatch.setattr(build_module, "profiles", lambda info: profiles(info)[:count])
    plan = build(rtx, shipped_model().read_bytes(), engine.info, "sm89", precision)
    assert len(plan) > 5_000_000
    for name in (*INPUTS, *output_names(engine.info)):
        assert name.encode() in plan
    # An engine has inputs and outputs of its own for each further profile.
    for number in range(1, len(profiles(engine.info)) + 1):
        assert (f"probabilities [profile {number}]".encode() in plan) == (number < count)


@needs_rtx
@pytest.mark.timeout(600)
def test_turing_refuses_single_precision(
    rtx: Library, fast_engine: Engine, fast_model: Path, single_profile: None
) -> None:
    """The reason why `HALF_ONLY` exists; a version that can do it is noticed."""
    model, info = fast_model.read_bytes(), fast_engine.info
    with pytest.raises(BackendError, match="half precision only on sm75; use --precision fp16"):
        build(rtx, model, info, "sm75", "fp32")
    logger = make_logger(rtx.module)
    prepared = prepare(rtx, logger, model, info, "sm75")
    plan = prepared.builder.build_serialized_network(prepared.network, prepared.config)
    assert plan is None
    assert "SM75" in logger.last


@needs_rtx
@pytest.mark.parametrize(
    ("target", "precision", "halved"),
    [
        ("sm89", "fp32", set()),
        ("sm89", "fp16", {"CONVOLUTION"}),
        ("sm75", "fp16", {"CONVOLUTION", "MATRIX_MULTIPLY", "RECURRENCE"}),
    ],
)
def test_the_layers_that_compute_in_half_precision(
    monkeypatch: pytest.MonkeyPatch,
    rtx: Library,
    fast_engine: Engine,
    fast_model: Path,
    target: str,
    precision: str,
    halved: set[str],
) -> None:
    models: list[bytes] = []

    def keep_model(library: Library, logger: Any, model: bytes, *others: Any) -> None:
        models.append(model)
        raise BackendError("stop before the build")

    monkeypatch.setattr(build_module, "prepare", keep_model)
    with pytest.raises(BackendError, match="stop before"):
        build(rtx, fast_model.read_bytes(), fast_engine.info, target, precision)
    prepared = prepare(rtx, make_logger(rtx.module), models[0], fast_engine.info, target)
    types: dict[str, set[Any]] = {
        "CONVOLUTION": set(),
        "MATRIX_MULTIPLY": set(),
        "RECURRENCE": set(),
    }
    for number in range(prepared.network.num_layers):
        layer = prepared.network.get_layer(number)
        if layer.type.name in types:
            types[layer.type.name].add(layer.get_output(0).dtype)
    for kind, found in types.items():
        assert found == {rtx.module.float16 if kind in halved else rtx.module.float32}, kind


@needs_rtx
@pytest.mark.parametrize("target", TARGETS)
def test_inputs_outputs_and_profiles(rtx: Library, engine: Engine, target: str) -> None:
    info, trt = engine.info, rtx.module
    names = output_names(info)
    logger = make_logger(trt)
    prepared = prepare(rtx, logger, shipped_model().read_bytes(), info, target)
    network, config = prepared.network, prepared.config
    inputs = {network.get_input(n).name: network.get_input(n) for n in range(network.num_inputs)}
    outputs = {network.get_output(n).name: network.get_output(n) for n in range(len(names))}
    assert tuple(inputs) == INPUTS
    assert tuple(outputs) == names
    assert network.num_outputs == len(names)
    for tensor in (*inputs.values(), *outputs.values()):
        assert tensor.dtype == trt.float32
    update = Shape(1, 64, info.map_context, 18)
    for name, shape in zip(INPUTS, input_shapes(info, update), strict=True):
        assert tuple(inputs[name].shape) == (-1, -1, shape[2])
    for name, shape in zip(names, output_shapes(info, update), strict=True):
        assert outputs[name].shape[0] == -1
        assert outputs[name].shape[-1] == shape[-1]
    assert config.num_optimization_profiles == len(profiles(info)) == 3
    for made, entry in zip(prepared.profiles, profiles(info), strict=True):
        assert made
        ends = [input_shapes(info, end) for end in (entry.smallest, entry.typical, entry.largest)]
        for name, *shapes in zip(INPUTS, *ends, strict=True):
            assert [tuple(dims) for dims in made.get_shape(name)] == shapes
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.num_compute_capabilities == 1
    assert config.get_compute_capability(0) == getattr(trt.ComputeCapability, target.upper())


@needs_rtx
def test_a_file_that_is_no_model_is_refused(rtx: Library, engine: Engine) -> None:
    with pytest.raises(BackendError, match="tensorrt-rtx cannot read the model"):
        build(rtx, b"no model", engine.info, "sm89", "fp32")


def test_without_a_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "PACKAGES", {"tensorrt-rtx": "no_such_package"})
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
