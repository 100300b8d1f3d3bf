"""The public functions of `realtime_mer`: analyse, track and listen. docs/python.md shows each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from mer_engine import Engine as Model
from mer_engine import ModelError, load_engine
from numpy.typing import ArrayLike, NDArray

from realtime_mer.audio.microphone import InputDevice, list_input_devices
from realtime_mer.audio.open_input import open_source
from realtime_mer.audio.source import EndOfStream, InputKind, Source
from realtime_mer.audio.source import InputInfo as Input
from realtime_mer.audio.url import looks_like_url
from realtime_mer.core.config import MAX_CHANNELS, PipelineConfig, check_format
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import VALUES, Estimate, State
from realtime_mer.errors import BadSamplesError, UserError
from realtime_mer.live.estimate_stream import QUEUE_CAPACITY, Alarm, EstimateStream
from realtime_mer.live.runner import LiveRunner

if TYPE_CHECKING:
    import pandas

HOP_S = 0.5
SILENCE_DB = -60.0
# Long blocks cost less; the estimates do not depend on the length.
BLOCK_S = 1.0
MAX_PEAK = 100.0  # 40 dB above full scale: integers that were not divided by their full scale
MUSIC = (State.SETTLING, State.TRACKING)
TABLE = np.dtype(
    [
        ("seq", np.int64),
        ("t", np.float64),
        *((name, np.float64) for name in VALUES),
        ("mood", "U8"),
        ("state", "U8"),
        ("level_db", np.float64),
        *((f"fast_{name}", np.float64) for name in VALUES),
        ("whole_valence", np.float64),
        ("whole_arousal", np.float64),
    ]
)

_default_model: Model | None = None
_default_model_lock = threading.Lock()


def load_model(path: str | os.PathLike[str] | None = None, *, backend: str = "auto") -> Model:
    """Load a model, for `analyze`, `Tracker` and `listen`. May be shared between threads.

    Without arguments it returns the shipped model, which is loaded once per process and which
    these functions take by default.

    Args:
        path: a model file that `realtime-mer train` made; the shipped model where None.
        backend: what runs it: "auto", the fastest that passes the parity gate, or one of those
            that docs/engine.md lists.

    Raises:
        UserError: the file is missing, damaged or no model, or the backend is unknown or cannot
            run here.
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


