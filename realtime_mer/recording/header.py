"""The first line of each part of a recording: what was heard, with what, and when."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from typing import Any

from mer_engine import ModelInfo

from realtime_mer import __version__
from realtime_mer.audio.source import Input
from realtime_mer.clock import iso_utc
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.errors import UserError, printable_line

SCHEMA = 1
"""Of the lines of a recording; a program refuses a newer one."""
_PACKAGES = ("numpy", "onnxruntime", "soxr", "soundfile")
_TEXTS = ("version", "backend", "range", "started_utc", "time_zone")
_NUMBERS = ("hop_s", "window_s", "coverage")
_RANGES = {
    "hop_s": (0.1, 1e3),
    "window_s": (0.1, 1e6),
    "coverage": (0.0, 1.0),
    "audio_start_s": (0.0, 1e8),
}
_OBJECTS = ("model", "configuration", "input", "versions")


class NewerSchemaError(UserError):
    """The recording was made by a newer version of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingHeader:
    """What holds for a part of a recording.

    Attributes:
        version: of the program.
        model: `name`, `version` and `sha256` of the model.
        configuration: `file` and `profile` of the configuration, and the options of the estimation.
        input: `kind`, `name`, `sample_rate_hz` and `channels`, as in the hello of the protocol.
        backend: what ran the model.
        versions: of Python and of the packages that change values.
        hop_s: seconds between estimates.
        window_s: length of the lag window in seconds.
        coverage: of the intervals, 0 to 1.
        range: of the mood and the scaled values: `raw` or `music`.
        started_utc: when the run began, ISO 8601. Parts of the same run have the same.
        time_zone: offset of the local time from UTC at that moment, such as `+02:00`.
        part: number of the part in the folder, from 1.
        target: the trajectory that the listener is to follow; None for none.
        audio: name of the file with the audio, in the same folder, that begins with this part; None
            if none begins here.
        audio_start_s: stream time of its first sample, seconds.
    """

    version: str
    model: Mapping[str, str]
    configuration: Mapping[str, Any]
    input: Mapping[str, Any]
    backend: str
    versions: Mapping[str, str]
    hop_s: float
    window_s: float
    coverage: float
    range: str
    started_utc: str
    time_zone: str
    part: int = 1
    target: TargetTrajectory | None = None
    audio: str | None = None
    audio_start_s: float = 0.0

    @property
    def started_local(self) -> datetime:
        """When the run began, in the local time of the place where it was recorded."""
        return datetime.fromisoformat(self.started_utc).astimezone(_zone(self.time_zone))

    def to_dict(self) -> dict[str, object]:
        """Return the header as a line of JSON Lines."""
        line: dict[str, object] = {"type": "recording", "schema": SCHEMA}
        line |= {each.name: getattr(self, each.name) for each in fields(self)}
        if self.target is None:
            del line["target"]
        else:
            line["target"] = self.target.to_dict()
        if self.audio is None:
            del line["audio"], line["audio_start_s"]
        return line

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RecordingHeader:
        """Return the header of a line; the inverse of `to_dict`. Unknown fields are ignored.

        Raises:
            NewerSchemaError: the schema is newer than `SCHEMA`.
            UserError: a field is missing or not valid.
        """
        try:
            version, schema = printable_line(str(data["version"])), int(data["schema"])
            if schema > SCHEMA:
                raise NewerSchemaError(
                    f"the recording has schema {schema} of realtime-mer {version}, and this is "
                    f"realtime-mer {__version__}, which reads schema {SCHEMA}; update it"
                )
            if schema < 1 or data["type"] != "recording":
                raise ValueError(f"the schema {schema} does not exist")
            values: dict[str, Any] = {name: str(data[name]) for name in _TEXTS}
            values |= {name: float(data[name]) for name in _NUMBERS}
            values |= {name: dict(data[name]) for name in _OBJECTS}
            if data.get("target") is not None:
                values["target"] = TargetTrajectory.from_dict(data["target"])
            if data.get("audio") is not None:
                values["audio"] = _file_name(data["audio"])
                values["audio_start_s"] = float(data["audio_start_s"])
            header = cls(**values, part=int(data["part"]))
            _ = header.started_local
        except KeyError as error:
            raise UserError(
                f"this is no header of a recording: the field {error} is missing"
            ) from error
        except (TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
            raise UserError(f"this is no header of a recording: {error}") from error
        for name, (low, high) in _RANGES.items():
            if not low <= (value := getattr(header, name)) <= high:
                raise UserError(f"this is no header of a recording: {name} is {value:g}")
        if not 1970 <= header.started_local.year < 9000:  # times of the session are added
            raise UserError(
                f"this is no header of a recording: started_utc is {header.started_utc}"
            )
        return header


def header_of(
    *,
    model: ModelInfo,
    backend: str,
    config: PipelineConfig,
    source: Input,
    started: datetime,
    configuration: Mapping[str, Any],
    target: TargetTrajectory | None = None,
) -> RecordingHeader:
    """Return the header of a run that begins.

    Args:
        model, backend: of the engine.
        config: of the pipeline.
        source: the input.
        started: now, an aware datetime.
        configuration: `file` and `profile`.
        target: as in `RecordingHeader`.
    """
    lag_order = config.lag_order or model.lag_order_default
    value_range = str(config.range_of(model))
    return RecordingHeader(
        version=__version__,
        model={"name": model.name, "version": model.version, "sha256": model.sha256},
        configuration={
            **configuration,
            "lag_order": lag_order,
            "silence_db": config.silence_db,
            "adapt": config.adapt,
        },
        input={
            "kind": str(source.kind),
            "name": source.name,
            "sample_rate_hz": source.sample_rate_hz,
            "channels": source.channels,
        },
        backend=backend,
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        hop_s=config.hop_s,
        window_s=lag_order * model.step_s,
        coverage=model.coverage,
        range=value_range,
        started_utc=iso_utc(started),
        time_zone=_offset(started),
        target=target,
    )


def _offset(moment: datetime) -> str:
    """Return the offset of the local time from UTC at a moment, such as `+02:00`."""
    return moment.astimezone().isoformat(timespec="seconds")[-6:]


def _zone(offset: str) -> timezone:
    hours, minutes = offset[1:].split(":")
    seconds = int(hours) * 3600 + int(minutes) * 60
    return timezone(timedelta(seconds=-seconds if offset[0] == "-" else seconds))


def _file_name(name: object) -> str:
    """Return the name of a file of the same folder: a recording may come from elsewhere."""
    text = str(name)
    if not text or text != printable_line(text) or set(text) & set('/\\:"') or text[0] == ".":
        raise ValueError(f"audio is {text!r}, which is no name of a file in the folder")
    return text
