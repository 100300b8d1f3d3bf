import numpy as np
import pytest

from realtime_mer.core.level import audible_powers

RATE_HZ = 16_000
TICK = RATE_HZ // 10


def level_db(signal: np.ndarray) -> float:
    """Return the highest level of a tick in dBFS."""
    ticks = signal[: len(signal) // TICK * TICK].reshape(-1, TICK).astype(np.float32)
    return 10 * float(np.log10(audible_powers(ticks).max() + 1e-20))


def tone(hz: float, rms_db: float = -40.0, phase: float = 0.3) -> np.ndarray:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    signal = np.sqrt(2) * 10 ** (rms_db / 20) * np.sin(2 * np.pi * hz * time_s + phase)
    return np.asarray(signal)


@pytest.mark.parametrize("hz", [5, 16.7, 25, 49.8, 50, 50.2, 55, 59.9, 60, 60.1])
@pytest.mark.parametrize("phase", [0.0, 0.7, 1.6])
def test_mains_hum_is_far_below_the_silence_level(hz: float, phase: float) -> None:
    assert level_db(tone(hz, -40.0, phase)) < -80.0


@pytest.mark.parametrize("offset", [-0.9, 0.001, 0.5])
def test_an_offset_has_no_level(offset: float) -> None:
    assert level_db(np.full(RATE_HZ, offset)) < -65.0
    noise = 1e-2 * np.random.default_rng(0).standard_normal(RATE_HZ)
    assert level_db(noise + offset) == pytest.approx(level_db(noise), abs=0.1)


@pytest.mark.parametrize("hz", [82.4, 100, 110, 440, 7000])
def test_tones_of_music_keep_their_level(hz: float) -> None:
    assert level_db(tone(hz)) == pytest.approx(-40.0, abs=2.0)


@pytest.mark.parametrize("fundamental_hz", [41.2, 32.7])
def test_a_bass_and_a_pedal_count_by_their_overtones(fundamental_hz: float) -> None:
    # Each overtone 6 dB below the one before, as of a soft organ pedal.
    signal = sum(tone(fundamental_hz * n, -30.0 - 6.0 * (n - 1)) for n in range(1, 6))
    assert level_db(np.asarray(signal)) > -50.0


def test_white_noise_keeps_nearly_all_of_its_power() -> None:
    ticks = np.random.default_rng(1).standard_normal((50, TICK)).astype(np.float32)
    assert audible_powers(ticks).mean() == pytest.approx((ticks**2).mean(), rel=0.02)
