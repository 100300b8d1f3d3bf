"""The features: log-mel bands, pitch classes and peaks, for training and live use alike.

Streaming and offline use share the code: `FrontEnd.push` with blocks of any size gives the same
frames as one call with the whole signal. This module does not need torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from mer_engine.banded import BandedMatrix
from mer_engine.chroma import PITCH_CLASSES, Chroma, periodic_hann
from mer_engine.spectrum import Scratch, power_spectrum

# Increased whenever the arithmetic below changes. A model made for other features is then refused.
ARITHMETIC_VERSION = 3

# Windows that are transformed in one call, for the mel bands and for the pitch classes: few enough
# for the processor's caches, and enough to amortise the cost of the call.
_CHUNK, _CHROMA_CHUNK = 64, 8
_SCRATCH = Scratch()


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """Definition of the features.

    Attributes:
        sample_rate_hz: rate of the mono signal that `FrontEnd.push` takes.
        fft_size: length of the Hann window and of the FFT, samples.
        hop: samples between frames; divides half a second.
        bands: number of mel bands.
        low_hz, high_hz: lowest and highest frequency of the mel scale.
        log_scale: the feature is log10(1 + log_scale * power).
        chroma_fft_size: length of the window for the pitch classes, samples, long enough to
            separate semitones; 0 for no pitch classes.
        chroma_hop: samples between two computations of the pitch classes, a multiple of `hop`;
            the frames between repeat the last result.
        chroma_low_hz, chroma_high_hz: range of the notes that the pitch classes use.
        peaks: whether a frame ends with the peak of its hop, log10(1 + log_scale * p^2) with p the
            largest magnitude of a sample. Peak and power together show the crest factor.
    """

    sample_rate_hz: int = 16_000
    fft_size: int = 512
    hop: int = 250
    bands: int = 96
    low_hz: float = 0.0
    high_hz: float = 8_000.0
    log_scale: float = 10_000.0
    chroma_fft_size: int = 4096
    chroma_hop: int = 2000
    chroma_low_hz: float = 130.0
    chroma_high_hz: float = 3_000.0
    peaks: bool = True

    def __post_init__(self) -> None:
        if (self.sample_rate_hz // 2) % self.hop or self.sample_rate_hz % 2:
            raise ValueError(
                f"a hop of {self.hop} samples does not divide 0.5 s at {self.sample_rate_hz} Hz"
            )
        if self.fft_size < self.hop:
            raise ValueError(f"the FFT ({self.fft_size}) is shorter than the hop ({self.hop})")
        if self.chroma_fft_size and (
            self.chroma_hop % self.hop or self.chroma_fft_size < self.chroma_hop
        ):
            raise ValueError(
                f"pitch classes every {self.chroma_hop} samples of windows of "
                f"{self.chroma_fft_size} do not fit a hop of {self.hop}"
            )

    @property
    def frames_per_second(self) -> int:
        """Frames in a second of audio."""
        return self.sample_rate_hz // self.hop

    @property
    def width(self) -> int:
        """Numbers in a frame: mel bands, pitch classes from C upwards, peak."""
        return self.bands + self.pitch_classes + self.peaks

    @property
    def pitch_classes(self) -> int:
        """Number of pitch classes in a frame: 12 or 0."""
        return PITCH_CLASSES if self.chroma_fft_size else 0

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change whenever the features change."""
        text = json.dumps([ARITHMETIC_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def mel_bank(config: FrontEndConfig) -> NDArray[np.float32]:
    """Return triangular mel filters of unit area (Slaney's Auditory Toolbox, 1998).

    Returns:
        float32 [fft_size // 2 + 1, bands].
    """
    bins_hz = np.fft.rfftfreq(config.fft_size, 1 / config.sample_rate_hz)
    edges_mel = np.linspace(_mel(config.low_hz), _mel(config.high_hz), config.bands + 2)
    edges_hz = _hertz(edges_mel)
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - lower) / (centre - lower)
    falling = (upper - bins_hz[:, None]) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (upper - lower)), dtype=np.float32)


# Slaney's scale: linear below 1 kHz (15 mel), logarithmic above (27 mel to 6.4 kHz).
_KNEE_HZ, _KNEE_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200.0 / 3.0
_LOG_STEP = np.log(6.4) / 27.0


def _mel(hertz: float) -> float:
    if hertz < _KNEE_HZ:
        return hertz / _HZ_PER_MEL
    return _KNEE_MEL + float(np.log(hertz / _KNEE_HZ)) / float(_LOG_STEP)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * _HZ_PER_MEL
    logarithmic = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, linear, logarithmic)


