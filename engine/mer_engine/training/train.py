"""The way from a data folder to a model file."""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.frontend import FrontEndConfig, features
from mer_engine.model_file import ModelInfo
from mer_engine.network import EmotionNetwork, NetworkConfig
from mer_engine.training.augment import Augmentation
from mer_engine.training.calibrate import calibrate
from mer_engine.training.dataset import Clip, DataError, Deam, load_deam, read_audio
from mer_engine.training.distil import LESSON_EPOCHS, ask_teacher, teach_encoder
from mer_engine.training.export import ModelText, export_model
from mer_engine.training.fit import (
    STEPS,
    Examples,
    FitSettings,
    fit_network,
    predict,
    score_values,
    settle_norm,
)
from mer_engine.training.teacher import NOTICE, TaggerWeights, Teacher, load_weights
from mer_engine.training.tensor_bundle import BundleError
from mer_engine.training.transfer import start_encoder

TEACHER = "MSD_musicnn"
AUGMENTATION = Augmentation()
# A clip may end a little early: the rest is filled with silence and its labels are dropped.
_SHORTEST_STEPS = 4


@dataclass(frozen=True)
class TrainSettings:
    """What a training run is given.

    Attributes:
        data: DEAM, or the folder that holds it.
        out: the model file to write.
        teacher: the `musicnn` wheel or the folder it was unpacked into; None trains from labels
            alone.
        seed: of every choice made by chance.
        epochs: passes over the clips; the default of `FitSettings` where None.
        quick: few epochs and no variations worth naming: to see whether everything works.
        device: of torch, for example "cpu" or "cuda".
        text: name, licence and notice of the model file.
    """

    data: Path
    out: Path
    teacher: Path | None = None
    seed: int = 0
    epochs: int | None = None
    quick: bool = False
    device: str = "cpu"
    text: ModelText = field(default_factory=ModelText)


def train(settings: TrainSettings, say: Callable[[str], None]) -> ModelInfo:
    """Train a network twice and write the second as a model file.

    The first is fitted on the training songs alone: its errors on the validation songs give the
    figures that choices rest on, the intervals and the mapping to labels of whole songs. The second
    is fitted the same way on both and is the one that is written. Test songs take no part.

    Args:
        settings: what to do.
        say: takes sentences about the progress.

    Raises:
        DataError: the data are incomplete, or the teacher cannot be read.
    """
    begun = time.perf_counter()
    deam = load_deam(settings.data)
    for sentence in deam.left_out:
        say(f"left out: {sentence}")
    weights = None if settings.teacher is None else _read_teacher(settings.teacher)
    say(f"computing features of the songs in {deam.root}")
    training = load_examples(deam, deam.splits["train"], say=say)
    held_out = load_examples(deam, deam.splits["validation"], say=say)
    how = fit_settings(settings, from_teacher=weights is not None)
    start = _start(deam, training, weights, settings, say)

    say(f"fitting {len(training)} clips of the training songs")
    first = _fit(start, training, how, settings, say)
    probabilities = predict(first, held_out.frames, settings.device)
    centres = first.config.bin_centres().numpy()
    valence, arousal = score_values(probabilities @ centres, held_out.labels)
    say(f"validation: R2 arousal {arousal.r2:.3f}, valence {valence.r2:.3f}")
    calibration = calibrate(probabilities, centres, held_out, training.labels)

    both = training + held_out
    say(f"fitting {len(both)} clips of the training and validation songs")
    final = _fit(start, both, how, settings, say)
    report: dict[str, Any] = {
        "data": "DEAM, train and validation splits",
        "songs": {name: len(deam.splits[name]) for name in ("train", "validation")},
        "clips": len(both),
        "teacher": None if weights is None else weights.name,
        "seed": settings.seed,
        "fit": asdict(how),
        "augmentation": asdict(AUGMENTATION),
        "network": asdict(final.config),
        "validation": {
            "fitted_on": "train",
            "valence": valence.to_dict(),
            "arousal": arousal.to_dict(),
        },
        "seconds": round(time.perf_counter() - begun),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    notice = settings.text.notice if weights is None else NOTICE
    text = replace(settings.text, training=report, notice=notice)
    info = export_model(final.to("cpu"), settings.out, calibration, text)
    say(f"wrote {settings.out} ({settings.out.stat().st_size / 1e6:.1f} MB)")
    return info


def fit_settings(settings: TrainSettings, *, from_teacher: bool) -> FitSettings:
    """How to fit, by what the run was given."""
    how = FitSettings()
    if not from_teacher:  # filters that start from nothing have to be trained
        how = replace(how, versions=0, keep_statistics=False)
    if settings.quick:
        how = replace(how, epochs=2, versions=min(how.versions, 1))
    if settings.epochs is not None:
        how = replace(how, epochs=settings.epochs)
    return how


def load_examples(
    deam: Deam, songs: tuple[int, ...], *, say: Callable[[str], None]
) -> Examples:
    """Read clips of some songs as examples.

    Args:
        deam: the data set.
        songs: which songs.
        say: is told of clips that cannot be read; they are left out.

    Raises:
        DataError: no clip could be read.
    """
    # The further clips of some songs (`deam.extra`) stay out: they give those songs more weight,
    # and the validation songs were told worse with them.
    clips = [deam.clips[song] for song in songs if song in deam.clips]
    rows = []
    for clip in clips:
        try:
            row = _example(deam, clip)
        except DataError as error:
            say(f"left out: {error}")
            continue
        if row is not None:
            rows.append(row)
    if not rows:
        raise DataError(f"none of {len(clips)} clips in {deam.root} could be read")
    frames, labels, static = (np.stack(column) for column in zip(*rows, strict=True))
    return Examples(
        frames=frames,
        labels=labels,
        static=static,
        other=np.full_like(labels, np.nan),
        taught=np.zeros((len(rows), 0), np.float32),
    )


def _example(
    deam: Deam, clip: Clip
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]] | None:
    frontend = FrontEndConfig()
    per_step = frontend.frames_per_second // 2
    frames = features(read_audio(clip.path, frontend.sample_rate_hz), frontend)[: STEPS * per_step]
    steps = len(frames) // per_step
    if steps < _SHORTEST_STEPS:
        return None
    labels = deam.labels(clip.song_id, clip.start_s, STEPS)
    labels[steps:] = np.nan
    filled = np.zeros((STEPS * per_step, frontend.bands), np.float16)
    filled[: len(frames)] = frames
    static = np.full(2, np.nan, np.float32)
    if clip.song_id in deam.static:
        static = np.array([(value - 5) / 4 for value in deam.static[clip.song_id]], np.float32)
    return filled, labels, static


