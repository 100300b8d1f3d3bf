"""Initialisation of the encoder from a tagger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mer_engine.frontend import features
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.training.examples import with_context
from mer_engine.training.teacher import Teacher, load_weights, tagger_features
from mer_engine.training.transfer import init_encoder, normalise_pool
from support import music
from tagger_support import make_tagger, write_wheel
from torch import Tensor

LIVE = (5, 4, 2, 3, 6)
# As many filters as the tagger has live ones, at every band as in the tagger.
SAME = NetworkConfig(
    timbral=((7, 38, 5), (7, 67, 4)),
    temporal=((128, 2), (64, 3), (32, 6)),
    band_stride=1,
    level_frames=0,
)
STEPS = 2


def frames_of(config: NetworkConfig, steps: int) -> Tensor:
    """Return random frames, long enough that the silence before them has no effect."""
    count = config.step_context + config.map_context + 128 + steps * config.frames_per_step
    generator = torch.Generator().manual_seed(0)
    return 4 * torch.rand(1, count, config.frame_width, generator=generator)


def pooled(network: EmotionNetwork, frames: Tensor, steps: int) -> Tensor:
    """Return the pooled channels of the newest steps."""
    maps = network.encoder.maps(frames)
    known = network.config.step_context + steps * network.config.frames_per_step
    return network.encoder.pool(maps[:, -known:])


def over_steps(maps: Tensor, delay: int) -> Tensor:
    """Return maxima and means over the newest steps, `delay` frames ago: [2, steps, channels]."""
    newest = maps[len(maps) - delay - STEPS * 32 : len(maps) - delay].unflatten(0, (STEPS, 32))
    return torch.stack([newest.amax(1), newest.mean(1)])


@torch.inference_mode()
def test_the_encoder_computes_the_same_channels_as_the_tagger() -> None:
    weights = make_tagger(live=LIVE)
    layers = (*weights.timbral, *weights.temporal)
    assert any((layer.norm.scale[layer.alive] < 0).any() for layer in layers)
    network = EmotionNetwork(SAME).eval()
    init_encoder(network, weights)
    frames = frames_of(SAME, STEPS)
    maps = Teacher(weights).feature_map(frames[:, :, : SAME.bands])[0]
    ours = pooled(network, frames, STEPS)[0].unflatten(1, (2, SAME.channels)).movedim(1, 0)

    # Our filters end at the newest frame; those of the tagger are centred.
    offset, place = 0, 0
    for layer, taps in zip(layers, (7, 7, 128, 64, 32), strict=True):
        alive = offset + np.flatnonzero(layer.alive)
        found = ours[:, :, place : place + len(alive)]
        assert (found - over_steps(maps[:, alive], taps // 2)).abs().max() < 1e-4
        offset, place = offset + len(layer.alive), place + len(alive)
    # Residual blocks are centred on the longest filter; each adds three frames of delay.
    for number in range(3):
        theirs = over_steps(maps[:, 561 + 64 * number :][:, :64], 64 + 3 * (number + 1))
        block = ours[:, :, place + 64 * number :][:, :, :64]
        assert block.std() > 0.05
        assert (block - theirs).abs().max() < 1e-4


@torch.inference_mode()
def test_the_tags_are_those_of_the_tagger() -> None:
    weights = make_tagger(live=LIVE)
    # One filter more than there are live ones; its output must have no effect.
    network = EmotionNetwork(replace(SAME, timbral=((7, 38, 6), (7, 67, 4)), tags=50)).eval()
    init_encoder(network, weights)
    assert network.encoder.tagger is not None
    layers = (*weights.timbral, *weights.temporal)
    constants = np.concatenate([layer.constant for layer in layers])
    alive = np.flatnonzero(np.concatenate([layer.alive for layer in layers]))
    rng = np.random.default_rng(0)
    column = np.zeros((2, 753), np.float32)  # maxima and means
    column[:, :561] = constants
    column[:, alive] = rng.normal(size=(2, len(alive)))
    column[:, 561:] = rng.normal(size=(2, 192))
    ours = np.insert(np.concatenate([column[:, alive], column[:, 561:]], axis=1), 5, 99.0, axis=1)
    tags = network.encoder.tagger(torch.tensor(ours.reshape(1, 1, -1)).float())[0, 0].numpy()

    kernel, bias, norm = weights.dense
    pooled = column.T.reshape(-1) * weights.pooled.scale + weights.pooled.shift
    hidden = np.maximum(pooled @ kernel + bias, 0) * norm.scale + norm.shift
    expected = hidden @ weights.tags[0] + weights.tags[1]
    assert expected.std() > 0.1
    np.testing.assert_allclose(tags, expected, atol=1e-4)


@torch.inference_mode()
def test_the_tags_of_steady_sound_are_those_of_the_published_layers() -> None:
    """With steady sound, the delays between the layers have no effect."""
    weights = make_tagger(live=LIVE)
    network = EmotionNetwork(replace(SAME, tags=50)).eval()
    init_encoder(network, weights)
    frame = 4 * torch.rand(1, 1, SAME.frame_width, generator=torch.Generator().manual_seed(0))
    steady = frame.expand(1, network.config.step_context + 600, -1)
    maps = network.encoder.maps(steady)
    found = network.encoder.pool(maps[:, -(network.config.step_context + 32) :])
    assert network.encoder.tagger is not None
    tags = network.encoder.tagger(found)[0, 0]
    column = Teacher(weights).feature_map(steady[:, :, : SAME.bands])[:, 300:301]
    kernel, bias, norm = weights.dense
    pooled = torch.stack([column[:, 0], column[:, 0]], 2).flatten(1).numpy()
    hidden = np.maximum((pooled * weights.pooled.scale + weights.pooled.shift) @ kernel + bias, 0)
    expected = (hidden * norm.scale + norm.shift) @ weights.tags[0] + weights.tags[1]
    np.testing.assert_allclose(tags.numpy(), expected[0], atol=1e-3)


def test_a_tagger_with_another_number_of_tags_is_rejected() -> None:
    network = EmotionNetwork(replace(SAME, tags=40))
    with pytest.raises(ValueError, match=r"layer of \(200, 50\) .* into one of \(200, 40\)"):
        init_encoder(network, make_tagger(live=LIVE))


@torch.inference_mode()
def test_the_channels_do_not_depend_on_the_level() -> None:
    weights = make_tagger()
    network = EmotionNetwork().eval()
    init_encoder(network, weights)
    frames = frames_of(network.config, 3)
    quiet = torch.log10(1 + 0.3 * (torch.pow(10.0, frames) - 1))
    loud, soft = (pooled(network, x, 3) for x in (frames, quiet))
    assert (loud - soft).abs().max() < 1e-3


def test_random_filters_have_no_effect_on_the_residual_blocks() -> None:
    torch.manual_seed(0)
    network = EmotionNetwork()
    init_encoder(network, make_tagger(live=LIVE))
    place = 0
    for group, live in zip(network.config.groups, LIVE, strict=True):
        weight = network.encoder.transition.weight[:, place : place + group[-1]]
        assert weight[:, :live].abs().min() > 0
        assert not weight[:, live:].any()
        place += group[-1]
    assert all(module.convolve.weight.abs().max() > 0 for module in network.encoder.front)


@torch.inference_mode()
def test_embeddings_are_normalised_on_clips() -> None:
    network = EmotionNetwork()
    init_encoder(network, make_tagger())
    network.train()
    rng = np.random.default_rng(0)
    frames = (rng.uniform(0, 4, (9, 640, 1)) * rng.uniform(0, 1, (9, 640, 109))).astype(np.float16)
    normalise_pool(network, frames)
    assert not network.training
    batch = with_context(network, torch.from_numpy(frames.astype(np.float32)))
    encoder = network.encoder
    std = encoder.pool(encoder.maps(batch)).flatten(0, 1).std(0)
    encoded = network.encoder(batch)[:, :, : len(std)].flatten(0, 1)
    assert encoded.mean(0).abs().max() < 0.05
    # Channels that hardly vary stay small. Values beyond six deviations are clipped.
    assert (encoded.std(0) - std / (std + 1e-3)).abs().max() < 0.1
    assert (encoded.std(0) > 0.9).sum() > 50


def test_a_tagger_with_other_filters_is_rejected() -> None:
    with pytest.raises(ValueError, match="24 filters of the tagger do not fit into a group of 23"):
        init_encoder(EmotionNetwork(), make_tagger(live=(24, 4, 2, 3, 6)))
    other = NetworkConfig(timbral=((7, 38, 23), (5, 67, 14)))
    with pytest.raises(ValueError, match=r"of \(7, 67\) .* do not fit into a group of \(5, 67\)"):
        init_encoder(EmotionNetwork(other), make_tagger())


def test_weights_are_read_from_a_wheel(tmp_path: Path) -> None:
    weights = make_tagger()
    read = load_weights(write_wheel(tmp_path / "tagger.whl", weights), "MSD_musicnn")
    layers = (*weights.timbral, *weights.temporal, *weights.residual)
    for got, layer in zip((*read.timbral, *read.temporal, *read.residual), layers, strict=True):
        np.testing.assert_array_equal(got.kernel, layer.kernel)
        np.testing.assert_array_equal(got.alive, layer.alive)
        np.testing.assert_allclose(got.constant, layer.constant, atol=1e-5)
    frames = 4 * torch.rand(1, 187, 96)
    for ours, theirs in zip(Teacher(read)(frames), Teacher(weights)(frames), strict=True):
        assert (ours - theirs).abs().max() < 1e-3
    with pytest.raises(FileNotFoundError, match="no checkpoint musicnn/MTT_musicnn"):
        load_weights(tmp_path / "tagger.whl", "MTT_musicnn")
    (tmp_path / "text.whl").write_text("no wheel")
    with pytest.raises(FileNotFoundError, match="neither a folder nor a wheel"):
        load_weights(tmp_path / "text.whl", "MSD_musicnn")


def test_the_tagger_encodes_patches() -> None:
    teacher = Teacher(make_tagger())
    frames = tagger_features(music(3.0, 16_000)[:, 0])
    assert frames.shape == (3 * 16_000 // 256 + 1, 96)
    embedding, tags = teacher(torch.from_numpy(frames)[None])
    assert embedding.shape == (1, 200)
    assert tags.shape == (1, 50)


def test_our_features_match_those_of_the_tagger() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    theirs, ours = tagger_features(tone)[20], features(tone)[20, :96]
    assert ours.max() > 2
    assert abs(ours - theirs).max() < 0.05
