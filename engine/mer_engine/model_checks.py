"""Checks of the metadata of a model file, which anybody may have written.

Sizes are bounded far above those of real models: nothing that is computed from them may fill the
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mer_engine.errors import ModelError
from mer_engine.frontend import FrontEndConfig

DIMENSIONS = ("valence", "arousal")
_SHORT_TEXT, _LONG_TEXT = 200, 100_000
_LARGEST_SETTING = 1_000_000
_LARGEST_SIZE = 65_536
_LARGEST_WIDTH = 4_096
_LARGEST_NUMBER = 1e6
_SHOWN = 60


def check_frontend(data: Any) -> FrontEndConfig:
    """Return the settings of the front-end that the metadata describes.

    Raises:
        ModelError: one is missing, of another type or out of range.
    """
    if not isinstance(data, dict):
        raise _refused("frontend", data, "an object")
    for entry in fields(FrontEndConfig):
        value = data.get(entry.name)
        whole = isinstance(entry.default, int)
        if isinstance(entry.default, bool):
            if not isinstance(value, bool):
                raise _refused(f"frontend.{entry.name}", value, "true or false")
        else:
            # The windows and hops of an absent part may be 0.
            check_number(value, f"frontend.{entry.name}", 0, _LARGEST_SETTING, whole=whole)
    for name in ("sample_rate_hz", "fft_size", "hop", "bands"):
        check_number(data[name], f"frontend.{name}", 1, _LARGEST_SETTING, whole=True)
    config = FrontEndConfig(**data)
    for size in ("fft_size", "chroma_fft_size", "bands"):
        limit = _LARGEST_WIDTH if size == "bands" else _LARGEST_SIZE
        check_number(data[size], f"frontend.{size}", 0, limit, whole=True)
    return config


def check_info(info: Any) -> None:
    """Check types and ranges of what `ModelInfo.from_json` has read.

    Args:
        info: a `ModelInfo`, whose module imports this one.

    Raises:
        ModelError: a value cannot be used; the message names it.
    """
    for name in ("name", "version", "created", "frontend_fingerprint"):
        _check_text(getattr(info, name), name, _SHORT_TEXT, layout="")
    for name in ("licence", "notice"):
        _check_text(getattr(info, name), name, _LONG_TEXT, layout="\n\t")
    for name, limit in (
        ("frames_per_step", _LARGEST_SIZE),
        ("embedding_size", _LARGEST_SIZE),
        ("lag_order_max", 1000),
    ):
        check_number(getattr(info, name), name, 1, limit, whole=True)
    check_number(info.map_context, "map_context", 0, _LARGEST_SIZE, whole=True)
    check_number(info.lag_order_default, "lag_order.default", 1, info.lag_order_max, whole=True)
    check_number(info.step_s, "step_s", 0.001, 60)
    check_number(info.coverage, "coverage", 0.01, 0.999)
    _check_numbers(info.silent_map, "silent_map", 1, _LARGEST_SIZE)
    _check_numbers(info.bins, "bins", 2, _LARGEST_WIDTH, low=-1, high=1)
    if list(info.bins) != sorted(set(info.bins)):
        raise _refused("bins", info.bins, "ascending")
    for name, scale in info.interval_scale.items():
        _check_numbers(scale, f"interval.{name}", 1, 1000, low=0)
    for name, prior in info.prior.items():
        for end in ("mean", "low", "high"):
            check_number(getattr(prior, end), f"prior.{name}.{end}", -1, 1)
    for name, rows in info.line.items():
        _check_numbers([number for row in rows for number in row], f"line.{name}", 1, 2000)
    scores = info.scores
    if scores[:2] != DIMENSIONS or len(scores) > 8 or not all(isinstance(s, str) for s in scores):
        raise _refused("scores", scores, "valence, arousal and at most six others")
    if info.self_check is not None:
        _check_object(info.self_check, "self_check")
        for name in DIMENSIONS:
            check_number(info.self_check.get(name), f"self_check.{name}", -1, 1)
    if info.parity is not None:
        _check_object(info.parity, "parity")
    _check_training(info.training)


def check_number(value: Any, name: str, low: float, high: float, *, whole: bool = False) -> None:
    """Check a number; NaN lies in no range.

    Raises:
        ModelError: it is no number, not finite, not whole or out of range.
    """
    kind = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        raise _refused(name, value, f"a {'whole ' * whole}number from {low:g} to {high:g}")


def _check_numbers(
    values: Sequence[Any],
    name: str,
    least: int,
    most: int,
    *,
    low: float = -_LARGEST_NUMBER,
    high: float = _LARGEST_NUMBER,
) -> None:
    if not least <= len(values) <= most:
        raise _refused(name, values, f"{least} to {most} numbers")
    for value in values:
        check_number(value, name, low, high)


def _check_text(value: Any, name: str, limit: int, *, layout: str) -> None:
    usable = isinstance(value, str) and len(value) <= limit
    if not usable or not all(letter.isprintable() or letter in layout for letter in value):
        raise _refused(name, value, f"text of at most {limit} printable characters")


def _check_object(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise _refused(name, value, "an object")


def _check_training(training: Any) -> None:
    """Check what `evaluate` reads of the training report."""
    _check_object(training, "training")
    for key in ("collections", "auxiliary"):
        entries = training.get(key, [])
        if not isinstance(entries, list):
            raise _refused(f"training.{key}", entries, "a list")
        for entry in entries:
            _check_object(entry, f"training.{key}")
            _check_object(entry.get("songs", {}), f"training.{key}.songs")
    validation = training.get("validation", {})
    _check_object(validation, "training.validation")
    widths = validation.get("constant_half_width", {})
    _check_object(widths, "training.validation.constant_half_width")
    for name in DIMENSIONS:
        check_number(widths.get(name, 0), f"training.validation.constant_half_width.{name}", 0, 2)


def _refused(name: str, value: Any, wanted: str) -> ModelError:
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}…"
    return ModelError(
        f"the model file's metadata cannot be used: {name} is {shown}; it must be {wanted}; get "
        "the file again"
    )
