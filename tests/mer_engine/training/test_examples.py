"""Labels, features and embeddings of clips, original and augmented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from collections_support import write_emotify, write_fme24, write_four_quadrants
from deam_support import arousal_of, tone, write_deam
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Clip
from mer_engine.frontend import features
from mer_engine.network import EmotionNetwork
from mer_engine.training.acoustic_augmentation import AcousticAugmentation
from mer_engine.training.examples import (
    COLLECTION_WEIGHTS,
    PARTS,
    ClipEncoder,
    Labels,
    encode_clips,
    read_frames,
    read_labels,
)
from own_data_support import write_own_data
from torch.nn import functional
from training_support import SMALL, labelled


@pytest.fixture
def network() -> EmotionNetwork:
    torch.manual_seed(0)
    return EmotionNetwork(SMALL)


def clip(folder: Path, seconds: float, song: int = 2) -> Clip:
    path = folder / f"{song}_{seconds:g}.wav"
    soundfile.write(path, tone(song, seconds), 16_000, subtype="FLOAT")
    return Clip(path.stem, path, 0.0)


def test_labels_have_songs_and_artists(tmp_path: Path) -> None:
    deam = load_collection(str(write_deam(tmp_path).parent))
    labels = read_labels(deam, deam.clips_of("train"))
    assert labels.values.shape == (12, 20, 2)
    row = labels.songs.tolist().index("deam/3")
    assert labels.values[row, :, 1] == pytest.approx(arousal_of(3), abs=0.01)
    # Songs 2 and 3 are by the same artist, with different spellings.
    groups = dict(zip(labels.songs.tolist(), labels.groups.tolist(), strict=True))
    assert groups["deam/2"] == groups["deam/3"] == "artist someone"
    assert groups["deam/4"] == "song deam/4"
    assert not labels.signs.any()
    assert set(labels.collections) == {"deam"}
    assert set(labels.weights) == {1.0}
    parts = dict(zip(labels.songs.tolist(), labels.parts.tolist(), strict=True))
    assert parts["deam/2"] == parts["deam/3"]
    assert set(parts.values()) <= set(range(PARTS))


def test_quadrants_are_signs_without_a_scale(tmp_path: Path) -> None:
    quadrants = load_collection(f"4q={write_four_quadrants(tmp_path, songs=4)}")
    labels = read_labels(quadrants, quadrants.clips_of("train"))
    assert labels.songs.tolist() == ["4q/S0", "4q/S1", "4q/S2", "4q/S3"]
    assert labels.signs.tolist() == [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    assert np.isnan(labels.values).all()
    assert set(labels.scales) == {""}
    assert set(labels.weights) == {COLLECTION_WEIGHTS["4q"]}
    assert labels.groups[0] == labels.groups[1] == "artist artist 0"


def test_means_of_few_raters_have_less_weight(tmp_path: Path) -> None:
    films = load_collection(f"fme24={write_fme24(tmp_path)}")
    clips = films.clips_of("train")
    labels = read_labels(films, clips)
    np.testing.assert_allclose(labels.weights, 2 / (2 + 3))  # two listeners each
    songs = {name: replace(song, raters=12) for name, song in films.songs.items()}
    more = read_labels(replace(films, songs=songs), clips)
    np.testing.assert_allclose(more.weights, 12 / (12 + 3))


def test_numbers_have_an_offset_unless_they_are_the_anchor(tmp_path: Path) -> None:
    films = load_collection(f"fme24={write_fme24(tmp_path / 'fme24')}")
    clips = films.clips_of("train")
    assert set(read_labels(films, clips).scales) == {"fme24/"}
    assert set(read_labels(films, clips, anchor=True).scales) == {""}
    # Each campaign has its own.
    deam = load_collection(str(write_deam(tmp_path).parent))
    scales = set(read_labels(deam, deam.clips_of("train")).scales)
    assert scales == {f"deam/{deam.songs[name].campaign}" for name in deam.splits["train"]}
    # Proxies of ratings have no common zero, even in the first collection.
    choices = [[["calmness"]], [["power"], ["joyful_activation"]]]
    proxies = load_collection(f"emotify={write_emotify(tmp_path / 'emotify', choices)}")
    labels = read_labels(proxies, proxies.clips_of("train"), anchor=True)
    assert set(labels.scales) == {"emotify/"}
    assert set(labels.weights) == {COLLECTION_WEIGHTS["emotify"]}


def test_labels_of_several_collections_and_of_some_clips(tmp_path: Path) -> None:
    own = load_collection(f"csv={write_own_data(tmp_path, songs=6)}")
    first, second = (read_labels(own, own.clips_of(name)) for name in ("train", "test"))
    both = first + second
    assert len(both) == len(first) + len(second) == 8
    some = both.select(np.array([6, 0]))
    assert some.songs.tolist() == [second.songs[2], first.songs[0]]
    np.testing.assert_array_equal(some.values[1], first.values[0])
    assert len(read_labels(own, ())) == 0


def test_features_of_a_clip_are_those_of_the_front_end(tmp_path: Path) -> None:
    read = read_frames(clip(tmp_path, 10.0))
    assert read is not None
    frames, steps = read
    assert steps == 20
    assert frames.dtype == np.float16
    np.testing.assert_allclose(frames[0], features(tone(2, 10.0)), atol=4e-3)
    longer = read_frames(clip(tmp_path, 12.0))
    assert longer is not None
    assert longer[0].shape == (1, 640, 109)


def test_augmented_versions_differ_from_the_clip(tmp_path: Path) -> None:
    source = clip(tmp_path, 10.0)
    read = read_frames(source, 2, np.random.default_rng(1))
    plain = read_frames(source)
    assert read is not None
    assert plain is not None
    assert read[0].shape == (3, 640, 109)
    np.testing.assert_array_equal(read[0][0], plain[0][0])
    noisy = AcousticAugmentation(drive_share=0, room_share=0, noise_share=1, tone_share=0)
    augmented = read_frames(source, 2, np.random.default_rng(1), noisy)
    assert augmented is not None
    for one, other in ((1, 0), (2, 0), (1, 2)):
        assert np.abs(augmented[0][one] - augmented[0][other]).max() > 0.05
    again = read_frames(source, 2, np.random.default_rng(1), noisy)
    assert again is not None
    np.testing.assert_array_equal(again[0], augmented[0])


def test_a_short_clip_is_padded_with_silence(tmp_path: Path) -> None:
    read = read_frames(clip(tmp_path, 7.3))
    assert read is not None
    frames, steps = read
    assert steps == 14
    assert frames[0, :467, 0].any()
    assert not frames[0, 467:].any()
    assert read_frames(clip(tmp_path, 1.9)) is None
    with pytest.raises(DataError, match=r"gone\.wav"):
        read_frames(Clip("x", tmp_path / "gone.wav", 0.0))


def with_silence(network: EmotionNetwork, frames: np.ndarray) -> torch.Tensor:
    context = network.config.step_context
    return functional.pad(torch.from_numpy(frames).float(), (0, 0, context, 0))


def test_the_first_version_is_the_original(tmp_path: Path, network: EmotionNetwork) -> None:
    clips = [clip(tmp_path, 10.0, song) for song in (2, 3)]
    encoder = ClipEncoder(network.encoder)
    steps, _, _ = encode_clips(encoder, clips, 3, 0, lambda _: None)
    assert steps.shape == (3, 2, 20, SMALL.embedding)
    assert steps.dtype == np.float16
    read = read_frames(clips[1])
    assert read is not None
    with torch.inference_mode():
        plain = network.encoder(with_silence(network, read[0]))
    np.testing.assert_allclose(steps[0, 1], plain[0], atol=5e-3)
    assert np.abs(steps[1:] - steps[:1]).max() > 0.05
    again, _, _ = encode_clips(encoder, clips, 3, 0, lambda _: None)
    np.testing.assert_array_equal(again, steps)
    other, _, _ = encode_clips(encoder, clips, 3, 1, lambda _: None)
    assert np.abs(other[1:] - steps[1:]).max() > 0.05


def test_clips_are_encoded_without_the_logits_of_sounds() -> None:
    torch.manual_seed(0)
    network = EmotionNetwork(replace(SMALL, sounds=True))
    frames = np.random.default_rng(0).uniform(0, 4, (2, 640, 109)).astype(np.float16)
    steps = ClipEncoder(network.encoder)(frames)
    assert steps.shape == (2, 20, network.config.embedding - 3)
    with torch.inference_mode():
        whole = network.encoder(with_silence(network, frames))
        assert torch.equal(network.head(whole), network.head(whole[:, :, :-3]))
    np.testing.assert_allclose(steps, whole[:, :, :-3], atol=5e-3)


def test_unreadable_clips_are_left_out_and_reported(
    tmp_path: Path, network: EmotionNetwork
) -> None:
    (tmp_path / "broken.wav").write_text("no audio")
    clips = [clip(tmp_path, 10.0, song) for song in range(2, 12)]
    clips[3] = Clip("broken", tmp_path / "broken.wav", 0.0)
    clips[5] = clip(tmp_path, 1.0)
    clips[9] = clip(tmp_path, 6.0)
    messages: list[str] = []
    encoder = ClipEncoder(network.encoder)
    steps, kept, lengths = encode_clips(encoder, clips, 2, 0, messages.append)
    assert kept.tolist() == [0, 1, 2, 4, 6, 7, 8, 9]
    assert lengths.tolist() == [20] * 7 + [12]
    assert steps.shape == (2, 8, 20, SMALL.embedding)
    assert len(messages) == 1
    assert "broken.wav cannot be read" in messages[0]
    alone, _, _ = encode_clips(encoder, clips[6:7], 1, 0, messages.append)
    np.testing.assert_allclose(steps[0, 4], alone[0, 0], atol=5e-3)
    nothing, none, _ = encode_clips(encoder, [], 1, 0, messages.append)
    assert nothing.shape == (1, 0, 20, SMALL.embedding)
    assert len(none) == 0


def test_labels_are_selected_joined_and_stored() -> None:
    one, other = labelled(3)[1], labelled(2, collection="long name", signs=True)[1]
    none = one.select(np.array([], int))
    assert len(none) == 0
    assert (none + other).groups.tolist() == ["song long name/0", "song long name/1"]
    both = one + other
    restored = Labels.from_state(both.to_state())
    for name, value in vars(both).items():
        found = getattr(restored, name)
        np.testing.assert_array_equal(found, value)
        assert found.dtype.kind == value.dtype.kind


def test_clips_of_a_group_are_on_one_side() -> None:
    labels = labelled(4)[1]
    labels = replace(labels, groups=np.array(["x", "y", "x", "z"]))
    held_out = np.array([True, False, False, False])
    assert labels.outside_groups_of(held_out).tolist() == [False, True, False, True]
