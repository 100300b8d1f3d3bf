"""The way from labelled music to a model file."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, Clip, Collection
from mer_engine.model_file import ModelInfo
from mer_engine.network import EmotionNetwork, NetworkConfig, RegressionHead
from mer_engine.network_import import load_network
from mer_engine.training.acoustic_augmentation import AcousticAugmentation
from mer_engine.training.calibrate import COVERAGE, calibrate
from mer_engine.training.checkpoint import Checkpoint
from mer_engine.training.checkpoint_export import MODEL, model_state
from mer_engine.training.cross_fit import cross_fit, parts_of
from mer_engine.training.examples import ClipEncoder, Labels, encode_clips, read_frames, read_labels
from mer_engine.training.export import Calibration, ModelText, export_model
from mer_engine.training.fit import (
    FIRST_SCORED,
    FitSettings,
    fit_encoder,
    predict,
    score_values,
)
from mer_engine.training.spectral_augmentation import Augmentation
from mer_engine.training.teacher import NOTICE, TaggerWeights, load_weights
from mer_engine.training.tensor_bundle import BundleError
from mer_engine.training.transfer import settle_pool, start_encoder
from mer_engine.training.unlabelled import find_music

TEACHER = "MSD_musicnn"
# Of an encoder that starts from nothing; nothing but the labels tells it what to hear.
ENCODER_AUGMENTATION = Augmentation()
ENCODER_EPOCHS = 12
# Parts of the songs that are held out one after the other. The more there are, the more nearly does
# who tells them know as much as the reader that is written, whose intervals they set.
HELD_OUT_PARTS = 10
_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class TrainSettings:
    """What a training run is given.

    Attributes:
        data: collections, as `load_collection` takes them.
        auxiliary: more of them, that count less: see `Labels`.
        out: the model file to write.
        init: a model file whose network is trained on; None starts a new one.
        teacher: the `musicnn` wheel or the folder it was unpacked into; None trains the encoder
            from labels alone.
        unlabelled: folders of music without labels.
        seed: of every choice made by chance.
        steps: steps of the optimiser in each fit; the default of `FitSettings` where None.
        quick: few steps: to see whether everything works.
        device: of torch, for example "cpu" or "cuda".
        fresh: begin anew, whatever an interrupted run left.
        keep_checkpoint: leave the checkpoint of a finished run.
        text: name, licence and notice of the model file.
    """

    data: tuple[str, ...]
    out: Path
    init: Path | None = None
    teacher: Path | None = None
    auxiliary: tuple[str, ...] = ()
    unlabelled: tuple[Path, ...] = ()
    seed: int = 0
    steps: int | None = None
    quick: bool = False
    device: str = "cpu"
    fresh: bool = False
    keep_checkpoint: bool = False
    text: ModelText = field(default_factory=ModelText)

    @property
    def checkpoint(self) -> Path:
        """Where the state of the unfinished run is kept."""
        return self.out.with_name(f"{self.out.name}.checkpoint")


@dataclass(frozen=True)
class EncodedDataset:
    """Everything that is learnt from, encoded.

    Attributes:
        network: its encoder is final, its reader where it starts.
        steps: float16 [versions, n, 20, E] of the labelled clips.
        labels: of the same clips; unknown after a clip's end.
        validation: [n], whether a clip is of the validation split.
        other: float16 [1, m, 20, E] of clips without labels.
        blind: whether the encoder has seen no label of these clips.
    """

    network: EmotionNetwork
    steps: NDArray[np.float16]
    labels: Labels
    validation: NDArray[np.bool_]
    other: NDArray[np.float16]
    blind: bool

    def fit(
        self,
        chosen: NDArray[np.int64],
        how: FitSettings,
        seed: int,
        report: Callable[[int, float], None] | None = None,
        *,
        settle: bool = True,
        device: str = "cpu",
    ) -> RegressionHead:
        """A reader fitted to the labelled clips `chosen` and to the music without labels."""
        return cross_fit(
            self.network.head,
            self.steps[:, chosen],
            self.labels.select(chosen),
            self.other,
            how,
            seed,
            report,
            settle=settle,
            device=device,
        )

    def select(self, chosen: NDArray[np.int64]) -> EncodedDataset:
        """The same with some of the labelled clips."""
        return replace(
            self,
            steps=self.steps[:, chosen],
            labels=self.labels.select(chosen),
            validation=self.validation[chosen],
        )

    def with_head(self, reader: RegressionHead) -> EmotionNetwork:
        """A network of this encoder and another reader."""
        network = EmotionNetwork(replace(reader.config, regressor_windows=0))
        network.encoder.load_state_dict(self.network.encoder.state_dict())
        network.head = reader
        network.config = reader.config
        return network


def train(settings: TrainSettings, say: Callable[[str], None]) -> ModelInfo:
    """Train a network and write it as a model file.

    An encoder that knows no label of emotion describes every clip. Readers are then fitted to nine
    tenths of the songs of the train and validation splits and tell the last tenth, until every song
    was told by a reader that did not know it: that gives the intervals and the figures that choices
    rest on. The reader that is written is fitted the same way to all of them. Songs of the test
    split take no part.

    Without teacher and start network the encoder is trained on the labels of the training songs;
    then the validation songs alone are held out.

    Args:
        settings: what to do.
        say: takes sentences about the progress.

    Raises:
        DataError: the data are incomplete, the teacher cannot be read, or the checkpoint belongs to
            another run.
        ModelError: the network of `init` cannot be read.
    """
    begun = time.perf_counter()
    torch.set_flush_denormal(True)  # also where a run goes on: processors multiply them slowly
    collections = read_collections(settings.data, say)
    beside = read_collections(settings.auxiliary, say)
    weights = None if settings.teacher is None else read_teacher(settings.teacher)
    given, parent = (None, None) if settings.init is None else load_network(settings.init)
    how = fit_settings(settings)
    music = [clip for folder in settings.unlabelled for clip in find_music(folder, say)]
    music += [
        clip
        for collection in (*collections, *beside)
        for clip in collection.extra
        if clip.song not in collection.splits["test"]
    ]
    checkpoint = Checkpoint(
        settings.checkpoint,
        {
            "data": settings.data,
            "auxiliary": settings.auxiliary,
            "clips": {
                name: sum(len(c.clips_of(name)) for c in (*collections, *beside))
                for name in _SPLITS
            },
            "unlabelled": len(music),
            "init": None if parent is None else parent.sha256,
            "teacher": None if weights is None else weights.name,
            "seed": settings.seed,
            "quick": settings.quick,
            "fit": asdict(how),
            "surroundings": asdict(AcousticAugmentation()),
            "network": asdict(_sizes(weights) if given is None else given.config),
        },
    )
    if settings.fresh:
        checkpoint.discard()
    state = checkpoint.load() or {}
    if state:
        say(f"going on from {settings.checkpoint}")

    heard = restore(state)
    if heard is None:
        heard = _hear(collections, beside, music, weights, given, how, settings, say)
        state.update(_stored(heard))
        checkpoint.save(state)
    report: dict[str, Any] = {
        "data": f"{', '.join(c.name for c in collections)}: train and validation splits",
        "collections": [describe(collection) for collection in collections],
        "auxiliary": [describe(collection) for collection in beside],
        "clips": len(heard.labels),
        "unlabelled_clips": heard.other.shape[1],
        "teacher": None if weights is None else weights.name,
        "init": None if parent is None else {"name": parent.name, "sha256": parent.sha256},
        "seed": settings.seed,
        "fit": asdict(how),
        "surroundings": asdict(AcousticAugmentation()),
        "network": asdict(heard.network.config),
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

    def keep(network: EmotionNetwork, calibration: Calibration | None) -> None:
        state[MODEL] = model_state(network, calibration, text)
        checkpoint.save(state)

    probabilities, told = _hold_out(heard, how, settings, state, keep, say)
    calibration, report["validation"] = _measure(heard, probabilities, told)
    figures = report["validation"]
    say(
        f"songs that the reader did not know: R2 arousal {figures['arousal']['r2']:.3f}, "
        f"valence {figures['valence']['r2']:.3f}"
    )

    meant = int((~heard.labels.auxiliary).sum())
    say(
        f"fitting {meant} clips of the training and validation songs"
        + (f" and {len(heard.labels) - meant} auxiliary ones" if beside else "")
    )
    reader = _fit(heard, np.arange(len(heard.labels)), how, settings, say)
    final = heard.with_head(reader).eval()
    report["network"] = asdict(final.config)
    report["seconds"] = round(time.perf_counter() - begun)
    info = export_model(final, settings.out, calibration, text)
    if settings.keep_checkpoint:
        keep(final, calibration)
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
    clips = {name: collection.clips_of(name) for name in _SPLITS}
    return {
        "name": collection.name,
        "songs": {name: len({clip.song for clip in some}) for name, some in clips.items()},
        "clips": {name: len(some) for name, some in clips.items()},
    }


def fit_settings(settings: TrainSettings) -> FitSettings:
    """How to fit, by what the run was given."""
    how = FitSettings()
    if settings.init is not None:
        # A reader that knows a great deal already is led on gently, by the new labels alone.
        how = replace(how, steps=300, rate=2e-4, opinion=0.0, unlabelled=0.0, memory=False)
    if settings.quick:
        how = replace(how, steps=20, versions=1)
    if settings.steps is not None:
        how = replace(how, steps=settings.steps)
    return how


def clips_to_learn(
    collections: tuple[Collection, ...], auxiliary: tuple[Collection, ...] = ()
) -> tuple[list[Clip], Labels, NDArray[np.bool_]]:
    """The labelled clips of the train and validation splits.

    Returns:
        The clips, their labels, and which of them are held out as the validation split: none of the
        auxiliary ones.

    Raises:
        DataError: a split is empty, or has no labels of one of the dimensions.
    """
    clips: list[Clip] = []
    labels: Labels | None = None
    validation: list[bool] = []
    for split in _SPLITS:
        found: Labels | None = None
        for collection in collections:
            some = collection.clips_of(split)
            more = read_labels(collection, some)
            clips += some
            validation += [split == "validation"] * len(some)
            found = more if found is None else found + more
        if found is None or not len(found):
            roots = ", ".join(str(collection.root) for collection in collections)
            raise DataError(
                f"no song of the {split} split in {roots} can be used; training needs songs of the "
                "splits train and validation (own data: the column split of songs.csv)"
            )
        for column, name in enumerate(DIMENSIONS):
            if not np.isfinite(found.values[..., column]).any():
                raise DataError(f"no song of the {split} split has labels of {name}")
        labels = found if labels is None else labels + found
    assert labels is not None
    for split in _SPLITS:
        for collection in auxiliary:
            some = collection.clips_of(split)
            labels += read_labels(collection, some, auxiliary=True)
            clips += some
            validation += [False] * len(some)
    return clips, labels, np.array(validation)


def _hear(
    collections: tuple[Collection, ...],
    auxiliary: tuple[Collection, ...],
    music: list[Clip],
    weights: TaggerWeights | None,
    given: EmotionNetwork | None,
    how: FitSettings,
    settings: TrainSettings,
    say: Callable[[str], None],
) -> EncodedDataset:
    """Make the encoder and encode everything with it."""
    clips, labels, validation = clips_to_learn(collections, auxiliary)
    torch.manual_seed(settings.seed)
    network = given or EmotionNetwork(_sizes(weights))
    if given is None and weights is not None:
        start_encoder(network, weights)
    elif given is None:
        _train_encoder(network, clips, labels, validation, how, settings, say)
    if given is None:
        meant = [clips[number] for number in np.flatnonzero(~labels.auxiliary)]
        settle_pool(network, _some_frames(meant, say))
    encoder = ClipEncoder(network, settings.device)
    steps, kept, lengths = encode_clips(
        encoder, clips, how.versions, settings.seed, say, "labelled"
    )
    if not len(kept):
        raise DataError("none of the songs' clips can be read")
    labels = labels.select(kept)
    for values, length in zip(labels.values, lengths, strict=True):
        values[length:] = np.nan
    if not how.unlabelled:
        music = []
    other, _, _ = encode_clips(encoder, music, 1, settings.seed, say, "unlabelled")
    network.to("cpu")
    blind = given is not None or weights is not None
    return EncodedDataset(network, steps, labels, validation[kept], other, blind)


def _sizes(weights: TaggerWeights | None) -> NetworkConfig:
    """Sizes of a new network: one that starts from a tagger has its tags too."""
    return NetworkConfig(tags=0 if weights is None else len(weights.tags[1]))


def _train_encoder(
    network: EmotionNetwork,
    clips: list[Clip],
    labels: Labels,
    validation: NDArray[np.bool_],
    how: FitSettings,
    settings: TrainSettings,
    say: Callable[[str], None],
) -> None:
    """Train the encoder on the labels of the training songs."""
    rows, truth = [], []
    for number in np.flatnonzero(~validation & ~labels.auxiliary):
        read = _readable(clips[number], say)
        if read is not None:
            rows.append(read[0][0])
            values = labels.values[number].copy()
            values[read[1] :] = np.nan
            truth.append(values)
    if not rows:
        raise DataError("none of the training songs' clips can be read")
    frames = np.stack(rows)
    bands = network.config.bands
    sample = torch.from_numpy(frames[:: max(1, len(frames) // 256), :, :bands].astype(np.float32))
    levelled = network.encoder.normalise_bands(sample)
    network.encoder.mean.copy_(levelled.mean((0, 1)))
    network.encoder.std.copy_(levelled.std((0, 1)) + 1e-3)
    epochs = 1 if settings.quick else ENCODER_EPOCHS
    say(f"training an encoder on {len(frames)} clips of the training songs")
    fit_encoder(
        network,
        frames,
        np.stack(truth),
        epochs,
        how,
        ENCODER_AUGMENTATION,
        settings.seed,
        lambda epoch, loss: say(f"epoch {epoch} of {epochs}: loss {loss:.4f}"),
        settings.device,
    )


def _readable(clip: Clip, say: Callable[[str], None]) -> tuple[NDArray[np.float16], int] | None:
    try:
        return read_frames(clip)
    except DataError as error:
        say(f"left out: {error}")
        return None


def _some_frames(clips: list[Clip], say: Callable[[str], None]) -> NDArray[np.float16]:
    """Features of some clips, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(len(clips), 256)).astype(int))
    read = [_readable(clips[number], say) for number in chosen]
    rows = [row[0][0] for row in read if row is not None]
    if not rows:
        raise DataError("none of the songs' clips can be read")
    return np.stack(rows)


