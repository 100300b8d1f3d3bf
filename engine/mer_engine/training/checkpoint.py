"""Checkpoints of training runs, so that an interrupted run can resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from mer_engine.datasets.problems import DataError
from mer_engine.draft import draft_of

FORMAT = 3
_SHOWN = 4


class Checkpoint:
    """A file with the state and the configuration of a training run.

    Args:
        path: the file; it may be missing.
        configuration: everything that the result of the run depends on, as text, numbers, None,
            and lists and dicts of them.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        self.path = path
        self.configuration = _normalised(configuration)

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved last, or None if there is no file.

        Raises:
            DataError: the file is damaged, or belongs to a run with another configuration.
        """
        if not self.path.exists():
            return None
        content = read_checkpoint(self.path)
        differences = list(_differences(content["configuration"], self.configuration))
        if differences:
            shown = "; ".join(differences[:_SHOWN])
            more = len(differences) - _SHOWN
            raise DataError(
                f"{self.path} belongs to another training run: {shown}"
                + (f"; and {more} more" if more > 0 else "")
                + "; train with the same options, or with --fresh to start again"
            )
        state: dict[str, Any] = content["state"]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file atomically: an interruption leaves the old or the new state.

        Args:
            state: tensors, numbers, text, None, and lists, tuples and dicts of them.

        Raises:
            TypeError: the state contains another type.
        """
        content = {
            "format": FORMAT,
            "configuration": self.configuration,
            "state": _storable(state, "state"),
        }
        with draft_of(self.path) as draft, draft.open("wb") as file:
            torch.save(content, file)

    def discard(self) -> None:
        """Remove the file if it exists."""
        self.path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint: a dict with `configuration` and `state`.

    Raises:
        DataError: the file is missing, damaged, or not a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"there is no checkpoint {path}; check the name") from None
    except Exception as error:  # torch raises many kinds of errors for invalid files
        raise DataError(
            f"{path} cannot be read as a checkpoint: it is damaged or another kind of file "
            f"({type(error).__name__}); remove it, or train with --fresh"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(
            f"{path} is not a checkpoint of this version; remove it, or train with --fresh"
        )
    return content


def _normalised(value: Any) -> Any:
    """Return the configuration as a checkpoint returns it: lists for tuples, text for paths."""
    if isinstance(value, Mapping):
        return {str(key): _normalised(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalised(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            inner = f"{name}.{key}" if name else key
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{name} was {before} and is {now}"


def _storable(value: Any, name: str) -> Any:
    """Convert a value to types that torch loads without running code from the file."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {key: _storable(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = (_storable(item, f"{name}[{n}]") for n, item in enumerate(value))
        return tuple(items) if isinstance(value, tuple) else list(items)
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, str):
        return str(value)  # torch and numpy have subclasses of str, int and float
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot contain")
