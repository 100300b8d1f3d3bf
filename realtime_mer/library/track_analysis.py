"""One file to its row of a library, in this process."""

from __future__ import annotations

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
from realtime_mer.library.summary import summarise
from realtime_mer.library.track import Track


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

    def analyze(self, path: str, add: Callable[[list[Estimate]], None] | None = None) -> Track:
        """Return the row of a file; whatever is wrong with the file is in `skipped`.

        Args:
            path: of the file; the row gets `library_path(path)`.
            add: receives the estimates too, as they are computed. What it raises ends the file,
                and a `UserError` or an `OSError` of it is the reason for which it was skipped.
        """
        estimates: list[Estimate] = []

        def collect(new: list[Estimate]) -> None:
            estimates.extend(new)
            if add is not None:
                add(new)

        size_bytes = modified_ns = 0
        summary, skipped = None, ""
        try:
            size_bytes, modified_ns = version_of(path)
            requests = file_requests(
                path, self._engine, self.settings.config, collect, lambda read_s, duration_s: None
            )
            duration_s = run(self._engine, requests)
            summary = summarise(estimates, duration_s=duration_s, hop_s=self.settings.config.hop_s)
        except Exception as error:  # one file must not end the analysis of thousands
            skipped = printable_line(reason_for_skipping(path, error))
        return Track(
            path=library_path(path),
            size_bytes=size_bytes,
            modified_ns=modified_ns,
            settings=self._key,
            analysed_utc=iso_utc(SystemClock().utc()),
            summary=summary,
            skipped=skipped,
        )


def library_path(path: str) -> str:
    """Return the path of a file as tables have it: absolute, links not followed.

    A name that is no valid Unicode becomes a `file://` address, which all commands take. "demo"
    stays where it is the built-in piece.
    """
    if _is_demo(path):
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
        UserError: the address names another computer.
    """
    if _is_demo(path):
        return 0, 0
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
        return f"'{path}' cannot be read ({error.strerror or error})"
    return f"'{path}' cannot be analysed ({type(error).__name__}: {error})"
