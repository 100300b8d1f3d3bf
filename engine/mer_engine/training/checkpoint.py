"""The state of an unfinished training run, kept so that it can go on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from mer_engine.datasets.problems import DataError

FORMAT = 3
_SHOWN = 4


class Checkpoint:
    """A file with the state of a training run and the configuration that the run has.

    Args:
        path: the file; need not exist.
        configuration: everything that decides what the run computes, as text, numbers, None, and
            lists and dicts of them.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        self.path = path
        self.configuration = _plain(configuration)

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None where nothing was.

        Raises:
            DataError: the file is damaged, or belongs to a run of another configuration.
        """
        if not self.path.exists():
            return None
        content = read_checkpoint(self.path)
        differences = list(_differences(content["configuration"], self.configuration))
        if differences:
            told = "; ".join(differences[:_SHOWN])
            more = len(differences) - _SHOWN
            raise DataError(
                f"{self.path} belongs to another training run: {told}"
                + (f"; and {more} more" if more > 0 else "")
                + "; train with the same options, or with --fresh to begin anew"
            )
        state: dict[str, Any] = content["state"]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file; whenever this is interrupted, the old or the new state is there.

        Args:
            state: tensors, numbers, text, None, and lists, tuples and dicts of them.

        Raises:
            TypeError: the state holds something else.
        """
        content = {
            "format": FORMAT,
            "configuration": self.configuration,
            "state": _storable(state, "state"),
        }
        draft = self.path.with_name(f"{self.path.name}.part")
        with draft.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def discard(self) -> None:
        """Remove the file, where there is one."""
        self.path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: `configuration` and `state`.

    Raises:
        DataError: the file is missing, damaged, or no checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"there is no checkpoint {path}; check the name") from None
    except Exception as error:  # torch raises a dozen kinds for files that it did not write
        raise DataError(
            f"{path} cannot be read as a checkpoint: it is damaged or something else "
            f"({type(error).__name__}); remove it, or train with --fresh"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(
            f"{path} is no checkpoint of this version's training; remove it, or train with --fresh"
        )
    return content


def _plain(value: Any) -> Any:
    """Configuration as it is read back: lists for tuples, text for paths."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            inner = f"{name}.{key}" if name else key
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{name} was {before} and is {now}"


def _storable(value: Any, name: str) -> Any:
    """The value in types that can be read back without running code from the file."""
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
        return str(value)  # torch and numpy have subclasses of these
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold")
