"""The classifier of sounds: its input, the folding of published weights, export, level."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from audioset_support import published_weights
from mer_engine.audioset_network import (
    HIDDEN,
    AudioSetNetwork,
    BandConversion,
    SoundClassifier,
    folded_state,
)
from mer_engine.frontend import FrontEndConfig, features
from mer_engine.model_file import SOUNDS
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

RATE_HZ = FrontEndConfig().sample_rate_hz


def bands_of(signal: NDArray[np.floating]) -> Tensor:
    """Return the mel bands [1, n, 96] of a signal at 16 kHz."""
    config = FrontEndConfig()
    return torch.from_numpy(features(signal.astype(np.float32), config)[None, :, : config.bands])


def tones(seconds: float, level: float = 0.1) -> NDArray[np.floating]:
    """Return two tones with a slow tremolo and a little noise."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(3).normal(0.0, 0.05, len(time_s))
    wave = np.sin(2 * np.pi * 500 * time_s) + 0.5 * np.sin(2 * np.pi * 2000 * time_s) + noise
    return np.asarray(level * wave * (1 + 0.5 * np.sin(2 * np.pi * 3 * time_s)))


def random_classifier() -> SoundClassifier:
    """Return a classifier with random weights of a size that keeps signals alive."""
    torch.manual_seed(5)
    classifier = SoundClassifier()
    for layer in classifier.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return classifier.eval()


def test_shapes() -> None:
    network = AudioSetNetwork().eval()
    for frames in (64, 128):
        assert network(torch.rand(3, frames, 96)).shape == (3, HIDDEN)
    assert SoundClassifier()(torch.rand(3, 128, 96)).shape == (3, len(SOUNDS))


def test_conversion_has_a_hundred_frames_per_second() -> None:
    assert BandConversion()(torch.rand(2, 128, 96)).shape == (2, 1, 128, 200)


def test_conversion_approximates_the_input_at_32_khz() -> None:
    """A sum of tones gives nearly the bands that the network's own analysis gives."""
    seconds = 4.0
    time_s = np.arange(int(seconds * 32_000)) / 32_000
    noise = np.random.default_rng(4).normal(0.0, 0.3, len(time_s))
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / 32_000) > 7000] = 0
    slow = 1 + 0.8 * np.sin(2 * np.pi * 2 * time_s)
    wide = (np.fft.irfft(spectrum, len(noise)) + np.sin(2 * np.pi * 500 * time_s)) * slow
    converted = BandConversion()(bands_of(0.1 * wide[::2]))[0, 0]
    own = own_input(torch.from_numpy(0.1 * wide).float())
    count = min(converted.shape[1], own.shape[1])
    # Bands from 300 Hz to 6.5 kHz; the first ones lie between the bins of the FFT.
    region = (slice(20, 92), slice(50, count - 20))
    ours, theirs = converted[region], own[region]
    difference = (theirs - ours) - (theirs - ours).mean()  # the level is normalised
    assert difference.std() < 0.35 * theirs.std()
    assert np.corrcoef(ours.flatten(), theirs.flatten())[0, 1] > 0.93


def own_input(signal: Tensor) -> Tensor:
    """Return the input [128, m] that the network was trained on, from a signal at 32 kHz."""
    emphasised = signal[1:] - 0.97 * signal[:-1]
    window = torch.hann_window(800, periodic=False)
    power = torch.stft(emphasised, 1024, 320, 800, window, return_complex=True).abs() ** 2
    mel = 1127 * torch.log1p(torch.linspace(0, 16_000, 513) / 700)[:, None]
    edges = torch.linspace(0, 1127 * float(np.log1p(15_000 / 700)), 130)
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0)
    return (torch.log(filters.T @ power + 1e-5) + 4.5) / 5


@pytest.mark.parametrize("decibels", [-30, -12, 12])
def test_gain_of_the_microphone_does_not_matter(decibels: int) -> None:
    classifier = random_classifier()
    reference = classifier(bands_of(tones(2.0)))
    louder = classifier(bands_of(tones(2.0) * 10 ** (decibels / 20)))
    quieter_half = classifier(bands_of(tones(2.0) * np.linspace(1, 0.1, 2 * RATE_HZ)))
    assert torch.allclose(louder, reference, atol=0.05 * float(reference.detach().std()))
    assert not torch.allclose(quieter_half, reference, atol=0.05 * float(reference.detach().std()))


def test_silence_gives_finite_logits() -> None:
    assert random_classifier()(torch.zeros(1, 128, 96)).isfinite().all()


def test_onnx_export_gives_the_same_logits(tmp_path: Path) -> None:
    classifier = random_classifier()
    bands = 4 * torch.rand(2, 128, 96)
    path = tmp_path / "sounds.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            classifier,
            (bands[:1],),
            path,
            dynamo=False,
            opset_version=18,
            input_names=["bands"],
            output_names=["sounds"],
            dynamic_axes={"bands": {0: "batch"}, "sounds": {0: "batch"}},
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"bands": bands.numpy()})
    expected = classifier(bands).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-3 * float(np.abs(expected).max()))


def test_published_weights_give_the_same_result_when_folded() -> None:
    """A convolution, its batch norm and the linear layers keep their results."""
    published = published_weights()
    network = AudioSetNetwork()
    network.load_state_dict(folded_state(published))
    maps = torch.rand(1, 1, 128, 100)
    convolved = functional.conv2d(maps, published["features.0.0.weight"], stride=2, padding=1)
    mean, variance, weight, bias = (
        published[f"features.0.1.{name}"]
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    expected = functional.batch_norm(convolved, mean, variance, weight, bias, eps=1e-3)
    assert torch.allclose(network.stem(maps), expected, atol=1e-5)
    assert torch.equal(network.hidden.weight, published["classifier.2.weight"])


def test_published_weights_must_be_complete() -> None:
    published = published_weights()
    del published["features.14.block.1.1.running_var"]
    with pytest.raises(KeyError, match="running_var"):
        folded_state(published)