class Analysis(Sequence[Estimate]):
    """The estimates of a file or an array, in order of time. A sequence; a slice is a list.

    Attributes:
        input: what was analysed.
        duration_s: length of the audio in seconds.
        hop_s: seconds between estimates.
        window_s: seconds of audio that an estimate looks back, once that much was played.
    """

    def __init__(
        self, estimates: Iterable[Estimate], *, input: Input, duration_s: float, hop_s: float
    ) -> None:
        self._estimates = tuple(estimates)
        self.input = input
        self.duration_s = duration_s
        self.hop_s = hop_s
        self.window_s = self._estimates[0].latency.window_s

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of the audio in Hz."""
        return self.input.sample_rate_hz

    @property
    def channels(self) -> int:
        """Channels of the audio."""
        return self.input.channels

    @overload
    def __getitem__(self, index: int) -> Estimate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Estimate]: ...
    def __getitem__(self, index: int | slice) -> Estimate | list[Estimate]:
        if isinstance(index, slice):
            return list(self._estimates[index])
        return self._estimates[index]

    def __len__(self) -> int:
        return len(self._estimates)

    def __repr__(self) -> str:
        return f"<Analysis of {self.input.name}: {len(self)} estimates, {self.duration_s:.1f} s>"

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain values, ready for `json.dumps`.

        Keys: `input`, `sample_rate_hz`, `channels`, `duration_s`, `hop_s`, `window_s`, `summary`
        (see `summary`) and `estimates` (a list of `Estimate.to_dict`).
        """
        return {
            "input": self.input.name,
            "sample_rate_hz": self.sample_rate_hz,
            "channels": self.channels,
            "duration_s": round(self.duration_s, 3),
            "hop_s": self.hop_s,
            "window_s": self.window_s,
            "summary": self.summary(),
            "estimates": [estimate.to_dict() for estimate in self],
        }

    def to_numpy(self) -> NDArray[np.void]:
        """Return a structured array [n]; `array["valence"]` is a column.

        Fields: `seq` (int64), `t` (s), `valence`, `arousal`, `valence_low`, `valence_high`,
        `arousal_low`, `arousal_high`, `mood` and `state` (text), `level_db`, the values of the
        newest seconds `fast_valence` to `fast_arousal_high`, and `whole_valence` and
        `whole_arousal` on the scale of ratings of whole pieces. Numbers are float64, NaN where the
        model gives none. Values and interval ends lie in [-1, 1].
        """
        return np.array([_row(estimate) for estimate in self], dtype=TABLE)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame: the fields of `to_numpy` as columns, `t` (s) as the index.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError(
                "to_pandas needs pandas, which is not installed: run `python -m pip install "
                "pandas`, or use to_numpy, which needs nothing more"
            ) from error
        return pandas.DataFrame(self.to_numpy()).set_index("t")

    def save_plot(self, path: str | os.PathLike[str]) -> None:
        """Draw both values over time, with their intervals and the moods, into a PNG file.

        Args:
            path: ends in `.png`; an existing file is overwritten.

        Raises:
            UserError: another ending, or the file cannot be written.
        """
        from realtime_mer.outputs.plot import save_plot

        if Path(path).suffix.lower() != ".png":
            raise UserError(f"the plot {path} must end in .png: that is the format it has")
        save_plot(self, self.input.name, Path(path))

    def summary(self) -> dict[str, Any]:
        """Return the whole piece in a few numbers, ready for `json.dumps`.

        Each estimate counts for the time since the one before. Keys:

        * `duration_s`, `estimates`: length in seconds, number of estimates;
        * `valence`, `arousal`: each `mean`, `sd` (standard deviation), `min` and `max` over the
          music, silence left out; None where there is only silence;
        * `moods`: share of each mood in the music, the largest first, summing to 1;
        * `states`: share of each state in everything, summing to 1;
        * `whole`: `valence` and `arousal` on the scale of ratings of whole pieces, the mean over
          the music of what the model gives for that; None where it gives nothing;
        * `largest_change`: `t` in seconds and the change of `valence` and `arousal` there: the
          windows before and after that moment differ most. None where no two full windows follow
          each other.
        """
        table = self.to_numpy()
        duration_s = np.diff(table["t"], prepend=0.0)
        music = np.isin(table["state"], MUSIC)
        played, played_s = table[music], duration_s[music]
        rated = np.isfinite(table["whole_valence"])
        return {
            "duration_s": round(self.duration_s, 3),
            "estimates": len(self),
            "valence": _spread(played["valence"], played_s),
            "arousal": _spread(played["arousal"], played_s),
            "moods": _shares(played["mood"], played_s),
            "states": _shares(table["state"], duration_s),
            "whole": {
                name: _mean(table[f"whole_{name}"][rated], duration_s[rated]) for name in VALUES[:2]
            }
            if rated.any()
            else None,
            "largest_change": self._largest_change(table),
        }

    def _largest_change(self, table: NDArray[np.void]) -> dict[str, float] | None:
        apart = max(1, round(np.ceil(self.window_s / self.hop_s - 1e-9)))
        before, after = table[:-apart], table[apart:]
        full = (before["state"] == State.TRACKING) & (after["state"] == State.TRACKING)
        if not full.any():
            return None
        valence, arousal = (after[name] - before[name] for name in VALUES[:2])
        place = int(np.argmax(np.where(full, np.hypot(valence, arousal), -1.0)))
        return {
            "t": round(float(before["t"][place]), 3),
            "valence": round(float(valence[place]), 6),
            "arousal": round(float(arousal[place]), 6),
        }


