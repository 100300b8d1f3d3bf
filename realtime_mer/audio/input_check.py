"""Check a few seconds of an input: level, clipping, offset and lost samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime_mer.audio.source import Block, EndOfStream, Input, Source, SourceLost
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.config import MAX_SAMPLE

FLOOR_DB = -120.0
SILENCE_DB = -60.0
QUIET_DB = -45.0
CLIP_LEVEL = 0.999
CLIP_FRACTION = 1e-4  # of all samples; modern records contain a few full-scale samples
DC_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class InputCheckResult:
    """The result of an input check.

    Attributes:
        audio_s: seconds of audio received.
        took_s: duration of the check in seconds, from the first block.
        level_db, peak_db: RMS and peak, dB full scale, at least -120.
        clipped: fraction (0 to 1) of the samples at full scale.
        dc_offset: mean of the channel where it is largest, full scale 1.
        overflows: number of times that the device reported lost input.
        dropped: sample frames that were lost in this process.
        bad_samples: values that cannot be samples: not finite, or far above full scale.
        channel_levels_db: RMS of every channel.
        ended: why the audio ended before the check did, or None.
    """

    audio_s: float
    took_s: float
    level_db: float
    peak_db: float
    clipped: float
    dc_offset: float
    overflows: int
    dropped: int
    bad_samples: int
    channel_levels_db: tuple[float, ...]
    ended: str | None

    def problems(self, info: Input) -> list[str]:
        """Return a sentence per problem, the worst first; empty if there is none."""
        if self.audio_s == 0:
            return [f"no audio arrives from {info.name}: {self.ended or 'no data'}"]
        problems = []
        if self.bad_samples:
            problems.append(f"{self.bad_samples} values cannot be samples: the format may be wrong")
        if self.ended is not None and info.live:
            problems.append(f"the input broke off after {self.audio_s:.1f} s: {self.ended}")
        elif info.live and not info.paced and self.audio_s < 0.5 * self.took_s:
            problems.append(
                f"only {self.audio_s:.1f} s of audio arrived in {self.took_s:.1f} s: the device "
                "stalls"
            )
        if self.overflows or self.dropped:
            problems.append(
                f"input was lost ({self.overflows} overflows, "
                f"{self.dropped / info.sample_rate_hz:.2f} s dropped): the computer is too busy"
            )
        if self.peak_db <= FLOOR_DB:
            problems.append(
                "there is only digital silence: the input is muted or not connected, or the "
                "program may not use the microphone"
            )
        elif self.level_db < SILENCE_DB:
            problems.append(
                f"the input is silent ({self.level_db:.0f} dB): play music or raise the input level"
            )
        elif self.level_db < QUIET_DB:
            problems.append(
                f"the input is very quiet ({self.level_db:.0f} dB): raise the input level"
            )
        if self.clipped > CLIP_FRACTION:
            problems.append(
                f"the input is too loud: {100 * self.clipped:.2g} % of the samples are clipped; "
                "lower the input level"
            )
        if abs(self.dc_offset) > DC_LIMIT:
            problems.append(
                f"the signal has a constant offset of {self.dc_offset:+.2f}: the sound card may be "
                "faulty"
            )
        return problems


class LevelMeter:
    """Accumulates statistics of blocks.

    Args:
        info: of the source of the blocks.
    """

    def __init__(self, info: Input) -> None:
        self._info = info
        self._frames = 0
        self._sum = np.zeros(info.channels)
        self._squares = np.zeros(info.channels)
        self._peak = 0.0
        self._clipped = 0
        self._overflows = 0
        self._dropped = 0
        self._bad = 0

    @property
    def audio_s(self) -> float:
        """Seconds of audio so far."""
        return self._frames / self._info.sample_rate_hz

    def add(self, block: Block) -> None:
        """Add a block."""
        good = np.abs(block.samples) <= MAX_SAMPLE  # false for values that are not numbers
        bad = int(good.size - np.count_nonzero(good))
        samples = np.where(good, block.samples, 0).astype(np.float64) if bad else block.samples
        self._bad += bad
        self._frames += len(samples)
        self._sum += samples.sum(axis=0, dtype=np.float64)
        self._squares += np.square(samples, dtype=np.float64).sum(axis=0)
        magnitude = np.abs(samples)
        self._peak = max(self._peak, float(magnitude.max()))
        self._clipped += int(np.count_nonzero(magnitude >= CLIP_LEVEL))
        self._overflows += block.overflows
        self._dropped += block.dropped_before

    def result(self, took_s: float, ended: str | None) -> InputCheckResult:
        """Return the result for the blocks so far; for the arguments see `InputCheckResult`."""
        frames = max(self._frames, 1)
        means = self._sum / frames
        powers = self._squares / frames
        return InputCheckResult(
            audio_s=self.audio_s,
            took_s=took_s,
            level_db=_db(math.sqrt(float(powers.mean()))),
            peak_db=_db(self._peak),
            clipped=self._clipped / (frames * self._info.channels),
            dc_offset=float(means[np.argmax(np.abs(means))]),
            overflows=self._overflows,
            dropped=self._dropped,
            bad_samples=self._bad,
            channel_levels_db=tuple(_db(math.sqrt(float(power))) for power in powers),
            ended=ended,
        )


def check_input(
    source: Source, seconds: float, *, timeout_s: float = 5.0, clock: Clock | None = None
) -> tuple[InputCheckResult, list[Block]]:
    """Read and check an input.

    Args:
        source: an open source; it stays open.
        seconds: how much audio to read.
        timeout_s: how much longer than `seconds` the check may take.
        clock: the clock; the system's where None.

    Returns:
        The result, and the blocks that were read.
    """
    clock = clock or SystemClock()
    meter = LevelMeter(source.info)
    blocks: list[Block] = []
    ended = None
    start = clock.monotonic()
    first = start  # until the first block arrives; a slow start of a device is not a stall
    while meter.audio_s < seconds:
        left = start + seconds + timeout_s - clock.monotonic()
        if left <= 0:
            break
        try:
            block = source.read(min(left, 0.5))
        except (EndOfStream, SourceLost) as end:
            ended = str(end)
            break
        if block is not None:
            if not blocks:
                first = clock.monotonic()
            meter.add(block)
            blocks.append(block)
    return meter.result(clock.monotonic() - first, ended), blocks


def _db(amplitude: float) -> float:
    return max(FLOOR_DB, 20 * math.log10(amplitude)) if amplitude > 0 else FLOOR_DB
