"""What the network takes over from a tagger."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.training.distil import Lessons, describe, teach_encoder
from mer_engine.training.teacher import Teacher, tagger_features
from mer_engine.training.transfer import resample_taps, start_encoder
from support import music
from tagger_support import make_tagger


def test_redrawn_filters_keep_their_sums_and_their_centre() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 7, 4)).astype(np.float32)
    redrawn = resample_taps(kernel, 7)
    assert redrawn.shape == (3, 7, 4)
    np.testing.assert_allclose(redrawn.sum(1), kernel.sum(1), atol=1e-5)
    centre = np.zeros((1, 7, 1), np.float32)
    centre[0, 3] = 1
    np.testing.assert_array_equal(resample_taps(centre, 5)[0, :, 0], [0, 0, 1, 0, 0])


@torch.inference_mode()
def test_a_steady_sound_is_described_as_the_tagger_does() -> None:
    # Steady, so that neither the frame rate nor where a filter lies in time matters.
    weights = make_tagger()
    spectrum = np.random.default_rng(1).uniform(0, 4, 96).astype(np.float32)
    teacher = Teacher(weights)
    maps = teacher.feature_map(torch.from_numpy(np.tile(spectrum, (1, 240, 1))))[0, 120]
    network = EmotionNetwork(NetworkConfig(band_stride=1)).eval()
    start_encoder(network, weights)
    norm = network.encoder.pool_norm
    norm.running_var.fill_(1 - norm.eps)
    config = network.config
    frames = torch.from_numpy(np.tile(spectrum, (1, config.context_frames + 25, 1)))
    pooled = network.encoder.pool(frames)[0, 0].unflatten(0, (2, config.channels))
    assert torch.allclose(pooled[0], pooled[1], atol=1e-4)  # maximum and mean
    offset, place = 0, 0
    layers = (*weights.timbral, *weights.temporal)
    for layer, group in zip(layers, network.encoder.front, strict=True):
        alive = np.flatnonzero(layer.alive)
        found = pooled[1, place : place + len(alive)]
        assert torch.allclose(found, maps[offset + alive], atol=1e-4)
        offset, place = offset + len(layer.alive), place + group.convolve.out_channels
    assert torch.allclose(pooled[1, config.front_channels :], maps[561:], atol=2e-3)


def test_a_tagger_with_too_many_living_filters_is_refused() -> None:
    with pytest.raises(ValueError, match="25 filters of the tagger do not fit into a group of 24"):
        start_encoder(EmotionNetwork(), make_tagger(living=(25, 4, 2, 3, 6)))


def test_the_tagger_describes_patches_and_steps() -> None:
    teacher = Teacher(make_tagger())
    frames = tagger_features(music(3.0, 16_000)[:, 0])
    assert frames.shape == (3 * 16_000 // 256 + 1, 96)
    embedding, tags = teacher(torch.from_numpy(frames)[None])
    assert embedding.shape == (1, 200)
    assert tags.shape == (1, 50)
    answers = describe(teacher, music(10.0, 16_000)[:, 0])
    assert answers.shape == (20, 2, 192)
    assert (answers[:, 0] >= answers[:, 1] - 1e-5).all()


def test_lessons_bring_the_encoder_nearer_to_the_tagger() -> None:
    weights = make_tagger()
    network = EmotionNetwork()
    start_encoder(network, weights)
    rng = np.random.default_rng(0)
    frames = rng.uniform(0, 4, (4, 500, 96)).astype(np.float16)
    answers = rng.normal(size=(4, 20, 2, 192)).astype(np.float32)
    said: list[str] = []
    for epochs in (1, 12):
        teach_encoder(network, Lessons(frames, answers), epochs, 0, said.append)
    first, last = (float(text.rsplit(" ", 1)[1]) for text in said)
    assert last < first
