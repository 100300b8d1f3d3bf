"""Tempo and beats from an onset function, from the past alone.

As in Stark, Davies and Plumbley, "Real-time beat-synchronous analysis of musical audio", DAFx 2009
(BTrack): a comb over the autocorrelation of the last seconds gives the tempo, and a cumulative
score, in which each frame adds to that of a beat before, gives the beats.
"""

from __future__ import annotations

import math

import numpy as np

from realtime_mer.core.onset_detector import FRAMES_PER_SECOND

# Slower and faster tempi count as their double and their half. Between a tempo and its double, both
# within these limits, a log-normal prior decides.
MIN_BPM = 70.0
MAX_BPM = 180.0
PRIOR_BPM = 115.0
PRIOR_OCTAVES = 0.7
TEMPI = 96
# The tempo is that of the last 8 s, told anew every 0.2 s, from 3 s of sound on.
HISTORY_FRAMES = 8 * FRAMES_PER_SECOND
MIN_HISTORY_FRAMES = 3 * FRAMES_PER_SECOND
UPDATE_FRAMES = 20
# Mean of the autocorrelation at this many multiples of the beat, and the least one with which a
# tempo is found and kept.
COMB = 4
FOUND_SCORE = 0.22
LOST_SCORE = 0.12
# Exponent of this mean; the share of the belief in a tempo that stays near it until the next
# update, the rest going to all others; and how near, as a share of the tempo.
SHARPNESS = 3.0
STAY = 0.97
TEMPO_STEP = 0.02
# The share of a beat's cumulative score that comes from the beat before, and how exactly that lies
# one period earlier (eta of the paper's log-Gaussian).
SCORE_MEMORY = 0.9
TIGHTNESS = 5.0
# A beat lies this near to where it was expected, as a share of the period.
PHASE_WIDTH = 0.3
# The onset function is smoothed, less its mean over these frames.
SMOOTHING = np.array([0.25, 0.5, 1.0, 0.5, 0.25]) / 2.5
MEAN_FRAMES = 16


class TempoTracker:
    """Follows the tempo and the beats of an onset function with 100 values per second.

    Args:
        lead_frames: frames before its place in the onset function at which a beat is told.

    Attributes:
        bpm: beats per minute, 70 to 180; None while it is not known.
        confidence: how periodic the last seconds are, 0 to about 1.
    """

    def __init__(self, *, lead_frames: float = 0.0) -> None:
        self._lead_frames = lead_frames
        self._bpms = np.geomspace(MIN_BPM, MAX_BPM, TEMPI)
        periods = 60.0 * FRAMES_PER_SECOND / self._bpms
        lags = periods[:, None] * np.arange(1, COMB + 1)
        self._below = np.floor(lags).astype(int)
        self._above_share = lags - self._below
        octaves = np.log2(self._bpms / PRIOR_BPM)
        self._prior = np.exp(-0.5 * (octaves / PRIOR_OCTAVES) ** 2)
        step = np.log(self._bpms[:, None] / self._bpms)
        moves = np.exp(-0.5 * (step / TEMPO_STEP) ** 2)
        moves /= moves.sum(axis=0)
        self._moves = STAY * moves + (1.0 - STAY) / TEMPI
        self._fft_size = 2 * HISTORY_FRAMES
        self.reset()

    def reset(self) -> None:
        """Forget the tempo and the beats."""
        self.bpm: float | None = None
        self.confidence = 0.0
        self._belief = self._prior / self._prior.sum()
        self._flux = np.zeros(HISTORY_FRAMES)
        self._scores = np.zeros(HISTORY_FRAMES)
        self._frame = 0
        self._period = 0.0  # frames
        self._next_beat = math.inf  # frame
        self._decide_at = math.inf

    def add(self, flux: float) -> float | None:
        """Take in the next frame.

        Returns:
            The frame of a beat, counted from 1 with fractions; None without one.
        """
        self._flux[:-1] = self._flux[1:]
        self._flux[-1] = flux
        self._frame += 1
        if self._frame % UPDATE_FRAMES == 0 and self._frame >= MIN_HISTORY_FRAMES:
            self._update_tempo()
        self._add_score(flux)
        if self.bpm is None:
            return None
        if self._frame >= self._decide_at:
            self._predict()
        if self._frame + self._lead_frames < self._next_beat:
            return None
        beat = self._next_beat
        self._next_beat = beat + self._period
        self._decide_at = beat + self._period / 2.0
        return beat

    def _update_tempo(self) -> None:
        length = min(self._frame, HISTORY_FRAMES)
        flux = self._flux[-length:]
        mean = np.convolve(flux, np.full(MEAN_FRAMES, 1.0 / MEAN_FRAMES), "same")
        peaks = np.convolve(np.maximum(flux - mean, 0.0), SMOOTHING, "same")
        peaks -= peaks.mean()
        power = np.abs(np.fft.rfft(peaks, self._fft_size)) ** 2
        correlation = np.fft.irfft(power)[: self._below.max() + 2]
        if correlation[0] <= 0.0:
            return
        overlap = np.maximum(length - np.arange(len(correlation)), 1)
        correlation = correlation / correlation[0] * np.minimum(length / overlap, 2.0)
        teeth = (
            correlation[self._below] * (1.0 - self._above_share)
            + correlation[self._below + 1] * self._above_share
        )
        comb = np.maximum(teeth.mean(axis=1), 0.0)
        likelihood = (comb + 1e-3) ** SHARPNESS * self._prior
        belief = (self._moves @ self._belief) * likelihood
        self._belief = belief / belief.sum()
        best = int(np.argmax(self._belief))
        self.confidence = float(comb[max(0, best - 2) : best + 3].max())
        if self.confidence < (FOUND_SCORE if self.bpm is None else LOST_SCORE):
            self.bpm = None
            return
        first = self.bpm is None
        self.bpm = float(self._bpms[best]) * self._fraction(best)
        self._period = 60.0 * FRAMES_PER_SECOND / self.bpm
        if first:
            self._next_beat = -math.inf
            self._predict()

    def _fraction(self, best: int) -> float:
        """Return the factor from a tempo of the grid to the peak of the belief beside it."""
        if not 0 < best < TEMPI - 1:
            return 1.0
        left, middle, right = np.log(self._belief[best - 1 : best + 2] + 1e-12)
        offset = 0.5 * (left - right) / (left - 2.0 * middle + right)
        return float((MAX_BPM / MIN_BPM) ** (offset / (TEMPI - 1)))

    def _add_score(self, flux: float) -> None:
        score = (1.0 - SCORE_MEMORY) * flux
        if self._period:
            lags = np.arange(round(self._period / 2.0), round(2.0 * self._period))
            weights = np.exp(-0.5 * (TIGHTNESS * np.log(lags / self._period)) ** 2)
            score += SCORE_MEMORY * float((weights * self._scores[-lags]).max())
        self._scores[:-1] = self._scores[1:]
        self._scores[-1] = score

    def _predict(self) -> None:
        """Find the newest beat in the scores of the last period, and the next one after it."""
        self._decide_at = math.inf
        length = math.ceil(self._period)
        scores = self._scores[-length:]
        frames = self._frame - length + 1 + np.arange(length)
        if math.isfinite(self._next_beat):
            newest = self._next_beat - self._period
            scores = scores * np.exp(-0.5 * ((frames - newest) / (PHASE_WIDTH * self._period)) ** 2)
        newest = float(frames[int(np.argmax(scores))])
        self._next_beat = newest + self._period
