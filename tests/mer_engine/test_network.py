"""The network: shapes, and that a step is encoded once and for all."""

from __future__ import annotations

import pytest
import torch
from mer_engine.network import EmotionNetwork, NetworkConfig
from torch import Tensor

SMALL = NetworkConfig(
    timbral=((5, 38, 3), (5, 67, 2)),
    temporal=((21, 2),),
    residual_filters=4,
    embedding=12,
    hidden=6,
    heads=2,
    width=8,
    bins=11,
)


@pytest.fixture
def network() -> EmotionNetwork:
    torch.manual_seed(0)
    return EmotionNetwork(SMALL).eval()


def music(network: EmotionNetwork, steps: int, batch: int = 2) -> Tensor:
    config = network.config
    frames = config.context_frames + steps * config.frames_per_step
    return 4 * torch.rand(batch, frames, config.bands)


def nothing(batch: int = 2) -> Tensor:
    return torch.zeros(batch, 0, SMALL.embedding)


@pytest.mark.parametrize(("past", "steps"), [(0, 1), (0, 20), (18, 2), (19, 1), (3, 4)])
@torch.inference_mode()
def test_shapes_and_probabilities(network: EmotionNetwork, past: int, steps: int) -> None:
    before = torch.rand(2, past, SMALL.embedding)
    probabilities, embeddings = network(music(network, steps), before)
    assert probabilities.shape == (2, 2, SMALL.bins)
    assert embeddings.shape == (2, steps, SMALL.embedding)
    assert torch.allclose(probabilities.sum(2), torch.ones(2, 2), atol=1e-6)


@torch.inference_mode()
def test_one_step_after_another_gives_what_the_whole_window_gives(
    network: EmotionNetwork,
) -> None:
    steps, config = 7, network.config
    frames = music(network, steps)
    whole, embeddings = network(frames, nothing())
    past = nothing()
    for step in range(steps):
        start = step * config.frames_per_step
        end = start + config.context_frames + config.frames_per_step
        piecewise, new = network(frames[:, start:end], past)
        past = torch.cat([past, new], dim=1)
    assert (past - embeddings).abs().max() < 1e-5
    assert (piecewise - whole).abs().max() < 1e-5


@torch.inference_mode()
def test_a_step_depends_on_every_frame_of_its_context_and_on_no_other(
    network: EmotionNetwork,
) -> None:
    config = network.config
    frames = music(network, 2, batch=1)
    reference = network.encoder(frames)
    changed = frames.clone()
    changed[:, -config.frames_per_step :] = 0  # all that is newer than the first step
    assert torch.equal(network.encoder(changed)[:, 0], reference[:, 0])
    changed = frames.clone()
    changed[:, : config.frames_per_step] = 0  # all that is older than the second step's context
    assert torch.equal(network.encoder(changed)[:, 1], reference[:, 1])


@torch.inference_mode()
def test_the_order_of_the_window_matters(network: EmotionNetwork) -> None:
    window = torch.randn(1, 10, SMALL.embedding)
    assert not torch.allclose(network.reader(window), network.reader(window.flip(1)), atol=1e-6)


def test_impossible_sizes_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match="2 frames does not divide a step of 25"):
        NetworkConfig(stride=2)
    with pytest.raises(ValueError, match="3 heads do not divide a width of 128"):
        NetworkConfig(heads=3)