def analyze(
    audio: ArrayLike | os.PathLike[str],
    *,
    sample_rate_hz: int | None = None,
    hop_s: float = HOP_S,
    lag_order: int | None = None,
    silence_db: float = SILENCE_DB,
    model: Model | None = None,
) -> Analysis:
    """Analyse a file or an array, as fast as this machine can.

    The values are those that the same audio gives live.

    Args:
        audio: the path of an audio file (wav, flac, ogg, opus, mp3; what else ffmpeg reads where
            it is installed), "demo" for the built-in piece, or an array [samples] or
            [samples, channels]: float with full scale 1.0, or int16 or int32.
        sample_rate_hz: of the array, 8,000 to 192,000; a file has its own.
        hop_s: seconds between estimates, 0.1 to 1.0 in tenths.
        lag_order: length of the window in steps of 0.5 s; the model's own (20) where None.
        silence_db: a second below this RMS level (dBFS) is silence.
        model: from `load_model`; the shipped one where None.

    Raises:
        UserError: a setting, the file or the array cannot be taken; the message names the value.
        SourceLost: the file is damaged in the middle (a `UserError`).
    """
    config, engine = _settings(hop_s, lag_order, silence_db), _engine(model)
    if isinstance(audio, (str, bytes, os.PathLike)):
        path = os.fsdecode(audio)
        if sample_rate_hz is not None:
            raise UserError(
                f"sample_rate_hz is {sample_rate_hz}, but {path} is a file, which has a rate of "
                "its own; leave sample_rate_hz out"
            )
        if looks_like_url(path):
            raise UserError(f"{path} is an address; listen() takes those, analyze() takes files")
        with _open(path, BLOCK_S) as source:
            return _analyze(source.info, _blocks_of(source), engine, config)
    samples = np.asarray(audio)
    if sample_rate_hz is None:
        raise UserError(
            f"the rate of the array of shape {samples.shape} is not known; give sample_rate_hz, "
            "for example sample_rate_hz=44100"
        )
    rate = _whole_number("sample_rate_hz", sample_rate_hz)
    channels = _channels(samples)
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
    """Estimates for a program that has an audio loop of its own.

    It has no thread and reads no clock but for `latency.compute_ms`: estimates depend on the
    samples only, not on how they are cut into blocks. One thread at a time may call it.

    Args:
        sample_rate_hz: of the blocks, 8,000 to 192,000.
        channels: of the blocks, 1 to 64.
        hop_s, lag_order, silence_db, model: as in `analyze`.

    Raises:
        UserError: a setting cannot be taken; the message names the value.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int = 1,
        *,
        hop_s: float = HOP_S,
        lag_order: int | None = None,
        silence_db: float = SILENCE_DB,
        model: Model | None = None,
    ) -> None:
        self._pipeline = Pipeline(
            _engine(model),
            sample_rate_hz=_whole_number("sample_rate_hz", sample_rate_hz),
            channels=_whole_number("channels", channels),
            config=_settings(hop_s, lag_order, silence_db),
        )
        self._finished = False

    def feed(self, block: ArrayLike) -> list[Estimate]:
        """Take the next samples; return the estimates that they complete, mostly none or one.

        Args:
            block: [n] where there is one channel, or [n, channels]; float with full scale 1.0, or
                int16 or int32; any n. It is copied.

        Raises:
            UserError: the shape or the dtype does not fit, or `finish` was called before.
            BadSamplesError: values are NaN or infinite (a `UserError`).
            In each case nothing of the block was taken and the next one may follow.
        """
        if self._finished:
            raise UserError("finish() has ended this stream; call reset() before feeding another")
        return self._pipeline.feed(_as_float32(np.asarray(block), "the block").copy())

    def finish(self) -> list[Estimate]:
        """End the stream; return the estimates that were still to come."""
        if self._finished:
            return []
        self._finished = True
        return self._pipeline.finish()

    def reset(self) -> None:
        """Begin a new stream: time and `seq` start again at 0."""
        self._pipeline.reset()
        self._finished = False


class Listener(EstimateStream):
    """What `listen` returns: live estimates of one input. See `EstimateStream` for its use.

    Attributes:
        input: what is listened to.
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
    model: Model | None = None,
    loop: bool = False,
    speed: float = 1.0,
    latest_only: bool = False,
) -> Listener:
    """Listen to an input; iterate over the result, with `for` or `async for`, to get estimates.

    Listening begins at once, in a thread of its own, and goes on until the input ends or the
    result is closed; use `with` or `async with`. Where nothing arrives any more estimates of state
    `stalled` repeat the last values, and an input that can come back (a device that was unplugged,
    radio) is opened again; `notices` says so.

    Args:
        source: "default", the index, the name or a part of the name of a device, one of
            `devices()`, a file, the address of a stream (needs ffmpeg), or "demo".
        hop_s, lag_order, silence_db, model: as in `analyze`.
        loop: begin a file or the demo again when it ends.
        speed: play files and the demo so many times faster than real time, above 0 to 1,000. On a
            machine that is too slow for it estimates are left out; `analyze` leaves none out.
        latest_only: keep only the newest estimate for a slow consumer, instead of all.

    Raises:
        UserError: the input does not exist or cannot be opened, or a setting cannot be taken.
        SourceLost: raised by the iteration, after the last estimate, where the input broke off for
            good (a `UserError`).
    """
    config, engine = _settings(hop_s, lag_order, silence_db), _engine(model)
    if isinstance(source, InputDevice):
        source = source.index
    if isinstance(source, os.PathLike):
        opened = _open(os.fsdecode(source), block_s=0.02, loop=loop)
    else:
        name = str(source)
        if not name.strip():
            raise UserError("the input is an empty text; take a device, a file or 'demo'")
        opened = open_source(name, loop=loop)
    try:
        runner = LiveRunner(opened, engine, config=config, speed=speed)
        return Listener(runner, latest_only=latest_only)
    except BaseException:
        opened.close()
        raise


def _load(path: str | os.PathLike[str] | None, backend: str) -> Model:
    try:
        return load_engine(None if path is None else Path(path), backend=backend)
    except (ModelError, ValueError) as error:
        raise UserError(str(error)) from error


def _engine(model: Model | None) -> Model:
    if model is None:
        return load_model()
    if isinstance(model, (str, os.PathLike)):
        raise UserError(f"model is {model!r}; load it once and pass it: load_model({model!r})")
    return model


