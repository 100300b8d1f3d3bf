"""Listens for a few seconds and says in plain words what is wrong with the sound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime_mer.audio.source import Block, EndOfStream, InputInfo, Source, SourceLost
from realtime_mer.clock import Clock, SystemClock

FLOOR_DB = -120.0
SILENCE_DB = -60.0
QUIET_DB = -45.0
CLIP_LEVEL = 0.999
CLIP_SHARE = 1e-4  # of all samples; a few full-scale samples are in every modern record
DC_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class InputCheckResult:
    """What a listening test found.

    Attributes:
        audio_s: seconds of audio that came.
        took_s: seconds that it took.
        level_db, peak_db: RMS and peak, dB full scale, at least -120.
        clipped: share (0 to 1) of the samples at full scale.
        dc_offset: the mean, full scale 1; of the channel where it is largest.
        overflows, dropped: reports of lost input; sample frames that we lost.
        bad_samples: values that are not finite numbers.
        channel_levels_db: RMS of every channel.
        ended: why the audio was over before the test, or None.
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

    def problems(self, info: InputInfo) -> list[str]:
        """Sentences about what is wrong, the worst first; empty where all is well."""
        if self.audio_s == 0:
            return [f"no audio arrives from {info.name}: {self.ended or 'nothing came'}"]
        found = []
        if self.bad_samples:
            found.append(f"{self.bad_samples} samples are not numbers: the format may be wrong")
        if self.ended is not None and info.live:
            found.append(f"the input broke off after {self.audio_s:.1f} s: {self.ended}")
        elif info.live and not info.paced and self.audio_s < 0.5 * self.took_s:
            found.append(
                f"only {self.audio_s:.1f} s of audio came in {self.took_s:.1f} s: the device stalls"
            )
        if self.overflows or self.dropped:
            found.append(
                f"input was lost ({self.overflows} overflows, {self.dropped} samples dropped): "
                "the computer is too busy"
            )
        if self.peak_db <= FLOOR_DB:
            found.append(
                "there is only digital silence: the input is muted, not plugged in, or access to "
                "the microphone is not allowed"
            )
        elif self.level_db < SILENCE_DB:
            found.append(f"it is silent ({self.level_db:.0f} dB): play music, or turn the input up")
        elif self.level_db < QUIET_DB:
            found.append(f"it is very quiet ({self.level_db:.0f} dB): turn the input up")
        if self.clipped > CLIP_SHARE:
            found.append(
                f"it is too loud: {100 * self.clipped:.2g} % of the samples are clipped; "
                "turn the input down"
            )
        if abs(self.dc_offset) > DC_LIMIT:
            found.append(
                f"the signal has a constant offset of {self.dc_offset:+.2f}: a cheap or faulty "
                "sound card"
            )
        return found


class LevelMeter:
    """Adds up blocks; `hearing` tells what they were like."""

    def __init__(self, info: InputInfo) -> None:
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
        """Take another block."""
        finite = np.isfinite(block.samples)
        bad = int(finite.size - np.count_nonzero(finite))
        samples = np.where(finite, block.samples, 0).astype(np.float64) if bad else block.samples
        self._bad += bad
        self._frames += len(samples)
        self._sum += samples.sum(axis=0, dtype=np.float64)
        self._squares += np.square(samples, dtype=np.float64).sum(axis=0)
        size = np.abs(samples)
        self._peak = max(self._peak, float(size.max()))
        self._clipped += int(np.count_nonzero(size >= CLIP_LEVEL))
        self._overflows += block.overflows
        self._dropped += block.dropped_before

    def hearing(self, took_s: float, ended: str | None) -> InputCheckResult:
        """What was heard so far."""
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


def listen(
    source: Source, seconds: float, *, patience_s: float = 5.0, clock: Clock | None = None
) -> tuple[InputCheckResult, list[Block]]:
    """Read `seconds` of audio.

    Args:
        source: open; it is not closed here.
        patience_s: how much longer than `seconds` it may take.

    Returns:
        What it is like, and the blocks themselves.
    """
    clock = clock or SystemClock()
    gauge = LevelMeter(source.info)
    blocks: list[Block] = []
    ended = None
    begin = clock.monotonic()
    first = begin  # a device takes its time to start; that is not stalling
    while gauge.audio_s < seconds:
        left = begin + seconds + patience_s - clock.monotonic()
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
            gauge.add(block)
            blocks.append(block)
    return gauge.hearing(clock.monotonic() - first, ended), blocks


def _db(amplitude: float) -> float:
    return max(FLOOR_DB, 20 * math.log10(amplitude)) if amplitude > 0 else FLOOR_DB