def _hold_out(
    heard: EncodedDataset,
    how: FitSettings,
    settings: TrainSettings,
    state: dict[str, Any],
    keep: Callable[[EmotionNetwork, Calibration | None], None],
    say: Callable[[str], None],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What readers say of clips whose songs and artists they do not know.

    Returns:
        Distributions float32 [m, 20, scores, bins] and the numbers of the clips [m].
    """
    if heard.blind:
        folds = parts_of(heard.labels, HELD_OUT_PARTS, settings.seed)
    else:
        folds = np.where(heard.validation, 0, -1)
    told: dict[int, NDArray[np.float32]] = {
        int(fold): kept.numpy() for fold, kept in state.get("told", {}).items()
    }
    count = int(folds.max()) + 1
    for fold in range(count):
        if fold in told:
            continue
        say(f"fitting without part {fold + 1} of {count} of the songs, to be measured on it")
        reader = _fit(heard, np.flatnonzero(folds != fold), how, settings, say)
        told[fold] = predict(reader, heard.steps[0, folds == fold]).astype(np.float16)
        state["told"] = {str(key): torch.from_numpy(value) for key, value in told.items()}
        # Until the run ends, this is the model that it has.
        keep(heard.with_head(reader), None)
    numbers = [np.flatnonzero(folds == fold) for fold in range(count)]
    parts = [told[fold].astype(np.float32) for fold in range(count)]
    return np.concatenate(parts), np.concatenate(numbers)


def _fit(
    heard: EncodedDataset,
    chosen: NDArray[np.int64],
    how: FitSettings,
    settings: TrainSettings,
    say: Callable[[str], None],
) -> RegressionHead:
    begun = time.perf_counter()

    def report(step: int, loss: float) -> None:
        if step % 200 == 0 or step == how.steps:
            seconds = time.perf_counter() - begun
            say(f"step {step} of {how.steps}: loss {loss:.4f}, {seconds:.0f} s")

    return heard.fit(
        chosen,
        how,
        settings.seed,
        report,
        settle=settings.init is None,
        device=settings.device,
    )


def _measure(
    heard: EncodedDataset, probabilities: NDArray[np.float32], told: NDArray[np.int64]
) -> tuple[Calibration, dict[str, Any]]:
    """The calibration and the figures, from clips that the readers did not know."""
    centres = heard.network.config.bin_centres().numpy()
    truth = heard.labels.values[told]
    meant = heard.labels.values[~heard.labels.auxiliary]
    calibration = calibrate(probabilities, centres, truth, meant, heard.labels.static[told])
    values = (probabilities @ centres)[:, :, : len(DIMENSIONS)]
    for column, name in enumerate(DIMENSIONS):
        intercept, slope = np.array(calibration.line[name]).T
        values[..., column] = intercept + slope * values[..., column]
    valence, arousal = score_values(values, truth)
    miss = np.abs(truth - values)[:, FIRST_SCORED - 1 :]
    where = "parts of the train and validation splits, by artist"
    return calibration, {
        "held_out": where if heard.blind else "validation split",
        "valence": valence.to_dict(),
        "arousal": arousal.to_dict(),
        "constant_half_width": {
            name: round(float(np.nanquantile(miss[..., column], COVERAGE)), 4)
            for column, name in enumerate(DIMENSIONS)
        },
    }


def _stored(heard: EncodedDataset) -> dict[str, Any]:
    labels = heard.labels
    return {
        "heard": {
            "config": asdict(heard.network.config),
            "weights": heard.network.state_dict(),
            "steps": torch.from_numpy(heard.steps),
            "other": torch.from_numpy(heard.other),
            "values": torch.from_numpy(labels.values),
            "static": torch.from_numpy(labels.static),
            "songs": labels.songs.tolist(),
            "groups": labels.groups.tolist(),
            "auxiliary": torch.from_numpy(labels.auxiliary),
            "validation": torch.from_numpy(heard.validation),
            "blind": heard.blind,
        }
    }


def restore(state: dict[str, Any]) -> EncodedDataset | None:
    """What a run's checkpoint holds of the music that it heard; None before it heard any."""
    kept = state.get("heard")
    if kept is None:
        return None
    network = EmotionNetwork(NetworkConfig(**kept["config"]))
    network.load_state_dict(kept["weights"])
    return EncodedDataset(
        network=network.eval(),
        steps=kept["steps"].numpy(),
        labels=Labels(
            kept["values"].numpy(),
            kept["static"].numpy(),
            np.array(kept["songs"], np.str_),
            np.array(kept["groups"], np.str_),
            kept["auxiliary"].numpy(),
        ),
        validation=kept["validation"].numpy(),
        other=kept["other"].numpy(),
        blind=kept["blind"],
    )


def read_teacher(path: Path) -> TaggerWeights:
    """The tagger's weights from the wheel of the package musicnn, or the folder it was unpacked to.

    Raises:
        DataError: they are not there, or cannot be read.
    """
    try:
        return load_weights(path, TEACHER)
    except (OSError, BundleError, KeyError) as error:
        raise DataError(
            f"the teacher {path} cannot be used ({error}); give the wheel of the package musicnn "
            "(pip download musicnn --no-deps) or the folder it was unpacked into"
        ) from error
