"""Scenes of the page's stage mode that the operator adds: the JavaScript files of a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mer_web import FILES

from realtime_mer.errors import UserError

PREFIX = "/scenes/"
INDEX = f"{PREFIX}index.json"
SCENE_TYPE = "text/javascript; charset=utf-8"
MAX_SCENE_BYTES = 2**20
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class StageScenes:
    """The scenes of a folder: its files `NAME.js`, read anew for each request.

    A link to a file outside the folder is no scene, nor is a file of more than 1 MiB.

    Args:
        folder: has the files; None for no scenes.

    Raises:
        UserError: there is no such folder, it has no scene, or one with a name that cannot be used.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        # Those of the page itself.
        self._taken = {Path(path).stem for path in FILES if path.startswith(PREFIX)}
        if folder is None:
            return
        if not folder.is_dir():
            raise UserError(
                f"--stage-scenes {folder} is not a folder; name one with scenes NAME.js"
            )
        files = sorted(folder.glob("*.js"))
        if not files:
            raise UserError(
                f"--stage-scenes {folder} has no scene; a scene is a file NAME.js, see "
                "docs/stage-mode.md"
            )
        for file in files:
            if not _NAME.fullmatch(file.stem):
                raise UserError(
                    f"the scene {file.name} cannot be served: a name has lower-case letters, "
                    "digits, - and _ only, for example my-scene.js"
                )
            if not self._is_file(file):
                raise UserError(
                    f"the scene {file.name} cannot be served: it must be a file of at most 1 MiB "
                    f"in {folder}, and no link to one elsewhere"
                )
            if file.stem in self._taken:
                raise UserError(
                    f"the page has a scene {file.stem} already; give {file} another name"
                )

    def names(self) -> list[str]:
        """Return the names of the scenes that are there now, in alphabetic order."""
        if self._folder is None:
            return []
        return sorted(file.stem for file in self._folder.glob("*.js") if self._is_scene(file.stem))

    def index(self) -> tuple[str, bytes]:
        """Return a page that lists the scenes: its content type and body."""
        return "application/json", json.dumps({"scenes": self.names()}).encode()

    def read(self, path: str) -> bytes | None:
        """Return the scene at a path of a URL; None if there is none."""
        name = path.removeprefix(PREFIX).removesuffix(".js")
        if self._folder is None or path != f"{PREFIX}{name}.js" or not self._is_scene(name):
            return None
        try:
            return (self._folder / f"{name}.js").read_bytes()
        except OSError:
            return None

    def _is_scene(self, name: str) -> bool:
        """Return whether there is a scene of this name; the folder is known."""
        if _NAME.fullmatch(name) is None or name in self._taken:
            return False
        assert self._folder is not None
        return self._is_file(self._folder / f"{name}.js")

    def _is_file(self, file: Path) -> bool:
        assert self._folder is not None
        try:
            # Reading a pipe would not end.
            return (
                file.is_file()
                and file.stat().st_size <= MAX_SCENE_BYTES
                and file.resolve().parent == self._folder.resolve()
            )
        except OSError:
            return False
