import dataclasses

import numpy as np
import pytest
import torch
import torchaudio
from memory_support import frontends, in_own_process
from mer_engine.chroma import PITCH_CLASSES
from mer_engine.frontend import FrontEnd, FrontEndConfig, features, features_of, mel_bank
from numpy.typing import NDArray
from support import blocks, music

RATE_HZ = 16_000
SIGNAL = music(3.0, RATE_HZ)[:, 0]
BANDS = FrontEndConfig().bands
NOTES = slice(BANDS, BANDS + PITCH_CLASSES)


def notes(*hertz: float, seconds: float = 1.0, level: float = 0.1) -> NDArray[np.float32]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    signal = np.sum([level * np.sin(2 * np.pi * f * time_s) for f in hertz], axis=0)
    return np.asarray(signal, np.float32)


@pytest.mark.parametrize("sizes", [[1], [250], [441], [2000], [5000, 1, 333, 0, 7999]])
def test_streaming_equals_offline(sizes: list[int]) -> None:
    frontend = FrontEnd()
    streamed = np.concatenate([frontend.push(block) for block in blocks(SIGNAL, sizes)])
    np.testing.assert_allclose(streamed, features(SIGNAL), atol=1e-5)


@pytest.mark.parametrize("chroma_fft_size", [4096, 0])
def test_many_streams_at_once_equal_each_one_alone(chroma_fft_size: int) -> None:
    config = FrontEndConfig(chroma_fft_size=chroma_fft_size)
    signals = [music(2.0, RATE_HZ, seed=seed)[:, 0] for seed in range(5)]
    sizes = [[1600], [320, 0, 4000], [16_000], [249, 1], [7777]]
    frontends = [FrontEnd(config) for _ in signals]
    cut = [list(blocks(s, size)) for s, size in zip(signals, sizes, strict=True)]
    found: list[list[NDArray[np.float32]]] = [[] for _ in signals]
    for turn in range(max(map(len, cut))):
        due = [index for index, parts in enumerate(cut) if turn < len(parts)]
        excerpts = [frontends[index].excerpt(cut[index][turn]) for index in due]
        for index, excerpt, frames in zip(
            due, excerpts, features_of(config, excerpts), strict=True
        ):
            frontends[index].accept(excerpt, frames)
            found[index].append(frames)
    for parts, signal in zip(found, signals, strict=True):
        np.testing.assert_allclose(np.concatenate(parts), features(signal, config), atol=1e-5)
    assert features_of(config, []) == []


