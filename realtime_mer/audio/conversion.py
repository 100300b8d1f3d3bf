"""Convert blocks to the format of a session whose input came back in another one."""

from __future__ import annotations

import numpy as np

from realtime_mer.audio.source import Samples
from realtime_mer.core.resample import StreamResampler, without_bad_samples
from realtime_mer.errors import BadSamplesError


class Conversion:
    """Converts the sample rate and the number of channels of a stream.

    The signal is mixed to one channel, as `Pipeline` does it, and copied to each channel of the
    result: an estimate is the same as in a session that started with the new format. Values that
    cannot be samples become silence.

    Args:
        sample_rate_hz: of the input, 8,000 to 192,000.
        channels: of the input, 1 to 64.
        to_rate_hz: of the result.
        to_channels: of the result.

    Raises:
        UserError: the input's format is out of range.
    """

    def __init__(
        self, sample_rate_hz: int, channels: int, *, to_rate_hz: int, to_channels: int
    ) -> None:
        self._resampler = StreamResampler(sample_rate_hz, channels, to_rate_hz)
        self._to_channels = to_channels

    def convert(self, samples: Samples) -> Samples:
        """Return what can be converted by now: float32 [n, to_channels]; n may be 0.

        Args:
            samples: float32 [n, channels].
        """
        try:
            mono = self._resampler.mono(samples)
        except BadSamplesError:
            mono = self._resampler.mono(without_bad_samples(samples))
        signal = self._resampler.push(mono)
        return np.repeat(signal[:, None], self._to_channels, axis=1)
