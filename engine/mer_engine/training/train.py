"""The way from labelled music to a model file."""

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
from mer_engine.training.checkpoint import Checkpoint
from mer_engine.training.clip_audio import read_clip
from mer_engine.training.collection import DIMENSIONS, Clip, Collection, load_collection
from mer_engine.training.distil import LESSON_EPOCHS, ask_teacher, teach_encoder
from mer_engine.training.export import Calibration, ModelText, export_model
from mer_engine.training.fit import (
    STEPS,
    Examples,
    FitSettings,
    fit_network,
    predict,
    score_values,
    settle_norm,
)
from mer_engine.training.import_onnx import load_network
from mer_engine.training.problem import DataError
from mer_engine.training.teacher import NOTICE, TaggerWeights, Teacher, load_weights
from mer_engine.training.tensor_bundle import BundleError
from mer_engine.training.transfer import start_encoder
from mer_engine.training.unfinished import MODEL, model_state, read_calibration

TEACHER = "MSD_musicnn"
AUGMENTATION = Augmentation()
# A clip may end a little early: the rest is filled with silence and its labels are dropped.
_SHORTEST_STEPS = 4


@dataclass(frozen=True)
class TrainSettings:
    """What a training run is given.

    Attributes:
        data: collections, as `load_collection` takes them.
        out: the model file to write.
        init: a model file whose network is trained on; None starts a new one.
        teacher: the `musicnn` wheel or the folder it was unpacked into; None trains from labels
            alone.
        seed: of every choice made by chance.
        epochs: passes over the clips; the default of `FitSettings` where None.
        quick: few epochs and no variations worth naming: to see whether everything works.
        device: of torch, for example "cpu" or "cuda".
        fresh: begin anew, whatever an interrupted run left.
        keep_checkpoint: leave the checkpoint of a finished run.
        text: name, licence and notice of the model file.
    """

    data: tuple[str, ...]
    out: Path
    init: Path | None = None
    teacher: Path | None = None
    seed: int = 0
    epochs: int | None = None
    quick: bool = False
    device: str = "cpu"
    fresh: bool = False
    keep_checkpoint: bool = False
    text: ModelText = field(default_factory=ModelText)

    @property
    def checkpoint(self) -> Path:
        """Where the state of the unfinished run is kept."""
        return self.out.with_name(f"{self.out.name}.checkpoint")


