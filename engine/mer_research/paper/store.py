"""On-disk store of task results, so that an interrupted run can continue."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Store:
    """A folder with one JSON file per task.

    The file name is a hash of the configuration, and the file contains the configuration. A lookup
    compares both, so results of different configurations never mix.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, configuration: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the result of a configuration; None if it is missing or its file is damaged."""
        try:
            content = json.loads(self.path(configuration).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        if not isinstance(content, dict) or content.get("configuration") != configuration:
            return None
        result: dict[str, Any] | None = content.get("result")
        return result

    def put(self, configuration: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Write a result atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(configuration)
        draft = path.with_suffix(f".{os.getpid()}.part")
        content = {"configuration": configuration, "result": result}
        draft.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
        draft.replace(path)

    def path(self, configuration: Mapping[str, Any]) -> Path:
        """Return the file of a configuration."""
        text = json.dumps(configuration, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