def _start(
    deam: Deam,
    training: Examples,
    weights: TaggerWeights | None,
    settings: TrainSettings,
    say: Callable[[str], None],
) -> EmotionNetwork:
    """The network before it has seen a label of emotion."""
    torch.manual_seed(settings.seed)
    network = EmotionNetwork(NetworkConfig())
    if weights is None:
        start_normalisation(network, training)
        return network
    start_encoder(network, weights)
    clips = [deam.clips[song] for song in deam.splits["train"] if song in deam.clips]
    say(f"asking the tagger about {len(clips)} clips of the training songs")
    lessons = ask_teacher(Teacher(weights), clips, say)
    epochs = 1 if settings.quick else LESSON_EPOCHS
    teach_encoder(network, lessons, epochs, settings.seed, say, settings.device)
    settle_norm(network, training)
    return network


def _fit(
    start: EmotionNetwork,
    examples: Examples,
    how: FitSettings,
    settings: TrainSettings,
    say: Callable[[str], None],
) -> EmotionNetwork:
    torch.manual_seed(settings.seed)
    begun = time.perf_counter()

    def report(epoch: int, loss: float) -> None:
        seconds = time.perf_counter() - begun
        say(f"epoch {epoch} of {how.epochs}: loss {loss:.4f}, {seconds:.0f} s")

    return fit_network(
        copy.deepcopy(start), examples, how, AUGMENTATION, settings.seed, report, settings.device
    )


def start_normalisation(network: EmotionNetwork, examples: Examples) -> None:
    """Set the input's normalisation to the mean and spread of each band."""
    frames = examples.frames[:: max(1, len(examples) // 256)].astype(np.float32)
    network.encoder.mean.copy_(torch.from_numpy(frames.mean(axis=(0, 1))))
    network.encoder.std.copy_(torch.from_numpy(frames.std(axis=(0, 1)) + 1e-3))


def _read_teacher(path: Path) -> TaggerWeights:
    try:
        return load_weights(path, TEACHER)
    except (OSError, BundleError, KeyError) as error:
        raise DataError(
            f"the teacher {path} cannot be used ({error}); give the wheel of the package musicnn "
            "(pip download musicnn --no-deps) or the folder it was unpacked into"
        ) from error
