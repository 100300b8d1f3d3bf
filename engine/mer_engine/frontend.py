"""The features: log-mel bands, pitch classes and peaks, one definition for training and live use.

Streaming and offline are the same code: `FrontEnd.push` in any block sizes gives the frames that
one call with the whole signal gives. No torch.
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

# Raised whenever the arithmetic below changes, so that an older model refuses the newer features.
ARITHMETIC_VERSION = 3

# Windows that are transformed at once, and the long ones of the pitch classes: few enough for the
# caches, enough to spread the cost of a call.
_PIECE, _CHROMA_PIECE = 64, 8
_SCRATCH = Scratch()


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """What defines the features.

    Attributes:
        sample_rate_hz: rate of the mono signal that `FrontEnd.push` takes.
        fft_size: length of the Hann window and of the FFT, samples.
        hop: samples between frames; a whole number of frames fits into half a second.
        bands: number of mel bands.
        low_hz, high_hz: ends of the mel scale.
        log_scale: the feature is log10(1 + log_scale * power).
        chroma_fft_size: length of the window for the pitch classes, samples: long enough to tell
            semitones apart; 0 for none.
        chroma_hop: samples between two computations of the pitch classes, a multiple of `hop`;
            frames in between repeat the last.
        chroma_low_hz, chroma_high_hz: the notes that count.
        peaks: whether a frame ends with the largest sample of its hop, log10(1 + log_scale * p^2)
            with p its magnitude: how far peaks stand out tells how dense a recording is.
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
        return self.sample_rate_hz // self.hop

    @property
    def width(self) -> int:
        """Numbers in a frame: mel bands, pitch classes from C upwards, peak."""
        return self.bands + self.pitch_classes + self.peaks

    @property
    def pitch_classes(self) -> int:
        """Numbers in a frame that are pitch classes: 12 or none."""
        return PITCH_CLASSES if self.chroma_fft_size else 0

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change whenever the features would."""
        text = json.dumps([ARITHMETIC_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def mel_bank(config: FrontEndConfig) -> NDArray[np.float32]:
    """Triangular mel filters, each of unit area (Slaney's Auditory Toolbox, 1998).

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
    """What all streams of a configuration share; nothing in it ever changes."""

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
        # What must be kept of the past: a window, less the samples that complete it.
        self.reach = max(config.fft_size, config.chroma_fft_size) - config.hop
        # Frames from one computation of the pitch classes to the next.
        self.every = config.chroma_hop // config.hop if self.chroma is not None else 1


_tables = cache(_Tables)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What the next frames of a stream are made of.

    Attributes:
        signal: float32 [T], the samples that are kept of the past, then the new ones.
        phase: frames since the pitch classes were computed last.
        held: float32 [12], the pitch classes that were computed last.
    """

    signal: NDArray[np.float32]
    phase: int
    held: NDArray[np.float32]


class FrontEnd:
    """Turns a mono signal into frames of features, as a stream.

    The stream is preceded by digital silence, so that frame i is complete exactly at sample
    (i + 1) * hop and nothing later reaches it.

    `push` does all of it for one stream. To compute the frames of many streams at once, take an
    `excerpt` of each, give them to `features_of`, and let each stream `accept` its own.
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        self.config = config or FrontEndConfig()
        self._tables = _tables(self.config)
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self._tail = np.zeros(self._tables.reach, dtype=np.float32)
        self._phase = 0
        self._held = np.zeros(PITCH_CLASSES, dtype=np.float32)

    def forget(self) -> None:
        """Forgets the signal so far, as if silence had followed it, and goes on counting frames."""
        self._tail = np.zeros_like(self._tail)
        self._held = np.zeros(PITCH_CLASSES, dtype=np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes the next samples and returns the frames that they complete.

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
        """What `features_of` must know of this stream to compute the frames of its next samples.

        The stream itself stays where it is.

        Args:
            samples: as `push` takes them.
        """
        signal = np.concatenate((self._tail, samples), dtype=np.float32)
        return Excerpt(signal, self._phase, self._held)

    def accept(self, excerpt: Excerpt, frames: NDArray[np.float32]) -> None:
        """Moves the stream on to the end of an excerpt.

        Args:
            excerpt: the newest that this stream gave.
            frames: what `features_of` made of it.
        """
        count = _count(excerpt, self.config, self._tables)
        if len(frames) != count:
            raise ValueError(f"{len(frames)} frames came of an excerpt of {count}")
        if count == 0:
            self._tail = excerpt.signal
            return
        self._tail = excerpt.signal[count * self.config.hop :].copy()
        if self._tables.chroma is not None:
            self._held = frames[-1, _notes(self.config)].copy()
        self._phase = (self._phase + count) % self._tables.every


def features_of(config: FrontEndConfig, excerpts: Sequence[Excerpt]) -> list[NDArray[np.float32]]:
    """The frames that excerpts of any number of streams complete, computed together.

    Args:
        config: of the front-ends that gave the excerpts.
        excerpts: of any lengths.

    Returns:
        Of each excerpt, float32 [frames, width], as `FrontEnd.push` returns them; to 1e-6 what it
        would be alone.
    """
    tables = _tables(config)
    counts = [_count(excerpt, config, tables) for excerpt in excerpts]
    ends = list(accumulate(counts, initial=0))
    frames = np.empty((ends[-1], config.width), dtype=np.float32)
    parts = [frames[start:end] for start, end in pairwise(ends)]
    first = tables.reach + config.hop  # where the first window of every excerpt ends
    _transform(
        (
            _windows(excerpt.signal, first, count, config.fft_size, config.hop)
            for excerpt, count in zip(excerpts, counts, strict=True)
        ),
        tables.hann,
        _PIECE,
        lambda windows, out: _levels(windows, out, config, tables.bank),
        frames[:, : config.bands],
    )
    if tables.chroma is not None:
        _add_chroma(excerpts, parts, config, tables, tables.chroma)
    if config.peaks:
        _add_peaks(excerpts, parts, config, tables)
    return parts


def _count(excerpt: Excerpt, config: FrontEndConfig, tables: _Tables) -> int:
    """How many frames an excerpt completes."""
    return (len(excerpt.signal) - tables.reach) // config.hop


def _levels(
    windows: NDArray[np.float32],
    out: NDArray[np.float32],
    config: FrontEndConfig,
    bank: BandedMatrix,
) -> None:
    """Writes the mel bands of windows [n, fft_size] into `out` [n, bands]."""
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
    """Fills in the pitch classes; between two computations the last one holds."""
    every = tables.every
    # Computed with the frames that end on a multiple of the hop of the pitch classes.
    fresh = [
        (excerpt.phase + len(part)) // every for excerpt, part in zip(excerpts, parts, strict=True)
    ]
    values = np.empty((sum(fresh), PITCH_CLASSES), dtype=np.float32)

    def notes(windows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
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
            for excerpt, count in zip(excerpts, fresh, strict=True)
        ),
        chroma.hann,
        _CHROMA_PIECE,
        notes,
        values,
    )
    start = 0
    for excerpt, part, count in zip(excerpts, parts, fresh, strict=True):
        known = np.concatenate((excerpt.held[None], values[start : start + count]))
        start += count
        done = np.arange(excerpt.phase + 1, excerpt.phase + 1 + len(part)) // every
        part[:, _notes(config)] = known[done]


def _add_peaks(
    excerpts: Sequence[Excerpt],
    parts: Sequence[NDArray[np.float32]],
    config: FrontEndConfig,
    tables: _Tables,
) -> None:
    """Fills in the largest sample of each frame's newest hop."""
    for excerpt, part in zip(excerpts, parts, strict=True):
        newest = excerpt.signal[tables.reach : tables.reach + len(part) * config.hop]
        hops = newest.reshape(len(part), config.hop)
        peak = np.maximum(hops.max(1, initial=0.0), -hops.min(1, initial=0.0))
        part[:, -1] = np.log10(np.float32(1.0) + np.float32(config.log_scale) * peak * peak)


def _notes(config: FrontEndConfig) -> slice:
    """Where the pitch classes lie in a frame."""
    return slice(config.bands, config.bands + config.pitch_classes)


def _windows(
    signal: NDArray[np.float32], first_end: int, count: int, size: int, hop: int
) -> NDArray[np.float32]:
    """Overlapping views [count, size] of a signal; the first ends before sample `first_end`."""
    # The plain constructor costs a tenth of numpy's stride tricks and checks the bounds as well.
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
    piece: int,
    compute: Callable[[NDArray[np.float32], NDArray[np.float32]], None],
    out: NDArray[np.float32],
) -> None:
    """Multiplies windows by `hann` and computes `out` from them, `piece` of them at a time.

    Args:
        views: each float32 [any number, size].
        compute: is given windows and where to write what becomes of them.
        out: a row for each window of all views.
    """
    gathered = _SCRATCH.array("windows", min(piece, len(out)), len(hann))
    filled = done = 0
    for view in views:
        start = 0
        while start < len(view):
            taken = min(len(gathered) - filled, len(view) - start)
            rows = slice(filled, filled + taken)
            np.multiply(view[start : start + taken], hann, out=gathered[rows])
            start += taken
            filled += taken
            if filled == len(gathered):
                compute(gathered, out[done : done + filled])
                done += filled
                filled = 0
    if filled:
        compute(gathered[:filled], out[done:])


def features(
    samples: NDArray[np.float32], config: FrontEndConfig | None = None
) -> NDArray[np.float32]:
    """All frames of a whole signal: what a stream of it would give.

    Args:
        samples: float32 [n] mono at the configuration's rate.

    Returns:
        float32 [n // hop, width].
    """
    return FrontEnd(config).push(samples)
