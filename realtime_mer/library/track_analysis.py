"""One file to its row of a library, in this process."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from mer_engine import Engine, load_engine
from mer_engine.engine import shipped_model

from realtime_mer.audio.local_path import is_file, local_path
from realtime_mer.audio.source import SourceLost
from realtime_mer.clock import SystemClock, iso_utc
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.requests import run
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError, printable_line
from realtime_mer.library.file_analysis import file_requests
from realtime_mer.library.remote_files import is_remote, remote_file
from realtime_mer.library.summary import summarise
from realtime_mer.library.track import Summary, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSettings:
    """What an analysis of files depends on besides the files. It can be pickled.

    Attributes:
        model: the model file; None for the shipped one.
        backend: what runs the model; "auto" for the fastest.
        config: of the pipeline.
    """

    model: Path | None = None
    backend: str = "auto"
    config: PipelineConfig = field(default_factory=PipelineConfig)

    def resolved(self, engine: Engine) -> AnalysisSettings:
        """Return the settings with the engine's own in place of defaults.

        Raises:
            UserError: the model does not support them.
        """
        config = replace(
            self.config,
            lag_order=self.config.lag_order or engine.info.lag_order_default,
            value_range=self.config.range_of(engine.info),
        )
        return replace(self, backend=engine.backend, config=config)

    @property
    def key(self) -> str:
        """The text of `Track.settings`: what the values depend on, but not the backend.

        Raises:
            OSError: the model file cannot be read.
        """
        config = self.config
        return (
            f"model={_sha256(self.model or shipped_model())[:16]} hop_s={config.hop_s:g} "
            f"lag_order={config.lag_order or 'default'} range={config.value_range or 'default'} "
            f"adapt={'yes' if config.adapt else 'no'} silence_db={config.silence_db:g}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file.

    Attributes:
        track: its row.
        exit_code: 0, 2 where something was wrong with the file or where its table should be, 1 for
            a fault of the engine or of this program.
    """

    track: Track
    exit_code: int


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TrackAnalyzer:
    """Analyses files one after the other. Not for several threads at once.

    Args:
        settings: `backend` must be one that runs here.

    Raises:
        ModelError: the model file is missing or damaged, or the backend cannot be used.
    """

    def __init__(self, settings: AnalysisSettings) -> None:
        self.settings = settings
        self._key = settings.key
        self._engine = load_engine(settings.model, backend=settings.backend)

    def analyze(self, path: str) -> Track:
        """Return the row of a file; whatever is wrong with the file is in `skipped`."""
        return self.outcome(path).track

    def outcome(self, path: str, add: Callable[[list[Estimate]], None] | None = None) -> Outcome:
        """Return the row of a file and the exit code of a command that analyses only it.

        Args:
            path: of the file, or "demo"; the row gets `library_path(path)`.
            add: receives the estimates too, as they are computed. A `UserError` that it raises is
                the reason for which the file is skipped.
        """
        estimates: list[Estimate] = []

        def collect(new: list[Estimate]) -> None:
            estimates.extend(new)
            if add is not None:
                add(new)

        config = self.settings.config
        version = 0, 0
        try:
            version = version_of(path)
            requests = file_requests(
                path, self._engine, config, collect, lambda read_s, all_s: None
            )
            duration_s = run(self._engine, requests)
            summary = summarise(estimates, duration_s=duration_s, hop_s=config.hop_s)
        except Exception as error:  # one file must not end the analysis of thousands
            reason = reason_for_skipping(path, error)
            exit_code = error.exit_code if isinstance(error, UserError) else 1
            if isinstance(error, OSError):
                exit_code = UserError.exit_code
            return Outcome(_track(path, version, self._key, None, reason), exit_code)
        return Outcome(_track(path, version, self._key, summary, ""), 0)


def skipped_track(path: str, settings: str, reason: str) -> Track:
    """Return the row of a file, as it is now, that cannot be analysed."""
    version = 0, 0
    with contextlib.suppress(OSError, UserError):
        version = version_of(path)
    return _track(path, version, settings, None, reason)


def _track(
    path: str, version: tuple[int, int], settings: str, summary: Summary | None, skipped: str
) -> Track:
    size_bytes, modified_ns = version
    return Track(
        path=library_path(path),
        size_bytes=size_bytes,
        modified_ns=modified_ns,
        settings=settings,
        analysed_utc=iso_utc(SystemClock().utc()),
        summary=summary,
        skipped=printable_line(skipped),
    )


def library_path(path: str) -> str:
    """Return the path of a file as tables have it: absolute, links not followed.

    A name that is no valid Unicode becomes a `file://` address, which all commands take. "demo"
    stays where it is the built-in piece, and so does an address of a storage.
    """
    if _is_demo(path) or is_remote(path):
        return path
    absolute = Path(os.path.abspath(local_path(path)))  # noqa: PTH100 - Path has no such method
    try:
        str(absolute).encode()
    except UnicodeEncodeError:
        return absolute.as_uri()
    return str(absolute)


def version_of(path: str) -> tuple[int, int]:
    """Return the size of a file in bytes and its time of change in ns; 0 and 0 for the demo.

    Raises:
        OSError: the file is not there.
        UserError: the address names another computer, or the storage cannot be read.
    """
    if _is_demo(path):
        return 0, 0
    if is_remote(path):
        file = remote_file(path)
        return file.size_bytes, file.modified_ns
    status = local_path(path).stat()
    return status.st_size, status.st_mtime_ns


def _is_demo(path: str) -> bool:
    return path == "demo" and not is_file(path)


def reason_for_skipping(path: str, error: Exception) -> str:
    """Return the sentence for an error that ended the analysis of a file."""
    if isinstance(error, SourceLost):  # names the file without its folder
        return str(error).replace(Path(path).name, path, 1)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{path} cannot be read ({error.strerror or error})"
    return f"{path} cannot be analysed ({type(error).__name__}: {error})"