def test_an_excerpt_does_not_change_the_stream() -> None:
    frontend = FrontEnd()
    frontend.push(SIGNAL[:5678])
    unused = frontend.excerpt(SIGNAL[:4000])
    features_of(frontend.config, [unused])
    np.testing.assert_allclose(
        frontend.push(SIGNAL[5678:]), features(SIGNAL)[5678 // 250 :], atol=1e-5
    )


def test_frames_of_another_excerpt_are_refused() -> None:
    frontend = FrontEnd()
    excerpt = frontend.excerpt(SIGNAL[:1000])
    with pytest.raises(ValueError, match="3 frames for an excerpt of 4"):
        frontend.accept(excerpt, features(SIGNAL[:750]))


def test_a_stream_needs_little_memory() -> None:
    kept = in_own_process(frontends, 100)
    # The float32 samples of the longest window, and little more.
    assert kept / 100 < 4 * FrontEndConfig().chroma_fft_size + 2000


def test_forget_replaces_the_past_by_silence_and_keeps_the_frame_count() -> None:
    frontend = FrontEnd()
    frontend.push(SIGNAL[:1100])  # four frames and a part of the fifth
    frontend.forget()
    after_silence = frontend.push(SIGNAL[:2000])
    signal = np.concatenate((np.zeros(1100, np.float32), SIGNAL[:2000]))
    np.testing.assert_allclose(after_silence, features(signal)[4:], atol=1e-5)


def test_a_frame_is_complete_with_its_hop() -> None:
    frontend = FrontEnd()
    assert frontend.push(SIGNAL[:249]).shape == (0, 109)
    assert frontend.push(SIGNAL[249:250]).shape == (1, 109)
    assert frontend.push(SIGNAL[250:16_000]).shape == (63, 109)
    assert frontend.config.frames_per_second == 64


def test_a_frame_does_not_depend_on_later_samples() -> None:
    changed = SIGNAL.copy()
    changed[4000:] = notes(523.25, seconds=3.0)[4000:]
    before, after = features(SIGNAL), features(changed)
    np.testing.assert_array_equal(after[:16], before[:16])
    assert np.abs(after[16, :BANDS] - before[16, :BANDS]).max() > 0.01
    # Pitch classes are computed at frames that complete 2000 samples.
    np.testing.assert_array_equal(after[:23, NOTES], before[:23, NOTES])
    assert np.abs(after[23, NOTES] - before[23, NOTES]).max() > 0.01
    np.testing.assert_array_equal(after[:16, -1], before[:16, -1])
    assert abs(after[16, -1] - before[16, -1]) > 0.01


def test_reset_starts_a_new_stream() -> None:
    frontend = FrontEnd()
    frontend.push(SIGNAL[:5678])
    frontend.reset()
    np.testing.assert_allclose(frontend.push(SIGNAL), features(SIGNAL), atol=1e-5)


def test_silence_is_zero_and_louder_is_more() -> None:
    assert not features(np.zeros(8000, dtype=np.float32)).any()
    assert (features(SIGNAL * 2)[:, :BANDS] >= features(SIGNAL)[:, :BANDS]).all()


def test_the_mel_bands_equal_those_of_torchaudio() -> None:
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
    expected = np.log10(1 + config.log_scale * power)
    np.testing.assert_allclose(features(SIGNAL)[:, :BANDS], expected, atol=1e-4)


@pytest.mark.parametrize(("hertz", "pitch_class"), [(440.0, 9), (220.0, 9), (523.25, 0)])
def test_a_pure_note_is_its_pitch_class(hertz: float, pitch_class: int) -> None:
    chroma = features(notes(hertz))[-1, NOTES]
    assert chroma.argmax() == pitch_class
    assert chroma[pitch_class] > 0.85
    assert chroma.sum() == pytest.approx(1, abs=0.01)


def test_a_tone_between_two_semitones_counts_for_neither() -> None:
    # A quiet A beside a loud tone a quarter tone above A.
    between = 440.0 * 2 ** (0.5 / 12)
    chroma = features(notes(between, level=0.1) + notes(880.0, level=0.02))[-1, NOTES]
    assert chroma[9] > 0.6


def test_a_chord_gives_its_three_notes_at_any_level() -> None:
    chord = notes(261.63, 329.63, 392.0)
    chroma = features(chord)[-1, NOTES]
    assert set(np.argsort(chroma)[-3:]) == {0, 4, 7}
    for gain in (0.1, 3.0):
        np.testing.assert_allclose(features(gain * chord)[-1, NOTES], chroma, atol=0.01)
    whole = features(SIGNAL)[:, NOTES]
    np.testing.assert_allclose(features(0.2 * SIGNAL)[:, NOTES], whole, atol=0.05)


def test_pitch_classes_repeat_until_they_are_computed_again() -> None:
    config = FrontEndConfig()
    chroma = features(SIGNAL)[:, NOTES]
    every = config.chroma_hop // config.hop
    assert not chroma[: every - 1].any()  # none yet
    changes = np.flatnonzero(np.abs(np.diff(chroma, axis=0)).max(1) > 0) + 1
    assert len(changes) > 10
    assert (changes % every == every - 1).all()


def test_pitch_classes_and_peaks_are_optional() -> None:
    config = FrontEndConfig(chroma_fft_size=0)
    assert config.width == config.bands + 1
    whole = features(SIGNAL)
    expected = np.delete(whole, NOTES, axis=1)
    np.testing.assert_allclose(features(SIGNAL, config), expected, atol=1e-5)
    without = features(SIGNAL, FrontEndConfig(peaks=False))
    np.testing.assert_allclose(without, whole[:, :-1], atol=1e-5)
    assert FrontEndConfig().width == BANDS + PITCH_CLASSES + 1


def test_the_peak_is_the_largest_sample_of_the_newest_hop() -> None:
    signal = np.zeros(2000, np.float32)
    signal[[749, 750, 1999]] = 0.5, -0.25, 1.0
    peaks = features(signal)[:, -1]
    expected = np.zeros(8)
    expected[[2, 3, 7]] = np.log10(1 + 1e4 * np.array([0.5, 0.25, 1.0]) ** 2)
    np.testing.assert_allclose(peaks, expected, atol=1e-5)
    frontend = FrontEnd()
    frontend.push(signal)
    frontend.forget()
    assert not frontend.push(np.zeros(250, np.float32))[:, -1].any()


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
        "hop": 125,
        "bands": 64,
        "low_hz": 20.0,
        "high_hz": 7_000.0,
        "log_scale": 1e6,
        "chroma_fft_size": 8192,
        "chroma_hop": 4000,
        "chroma_low_hz": 60.0,
        "chroma_high_hz": 4_000.0,
        "peaks": False,
    }
    assert set(other) == {field.name for field in dataclasses.fields(FrontEndConfig)}
    prints = {dataclasses.replace(usual, **{k: v}).fingerprint for k, v in other.items()}  # type: ignore[arg-type]
    assert len(prints | {usual.fingerprint}) == len(other) + 1


def test_impossible_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="hop of 256"):
        FrontEndConfig(hop=256)
    with pytest.raises(ValueError, match="shorter than the hop"):
        FrontEndConfig(fft_size=128)
    with pytest.raises(ValueError, match=r"every 2100 samples .* do not fit a hop of 250"):
        FrontEndConfig(chroma_hop=2100)
    with pytest.raises(ValueError, match="of windows of 1024 do not fit"):
        FrontEndConfig(chroma_fft_size=1024)
