import numpy as np
from mer_engine.chroma import Chroma, periodic_hann
from mer_engine.spectrum import Scratch
from numpy.typing import NDArray
from support import music

RATE_HZ, SIZE, LOW_HZ, HIGH_HZ = 16_000, 4096, 130.0, 3_000.0


def straightforward(windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The definition, one note at a time: thirds of semitones, each with its 37 neighbours."""
    bins_hz = np.arange(SIZE // 2 + 1) * RATE_HZ / SIZE
    thirds = np.arange((48 - 7) * 3, (102 + 7) * 3 + 1)
    found = np.zeros((len(windows), 12))
    for row, window in enumerate(windows):
        magnitude = np.abs(np.fft.rfft(window.astype(np.float64)))
        strength = []
        for third in thirds:
            centre_hz = 440.0 * 2 ** ((third / 3 - 69) / 12)
            half_hz = max(centre_hz * (2 ** (1 / 36) - 1) * 2, RATE_HZ / SIZE)
            weights = np.maximum(0.0, 1 - np.abs(bins_hz - centre_hz) / half_hz)
            strength.append(np.sqrt(magnitude @ weights / weights.sum()))
        around = [strength[max(i - 18, 0) : i + 19] for i in range(len(thirds))]
        mean = np.array([np.mean(a) for a in around])
        spread = np.array([np.std(a) for a in around])
        outstanding = (strength - mean) / (spread + 0.05 * spread.max() + 0.01)
        for third, value in zip(thirds, outstanding, strict=True):
            if third % 3 == 0 and 48 <= third // 3 <= 102:
                found[row, third // 3 % 12] += max(value, 0.0)
        found[row] /= found[row].sum() + 0.01
    return found


def test_chroma_equals_its_definition() -> None:
    signal = music(3.0, RATE_HZ)[:, 0]
    windows = np.lib.stride_tricks.sliding_window_view(signal, SIZE)[::4321] * periodic_hann(SIZE)
    chroma = Chroma(RATE_HZ, SIZE, LOW_HZ, HIGH_HZ)
    assert len(windows) > 5
    np.testing.assert_allclose(chroma(windows, Scratch()), straightforward(windows), atol=1e-4)


def test_silence_has_no_notes() -> None:
    windows = np.zeros((2, SIZE), np.float32)
    assert not Chroma(RATE_HZ, SIZE, LOW_HZ, HIGH_HZ)(windows, Scratch()).any()