def train(settings: TrainSettings, say: Callable[[str], None]) -> ModelInfo:
    """Train a network twice and write the second as a model file.

    The first is fitted on the training songs alone: its errors on the validation songs give the
    figures that choices rest on, the intervals and the mapping to labels of whole songs. The second
    is fitted the same way on both and is the one that is written. Test songs take no part.

    Args:
        settings: what to do.
        say: takes sentences about the progress.

    Raises:
        DataError: the data are incomplete, the teacher cannot be read, or the checkpoint belongs to
            another run.
        ModelError: the network of `init` cannot be read.
    """
    begun = time.perf_counter()
    collections = read_collections(settings.data, say)
    weights = None if settings.teacher is None else _read_teacher(settings.teacher)
    say("computing features")
    training = load_examples(collections, "train", say=say)
    held_out = load_examples(collections, "validation", say=say)
    how = fit_settings(settings, from_teacher=weights is not None)
    given, parent = (None, None) if settings.init is None else load_network(settings.init)
    checkpoint = Checkpoint(
        settings.checkpoint,
        {
            "data": settings.data,
            "clips": {"train": len(training), "validation": len(held_out)},
            "init": None if parent is None else parent.sha256,
            "teacher": None if weights is None else weights.name,
            "seed": settings.seed,
            "quick": settings.quick,
            "fit": asdict(how),
            "augmentation": asdict(AUGMENTATION),
            "network": asdict(NetworkConfig() if given is None else given.config),
        },
    )
    if settings.fresh:
        checkpoint.discard()
    state = checkpoint.load() or {}
    if state:
        say(f"going on from {settings.checkpoint}")

    report: dict[str, Any] = {
        "data": f"{', '.join(c.name for c in collections)}: train and validation splits",
        "collections": [describe(collection) for collection in collections],
        "teacher": None if weights is None else weights.name,
        "init": None if parent is None else {"name": parent.name, "sha256": parent.sha256},
        "seed": settings.seed,
        "fit": asdict(how),
        "augmentation": asdict(AUGMENTATION),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    notice = settings.text.notice
    if weights is not None:
        notice = NOTICE
    elif parent is not None:
        notice = parent.notice
    text = replace(settings.text, training=report, notice=notice)

    start = EmotionNetwork(NetworkConfig() if given is None else given.config)
    if "start" in state:
        start.load_state_dict(state["start"])
    else:
        start = given or _start(collections, training, weights, settings, say)
        state["start"] = start.state_dict()
        checkpoint.save(state)
    report["network"] = asdict(start.config)

    if MODEL in state:
        calibration = read_calibration(state[MODEL]["calibration"])
        report["validation"] = state[MODEL]["text"]["training"]["validation"]
    else:
        say(f"fitting {len(training)} clips of the training songs")
        first = _fit(start, training, how, settings, say)
        calibration, report["validation"] = _measure(first, training, held_out, settings.device)
        state[MODEL] = model_state(first, calibration, text)
        checkpoint.save(state)
    figures = report["validation"]
    say(
        f"validation: R2 arousal {figures['arousal']['r2']:.3f}, "
        f"valence {figures['valence']['r2']:.3f}"
    )

    both = training + held_out
    say(f"fitting {len(both)} clips of the training and validation songs")
    final = _fit(start, both, how, settings, say).to("cpu")
    report["clips"] = len(both)
    report["seconds"] = round(time.perf_counter() - begun)
    info = export_model(final, settings.out, calibration, text)
    if settings.keep_checkpoint:
        checkpoint.save({**state, MODEL: model_state(final, calibration, text)})
    else:
        checkpoint.discard()
    say(f"wrote {settings.out} ({settings.out.stat().st_size / 1e6:.1f} MB)")
    return info


def read_collections(
    sources: tuple[str, ...], say: Callable[[str], None]
) -> tuple[Collection, ...]:
    """Read collections and tell what of them cannot be used.

    Raises:
        DataError: one of them cannot be used at all.
    """
    collections = tuple(load_collection(source) for source in sources)
    for collection in collections:
        for sentence in (*collection.left_out, *collection.notes):
            say(f"{collection.name}: {sentence}")
        if collection.summary:
            say(f"{collection.name}: {collection.summary}")
    return collections


def describe(collection: Collection) -> dict[str, Any]:
    """What of a collection is trained on, for the report."""
    clips = {name: collection.clips_of(name) for name in ("train", "validation")}
    return {
        "name": collection.name,
        "songs": {name: len({clip.song for clip in some}) for name, some in clips.items()},
        "clips": {name: len(some) for name, some in clips.items()},
    }


def _measure(
    network: EmotionNetwork, training: Examples, held_out: Examples, device: str
) -> tuple[Calibration, dict[str, Any]]:
    """The calibration and the figures of a network that does not know the held-out songs."""
    centres = network.config.bin_centres().numpy()
    probabilities = predict(network, held_out.frames, device)
    valence, arousal = score_values(probabilities @ centres, held_out.labels)
    calibration = calibrate(probabilities, centres, held_out, training.labels)
    return calibration, {
        "fitted_on": "train",
        "valence": valence.to_dict(),
        "arousal": arousal.to_dict(),
    }


def fit_settings(settings: TrainSettings, *, from_teacher: bool) -> FitSettings:
    """How to fit, by what the run was given."""
    how = FitSettings()
    # Filters that start from nothing have to be trained.
    if not from_teacher and settings.init is None:
        how = replace(how, versions=0, keep_statistics=False)
    if settings.quick:
        how = replace(how, epochs=2, versions=min(how.versions, 1))
    if settings.epochs is not None:
        how = replace(how, epochs=settings.epochs)
    return how


def load_examples(
    collections: tuple[Collection, ...], split: str, *, say: Callable[[str], None]
) -> Examples:
    """Read the clips of a split as examples.

    Args:
        collections: the data.
        split: "train" or "validation".
        say: is told of clips that cannot be read; they are left out.

    Raises:
        DataError: no clip could be read, or none has labels of one of the dimensions.
    """
    # The further clips of some songs (`extra`) stay out: they give those songs more weight,
    # and the validation songs were told worse with them.
    rows = []
    for collection in collections:
        for clip in collection.clips_of(split):
            try:
                row = _example(collection, clip)
            except DataError as error:
                say(f"{collection.name}: left out: {error}")
                continue
            if row is not None:
                rows.append(row)
    if not rows:
        roots = ", ".join(str(collection.root) for collection in collections)
        raise DataError(
            f"no song of the {split} split in {roots} can be used; training needs songs of the "
            "splits train and validation (own data: the column split of songs.csv)"
        )
    frames, labels, static = (np.stack(column) for column in zip(*rows, strict=True))
    for column, name in enumerate(DIMENSIONS):
        if not np.isfinite(labels[..., column]).any():
            raise DataError(f"no song of the {split} split has labels of {name}")
    return Examples(
        frames=frames,
        labels=labels,
        static=static,
        other=np.full_like(labels, np.nan),
        taught=np.zeros((len(rows), 0), np.float32),
    )


def _example(
    collection: Collection, clip: Clip
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]] | None:
    frontend = FrontEndConfig()
    per_step = frontend.frames_per_second // 2
    frames = features(read_clip(clip, frontend.sample_rate_hz), frontend)[: STEPS * per_step]
    steps = len(frames) // per_step
    if steps < _SHORTEST_STEPS:
        return None
    labels = collection.labels(clip, STEPS)
    labels[steps:] = np.nan
    filled = np.zeros((STEPS * per_step, frontend.bands), np.float16)
    filled[: len(frames)] = frames
    static = collection.songs[clip.song].static
    return filled, labels, np.array((np.nan, np.nan) if static is None else static, np.float32)


def _start(
    collections: tuple[Collection, ...],
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
    clips = [clip for collection in collections for clip in collection.clips_of("train")]
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
