import dataclasses

import numpy as np
import pytest
import torch
import torchaudio
from mer_engine.frontend import FrontEnd, FrontEndConfig, features, mel_bank
from support import blocks, music

SIGNAL = music(3.0, 16_000)[:, 0]


@pytest.mark.parametrize("sizes", [[1], [320], [441], [5000, 1, 333]])
def test_streaming_equals_offline(sizes: list[int]) -> None:
    frontend = FrontEnd()
    streamed = np.concatenate([frontend.push(block) for block in blocks(SIGNAL, sizes)])
    np.testing.assert_allclose(streamed, features(SIGNAL), atol=1e-5)


def test_a_frame_is_complete_with_its_hop() -> None:
    frontend = FrontEnd()
    assert frontend.push(SIGNAL[:319]).shape == (0, 96)
    assert frontend.push(SIGNAL[319:320]).shape == (1, 96)
    assert frontend.push(SIGNAL[320:16_000]).shape == (49, 96)


def test_nothing_later_reaches_a_frame() -> None:
    changed = SIGNAL.copy()
    changed[3200:] = 0.5
    np.testing.assert_array_equal(features(changed)[:10], features(SIGNAL)[:10])
    assert np.abs(features(changed)[10] - features(SIGNAL)[10]).max() > 0.01


def test_reset_forgets() -> None:
    frontend = FrontEnd()
    frontend.push(SIGNAL[:1234])
    frontend.reset()
    np.testing.assert_allclose(frontend.push(SIGNAL), features(SIGNAL), atol=1e-6)


def test_silence_is_zero_and_louder_is_more() -> None:
    assert not features(np.zeros(3200, dtype=np.float32)).any()
    assert (features(SIGNAL * 2) >= features(SIGNAL)).all()


def test_torchaudio_computes_the_same() -> None:
    config = FrontEndConfig()
    spectrogram = torchaudio.transforms.MelSpectrogram(
        sample_rate=config.sample_rate_hz,
        n_fft=config.fft_size,
        hop_length=config.hop,
        n_mels=config.bands,
        f_min=config.low_hz,
        f_max=config.high_hz,
        center=False,
        norm="slaney",
        mel_scale="slaney",
    )
    padded = np.concatenate((np.zeros(config.fft_size - config.hop, np.float32), SIGNAL))
    power = spectrogram(torch.from_numpy(padded)).numpy().T
    np.testing.assert_allclose(features(SIGNAL), np.log10(1 + config.log_scale * power), atol=1e-4)


def test_the_bank_covers_the_scale_with_unit_areas() -> None:
    config = FrontEndConfig(fft_size=8192)
    bank = mel_bank(config)
    assert bank.shape == (4097, 96)
    areas = bank.sum(axis=0) * config.sample_rate_hz / config.fft_size
    np.testing.assert_allclose(areas, 1.0, atol=0.02)
    assert (np.diff(bank.argmax(axis=0)) > 0).all()


def test_the_fingerprint_changes_with_every_field() -> None:
    usual = FrontEndConfig()
    assert usual.fingerprint == FrontEndConfig().fingerprint
    other = {
        "sample_rate_hz": 32_000,
        "fft_size": 1024,
        "hop": 160,
        "bands": 64,
        "low_hz": 20.0,
        "high_hz": 7_000.0,
        "log_scale": 1e6,
    }
    assert set(other) == {field.name for field in dataclasses.fields(FrontEndConfig)}
    prints = {dataclasses.replace(usual, **{k: v}).fingerprint for k, v in other.items()}  # type: ignore[arg-type]
    assert len(prints | {usual.fingerprint}) == len(other) + 1


def test_impossible_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="hop of 256"):
        FrontEndConfig(hop=256)
    with pytest.raises(ValueError, match="shorter than the hop"):
        FrontEndConfig(fft_size=256)