def _settings(hop_s: float, lag_order: int | None, silence_db: float) -> PipelineConfig:
    for name, value in (("hop_s", hop_s), ("silence_db", silence_db)):
        if not isinstance(value, Real):
            raise UserError(f"{name} is {value!r}; it must be a number")
    steps = None if lag_order is None else _whole_number("lag_order", lag_order)
    return PipelineConfig(hop_s=float(hop_s), lag_order=steps, silence_db=float(silence_db))


def _whole_number(name: str, value: object) -> int:
    """Return a whole number as an int; a float such as 44100.0 is one."""
    if isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise UserError(f"{name} is {value!r}; it must be a whole number")


def _channels(samples: NDArray[Any]) -> int:
    """Return the channels of an array [samples] or [samples, channels]."""
    if samples.ndim not in (1, 2):
        raise UserError(
            f"the array has the shape {samples.shape}; it must be [samples] or [samples, channels]"
        )
    if samples.size == 0:
        raise UserError(f"the array of shape {samples.shape} is empty; it holds no samples")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if channels > MAX_CHANNELS:
        raise UserError(
            f"the array has the shape {samples.shape}, which is {channels} channels; it must be "
            f"[samples, channels] with at most {MAX_CHANNELS} channels: transpose it with .T"
        )
    return int(channels)


def _as_float32(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return samples of any dtype that is allowed as float32 with full scale 1.0."""
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "i" and size in (2, 4):
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * size - 1))
    if kind != "f":
        raise UserError(
            f"{name} has the dtype {samples.dtype}; take float32 or float64 with full scale 1.0, "
            "or int16 or int32"
        )
    peak = float(np.max(np.abs(samples), initial=0.0))
    if MAX_PEAK < peak < np.inf:
        raise UserError(
            f"{name} reaches {peak:g}; the full scale of floating-point audio is 1.0: divide it by "
            "the full scale that it has, for example by 32768"
        )
    return samples.astype(np.float32, copy=False)


def _open(path: str, block_s: float, *, loop: bool = False) -> Source:
    from realtime_mer.audio.demo import DemoSource
    from realtime_mer.audio.file import open_file

    if path == "demo" and not Path(path).exists():
        return DemoSource(block_s=block_s, loop=loop)
    return open_file(Path(path), block_s=block_s, loop=loop)


def _blocks_of(source: Source) -> Iterator[NDArray[np.float32]]:
    while True:
        try:
            block = source.read(timeout_s=60.0)
        except EndOfStream:
            return
        if block is None:
            raise UserError(f"{source.info.name}: no audio came for a minute")
        yield block.samples


def _analyze(
    info: Input, blocks: Iterable[NDArray[np.float32]], model: Model, config: PipelineConfig
) -> Analysis:
    pipeline = Pipeline(
        model, sample_rate_hz=info.sample_rate_hz, channels=info.channels, config=config
    )
    estimates: list[Estimate] = []
    samples = 0
    for block in blocks:
        try:
            estimates += pipeline.feed(block)
        except BadSamplesError as error:
            raise UserError(
                f"{info.name}: sample {samples + error.position} is not a finite number "
                f"({error.value}); repair the audio"
            ) from error
        samples += len(block)
    estimates += pipeline.finish()
    duration_s = samples / info.sample_rate_hz
    if not estimates:
        raise UserError(f"{info.name} lasts {duration_s:.2f} s; at least half a second is needed")
    return Analysis(estimates, input=info, duration_s=duration_s, hop_s=config.hop_s)


def _row(estimate: Estimate) -> tuple[object, ...]:
    fast, whole = estimate.fast, estimate.whole or (np.nan, np.nan)
    return (
        estimate.seq,
        estimate.t,
        *(getattr(estimate, name) for name in VALUES),
        estimate.mood,
        str(estimate.state),
        estimate.level_db,
        *(np.nan if fast is None else getattr(fast, name) for name in VALUES),
        *whole,
    )


def _spread(values: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, float] | None:
    """Return mean, standard deviation and range of weighted values; None where there are none."""
    if len(values) == 0:
        return None
    variance = np.average((values - np.average(values, weights=weights)) ** 2, weights=weights)
    return {
        "mean": _mean(values, weights),
        "sd": round(float(np.sqrt(variance)), 6),
        "min": round(float(values.min()), 6),
        "max": round(float(values.max()), 6),
    }


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return round(float(np.average(values, weights=weights)), 6)


def _shares(words: NDArray[np.str_], weights: NDArray[np.float64]) -> dict[str, float]:
    """Return the share of the weight of each word, the largest first."""
    shares = {str(word): float(weights[words == word].sum()) for word in np.unique(words)}
    total = sum(shares.values())
    return {
        word: round(share / total, 6)
        for word, share in sorted(shares.items(), key=lambda item: -item[1])
    }
