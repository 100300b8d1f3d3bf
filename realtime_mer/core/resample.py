"""Streaming conversion of any sample rate and channel count to the front-end's mono signal."""

from __future__ import annotations

import numpy as np
import soxr
from mer_engine.downmix import Downmix
from numpy.typing import NDArray

from realtime_mer.core.config import MAX_SAMPLE, check_format
from realtime_mer.core.polyphase import Polyphase, has_polyphase, polyphase
from realtime_mer.errors import BadSamplesError, UserError

# Input is resampled in chunks of at least this length, so that small blocks do not cost a call
# each; the shorter length applies when an estimate waits for the samples.
CHUNK_S = 0.05
URGENT_CHUNK_S = 0.002


class StreamResampler:
    """Downmixes (mean of the channels, see `Downmix`) and resamples a stream.

    Output sample i is the signal at the time i / output_rate_hz, and n input samples give
    n * output_rate_hz // input_rate_hz output samples. The output does not depend on how the input
    is cut into blocks.

    Rates with a ratio of small numbers, which includes the usual rates of sound cards and files,
    use the `Polyphase` filter. Other rates use soxr's variable-rate engine, which takes ten times
    the compute and delays by 12.5 ms at 48 kHz, against 4.6 ms of the filter. soxr's fixed-rate
    engine releases samples in bursts up to 40 ms late. The filter has the same pass and stop bands
    as soxr's fixed-rate engine, which resampled the training clips.

    Args:
        input_rate_hz: 8,000 to 192,000.
        channels: 1 to 64.
        output_rate_hz: sample rate of the front-end.

    Raises:
        UserError: the format is out of range.
    """

    def __init__(self, input_rate_hz: int, channels: int, output_rate_hz: int) -> None:
        check_format(input_rate_hz, channels)
        self.input_rate_hz = input_rate_hz
        self.channels = channels
        self.output_rate_hz = output_rate_hz
        self._downmix = Downmix(channels, input_rate_hz)
        self._chunk = int(input_rate_hz * CHUNK_S)
        self._urgent_chunk = int(input_rate_hz * URGENT_CHUNK_S)
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._downmix.reset()
        self._pending: list[NDArray[np.float32]] = []
        self._pending_samples = 0
        self._stream: _FilterStream | _SoxrStream | None = None
        rates = (self.input_rate_hz, self.output_rate_hz)
        if self.input_rate_hz != self.output_rate_hz:
            self._stream = (
                _FilterStream(polyphase(*rates)) if has_polyphase(*rates) else _SoxrStream(*rates)
            )

    def mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Check the next block and return its downmix.

        Args:
            block: float32 [n] or [n, channels], full scale 1.0.

        Returns:
            float32 [n].

        Raises:
            UserError: another number of channels.
            BadSamplesError: NaN, infinite values, or values beyond `MAX_SAMPLE`.
        """
        samples = np.asarray(block, dtype=np.float32)
        if samples.ndim == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            raise UserError(
                f"a block has the shape {np.shape(block)}; {self.channels} channel(s) were declared"
            )
        # No sample is larger than the energy of all. This one pass shows that most short blocks are
        # clean. In long and loud ones the extremes do, which are NaN where a sample is.
        flat = samples.ravel()
        with np.errstate(invalid="ignore", over="ignore"):
            energy = float(np.dot(flat, flat))
        if not (energy <= MAX_SAMPLE**2 or -MAX_SAMPLE <= flat.min() <= flat.max() <= MAX_SAMPLE):
            _check_samples(samples)
        return self._downmix.mix(samples)

    def push(
        self, mono: NDArray[np.float32], *, urgent: bool = True, last: bool = False
    ) -> NDArray[np.float32]:
        """Add mono samples at the input rate and return the available output samples.

        Args:
            mono: float32 [n], as from `mono`.
            urgent: an estimate waits for these samples; otherwise up to 50 ms of input may stay
                in the resampler.
            last: the stream ends; return all remaining samples too.
        """
        self._pending.append(mono)
        self._pending_samples += len(mono)
        chunk = self._urgent_chunk if urgent else self._chunk
        if self._pending_samples < chunk and not last:
            return np.empty(0, dtype=np.float32)
        samples = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
        self._pending, self._pending_samples = [], 0
        if self._stream is None:
            return samples.copy()
        return self._stream.push(samples, last=last)


def without_bad_samples(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy with silence in the place of what raises `BadSamplesError`, same shape."""
    return np.where(_is_sample(samples), samples, np.float32(0.0))


def _is_sample(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(samples) <= MAX_SAMPLE)  # False for NaN


def _check_samples(samples: NDArray[np.float32]) -> None:
    good = _is_sample(samples)
    if good.all():
        return
    position = int(np.argmin(good.all(axis=1)))
    bad = samples[position][~good[position]]
    raise BadSamplesError(position, good.size - int(good.sum()), float(bad[0]))


class _FilterStream:
    """One stream through a filter that many streams share."""

    def __init__(self, filter_: Polyphase) -> None:
        self._filter = filter_
        # The signal from `reach` samples before the time of the current block's first output.
        self._signal = np.zeros(filter_.reach, dtype=np.float32)
        self._returned = 0  # outputs of the current block that were returned
        # Since the start of the stream:
        self._total_in = 0
        self._total_out = 0

    def push(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        filter_ = self._filter
        self._total_in += len(samples)
        silence = np.zeros(filter_.reach if last else 0, dtype=np.float32)
        self._signal = np.concatenate((self._signal, samples, silence))
        total = self._total_in * filter_.up // filter_.down
        end = min(filter_.ready(len(self._signal)), self._returned + total - self._total_out)
        if end <= self._returned:
            return np.empty(0, dtype=np.float32)
        outputs = filter_.outputs(self._signal, self._returned, end)
        self._total_out += len(outputs)
        blocks, self._returned = divmod(end, filter_.block)
        self._signal = self._signal[blocks * filter_.advance :].copy()
        return outputs


class _SoxrStream:
    """One stream through soxr's variable-rate engine, at a constant rate."""

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        self._stream = soxr.ResampleStream(
            input_rate_hz, output_rate_hz, 1, dtype="float32", quality="HQ", vr=True
        )

    def push(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        return np.asarray(self._stream.resample_chunk(samples, last=last), dtype=np.float32)
