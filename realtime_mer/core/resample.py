"""Any input rate and channel count to the mono signal that the front-end takes, as a stream."""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.typing import NDArray

from realtime_mer.core.config import check_format
from realtime_mer.core.polyphase import Polyphase, has_polyphase, polyphase
from realtime_mer.errors import BadSamplesError, UserError

# Input is gathered so that small blocks do not cost a call each: this many seconds where nothing
# waits for them, this many where an estimate does.
GATHER_S = 0.05
URGENT_GATHER_S = 0.002


class StreamResampler:
    """Downmixes (mean of the channels) and resamples.

    Output sample i is the signal at the time i / output_rate_hz of the input, and n input samples
    make n * output_rate_hz // input_rate_hz. The output does not depend on how the input was cut
    into blocks.

    Rates whose ratio is made of small numbers, as those of all usual sound cards and files are, go
    through a filter of our own (`Polyphase`), others through soxr's variable-rate engine. Of what
    soxr offers, its fixed-rate engine releases samples in bursts up to 40 ms late, and its
    variable-rate engine takes ten times the compute and has 12.5 ms of delay at 48 kHz where this
    filter has 4.6. The filter passes and stops where soxr's fixed-rate engine does, with which
    the clips were resampled that the model has learnt from.

    Args:
        input_rate_hz: 8,000 to 192,000.
        channels: 1 to 64.
        output_rate_hz: what the front-end takes.

    Raises:
        UserError: a format outside these ranges.
    """

    def __init__(self, input_rate_hz: int, channels: int, output_rate_hz: int) -> None:
        check_format(input_rate_hz, channels)
        self.input_rate_hz = input_rate_hz
        self.channels = channels
        self.output_rate_hz = output_rate_hz
        self._share = np.full(channels, 1.0 / channels, dtype=np.float32)
        self._gather = int(input_rate_hz * GATHER_S)
        self._urgent_gather = int(input_rate_hz * URGENT_GATHER_S)
        self.reset()

    def reset(self) -> None:
        """Forgets the signal so far."""
        self._waiting: list[NDArray[np.float32]] = []
        self._waiting_samples = 0
        self._stream: _FilterStream | _SoxrStream | None = None
        rates = (self.input_rate_hz, self.output_rate_hz)
        if self.input_rate_hz != self.output_rate_hz:
            self._stream = (
                _FilterStream(polyphase(*rates)) if has_polyphase(*rates) else _SoxrStream(*rates)
            )

    def mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The downmix of a block, checked.

        Args:
            block: float32 [n] or [n, channels], full scale 1.0.

        Returns:
            float32 [n].

        Raises:
            UserError: another number of channels.
            BadSamplesError: NaN or infinite values.
        """
        samples = np.asarray(block, dtype=np.float32)
        if samples.ndim == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            raise UserError(
                f"a block of shape {np.shape(block)} came where {self.channels} channel(s) "
                "were declared"
            )
        # One pass over the energy finds nearly every block clean; a value that is no number, and
        # one so large that its square is none, is looked for only then.
        with np.errstate(invalid="ignore", over="ignore"):
            mono = samples[:, 0] if self.channels == 1 else samples @ self._share
            energy = float(np.dot(mono, mono))
        if not math.isfinite(energy):
            self._refuse_bad(samples)
        return mono

    def _refuse_bad(self, samples: NDArray[np.float32]) -> None:
        finite = np.isfinite(samples)
        if finite.all():
            return
        position = int(np.argmin(finite.all(axis=1)))
        bad = samples[position][~finite[position]]
        raise BadSamplesError(position, int(np.size(finite) - finite.sum()), float(bad[0]))

    def push(
        self, mono: NDArray[np.float32], *, urgent: bool = True, last: bool = False
    ) -> NDArray[np.float32]:
        """Takes mono samples at the input rate, returns what is ready at the output rate.

        Args:
            mono: float32 [n], as `mono` returns.
            urgent: somebody waits for these samples; otherwise they may stay inside for 50 ms.
            last: nothing follows; what is still inside comes out too.
        """
        self._waiting.append(mono)
        self._waiting_samples += len(mono)
        enough = self._urgent_gather if urgent else self._gather
        if self._waiting_samples < enough and not last:
            return np.empty(0, dtype=np.float32)
        samples = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._waiting_samples = [], 0
        if self._stream is None:
            return samples.copy()
        return self._stream.push(samples, last=last)


class _FilterStream:
    """A stream through a filter that many streams share."""

    def __init__(self, filter_: Polyphase) -> None:
        self._filter = filter_
        # The signal from `reach` samples before the time of the present block's first output.
        self._signal = np.zeros(filter_.reach, dtype=np.float32)
        self._out = 0  # outputs of the present block that have been given
        # Since the start of the stream:
        self._total_in = 0
        self._total_out = 0

    def push(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        own = self._filter
        self._total_in += len(samples)
        silence = np.zeros(own.reach if last else 0, dtype=np.float32)
        self._signal = np.concatenate((self._signal, samples, silence))
        total = self._total_in * own.up // own.down
        ready = min(own.ready(len(self._signal)), self._out + total - self._total_out)
        if ready <= self._out:
            return np.empty(0, dtype=np.float32)
        found = own.outputs(self._signal, self._out, ready)
        self._total_out += len(found)
        blocks, self._out = divmod(ready, own.block)
        self._signal = self._signal[blocks * own.advance :].copy()
        return found


class _SoxrStream:
    """A stream through soxr's variable-rate engine, whose rate stays the same."""

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        self._stream = soxr.ResampleStream(
            input_rate_hz, output_rate_hz, 1, dtype="float32", quality="HQ", vr=True
        )

    def push(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        return np.asarray(self._stream.resample_chunk(samples, last=last), dtype=np.float32)
