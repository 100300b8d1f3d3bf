"""What the configuration file says: options, outputs, scenes and controls."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from realtime_mer.configuration.builder import SettingError, build
from realtime_mer.configuration.document import PROFILE, Document, read_document
from realtime_mer.configuration.lines import KeyPath
from realtime_mer.errors import UserError, nearest
from realtime_mer.outputs.output import OutputSettings
from realtime_mer.outputs.registry import KINDS, needing, settings_class
from realtime_mer.user_folder import user_folder

if TYPE_CHECKING:
    from realtime_mer.scenes.settings import SceneSettings

T = TypeVar("T")
FileVersion = tuple[int, int, int] | None
FILE_NAME = "realtime-mer.toml"
SECTIONS = ("input", "estimation", "recording", "session", "server")
"""Tables with options of the command line."""
SCENE = "scene"
CONTROL = "control"
CONTROLS = {
    "osc": ("osc_control", "OscControlSettings", ""),
    "midi": ("midi_control", "MidiControlSettings", "midi"),
}
"""For each table below `[control]`: its module in `outputs`, its settings, and its extra."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the configuration file and `--osc` say.

    Attributes:
        document: the tables of the file, those of the profile laid over them; None without a file.
        file: the file; None without one.
        profile: name of the profile; "" for none.
        outputs: settings of each output: those of the file, then those of `--osc`.
        scenes: the scene rules.
        controls: settings of what controls the show from outside, by `CONTROLS`.
        osc: the addresses of `--osc`, HOST:PORT.
        version: of the file when it was read (`version_of`).
    """

    document: Document | None = None
    file: Path | None = None
    profile: str = ""
    outputs: tuple[OutputSettings, ...] = ()
    scenes: tuple[SceneSettings, ...] = ()
    controls: dict[str, Any]
    osc: tuple[str, ...] = ()
    version: FileVersion = None

    @property
    def title(self) -> str:
        """Which file and profile hold."""
        profile = f", profile {self.profile}" if self.profile else ""
        return f"{self.file or 'no file'}{profile}"

    def section(self, name: str) -> dict[str, Any]:
        """Return the options of a table of `SECTIONS`, as they are in the file."""
        table: dict[str, Any] = {} if self.document is None else self.document.data.get(name, {})
        return table

    def error(self, path: KeyPath, message: str) -> UserError:
        """Return an error about a place in the file, with its line."""
        assert self.document is not None
        return self.document.error(path, message)

    def again(self) -> Configuration:
        """Return what the file says now.

        Raises:
            OSError: the file cannot be read.
            UserError: something in it is wrong.
        """
        return load(self.file, self.profile, self.osc)


def version_of(file: Path) -> FileVersion:
    """Return what changes with every change of a file; None for one that is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def find_file() -> Path | None:
    """Return the configuration file of the working folder, else that of the user, else None."""
    for file in (Path(FILE_NAME), user_folder() / FILE_NAME):
        if file.is_file():
            return file
    return None


def load(file: Path | None, profile: str = "", osc: Sequence[str] = ()) -> Configuration:
    """Return what a file and `--osc` say.

    Args:
        file: the file; None for none.
        profile: name of the profile whose tables win; "" for none.
        osc: addresses of OSC outputs, HOST:PORT.

    Raises:
        OSError: the file cannot be read.
        UserError: something in it is wrong; the sentence has file, line and key.
    """
    added = tuple(_osc_output(address) for address in osc)
    if file is None:
        if profile:
            raise UserError(
                f"--profile {profile} needs a configuration file, {FILE_NAME} in this folder or in "
                f"{user_folder()}; 'realtime-mer init' writes one"
            )
        return Configuration(outputs=added, controls={}, osc=tuple(osc))
    version = version_of(file)  # before the file is read: it may change meanwhile
    document = read_document(file, profile)
    _check_tables(document)
    outputs: list[OutputSettings] = []
    for kind in KINDS:
        for path, table in _tables(document, kind):
            outputs.append(_built(document, settings_class, kind, table, path))
    _check_names(document)
    scenes = [
        _built(document, _scene_class, SCENE, table, path)
        for path, table in _tables(document, SCENE)
    ]
    controls = {
        name: _built(document, control_class, name, table, (CONTROL, name))
        for name, table in document.data.get(CONTROL, {}).items()
    }
    _check_scenes_of_controls(document, [scene.name for scene in scenes], controls)
    return Configuration(
        document=document,
        file=file,
        profile=profile,
        outputs=(*outputs, *added),
        scenes=tuple(scenes),
        controls=controls,
        osc=tuple(osc),
        version=version,
    )