class _Tables:
    """Constants that all streams of a configuration share; immutable."""

    def __init__(self, config: FrontEndConfig) -> None:
        self.bank = BandedMatrix(mel_bank(config))
        self.hann = periodic_hann(config.fft_size)
        self.chroma: Chroma | None = None
        if config.chroma_fft_size:
            self.chroma = Chroma(
                config.sample_rate_hz,
                config.chroma_fft_size,
                config.chroma_low_hz,
                config.chroma_high_hz,
            )
        # Samples of the past that the next frame needs: the longest window, less one hop.
        self.reach = max(config.fft_size, config.chroma_fft_size) - config.hop
        # Frames between two computations of the pitch classes.
        self.every = config.chroma_hop // config.hop if self.chroma is not None else 1


_tables = cache(_Tables)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Input for the next frames of a stream.

    Attributes:
        signal: float32 [T], the samples kept from before, then the new ones.
        phase: frames since the last computation of the pitch classes.
        last_chroma: float32 [12], the pitch classes of that computation.
    """

    signal: NDArray[np.float32]
    phase: int
    last_chroma: NDArray[np.float32]


class FrontEnd:
    """Computes the features of a mono stream, frame by frame.

    Digital silence precedes the stream. Frame i is complete at sample (i + 1) * hop and depends on
    no later sample.

    `push` computes the frames of one stream. To compute the frames of many streams in one call,
    take an `excerpt` of each stream, pass them to `features_of`, and `accept` the result in each.
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        self.config = config or FrontEndConfig()
        self._tables = _tables(self.config)
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._tail = np.zeros(self._tables.reach, dtype=np.float32)
        self._phase = 0
        self._last_chroma = np.zeros(PITCH_CLASSES, dtype=np.float32)

    def forget(self) -> None:
        """Replace the signal so far by silence; the frame count goes on."""
        self._tail = np.zeros_like(self._tail)
        self._last_chroma = np.zeros(PITCH_CLASSES, dtype=np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add samples and return the frames that they complete.

        Args:
            samples: float32 [n] mono at `config.sample_rate_hz`, full scale 1.0; n may be 0.

        Returns:
            float32 [frames, width]: mel bands in [0, about 8], pitch classes in [0, 1], peak in
            [0, 4.01] for samples within full scale; frames may be 0.
        """
        excerpt = self.excerpt(samples)
        (frames,) = features_of(self.config, (excerpt,))
        self.accept(excerpt, frames)
        return frames

    def excerpt(self, samples: NDArray[np.float32]) -> Excerpt:
        """Return the input that `features_of` needs for the next samples.

        This does not change the stream.

        Args:
            samples: as `push` takes them.
        """
        signal = np.concatenate((self._tail, samples), dtype=np.float32)
        return Excerpt(signal, self._phase, self._last_chroma)

    def silent_frames(self, excerpt: Excerpt) -> NDArray[np.float32]:
        """Return frames of silence in place of those of an excerpt: float32 [frames, width]."""
        count = _count(excerpt, self.config, self._tables)
        return np.zeros((count, self.config.width), dtype=np.float32)

    def accept(self, excerpt: Excerpt, frames: NDArray[np.float32]) -> None:
        """Advance the stream to the end of an excerpt.

        Args:
            excerpt: the newest excerpt of this stream.
            frames: its frames, from `features_of`.

        Raises:
            ValueError: the number of frames is not that of the excerpt.
        """
        count = _count(excerpt, self.config, self._tables)
        if len(frames) != count:
            raise ValueError(f"{len(frames)} frames for an excerpt of {count}")
        if count == 0:
            self._tail = excerpt.signal
            return
        self._tail = excerpt.signal[count * self.config.hop :].copy()
        if self._tables.chroma is not None:
            self._last_chroma = frames[-1, _chroma_columns(self.config)].copy()
        self._phase = (self._phase + count) % self._tables.every


def features_of(config: FrontEndConfig, excerpts: Sequence[Excerpt]) -> list[NDArray[np.float32]]:
    """Compute the frames of excerpts of any number of streams together.

    Args:
        config: configuration of the front-ends that the excerpts come from.
        excerpts: excerpts of any lengths.

    Returns:
        For each excerpt, float32 [frames, width] as `FrontEnd.push` returns them. The result
        differs from that of a separate computation by at most 1e-5.
    """
    tables = _tables(config)
    counts = [_count(excerpt, config, tables) for excerpt in excerpts]
    ends = list(accumulate(counts, initial=0))
    frames = np.empty((ends[-1], config.width), dtype=np.float32)
    parts = [frames[start:end] for start, end in pairwise(ends)]
    first = tables.reach + config.hop  # end of the first window in every excerpt
    _transform(
        (
            _windows(excerpt.signal, first, count, config.fft_size, config.hop)
            for excerpt, count in zip(excerpts, counts, strict=True)
        ),
        tables.hann,
        _CHUNK,
        lambda windows, out: _mel_levels(windows, out, config, tables.bank),
        frames[:, : config.bands],
    )
    if tables.chroma is not None:
        _add_chroma(excerpts, parts, config, tables, tables.chroma)
    if config.peaks:
        _add_peaks(excerpts, parts, config, tables)
    return parts


def _count(excerpt: Excerpt, config: FrontEndConfig, tables: _Tables) -> int:
    """Return how many frames an excerpt completes."""
    return (len(excerpt.signal) - tables.reach) // config.hop


def _mel_levels(
    windows: NDArray[np.float32],
    out: NDArray[np.float32],
    config: FrontEndConfig,
    bank: BandedMatrix,
) -> None:
    """Write the mel bands of windows [n, fft_size] into `out` [n, bands]."""
    bins = slice(0, config.fft_size // 2 + 1)
    bank.product(power_spectrum(windows, bins, _SCRATCH), out)
    out *= np.float32(config.log_scale)
    out += np.float32(1.0)
    np.log10(out, out=out)


def _add_chroma(
    excerpts: Sequence[Excerpt],
    parts: Sequence[NDArray[np.float32]],
    config: FrontEndConfig,
    tables: _Tables,
    chroma: Chroma,
) -> None:
    """Fill in the pitch classes; frames between two computations repeat the last one."""
    every = tables.every
    # Pitch classes are computed at frames that end on a multiple of `chroma_hop`.
    computed = [
        (excerpt.phase + len(part)) // every for excerpt, part in zip(excerpts, parts, strict=True)
    ]
    values = np.empty((sum(computed), PITCH_CLASSES), dtype=np.float32)

    def compute_chroma(windows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        out[:] = chroma(windows, _SCRATCH)

    _transform(
        (
            _windows(
                excerpt.signal,
                tables.reach + (every - excerpt.phase) * config.hop,
                count,
                config.chroma_fft_size,
                config.chroma_hop,
            )
            for excerpt, count in zip(excerpts, computed, strict=True)
        ),
        chroma.hann,
        _CHROMA_CHUNK,
        compute_chroma,
        values,
    )
    start = 0
    for excerpt, part, count in zip(excerpts, parts, computed, strict=True):
        results = np.concatenate((excerpt.last_chroma[None], values[start : start + count]))
        start += count
        index = np.arange(excerpt.phase + 1, excerpt.phase + 1 + len(part)) // every
        part[:, _chroma_columns(config)] = results[index]


def _add_peaks(
    excerpts: Sequence[Excerpt],
    parts: Sequence[NDArray[np.float32]],
    config: FrontEndConfig,
    tables: _Tables,
) -> None:
    """Fill in the peak of each frame's newest hop."""
    for excerpt, part in zip(excerpts, parts, strict=True):
        newest = excerpt.signal[tables.reach : tables.reach + len(part) * config.hop]
        hops = newest.reshape(len(part), config.hop)
        peak = np.maximum(hops.max(1, initial=0.0), -hops.min(1, initial=0.0))
        part[:, -1] = np.log10(np.float32(1.0) + np.float32(config.log_scale) * peak * peak)


def _chroma_columns(config: FrontEndConfig) -> slice:
    """Return the columns of the pitch classes in a frame."""
    return slice(config.bands, config.bands + config.pitch_classes)


def _windows(
    signal: NDArray[np.float32], first_end: int, count: int, size: int, hop: int
) -> NDArray[np.float32]:
    """Return overlapping views [count, size]; the first one ends before sample `first_end`."""
    # The array constructor takes a tenth of the time of numpy's stride tricks and checks bounds.
    itemsize = signal.itemsize
    if not count:
        return np.empty((0, size), dtype=np.float32)
    return np.ndarray(
        (count, size),
        np.float32,
        signal,
        (first_end - size) * itemsize,
        (hop * itemsize, itemsize),
    )


def _transform(
    views: Iterable[NDArray[np.float32]],
    hann: NDArray[np.float32],
    chunk: int,
    compute: Callable[[NDArray[np.float32], NDArray[np.float32]], None],
    out: NDArray[np.float32],
) -> None:
    """Multiply windows by `hann` and compute `out` from them, `chunk` windows at a time.

    Args:
        views: each float32 [any number, size].
        compute: takes windows, and the rows of `out` to write.
        out: one row for each window of all views.
    """
    windows = _SCRATCH.array("windows", min(chunk, len(out)), len(hann))
    filled = done = 0
    for view in views:
        start = 0
        while start < len(view):
            taken = min(len(windows) - filled, len(view) - start)
            rows = slice(filled, filled + taken)
            np.multiply(view[start : start + taken], hann, out=windows[rows])
            start += taken
            filled += taken
            if filled == len(windows):
                compute(windows, out[done : done + filled])
                done += filled
                filled = 0
    if filled:
        compute(windows[:filled], out[done:])


def features(
    samples: NDArray[np.float32], config: FrontEndConfig | None = None
) -> NDArray[np.float32]:
    """Return all frames of a signal, as a stream would give them.

    Args:
        samples: float32 [n] mono at the configuration's rate.

    Returns:
        float32 [n // hop, width].
    """
    return FrontEnd(config).push(samples)
