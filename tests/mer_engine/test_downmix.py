import numpy as np
import pytest
from mer_engine.downmix import SEGMENT_S, SEGMENTS, Downmix

RATE_HZ = 16_000
SWITCH_S = (SEGMENTS + 1) * SEGMENT_S  # until the weights have changed


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def mix(samples: np.ndarray, size: int | None = None) -> np.ndarray:
    downmix = Downmix(samples.shape[1], RATE_HZ)
    size = size or len(samples)
    parts = [downmix.mix(samples[start : start + size]) for start in range(0, len(samples), size)]
    return np.concatenate(parts)


def stereo(correlation: float, seconds: float = 5.0) -> np.ndarray:
    """Return stereo of equal levels with a correlation: float32 [n, 2]."""
    left, other = noise(seconds), noise(seconds, 1)
    right = correlation * left + np.sqrt(1 - correlation**2) * other
    return np.stack([left, right], axis=1).astype(np.float32)


@pytest.mark.parametrize("correlation", [1.0, 0.5, 0.0, -0.3, -0.6])
def test_ordinary_stereo_is_exactly_the_mean(correlation: float) -> None:
    samples = stereo(correlation)
    np.testing.assert_array_equal(mix(samples), samples.mean(axis=1))


def test_one_channel_is_not_changed() -> None:
    samples = noise(2.0)[:, None]
    np.testing.assert_array_equal(mix(samples), samples[:, 0])


@pytest.mark.parametrize("channels", [3, 8])
def test_a_single_channel_among_many_is_not_cancellation(channels: int) -> None:
    samples = np.zeros((4 * RATE_HZ, channels), np.float32)
    samples[:, 1] = noise(4.0)
    np.testing.assert_allclose(mix(samples), samples.mean(axis=1), atol=1e-8)


@pytest.mark.parametrize("right", [-1.0, -1.2])
def test_anti_phase_stereo_keeps_its_power(right: float) -> None:
    left = noise(5.0)
    samples = np.stack([left, np.float32(right) * left], axis=1)
    mixed = mix(samples)
    start = round(SWITCH_S * RATE_HZ)
    loudest = samples[:, 0] if right == -1.0 else samples[:, 1]
    np.testing.assert_array_equal(mixed[start:], loudest[start:])
    np.testing.assert_allclose(mixed[: start // 2], samples[: start // 2].mean(axis=1), atol=1e-8)


def test_the_mean_comes_back_with_ordinary_stereo() -> None:
    left = noise(4.0)
    anti = np.stack([left, -left], axis=1)
    samples = np.concatenate([stereo(0.0, 4.0), anti, stereo(0.0, 4.0)])
    mixed = mix(samples)
    mean = samples.mean(axis=1)
    first, last = 4 * RATE_HZ, round((8 + SWITCH_S) * RATE_HZ)
    np.testing.assert_array_equal(mixed[:first], mean[:first])
    np.testing.assert_array_equal(mixed[last:], mean[last:])
    middle = slice(round(6 * RATE_HZ), 8 * RATE_HZ)
    np.testing.assert_array_equal(np.abs(mixed[middle]), np.abs(left[2 * RATE_HZ :]))


@pytest.mark.parametrize("size", [1, 7, 441, 1600, 5000])
def test_block_sizes_do_not_change_the_mix(size: int) -> None:
    left = noise(2.5)
    samples = np.concatenate([np.stack([left, -left], axis=1), stereo(0.0, 2.0)])
    np.testing.assert_allclose(mix(samples, size), mix(samples), atol=1e-7)


def test_the_change_has_no_click() -> None:
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    left = np.sin(2 * np.pi * 110 * time_s).astype(np.float32)
    mixed = mix(np.stack([left, -left], axis=1))
    assert np.abs(np.diff(mixed)).max() < 1.05 * np.abs(np.diff(left)).max()


def test_silence_keeps_the_weights() -> None:
    left = noise(3.0)
    silence = np.zeros((3 * RATE_HZ, 2), np.float32)
    samples = np.concatenate([np.stack([left, -left], axis=1), silence])
    downmix = Downmix(2, RATE_HZ)
    downmix.mix(samples)
    after = np.stack([left, -left], axis=1)
    np.testing.assert_array_equal(downmix.mix(after), left)
    downmix.reset()
    assert np.abs(downmix.mix(after[: RATE_HZ // 2])).max() == 0.0