def _check_tables(document: Document) -> None:
    """Raise for a table that does not exist, and for one that is written with wrong brackets."""
    headers = {
        **{name: f"[{name}]" for name in SECTIONS},
        **{kind: f"[[{kind}]]" for kind in (*KINDS, SCENE)},
        CONTROL: f"[{CONTROL}.osc]",
        PROFILE: f"[{PROFILE}.NAME]",
    }
    for name, value in document.data.items():
        if name not in headers:
            near = nearest(name, headers)
            shown = f"table [{name}]" if isinstance(value, dict | list) else f"key {name} here"
            raise document.error((name,), f"there is no {shown}; {near}")
        header = headers[name]
        is_list = isinstance(value, list) and all(isinstance(each, dict) for each in value)
        if is_list if header.startswith("[[") else isinstance(value, dict):
            continue
        each = "each has a table of its own" if header.startswith("[[") else "it is one table"
        raise document.error((name,), f"write {header}: {each}")
    for name in document.data.get(CONTROL, {}):
        if name not in CONTROLS:
            sentence = f"there is no table [{CONTROL}.{name}]; {nearest(name, CONTROLS)}"
            raise document.error((CONTROL, name), sentence)


def _tables(document: Document, name: str) -> list[tuple[KeyPath, Any]]:
    return [((name, place), table) for place, table in enumerate(document.data.get(name, []))]


def _built(
    document: Document, class_of: Callable[[str], type[T]], name: str, table: Any, path: KeyPath
) -> T:
    header = f"[{CONTROL}.{name}]" if path[0] == CONTROL else f"[[{name}]]"
    try:
        return build(class_of(name), table, path)
    except SettingError as error:
        raise document.error(error.path, f"{header} {error}") from error
    except UserError as error:
        raise document.error(path, f"{header}: {error}") from error


def _check_names(document: Document) -> None:
    """Raise for two outputs of one name: scenes and controls could not tell them apart."""
    seen: set[str] = set()
    for kind in KINDS:
        for path, table in _tables(document, kind):
            name = table.get("name", "")
            if name and name in seen:
                sentence = f"[[{kind}]] name is {name}, as that of another output; give it its own"
                raise document.error((*path, "name"), sentence)
            seen.add(name)


def _check_scenes_of_controls(
    document: Document, scenes: list[str], controls: dict[str, Any]
) -> None:
    """Raise for a pad that starts a scene which does not exist."""
    for control, settings in controls.items():
        for name in getattr(settings, "scenes", {}):
            if name not in scenes:
                sentence = f"[{CONTROL}.{control}] scenes has {name}, which is no scene"
                path = (CONTROL, control, "scenes", name)
                raise document.error(path, f"{sentence}; {nearest(name, scenes)}")


def _scene_class(name: str) -> type[SceneSettings]:
    from realtime_mer.scenes.settings import SceneSettings

    return SceneSettings


def control_class(name: str) -> type[Any]:
    """Return the class of the settings of a table below `[control]`.

    Raises:
        UserError: a package that it needs is not installed.
    """
    module, settings, extra = CONTROLS[name]
    with needing(f"control by {name.upper()}", extra):
        found: type[Any] = getattr(
            importlib.import_module(f"realtime_mer.outputs.{module}"), settings
        )
    return found


def _osc_output(address: str) -> OutputSettings:
    try:
        return build(settings_class("osc"), {"to": address}, ())
    except UserError as error:
        raise UserError(f"--osc {address}: {error}") from error
