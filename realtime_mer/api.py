"""The public functions of `realtime_mer`: analyse, track and listen. docs/python.md shows each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from mer_engine import Engine as Model
from mer_engine import ModelError, load_engine
from numpy.typing import ArrayLike, NDArray

from realtime_mer.analysis import Analysis, DamagedFileError
from realtime_mer.audio.local_path import is_file_address
from realtime_mer.audio.microphone import InputDevice, list_input_devices
from realtime_mer.audio.open_input import open_file_or_demo, open_source
from realtime_mer.audio.source import Input, InputKind, SourceLost, blocks_of
from realtime_mer.audio.url import looks_like_url
from realtime_mer.core.audio_requests import analyze_requests
from realtime_mer.core.config import MAX_CHANNELS, MAX_SAMPLE, PipelineConfig, Range, check_format
from realtime_mer.core.file_pipeline import file_pipeline
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import run
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.estimate_stream import QUEUE_CAPACITY, Alarm, EstimateStream
from realtime_mer.live.runner import LiveRunner

HOP_S = 0.5
SILENCE_DB = -60.0
# Long blocks are faster; the estimates do not depend on the block length.
BLOCK_S = 1.0

_default_model: Model | None = None
_default_model_lock = threading.Lock()


def load_model(path: str | os.PathLike[str] | None = None, *, backend: str = "auto") -> Model:
    """Load a model for `analyze`, `Tracker` and `listen`. Threads may share it.

    Without arguments, return the shipped model. It is loaded once per process, and it is the
    default of these functions.

    Args:
        path: a model file written by `realtime-mer train`; None for the shipped model.
        backend: what runs the model: "auto" for the fastest that passes the parity gate, or a name
            from docs/engine.md.

    Raises:
        UserError: the file is missing, damaged or not a model, or the backend is unknown or not
            available.
    """
    global _default_model
    if path is not None or backend != "auto":
        return _load(path, backend)
    with _default_model_lock:
        if _default_model is None:
            _default_model = _load(None, backend)
        return _default_model


def devices() -> list[InputDevice]:
    """Return the input devices that `listen` can open, by index.

    Raises:
        UserError: PortAudio is missing or does not work; the message says how to install it.
    """
    return list_input_devices()


def analyze(
    audio: ArrayLike | os.PathLike[str],
    *,
    sample_rate_hz: int | None = None,
    hop_s: float = HOP_S,
    lag_order: int | None = None,
    silence_db: float = SILENCE_DB,
    value_range: str | None = None,
    adapt: bool = False,
    model: Model | None = None,
) -> Analysis:
    """Analyse a file or an array as fast as possible. Live listening gives the same values.

    Args:
        audio: the path of an audio file (wav, flac, ogg, opus, mp3, and with ffmpeg installed all
            that it reads), "demo" for the built-in piece, or an array [samples] or
            [samples, channels] of at most 64 channels, which are averaged: float with full scale
            1.0 and without NaN, int16 or int32. At least half a second.
        sample_rate_hz: sample rate of an array, 8,000 to 192,000; not for files.
        hop_s: seconds between estimates, 0.1 to 1.0 in steps of 0.1.
        lag_order: length of the lag window in steps of 0.5 s, for the shipped model 1 to 20; None
            for the model's default, 20.
        silence_db: a second below this RMS level (dBFS, -120 to 0) is silence.
        value_range: what moods and `scaled` are based on: "raw", the values of the model, or
            "music", their place among music at large; None for "music" where the model file has
            the distribution of its values over music, else "raw".
        adapt: let the range "music" move within minutes towards the stream's own values.
        model: a model from `load_model`; None for the shipped one.

    Raises:
        UserError: a setting, the file or the array is not valid; the message names the value.
        DamagedFileError: the file breaks off; `analysis` has what was read of it (a `SourceLost`).
        SourceLost: the same, with less than half a second that can be read (a `UserError`).
        EngineError: the model failed, also when the call was repeated (a `UserError`).
    """
    config, engine = _settings(hop_s, lag_order, silence_db, value_range, adapt), _engine(model)
    if isinstance(audio, (str, bytes, os.PathLike)):
        path = os.fsdecode(audio)
        if not path.strip():
            raise UserError("the path is empty; give an audio file or 'demo'")
        if sample_rate_hz is not None:
            raise UserError(
                f"sample_rate_hz is {sample_rate_hz}, but {path} is a file, which has a rate of "
                "its own; leave sample_rate_hz out"
            )
        if looks_like_url(path) and not is_file_address(path):
            raise UserError(f"{path} is an address; listen() takes those, analyze() takes files")
        with open_file_or_demo(path, block_s=BLOCK_S) as source:
            return _analyze(source.info, blocks_of(source), engine, config)
    samples = _array(audio, "the audio")
    if samples.ndim == 0:
        raise UserError(f"the audio is {audio!r:.60}; it must be a path, 'demo' or an array")
    channels = _channels(samples)
    if sample_rate_hz is None:
        raise UserError(
            f"the rate of the array of shape {samples.shape} is unknown; give sample_rate_hz, "
            "for example sample_rate_hz=44100"
        )
    rate = _whole_number("sample_rate_hz", sample_rate_hz)
    check_format(rate, channels)
    size = round(BLOCK_S * rate)
    blocks = (
        _as_float32(samples[start : start + size], "the array")
        for start in range(0, len(samples), size)
    )
    info = Input(
        InputKind.PCM, "the array", rate, channels, paced=True, live=False,
        duration_s=len(samples) / rate,
    )  # fmt: skip
    return _analyze(info, blocks, engine, config)


class Tracker:
    """Computes estimates for a program with its own audio loop.

    A tracker has no thread. Its values depend on the samples only, not on the block size. Only one
    thread at a time may call it.

    Where the model fails, the estimates repeat the last values and the stream goes on; compare
    `faulty_updates` with its value before to notice it.

    Args:
        sample_rate_hz: sample rate of the blocks, 8,000 to 192,000.
        channels: channels of the blocks, 1 to 64.
        hop_s, lag_order, silence_db, value_range, adapt, model: as in `analyze`.

    Raises:
        UserError: a setting is not valid; the message names the value.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int = 1,
        *,
        hop_s: float = HOP_S,
        lag_order: int | None = None,
        silence_db: float = SILENCE_DB,
        value_range: str | None = None,
        adapt: bool = False,
        model: Model | None = None,
    ) -> None:
        self._pipeline = Pipeline(
            _engine(model),
            sample_rate_hz=_whole_number("sample_rate_hz", sample_rate_hz),
            channels=_whole_number("channels", channels),
            config=_settings(hop_s, lag_order, silence_db, value_range, adapt),
        )
        self._finished = False

    @property
    def faulty_updates(self) -> int:
        """Estimates of this stream that repeat the last values because the model failed."""
        return self._pipeline.faulty_updates

    def feed(self, block: ArrayLike) -> list[Estimate]:
        """Process the next samples and return the estimates that they complete, usually 0 or 1.

        The block is copied. After an error the state is unchanged, and the next block may follow.

        Args:
            block: [n] for one channel, or [n, channels]; any n; float with full scale 1.0, int16 or
                int32.

        Raises:
            UserError: the shape or the dtype is not valid, or `finish` was called before.
            BadSamplesError: the block contains NaN or infinite values (a `UserError`).
        """
        if self._finished:
            raise UserError("finish() has ended this stream; call reset() before feeding another")
        return self._pipeline.feed(_as_float32(_array(block, "the block"), "the block").copy())

    def finish(self) -> list[Estimate]:
        """End the stream and return its last estimates."""
        if self._finished:
            return []
        self._finished = True
        return self._pipeline.finish()

    def reset(self) -> None:
        """Start a new stream; time and `seq` begin at 0 again."""
        self._pipeline.reset()
        self._finished = False


