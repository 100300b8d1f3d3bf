"""The network: shapes, and that a step is encoded once and for all."""

from __future__ import annotations

import pytest
import torch
from mer_engine.frontend import FrontEndConfig, features
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.network import (
    FAST_STEPS,
    REGRESSOR_WEIGHT,
    SCORES,
    EmotionNetwork,
    LevelNormalisation,
    MaxOverFrequencyConv,
    NetworkConfig,
)
from support import music as signal_of
from torch import Tensor

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


@pytest.fixture
def network() -> EmotionNetwork:
    torch.manual_seed(0)
    return EmotionNetwork(SMALL).eval()


def music(network: EmotionNetwork, steps: int, batch: int = 2) -> Tensor:
    """Features made up; the pitch classes change as often as the front-end computes them."""
    config = network.config
    frames = config.step_context + steps * config.frames_per_step
    bands = 4 * torch.rand(batch, frames, config.bands)
    chroma = torch.rand(batch, frames // config.chroma_every + 1, config.pitch_classes)
    repeated = chroma.repeat_interleave(config.chroma_every, dim=1)[:, -frames:]
    return torch.cat([bands, repeated, 4 * torch.rand(batch, frames, 1)], dim=2)


def sums_over_rectangles(x: Tensor) -> Tensor:
    """Sums over all rectangles of two frames and three bands."""
    return x.unfold(0, 2, 1).unfold(1, 3, 1).sum((2, 3))


def nothing(batch: int = 2) -> Tensor:
    return torch.zeros(batch, 0, SMALL.embedding)


def update(network: EmotionNetwork, frames: Tensor, past: Tensor) -> tuple[Tensor, ...]:
    """An update of all steps of `music`, with cached maps of the frames before."""
    config = network.config
    before = frames[:, : config.step_context]
    silence = network.silent_map().expand(len(frames), config.map_context, -1)
    cached_maps = torch.cat([silence, network.encoder.maps(before, silence)], dim=1)
    cached_maps = cached_maps[:, -config.map_context :]
    return network(frames[:, config.step_context :], cached_maps, past)


@pytest.mark.parametrize(("past", "steps"), [(0, 1), (0, 20), (18, 2), (19, 1), (3, 4)])
@torch.inference_mode()
def test_shapes_and_probabilities(network: EmotionNetwork, past: int, steps: int) -> None:
    before = torch.rand(2, past, SMALL.embedding)
    probabilities, embeddings, fast, maps = update(network, music(network, steps), before)
    assert embeddings.shape == (2, steps, SMALL.embedding)
    assert maps.shape == (2, 32 * steps, SMALL.map_size)
    for answer in (probabilities, fast):
        assert answer.shape == (2, len(SCORES), SMALL.bins)
        assert torch.allclose(answer.sum(2), torch.ones(2, len(SCORES)), atol=1e-6)


@torch.inference_mode()
def test_the_fast_answer_is_the_same_readers_of_the_newest_steps(network: EmotionNetwork) -> None:
    before = torch.rand(2, 9, SMALL.embedding)
    frames = music(network, 2)
    whole, embeddings, fast, _ = update(network, frames, before)
    newest = torch.cat([before, embeddings], dim=1)[:, -FAST_STEPS:]
    assert torch.allclose(fast, torch.softmax(network.head(newest), dim=2), atol=1e-6)
    assert not torch.allclose(fast, whole, atol=1e-3)
    probabilities, _, fast, _ = update(network, frames, before[:, -4:])
    assert torch.allclose(fast, probabilities, atol=1e-6)


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
def test_windows_of_several_lengths_are_read_together_as_each_alone(
    network: EmotionNetwork,
) -> None:
    windows = [torch.rand(2, length, SMALL.embedding) for length in (1, 6, 9)]
    together = network.head(*windows)
    assert together.shape == (6, len(SCORES), SMALL.bins)
    for index, window in enumerate(windows):
        alone = network.head(window)
        assert torch.allclose(together[2 * index : 2 * index + 2], alone, atol=1e-5)


@pytest.mark.parametrize("size", [1, 6, 32])
@torch.inference_mode()
def test_a_few_frames_after_others_give_what_the_whole_window_gives(
    network: EmotionNetwork, size: int
) -> None:
    steps, config = 4, network.config
    frames = music(network, steps)[:, -steps * 32 :]
    cached_maps = network.silent_map().expand(2, config.map_context, -1)
    whole, embeddings, _, maps = network(frames, cached_maps, nothing())
    past = nothing()
    for end in range(size, steps * 32 + 1, size):
        # A step that is not over yet is encoded with what came before it.
        before = torch.cat([network.silent_map().expand(2, 32, -1), cached_maps], dim=1)
        before = before[:, before.shape[1] - config.map_context - 32 + size :]
        piecewise, new, _, found = network(frames[:, end - size : end], before, past)
        cached_maps = torch.cat([cached_maps, found], dim=1)
        if end % 32 == 0:
            past = torch.cat([past, new], dim=1)
    if size in (1, 32):
        assert (past - embeddings).abs().max() < 1e-5
        assert (piecewise - whole).abs().max() < 1e-5
    count = steps * 32 // size * size
    assert (cached_maps[:, -count:] - maps[:, :count]).abs().max() < 1e-5


@torch.inference_mode()
def test_a_map_depends_on_every_frame_of_its_context_and_on_no_other(
    network: EmotionNetwork,
) -> None:
    config = network.config
    reach = config.longest_filter - 1 + config.level_context
    frames = music(network, 4, batch=1)
    last = frames.shape[1] - 20
    reference = network.encoder.maps(frames)[:, last]

    def changed(first: int, end: int) -> Tensor:
        other = frames.clone()
        other[:, first:end] = 5.0 + other[:, first:end]  # loud: it sets the level
        return network.encoder.maps(other)[:, last]

    assert torch.equal(changed(last + 1, frames.shape[1]), reference)
    assert torch.equal(changed(0, last - reach), reference)
    assert not torch.equal(changed(last, last + 1), reference)
    assert not torch.equal(changed(last - reach, last - reach + 1), reference)


@torch.inference_mode()
def test_a_step_depends_on_every_map_of_its_context_and_on_no_other(
    network: EmotionNetwork,
) -> None:
    maps = network.encoder.maps(music(network, 2, batch=1))
    reference = network.encoder.encode(maps)

    def changed(frame: int) -> Tensor:
        other = maps.clone()
        other[:, frame] += 1
        return network.encoder.encode(other)

    assert torch.equal(changed(-32)[:, 0], reference[:, 0])  # newer than the first step
    assert torch.equal(changed(31)[:, 1], reference[:, 1])  # older than the second's context
    assert not torch.equal(changed(32)[:, 1], reference[:, 1])
    assert not torch.equal(changed(-1)[:, 1], reference[:, 1])


@torch.inference_mode()
def test_silence_makes_the_silent_map(network: EmotionNetwork) -> None:
    silent = network.silent_map()
    again = network.encoder.maps(torch.zeros(1, 50, 109), silent.expand(1, SMALL.map_context, -1))
    assert torch.allclose(again[0], silent.expand(50, -1), atol=1e-6)
    assert not silent[SMALL.filters :].any()


@torch.inference_mode()
def test_pitch_classes_are_the_mean_of_their_computations(network: EmotionNetwork) -> None:
    frames = music(network, 3)
    newest = frames[:, -SMALL.frames_per_step :, SMALL.bands : -1]
    told = network.encoder(frames)[:, -1, 2 * SMALL.channels :][:, :12]
    assert torch.allclose(told, newest[:, 7::8].mean(1), atol=1e-6)


@torch.inference_mode()
def test_the_spectrum_is_the_mean_of_the_levelled_bands(network: EmotionNetwork) -> None:
    frames = music(network, 3)
    levelled = network.encoder.maps(frames)[:, :, SMALL.filters :][:, :, : SMALL.bands]
    told = network.encoder(frames)[:, :, -SMALL.bands - 7 : -7]
    assert torch.allclose(told[:, 2], levelled[:, -32:].mean(1), atol=1e-6)
    assert torch.allclose(told[:, 1], levelled[:, -64:-32].mean(1), atol=1e-6)


@torch.inference_mode()
def test_a_step_ends_with_its_mean_power_and_its_peak_as_they_came(network: EmotionNetwork) -> None:
    frames = music(network, 3)
    newest = frames[:, -SMALL.frames_per_step :]
    told = network.encoder(frames)[:, -1, -2:]
    power = torch.pow(10.0, newest[:, :, : SMALL.bands]) - 1
    assert torch.allclose(told[:, 0], torch.log10(1 + power.mean((1, 2))), atol=1e-5)
    assert torch.equal(told[:, 1], newest[:, :, -1].amax(1))


@torch.inference_mode()
def test_a_network_without_level_pitch_classes_and_peaks() -> None:
    plain = NetworkConfig(pitch_classes=0, level_frames=0, peaks=False)
    without = EmotionNetwork(plain).eval()
    config = without.config
    steps = without.encoder(torch.rand(1, config.step_context + 32, 96))
    assert steps.shape == (1, 1, 2 * config.channels + 96)
    assert without.head(steps).shape == (1, len(SCORES), config.bins)


@torch.inference_mode()
def test_the_gain_of_a_microphone_changes_little() -> None:
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
def test_level_keeps_loud_and_soft_apart_and_takes_silence() -> None:
    level = LevelNormalisation(16, 1000.0)
    power = torch.full((1, 60, 96), 2.0)
    power[:, 40:] = 200.0
    silence = torch.zeros(1, 22, 1)
    loudness = torch.log10(1 + power.mean(2, keepdim=True))
    levelled = level(power, torch.cat([silence, loudness], dim=1))
    # Where the loud part is among the last frames it is at the level; what was before it too.
    for frame in (-1, 22):
        assert torch.allclose(
            torch.pow(10.0, levelled[:, frame]) - 1, torch.tensor(1000.0), rtol=1e-3
        )
    power[:, 58:] = 2.0  # a rest stays as soft as it is
    loudness = torch.log10(1 + power.mean(2, keepdim=True))
    rest = level(power, torch.cat([silence, loudness], dim=1))
    assert torch.allclose(torch.pow(10.0, rest[:, -1]) - 1, torch.tensor(10.0), rtol=1e-3)
    # In two parts as in one.
    part = level(power[:, 30:], loudness[:, 8:])
    assert torch.allclose(part, rest[:, 30:], atol=1e-5)
    assert not level(torch.zeros(1, 30, 96), torch.zeros(1, 52, 1)).any()


@torch.inference_mode()
def test_a_filter_counts_where_it_fits_best_or_least() -> None:
    place = MaxOverFrequencyConv(2, 3, 2, 1).eval()
    place.convolve.weight.copy_(torch.stack([torch.ones(1, 2, 3), -torch.ones(1, 2, 3)]))
    place.sign.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.rand(1, 1, 5, 10)
    sums = sums_over_rectangles(x[0, 0])  # [4, 8]
    found = place(x)[0] * (1 + place.norm.eps) ** 0.5
    assert torch.allclose(found[0], sums.amax(1), atol=1e-5)
    assert torch.allclose(found[1], sums.amin(1), atol=1e-5)


@torch.inference_mode()
def test_the_order_of_the_window_matters(network: EmotionNetwork) -> None:
    window = torch.randn(1, 10, SMALL.embedding)
    assert not torch.allclose(network.head(window), network.head(window.flip(1)), atol=1e-6)


@torch.inference_mode()
def test_a_memory_pulls_the_distribution_to_what_it_says(network: EmotionNetwork) -> None:
    reader = network.head
    window = torch.randn(2, 10, SMALL.embedding)
    centres = SMALL.bin_centres()
    alone = torch.softmax(reader(window), 2) @ centres
    memory = KernelRegressor(SMALL.statistic_sizes, 3, 5, len(SCORES))
    memory.centre.copy_(torch.tensor([0.8, -0.8, 0.5, 0.0]))
    reader.attach_regressor(memory, torch.tensor([0.3, 0.3, 0.3, 1e6]))
    assert (reader.config.regressor_windows, reader.config.regressor_rank) == (3, 5)
    together = torch.softmax(reader(window), 2) @ centres
    said = memory(reader.statistics(window))
    assert torch.allclose(said, memory.centre.expand(2, 4))
    nearer = (together - said).abs() < (alone - said).abs()
    assert nearer[:, :3].all()
    # A bell that is wide beyond measure says nothing, it only leaves the reader less sure.
    log_alone = reader.direct_logits(reader.statistics(window), window)[:, 3]
    flat = torch.softmax((1 - REGRESSOR_WEIGHT) * log_alone, 1) @ centres
    assert torch.allclose(together[:, 3], flat, atol=1e-6)
    restored = EmotionNetwork(reader.config)
    restored.load_state_dict(network.state_dict())
    assert torch.equal(restored.eval().head(window), reader(window))


def test_impossible_sizes_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match="every 7 frames do not divide a step of 32"):
        NetworkConfig(chroma_every=7)
    with pytest.raises(ValueError, match="3 heads do not divide a width of 128"):
        NetworkConfig(heads=3)
