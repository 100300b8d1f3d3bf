import tracemalloc

import numpy as np
import pytest
import soxr
from mer_engine.frontend import features
from support import blocks, music

from realtime_mer.core.resample import StreamResampler, without_bad_samples
from realtime_mer.errors import BadSamplesError, UserError


def resample(resampler: StreamResampler, signal: np.ndarray, sizes: list[int]) -> np.ndarray:
    parts = [resampler.push(resampler.mono(block)) for block in blocks(signal, sizes)]
    parts.append(resampler.push(np.empty(0, dtype=np.float32), last=True))
    return np.concatenate(parts)


# The usual rates of sound cards and files, and a rate that needs soxr.
USUAL_HZ = [
    *(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    *(88_200, 96_000, 176_400, 192_000),
]
UNUSUAL_HZ = 44_101


def level_db(signal: np.ndarray) -> float:
    """Return the level of a tone relative to a full-scale tone."""
    return 10 * float(np.log10(2 * np.mean(signal.astype(np.float64) ** 2) + 1e-20))


def tone(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [*USUAL_HZ, UNUSUAL_HZ])
def test_block_sizes_do_not_change_the_output(rate_hz: int) -> None:
    signal = music(1.0, rate_hz)
    reference = resample(StreamResampler(rate_hz, 1, 16_000), signal, [len(signal)])
    assert len(reference) == pytest.approx(16_000, abs=2 if rate_hz == UNUSUAL_HZ else 0)
    for sizes in ([441], [1, 7, 1000], [rate_hz // 3]):
        other = resample(StreamResampler(rate_hz, 1, 16_000), signal, sizes)
        np.testing.assert_allclose(other, reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [*USUAL_HZ, UNUSUAL_HZ])
def test_urgency_does_not_change_the_output(rate_hz: int) -> None:
    signal = music(0.5, rate_hz)[:, 0]
    reference = resample(StreamResampler(rate_hz, 1, 16_000), signal, [len(signal)])
    resampler = StreamResampler(rate_hz, 1, 16_000)
    parts = [
        resampler.push(block, urgent=index % 7 == 0)
        for index, block in enumerate(blocks(signal, [rate_hz // 300, 0, rate_hz // 50]))
    ]
    parts.append(resampler.push(np.empty(0, dtype=np.float32), last=True))
    np.testing.assert_allclose(np.concatenate(parts), reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate_hz", USUAL_HZ)
def test_a_band_limited_signal_is_resampled_exactly(rate_hz: int) -> None:
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(rate_hz))  # one second: one bin per hertz
    spectrum[int(0.9 * min(rate_hz, 16_000) / 2) :] = 0.0
    spectrum *= 0.5 / np.abs(np.fft.irfft(spectrum, rate_hz)).max()
    noise = np.fft.irfft(spectrum, rate_hz).astype(np.float32)
    out = resample(StreamResampler(rate_hz, 1, 16_000), noise, [777])
    # The same spectrum at the output rate; numpy truncates or zero-pads it.
    exact = np.fft.irfft(spectrum, 16_000) * 16_000 / rate_hz
    np.testing.assert_allclose(out[500:-500], exact[500:-500], rtol=0, atol=5e-6)
    # soxr's best quality is itself off by nearly 1e-4 for ratios that are not whole.
    by_soxr = soxr.resample(noise, rate_hz, 16_000, quality="VHQ")
    np.testing.assert_allclose(out[500:-500], by_soxr[500:-500], rtol=0, atol=1.5e-4)


@pytest.mark.parametrize("rate_hz", [rate for rate in USUAL_HZ if rate != 16_000])
def test_pass_band_and_stop_band(rate_hz: int) -> None:
    def after_db(frequency_hz: float) -> float:
        frequency_hz -= frequency_hz % 4  # a whole number of periods in the measured part
        resampler = StreamResampler(rate_hz, 1, 16_000)
        return level_db(resample(resampler, tone(frequency_hz, rate_hz), [rate_hz])[2000:-2000])

    nyquist_hz = min(rate_hz, 16_000) / 2
    for share in (0.01, 0.3, 0.6, 0.8, 0.9, 0.9125):
        assert after_db(share * nyquist_hz) == pytest.approx(0.0, abs=1e-3)
    for share in (1.0, 1.01, 1.125, 1.33, 2.1, 3.3):
        if share * nyquist_hz < rate_hz / 2:
            assert after_db(share * nyquist_hz) < -95.0


@pytest.mark.parametrize("rate_hz", [8_000, 11_025])
def test_there_are_no_images_above_the_input_band(rate_hz: int) -> None:
    out = resample(StreamResampler(rate_hz, 1, 16_000), tone(0.4 * rate_hz, rate_hz), [rate_hz])
    spectrum = np.abs(np.fft.rfft(out[1000:-1000] * np.hanning(len(out) - 2000)))
    image = round(rate_hz / 2 / 16_000 * (len(out) - 2000))
    assert spectrum[image:].max() / spectrum.max() < 10 ** (-95 / 20)


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000, 96_000])
def test_features_equal_those_of_the_training_clips(rate_hz: int) -> None:
    rng = np.random.default_rng(0)
    signal = music(3.0, rate_hz)[:, 0]
    signal += 0.1 * rng.standard_normal(len(signal)).astype(
        np.float32
    )  # up to and above the edge of the pass band
    live = features(resample(StreamResampler(rate_hz, 1, 16_000), signal, [777]))
    training = features(soxr.resample(signal, rate_hz, 16_000))  # as for the training clips
    np.testing.assert_allclose(live[1:-1], training[1:-1], atol=0.1)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 192_000])
def test_the_delay_is_below_5_ms(rate_hz: int) -> None:
    resampler = StreamResampler(rate_hz, 1, 16_000)
    block = rate_hz // 200
    worst_s = 0.0
    out = 0
    for index in range(400):
        out += len(resampler.push(music(0.005, rate_hz)[:block, 0]))
        worst_s = max(worst_s, (index + 1) * block / rate_hz - out / 16_000)
    assert worst_s < 0.005


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_an_impulse_leaves_within_5_ms(rate_hz: int) -> None:
    resampler = StreamResampler(rate_hz, 1, 16_000)
    signal = np.zeros(rate_hz, dtype=np.float32)
    impulse = rate_hz // 2
    signal[impulse] = 1.0
    block = rate_hz // 400
    out = np.empty(0, dtype=np.float32)
    for start in range(0, len(signal), block):
        out = np.concatenate((out, resampler.push(signal[start : start + block])))
        if len(out) > 8_000:
            break
    assert abs(out).argmax() == 8_000
    assert (start + block - impulse) / rate_hz < 0.005 + block / rate_hz


def test_a_stream_takes_little_memory() -> None:
    signal = music(1.0, 48_000)[:, 0]
    StreamResampler(48_000, 1, 16_000).push(signal)  # creates the shared filter
    tracemalloc.start()
    try:
        resamplers = [StreamResampler(48_000, 1, 16_000) for _ in range(100)]
        for resampler in resamplers:
            resampler.push(signal)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / len(resamplers) < 5_000


def test_channels_are_averaged() -> None:
    resampler = StreamResampler(44_100, 2, 16_000)
    block = np.array([[1.0, 0.0], [0.5, 0.5]], dtype=np.float32)
    np.testing.assert_allclose(resampler.mono(block), [0.5, 0.5])


@pytest.mark.parametrize("shape", [(10,), (10, 3), (2, 2, 2)])
def test_another_number_of_channels_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"2 channel\(s\) were declared"):
        StreamResampler(44_100, 2, 16_000).mono(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, -3e38, 16.1])