class Listener(EstimateStream):
    """Live estimates of one input, as returned by `listen`; see `EstimateStream`.

    Attributes:
        input: the input.
    """

    def __init__(self, runner: LiveRunner, *, latest_only: bool) -> None:
        alarm = Alarm()
        super().__init__(
            runner.hub.subscribe_latest(alarm)
            if latest_only
            else runner.hub.subscribe_bounded(QUEUE_CAPACITY, alarm),
            alarm,
            stop=runner.stop,
            failure=lambda: runner.error,
        )
        self.input: Input = runner.info
        runner.start()


def listen(
    source: str | int | os.PathLike[str] | InputDevice = "default",
    *,
    hop_s: float = HOP_S,
    lag_order: int | None = None,
    silence_db: float = SILENCE_DB,
    value_range: str | None = None,
    adapt: bool = False,
    model: Model | None = None,
    loop: bool = False,
    speed: float = 1.0,
    latest_only: bool = False,
) -> Listener:
    """Listen to an input. Iterate over the result with `for` or `async for`.

    Listening starts immediately, in a thread, and goes on until the input ends or the result is
    closed; use `with` or `async with`. While no audio arrives, estimates in the state `stalled`
    repeat the last values. A lost input that can return (an unplugged device, a radio station) is
    reopened; `notices` reports that.

    Args:
        source: "default", the index, the name or a part of the name of a device, an item of
            `devices()`, the path of a file, a stream's URL (needs ffmpeg), or "demo".
        hop_s, lag_order, silence_db, value_range, adapt, model: as in `analyze`.
        loop: restart a file or the demo at its end.
        speed: playback speed of a file or the demo, as a multiple of real time, up to 1,000. A
            machine that is too slow for it skips estimates; `analyze` never does.
        latest_only: keep only the newest estimate for a slow consumer, instead of all.

    Raises:
        UserError: the input does not exist or cannot be opened, or a setting is not valid.
        SourceLost: raised by the iteration after the last estimate if the input is lost for good
            (a `UserError`).
    """
    config, engine = _settings(hop_s, lag_order, silence_db, value_range, adapt), _engine(model)
    if isinstance(source, InputDevice):
        source = source.index if source.source is None else source.source
    if isinstance(source, os.PathLike):
        opened = open_file_or_demo(os.fsdecode(source), loop=loop)
    elif isinstance(source, str) and source.strip() == "-":
        raise UserError("listen() does not read standard input; feed its samples to a Tracker")
    elif isinstance(source, (str, Integral)) and str(source).strip():
        opened = open_source(str(source), loop=loop)
    else:
        raise UserError(
            f"the input is {source!r:.60}; it must be a device, a path, an address or 'demo'"
        )
    try:
        runner = LiveRunner(
            opened, engine, config=config, speed=_number("speed", speed), log_errors=False
        )
        return Listener(runner, latest_only=latest_only)
    except BaseException:
        opened.close()
        raise


