import numpy as np
import pytest
from support import blocks, music

from realtime_mer.errors import BadSamplesError, UserError
from realtime_mer.resample import StreamResampler


def whole(resampler: StreamResampler, signal: np.ndarray, sizes: list[int]) -> np.ndarray:
    parts = [resampler.push(resampler.mono(block)) for block in blocks(signal, sizes)]
    parts.append(resampler.push(np.empty(0, dtype=np.float32), last=True))
    return np.concatenate(parts)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_block_sizes_change_nothing(rate_hz: int) -> None:
    signal = music(1.0, rate_hz)
    reference = whole(StreamResampler(rate_hz, 1, 16_000), signal, [len(signal)])
    assert len(reference) == pytest.approx(16_000, abs=2)
    for sizes in ([441], [1, 7, 1000], [rate_hz // 3]):
        other = whole(StreamResampler(rate_hz, 1, 16_000), signal, sizes)
        np.testing.assert_array_equal(other, reference)


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_tone_keeps_its_level_and_an_alias_is_gone(rate_hz: int) -> None:
    time_s = np.arange(rate_hz) / rate_hz

    def level_db(frequency_hz: float) -> float:
        tone = np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)
        out = whole(StreamResampler(rate_hz, 1, 16_000), tone, [rate_hz])[2000:-2000]
        return 10 * float(np.log10(2 * np.mean(out**2) + 1e-20))

    assert level_db(1_000) == pytest.approx(0.0, abs=0.1)
    assert level_db(7_500) == pytest.approx(0.0, abs=0.2)
    assert level_db(10_000) < -90.0


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_a_sample_is_not_held_back_for_long(rate_hz: int) -> None:
    resampler = StreamResampler(rate_hz, 1, 16_000)
    block = rate_hz // 200
    worst_s = 0.0
    out = 0
    for index in range(400):
        out += len(resampler.push(music(0.005, rate_hz)[:block, 0]))
        worst_s = max(worst_s, (index + 1) * block / rate_hz - out / 16_000)
    assert worst_s < 0.020


def test_channels_are_averaged() -> None:
    resampler = StreamResampler(44_100, 2, 16_000)
    block = np.array([[1.0, 0.0], [0.5, 0.5]], dtype=np.float32)
    np.testing.assert_allclose(resampler.mono(block), [0.5, 0.5])


@pytest.mark.parametrize("shape", [(10,), (10, 3), (2, 2, 2)])
def test_another_number_of_channels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"2 channel\(s\) were declared"):
        StreamResampler(44_100, 2, 16_000).mono(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused_with_their_place(value: float) -> None:
    block = np.zeros((10, 2), dtype=np.float32)
    block[7, 1] = value
    with pytest.raises(BadSamplesError, match="at sample 7") as caught:
        StreamResampler(44_100, 2, 16_000).mono(block)
    assert caught.value.count == 1


def test_a_number_out_of_all_proportion_is_still_a_number() -> None:
    block = np.full((10, 2), 1e30, dtype=np.float32)
    assert np.isfinite(StreamResampler(44_100, 2, 16_000).mono(block)).all()


def test_infinities_that_cancel_are_refused_too() -> None:
    block = np.zeros((10, 2), dtype=np.float32)
    block[3] = np.inf, -np.inf
    with pytest.raises(BadSamplesError, match="holds 2 value"):
        StreamResampler(44_100, 2, 16_000).mono(block)


@pytest.mark.parametrize(("rate_hz", "channels"), [(7_999, 1), (192_001, 1), (44_100, 0), (1, 65)])
def test_formats_out_of_range_are_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(UserError):
        StreamResampler(rate_hz, channels, 16_000)
