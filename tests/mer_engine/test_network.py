"""The network: shapes, receptive fields, and equal results of streams and whole windows.

Sums in another order round differently, so results are compared within `ROUNDING`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from mer_engine.frontend import FrontEndConfig, features
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.model_file import DIMENSIONS
from mer_engine.network import (
    FAST_STEPS,
    REGRESSOR_WEIGHT,
    SOUND_FRAMES,
    EmotionNetwork,
    LevelNormalisation,
    MaxOverFrequencyConv,
    NetworkConfig,
)
from mer_engine.sparse_sounds import SOUND_STEPS
from support import music as signal_of
from torch import Tensor
from torch.nn import functional

ROUNDING = 1e-4
SMALL = NetworkConfig(
    timbral=((5, 38, 3), (5, 67, 2)),
    temporal=((21, 2), (8, 2)),
    residual_filters=4,
    level_frames=40,
    hidden=6,
    heads=2,
    width=8,
    statistics=8,
    tags=5,
    tagger_width=7,
    bins=11,
)


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    """Run torch in one thread, which is fastest for small networks on a busy processor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network() -> EmotionNetwork:
    torch.manual_seed(0)
    return EmotionNetwork(SMALL).eval()


def music(network: EmotionNetwork, steps: int, batch: int = 2) -> Tensor:
    """Random features; the pitch classes change as often as in the front-end."""
    config = network.config
    frames = config.step_context + steps * config.frames_per_step
    bands = 4 * torch.rand(batch, frames, config.bands)
    chroma = torch.rand(batch, frames // config.chroma_every + 1, config.pitch_classes)
    repeated = chroma.repeat_interleave(config.chroma_every, dim=1)[:, -frames:]
    return torch.cat([bands, repeated, 4 * torch.rand(batch, frames, 1)], dim=2)


def sums_over_rectangles(x: Tensor) -> Tensor:
    """Return sums over all rectangles of two frames and three bands."""
    return x.unfold(0, 2, 1).unfold(1, 3, 1).sum((2, 3))


def empty_past(batch: int = 2) -> Tensor:
    return torch.zeros(batch, 0, SMALL.embedding)


def update(network: EmotionNetwork, frames: Tensor, past: Tensor) -> tuple[Tensor, ...]:
    """Update all steps of `music`, with cached maps of the frames before."""
    config = network.config
    before = frames[:, : config.step_context]
    silence = network.silent_map().expand(len(frames), config.map_context, -1)
    cached_maps = torch.cat([silence, network.encoder.maps(before, silence)], dim=1)
    cached_maps = cached_maps[:, -config.map_context :]
    outputs: tuple[Tensor, ...] = network(frames[:, config.step_context :], cached_maps, past)
    return outputs


@pytest.mark.parametrize(("past", "steps"), [(0, 1), (0, 20), (18, 2), (19, 1), (3, 4)])
@torch.inference_mode()
def test_shapes_and_probabilities(network: EmotionNetwork, past: int, steps: int) -> None:
    before = torch.rand(2, past, SMALL.embedding)
    probabilities, embeddings, fast, maps = update(network, music(network, steps), before)
    assert embeddings.shape == (2, steps, SMALL.embedding)
    assert maps.shape == (2, 32 * steps, SMALL.map_size)
    for output in (probabilities, fast):
        assert output.shape == (2, len(DIMENSIONS), SMALL.bins)
        assert torch.allclose(output.sum(2), torch.ones(2, len(DIMENSIONS)), atol=1e-5)


@torch.inference_mode()
def test_the_fast_output_is_that_of_the_newest_steps(network: EmotionNetwork) -> None:
    before = torch.rand(2, 9, SMALL.embedding)
    frames = music(network, 2)
    whole, embeddings, fast, _ = update(network, frames, before)
    newest = torch.cat([before, embeddings], dim=1)[:, -FAST_STEPS:]
    assert torch.allclose(fast, torch.softmax(network.head(newest), dim=2), atol=ROUNDING)
    assert not torch.allclose(fast, whole, atol=10 * ROUNDING)
    probabilities, _, fast, _ = update(network, frames, before[:, -4:])
    assert torch.allclose(fast, probabilities, atol=ROUNDING)


def test_the_sizes_add_up() -> None:
    assert SMALL.channels == 9 + 3 * 4
    assert SMALL.embedding == 2 * SMALL.channels + 12 + 96 + 5 + 2
    assert SMALL.statistic_sizes == (3 * SMALL.channels, 12, 24, 96, 5, 1)
    assert SMALL.level_context == 40 - 1 + 8 - 1
    assert SMALL.step_context == 3 * 6 + 21 // 2 - 5 // 2
    assert SMALL.map_context == max(SMALL.level_context, 21 - 1, SMALL.step_context)
    assert SMALL.map_size == 9 + 96 + 12 + 1 + 1
    frontend = FrontEndConfig()
    usual = NetworkConfig()
    assert usual.frame_width == frontend.width
    assert usual.frames_per_step * 2 == frontend.frames_per_second
    assert usual.chroma_every * frontend.hop == frontend.chroma_hop


@torch.inference_mode()
def test_windows_of_several_lengths_give_the_same_logits_together_and_alone(
    network: EmotionNetwork,
) -> None:
    windows = [torch.rand(2, length, SMALL.embedding) for length in (1, 6, 9)]
    together = network.head(*windows)
    assert together.shape == (6, len(DIMENSIONS), SMALL.bins)
    for index, window in enumerate(windows):
        alone = network.head(window)
        assert torch.allclose(together[2 * index : 2 * index + 2], alone, atol=ROUNDING)


@pytest.mark.parametrize("size", [1, 6, 32])
@torch.inference_mode()
def test_a_stream_of_a_few_frames_a_call_equals_the_whole_window(
    network: EmotionNetwork, size: int
) -> None:
    steps, config = 4, network.config
    frames = music(network, steps)[:, -steps * 32 :]
    cached_maps = network.silent_map().expand(2, config.map_context, -1)
    whole, embeddings, _, maps = network(frames, cached_maps, empty_past())
    past = empty_past()
    for end in range(size, steps * 32 + 1, size):
        # A step that is not complete is encoded with the frames before it.
        before = torch.cat([network.silent_map().expand(2, 32, -1), cached_maps], dim=1)
        before = before[:, before.shape[1] - config.map_context - 32 + size :]
        piecewise, new, _, found = network(frames[:, end - size : end], before, past)
        cached_maps = torch.cat([cached_maps, found], dim=1)
        if end % 32 == 0:
            past = torch.cat([past, new], dim=1)
    if size in (1, 32):
        assert (past - embeddings).abs().max() < ROUNDING
        assert (piecewise - whole).abs().max() < ROUNDING
    count = steps * 32 // size * size
    assert (cached_maps[:, -count:] - maps[:, :count]).abs().max() < ROUNDING


@torch.inference_mode()
def test_a_map_depends_on_the_frames_of_its_context_only(
    network: EmotionNetwork,
) -> None:
    config = network.config
    reach = config.longest_filter - 1 + config.level_context
    frames = music(network, 4, batch=1)
    last = frames.shape[1] - 20
    reference = network.encoder.maps(frames)[:, last]

    def effect(first: int, end: int) -> float:
        other = frames.clone()
        other[:, first:end] = 5.0 + other[:, first:end]  # loud enough to set the level
        return (network.encoder.maps(other)[:, last] - reference).abs().max().item()

    assert effect(last + 1, frames.shape[1]) < ROUNDING
    assert effect(0, last - reach) < ROUNDING
    assert effect(last, last + 1) > 10 * ROUNDING
    assert effect(last - reach, last - reach + 1) > 10 * ROUNDING


@torch.inference_mode()
def test_a_step_depends_on_the_maps_of_its_context_only(
    network: EmotionNetwork,
) -> None:
    maps = network.encoder.maps(music(network, 2, batch=1))
    reference = network.encoder.encode(maps)

    def effect(frame: int, step: int) -> float:
        other = maps.clone()
        other[:, frame] += 100
        return (network.encoder.encode(other) - reference)[:, step].abs().max().item()

    assert effect(-32, 0) < ROUNDING  # newer than the first step
    assert effect(31, 1) < ROUNDING  # older than the second's context
    assert effect(32, 1) > 10 * ROUNDING
    assert effect(-1, 1) > 10 * ROUNDING


@torch.inference_mode()
def test_the_map_of_silence(network: EmotionNetwork) -> None:
    silent = network.silent_map()
    again = network.encoder.maps(torch.zeros(1, 50, 109), silent.expand(1, SMALL.map_context, -1))
    assert torch.allclose(again[0], silent.expand(50, -1), atol=ROUNDING)
    assert not silent[SMALL.filters :].any()


@torch.inference_mode()
def test_pitch_classes_are_the_mean_of_their_computations(network: EmotionNetwork) -> None:
    frames = music(network, 3)
    newest = frames[:, -SMALL.frames_per_step :, SMALL.bands : -1]
    classes = network.encoder(frames)[:, -1, 2 * SMALL.channels :][:, :12]
    assert torch.allclose(classes, newest[:, 7::8].mean(1), atol=1e-5)


@torch.inference_mode()
def test_the_spectrum_is_the_mean_of_the_normalised_bands(network: EmotionNetwork) -> None:
    frames = music(network, 3)
    normalised = network.encoder.maps(frames)[:, :, SMALL.filters :][:, :, : SMALL.bands]
    spectrum = network.encoder(frames)[:, :, -SMALL.bands - 7 : -7]
    assert torch.allclose(spectrum[:, 2], normalised[:, -32:].mean(1), atol=1e-5)
    assert torch.allclose(spectrum[:, 1], normalised[:, -64:-32].mean(1), atol=1e-5)


@torch.inference_mode()
def test_a_step_ends_with_mean_power_and_peak_before_normalisation(network: EmotionNetwork) -> None:
    frames = music(network, 3)
    newest = frames[:, -SMALL.frames_per_step :]
    levels = network.encoder(frames)[:, -1, -2:]
    power = torch.pow(10.0, newest[:, :, : SMALL.bands]) - 1
    assert torch.allclose(levels[:, 0], torch.log10(1 + power.mean((1, 2))), atol=1e-5)
    assert torch.equal(levels[:, 1], newest[:, :, -1].amax(1))


@torch.inference_mode()
def test_a_network_without_level_pitch_classes_and_peaks() -> None:
    plain = NetworkConfig(pitch_classes=0, level_frames=0, peaks=False)
    without = EmotionNetwork(plain).eval()
    config = without.config
    steps = without.encoder(torch.rand(1, config.step_context + 32, 96))
    assert steps.shape == (1, 1, 2 * config.channels + 96)
    assert without.head(steps).shape == (1, len(DIMENSIONS), config.bins)


@torch.inference_mode()
def test_gain_changes_the_embeddings_little() -> None:
    torch.manual_seed(0)
    network = EmotionNetwork().eval()
    config = network.config
    signal = signal_of(7.0, 16_000)[:, 0]
    count = config.step_context + 4 * config.frames_per_step
    loud, soft, other = (
        network.encoder(torch.from_numpy(features(part)[None, -count:]))
        for part in (signal, 0.1 * signal, 0.1 * signal_of(7.0, 16_000, seed=5)[:, 0])
    )
    assert (soft - loud).abs().mean() < 0.1 * (soft - other).abs().mean()
    flat = EmotionNetwork(NetworkConfig(level_frames=0)).eval()
    flat.load_state_dict(network.state_dict())
    before, after = (
        flat.encoder(torch.from_numpy(features(part)[None, -count:]))
        for part in (signal, 0.1 * signal)
    )
    assert (after - before).abs().mean() > 10 * (soft - loud).abs().mean()


@torch.inference_mode()
def test_level_normalisation_keeps_dynamics_and_accepts_silence() -> None:
    level = LevelNormalisation(16, 1000.0)
    power = torch.full((1, 60, 96), 2.0)
    power[:, 40:] = 200.0
    silence = torch.zeros(1, 22, 1)
    loudness = torch.log10(1 + power.mean(2, keepdim=True))
    normalised = level(power, torch.cat([silence, loudness], dim=1))
    # Both the loud part and the soft part before it reach the level.
    for frame in (-1, 22):
        assert torch.allclose(
            torch.pow(10.0, normalised[:, frame]) - 1, torch.tensor(1000.0), rtol=1e-3
        )
    power[:, 58:] = 2.0  # a short pause stays soft
    loudness = torch.log10(1 + power.mean(2, keepdim=True))
    paused = level(power, torch.cat([silence, loudness], dim=1))
    assert torch.allclose(torch.pow(10.0, paused[:, -1]) - 1, torch.tensor(10.0), rtol=1e-3)
    # Two parts give the same result as one.
    part = level(power[:, 30:], loudness[:, 8:])
    assert torch.allclose(part, paused[:, 30:], atol=1e-5)
    assert not level(torch.zeros(1, 30, 96), torch.zeros(1, 52, 1)).any()


@torch.inference_mode()
def test_a_filter_takes_its_maximum_or_its_minimum_over_frequency() -> None:
    layer = MaxOverFrequencyConv(2, 3, 2, 1).eval()
    layer.convolve.weight.copy_(torch.stack([torch.ones(1, 2, 3), -torch.ones(1, 2, 3)]))
    layer.sign.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.rand(1, 1, 5, 10)
    sums = sums_over_rectangles(x[0, 0])  # [4, 8]
    found = layer(x)[0] * (1 + layer.norm.eps) ** 0.5
    assert torch.allclose(found[0], sums.amax(1), atol=1e-5)
    assert torch.allclose(found[1], sums.amin(1), atol=1e-5)


@torch.inference_mode()
def test_the_order_of_the_window_matters(network: EmotionNetwork) -> None:
    window = torch.randn(1, 10, SMALL.embedding)
    assert not torch.allclose(network.head(window), network.head(window.flip(1)), atol=1e-6)


@torch.inference_mode()
def test_a_regressor_pulls_the_distribution_to_its_prediction(network: EmotionNetwork) -> None:
    head = network.head
    window = torch.randn(2, 10, SMALL.embedding)
    centres = SMALL.bin_centres()
    alone = torch.softmax(head(window), 2) @ centres
    regressor = KernelRegressor(SMALL.statistic_sizes, 3, 5, len(DIMENSIONS))
    regressor.centre.copy_(torch.tensor([0.8, 0.0]))
    head.attach_regressor(regressor, torch.tensor([0.3, 1e6]))
    assert (head.config.regressor_windows, head.config.regressor_rank) == (3, 5)
    together = torch.softmax(head(window), 2) @ centres
    predicted = regressor(head.statistics(window))
    assert torch.allclose(predicted, regressor.centre.expand(2, 2))
    nearer = (together - predicted).abs() < (alone - predicted).abs()
    assert nearer[:, 0].all()
    # A Gaussian of nearly infinite width only flattens the distribution.
    logits = head.direct_logits(head.statistics(window), window)[:, 1]
    flat = torch.softmax((1 - REGRESSOR_WEIGHT) * logits, 1) @ centres
    assert torch.allclose(together[:, 1], flat, atol=ROUNDING)
    restored = EmotionNetwork(head.config)
    restored.load_state_dict(network.state_dict())
    assert torch.equal(restored.eval().head(window), head(window))


@pytest.fixture
def sound_network(network: EmotionNetwork) -> EmotionNetwork:
    """`network` with the sound output."""
    with_sounds = EmotionNetwork(replace(SMALL, sounds=True)).eval()
    with_sounds.load_state_dict(network.state_dict(), strict=False)
    assert with_sounds.encoder.sound is not None
    with torch.no_grad():
        with_sounds.encoder.sound.sounds.weight.mul_(30)
    return with_sounds


@torch.inference_mode()
def test_sounds_change_no_other_output(
    network: EmotionNetwork, sound_network: EmotionNetwork
) -> None:
    assert sound_network.config.embedding == SMALL.embedding + 3
    assert sound_network.config.statistic_sizes == SMALL.statistic_sizes
    frames, before = music(network, 3), torch.rand(2, 7, SMALL.embedding)
    expected = update(network, frames, before)
    with_sounds = torch.cat([before, torch.rand(2, 7, 3)], dim=2)
    *outputs, sound = update(sound_network, frames_of(sound_network, frames), with_sounds)
    outputs[1] = outputs[1][:, :, :-3]
    for output, reference in zip(outputs, expected, strict=True):
        assert (output - reference).abs().max() < ROUNDING
    assert sound.shape == (2, 3)
    assert torch.allclose(sound.sum(1), torch.ones(2), atol=1e-5)


def frames_of(network: EmotionNetwork, frames: Tensor) -> Tensor:
    """Prepend silence to `music` of a network without sounds, whose context is shorter."""
    missing = network.config.step_context - SMALL.step_context
    return functional.pad(frames, (0, 0, missing, 0))


@torch.inference_mode()
def test_a_step_ends_with_the_logits_of_its_last_two_seconds(
    sound_network: EmotionNetwork,
) -> None:
    config, encoder = sound_network.config, sound_network.encoder
    assert encoder.sound is not None
    maps = encoder.maps(music(sound_network, 3))
    logits = encoder.encode(maps)[:, :, -3:]
    for step in range(3):
        end = config.step_context + (step + 1) * config.frames_per_step
        bands = maps[:, end - SOUND_FRAMES : end, config.filters : config.filters + config.bands]
        assert torch.allclose(logits[:, step], encoder.sound(bands), atol=ROUNDING)
    assert logits.std() > 10 * ROUNDING


@pytest.mark.parametrize("past", [0, 2, 12])
@torch.inference_mode()
def test_the_sound_output_averages_the_newest_steps(
    sound_network: EmotionNetwork, past: int
) -> None:
    before = torch.rand(2, past, sound_network.config.embedding)
    _, steps, _, _, sound = update(sound_network, music(sound_network, 2), before)
    newest = torch.cat([before, steps], dim=1)[:, -SOUND_STEPS:, -3:]
    assert torch.allclose(sound, torch.softmax(newest.mean(1), dim=1), atol=1e-5)


@torch.inference_mode()
def test_sounds_of_a_stream_equal_those_of_the_whole_window(
    sound_network: EmotionNetwork,
) -> None:
    config, steps = sound_network.config, 6
    frames = music(sound_network, steps)[:, -steps * 32 :]
    cached_maps = sound_network.silent_map().expand(2, config.map_context, -1)
    past = torch.zeros(2, 0, config.embedding)
    whole = sound_network(frames, cached_maps, past)
    for end in range(32, steps * 32 + 1, 32):
        outputs = sound_network(frames[:, end - 32 : end], cached_maps, past)
        past = torch.cat([past, outputs[1]], dim=1)
        cached_maps = torch.cat([cached_maps, outputs[3]], dim=1)[:, 32:]
    assert (past - whole[1]).abs().max() < ROUNDING
    assert (outputs[4] - whole[4]).abs().max() < ROUNDING


def test_impossible_sizes_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match="every 7 frames do not divide a step of 32"):
        NetworkConfig(chroma_every=7)
    with pytest.raises(ValueError, match="steps of 48 frames do not divide the 128 frames"):
        NetworkConfig(frames_per_step=48, sounds=True)
    with pytest.raises(ValueError, match="3 heads do not divide a width of 128"):
        NetworkConfig(heads=3)