def _load(path: str | os.PathLike[str] | None, backend: str) -> Model:
    if not isinstance(path, (str, os.PathLike, NoneType)):
        raise UserError(f"the model file is {path!r}; it must be a path")
    try:
        return load_engine(None if path is None else Path(path), backend=backend)
    except (ModelError, ValueError) as error:
        raise UserError(str(error)) from error


def _engine(model: Model | None) -> Model:
    if model is None:
        return load_model()
    if not hasattr(model, "infer"):
        raise UserError(
            f"model is {model!r}; it must come from load_model, for example load_model('my.onnx')"
        )
    return model


def _settings(
    hop_s: float,
    lag_order: int | None,
    silence_db: float,
    value_range: str | None,
    adapt: bool,
) -> PipelineConfig:
    return PipelineConfig(
        hop_s=_number("hop_s", hop_s),
        lag_order=None if lag_order is None else _whole_number("lag_order", lag_order),
        silence_db=_number("silence_db", silence_db),
        value_range=_range(value_range),
        adapt=bool(adapt),
    )


def _range(name: str | None) -> Range | None:
    if name is None:
        return None
    try:
        return Range(name)
    except ValueError as error:
        raise UserError(f"value_range is {name!r}; it must be 'raw', 'music' or None") from error


def _number(name: str, value: object) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise UserError(f"{name} is {value!r}; it must be a number")


def _whole_number(name: str, value: object) -> int:
    """Return a whole number as an int; 44100.0 is also accepted."""
    if isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer():
        return int(float(value))
    raise UserError(f"{name} is {value!r}; it must be a whole number")


def _array(audio: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(audio)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name} is {audio!r:.60}, which is not an array of numbers; give the samples alone, "
            "without their sample rate"
        ) from error


def _channels(samples: NDArray[Any]) -> int:
    """Return the channels of an array [samples] or [samples, channels]."""
    if samples.ndim not in (1, 2):
        raise UserError(
            f"the array has the shape {samples.shape}; it must be [samples] or [samples, channels]"
        )
    if samples.size == 0:
        raise UserError(f"the array of shape {samples.shape} contains no samples")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if channels > MAX_CHANNELS:
        raise UserError(
            f"the array has the shape {samples.shape}, which is {channels} channels; it must be "
            f"[samples, channels] with at most {MAX_CHANNELS} channels: transpose it with .T"
        )
    return int(channels)


def _as_float32(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return samples as float32 with full scale 1.0."""
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "i" and size in (2, 4):
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * size - 1))
    if kind != "f":
        raise UserError(
            f"{name} has the dtype {samples.dtype}; it must be float32 or float64 with full scale "
            "1.0, int16 or int32"
        )
    peak = float(np.max(np.abs(samples), initial=0.0))
    if MAX_SAMPLE < peak < np.inf:
        raise UserError(
            f"{name} reaches {peak:g}, but the full scale of floating-point audio is 1.0; divide "
            "it by its full scale, for example by 32768"
        )
    return samples.astype(np.float32, copy=False)


def _analyze(
    info: Input, blocks: Iterable[NDArray[np.float32]], model: Model, config: PipelineConfig
) -> Analysis:
    pipeline = file_pipeline(
        model, sample_rate_hz=info.sample_rate_hz, channels=info.channels, config=config
    )
    estimates: list[Estimate] = []
    try:
        run(model, analyze_requests(info.name, blocks, pipeline, estimates.extend))
    except SourceLost as lost:
        estimates += pipeline.finish()
        if not estimates:
            raise
        raise DamagedFileError(str(lost), _result(estimates, info, pipeline)) from None
    return _result(estimates, info, pipeline)


def _result(estimates: list[Estimate], info: Input, pipeline: Pipeline) -> Analysis:
    duration_s = pipeline.input_samples / info.sample_rate_hz
    return Analysis(estimates, input=info, duration_s=duration_s, hop_s=pipeline.config.hop_s)