def test_bad_samples_are_errors_with_their_position(value: float) -> None:
    block = np.zeros((10, 2), dtype=np.float32)
    block[7, 1] = value
    with pytest.raises(BadSamplesError, match="at sample 7") as caught:
        StreamResampler(44_100, 2, 16_000).mono(block)
    assert caught.value.count == 1


def test_all_samples_up_to_24_db_above_full_scale_are_accepted() -> None:
    block = np.full((44_100, 2), -16.0, dtype=np.float32)
    np.testing.assert_array_equal(StreamResampler(44_100, 2, 16_000).mono(block), -16.0)


@pytest.mark.parametrize("value", [np.inf, 1e30, 17.0])
def test_bad_samples_that_cancel_are_errors_too(value: float) -> None:
    block = np.zeros((10, 2), dtype=np.float32)
    block[3] = value, -value
    with pytest.raises(BadSamplesError, match="contains 2 value"):
        StreamResampler(44_100, 2, 16_000).mono(block)


def test_silence_in_the_place_of_bad_samples() -> None:
    block = np.array([[0.5, np.nan], [-np.inf, -16.0], [1e20, -17.0]], dtype=np.float32)
    np.testing.assert_array_equal(without_bad_samples(block), [[0.5, 0.0], [0.0, -16.0], [0, 0]])


@pytest.mark.parametrize(("rate_hz", "channels"), [(7_999, 1), (192_001, 1), (44_100, 0), (1, 65)])
def test_formats_out_of_range_are_errors(rate_hz: int, channels: int) -> None:
    with pytest.raises(UserError):
        StreamResampler(rate_hz, channels, 16_000)
