"""Fit the sound classifier (music, speech, noise) and write a model file that training starts from.

python benchmarks/studies/sound_classifier.py --weights mn04_as_mAP_432.pt \\
    --music NAME=DIR --speech NAME=DIR --noise NAME=DIR --sources TEXT --start start.onnx

Options may be repeated. The files in a folder inside DIR are one source (a speaker, a game, a
film); other files are sources of their own. A source is either fitted or measured. The network
mn04 is published by EfficientAT; its weights stay as they are. `realtime-mer train --init
start.onnx` then trains the head.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mer_engine.audioset_network import HIDDEN, SoundClassifier, folded_state
from mer_engine.datasets.audio import AUDIO_SUFFIXES, read_clip
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Clip
from mer_engine.frontend import features
from mer_engine.model_file import SOUNDS, ModelInfo
from mer_engine.network import SOUND_FRAMES, EmotionNetwork
from mer_engine.network_import import load_network
from mer_engine.sparse_sounds import SOUND_STEPS
from mer_engine.training.checkpoint_export import uncalibrated
from mer_engine.training.export import ModelText, export_model
from numpy.typing import NDArray
from study import RESULTS, exit_code, show_progress, write_result
from torch import Tensor, nn
from torch.nn import functional

from realtime_mer.bench.machine import describe_machine
from realtime_mer.core.sound_gate import SoundGate
from realtime_mer.errors import UserError

FOLDS = 3
CLIP_S = 16.0
# The first estimates hear less than the classifier averages.
SETTLED_STEPS = 8
# Weight of each kind of sound in the loss; within it, each collection has the same weight.
KIND_WEIGHTS = (2.5, 2.5, 2.5)
# Scores of films and games contain drones and effects, which are easily taken for noise.
COLLECTION_WEIGHTS = {"fme24": 3.0, "games": 3.0}
PENALTY = 3e-3
# Added to the logit of music: values that are held while music plays are the worse error.
MUSIC_BIAS = 0.5


@dataclass(frozen=True)
class Recording:
    """The steps of one recording.

    Attributes:
        collection: name of its folder on the command line.
        sound: index in `SOUNDS`.
        fold: 0 to `FOLDS` - 1, the same for all recordings of a source.
        hidden: float32 [steps, 512], what mn04 computes for the two seconds that end with a step.
    """

    collection: str
    sound: int
    fold: int
    hidden: Tensor


def fold_of(source: str) -> int:
    """Return the fold of a source, which does not depend on the other sources."""
    return int(hashlib.sha256(source.encode()).hexdigest()[:8], 16) % FOLDS


def read_folder(
    collection: str, folder: Path, sound: int, network: EmotionNetwork
) -> list[Recording]:
    """Read the recordings in a folder and compute their steps as a stream does.

    Raises:
        DataError: the folder has no audio file that can be read.
    """
    assert network.encoder.sound is not None
    step = network.config.frames_per_step
    recordings = []
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    for path in paths:
        samples = read_clip(Clip(path.stem, path, 0.0, 0.0, CLIP_S), 16_000)
        frames = torch.from_numpy(features(samples)[None, :, : network.config.bands])
        with torch.inference_mode():
            bands = network.encoder.normalise_bands(frames)
            padded = functional.pad(bands, (0, 0, SOUND_FRAMES - step, 0))
            if padded.shape[1] < SOUND_FRAMES:
                continue
            segments = padded[0].unfold(0, SOUND_FRAMES, step).transpose(1, 2)
            hidden = network.encoder.sound.network(segments).clone()
        source = path.relative_to(folder).parts[0]
        recordings.append(Recording(collection, sound, fold_of(source), hidden))
        show_progress(len(recordings), len(paths))
    if not recordings:
        raise DataError(f"{folder} contains no audio of half a second or more")
    return recordings


def fit(recordings: Sequence[Recording]) -> nn.Linear:
    """Fit a logistic regression on the steps of recordings, with the bias for music."""
    hidden = torch.cat([entry.hidden for entry in recordings])
    sounds = torch.cat([torch.full((len(r.hidden),), r.sound) for r in recordings])
    weights = _weights(recordings)
    mean, deviation = hidden.mean(0), hidden.std(0) + 1e-2
    standardised = (hidden - mean) / deviation
    layer = nn.Linear(HIDDEN, len(SOUNDS))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=120, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        losses = functional.cross_entropy(layer(standardised), sounds, reduction="none")
        loss = (weights * losses).sum() / weights.sum() + PENALTY * layer.weight.pow(2).sum()
        torch.autograd.backward(loss)
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        layer.weight.div_(deviation)
        layer.bias.sub_(layer.weight @ mean)
        layer.bias[SOUNDS.index("music")] += MUSIC_BIAS
    return layer


def _weights(recordings: Sequence[Recording]) -> Tensor:
    """Return the weight of each step of all recordings."""
    steps = Counter[tuple[int, str]]()
    for entry in recordings:
        steps[entry.sound, entry.collection] += len(entry.hidden)
    shares = {key: COLLECTION_WEIGHTS.get(key[1], 1.0) for key in steps}
    parts = []
    for entry in recordings:
        key = (entry.sound, entry.collection)
        total = sum(share for (sound, _), share in shares.items() if sound == entry.sound)
        weight = KIND_WEIGHTS[entry.sound] * shares[key] / total / steps[key]
        parts.append(torch.full((len(entry.hidden),), weight))
    return torch.cat(parts)


@torch.inference_mode()
def states(layer: nn.Linear, recording: Recording) -> NDArray[np.int64]:
    """Return the state at each step as an index in `SOUNDS`, with the pipeline's hysteresis."""
    logits, gate, found = layer(recording.hidden), SoundGate(), []
    for end in range(1, len(logits) + 1):
        mean = logits[max(0, end - SOUND_STEPS) : end].mean(0, keepdim=True)
        gate.update(torch.softmax(mean, dim=1).numpy())
        found.append(0 if gate.state is None else SOUNDS.index(gate.state.value))
    return np.array(found)


def measure(recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """Return one row for each collection, measured on sources that were not fitted."""
    found: dict[tuple[int, str], list[NDArray[np.int64]]] = {}
    for fold in range(FOLDS):
        layer = fit([entry for entry in recordings if entry.fold != fold])
        for entry in recordings:
            if entry.fold == fold:
                found.setdefault((entry.sound, entry.collection), []).append(states(layer, entry))
    rows = []
    for (sound, collection), tracks in sorted(found.items()):
        settled = np.concatenate([track[SETTLED_STEPS:] for track in tracks])
        first = np.concatenate([track[:SETTLED_STEPS] for track in tracks])
        shares = [float(np.mean((part == 0) == (sound == 0))) for part in (settled, first)]
        rows.append(
            {
                "sound": SOUNDS[sound],
                "collection": collection,
                "recordings": len(tracks),
                "seconds": len(settled) / 2,
                "right": float(np.mean(settled == sound)),
                "music_or_not": shares[0],
                "music_or_not_first_4_s": shares[1],
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="of mn04")
    for sound in SOUNDS:
        parser.add_argument(
            f"--{sound}", action="append", required=True, metavar="NAME=DIR",
            help=f"recordings of {sound}",
        )  # fmt: skip
    parser.add_argument(
        "--sources", required=True, metavar="TEXT", help="where the recordings come from"
    )
    parser.add_argument("--init", type=Path, metavar="FILE", help="the encoder's model file")
    parser.add_argument("--start", type=Path, required=True, metavar="FILE", help="to write")
    parser.add_argument("--out", type=Path, default=RESULTS / "sound.json", metavar="FILE")
    args = parser.parse_args(arguments)

    def run() -> None:
        network, parent = start_network(args.init, args.weights)
        recordings: list[Recording] = []
        for index, sound in enumerate(SOUNDS):
            for spec in getattr(args, sound):
                name, _, folder = spec.partition("=")
                recordings += read_folder(name, Path(folder), index, network)
        result = {
            "seed": 0,
            "machine": describe_machine(),
            "sources": args.sources,
            "weights_sha256": hashlib.sha256(args.weights.read_bytes()).hexdigest(),
            "rows": measure(recordings),
        }
        assert network.encoder.sound is not None
        network.encoder.sound.sounds = fit(recordings)
        report = {"network": asdict(network.config)}
        text = ModelText(name="start", training=report, notice=parent.notice)
        export_model(network, args.start, uncalibrated(), text)
        write_result(args.out, result)

    return exit_code(run)


def start_network(init: Path | None, weights: Path) -> tuple[EmotionNetwork, ModelInfo]:
    """Return a network with a known encoder, mn04's weights and an unfitted head.

    Also return the metadata of the encoder's file.

    Raises:
        ModelError: the encoder's file is missing or damaged.
        UserError: the file of mn04 cannot be used.
    """
    known, info = load_network(init)
    torch.manual_seed(0)
    network = EmotionNetwork(replace(known.config, sounds=True, regressor_windows=0)).eval()
    state = {k: v for k, v in known.encoder.state_dict().items() if not k.startswith("sound.")}
    network.encoder.load_state_dict(state, strict=False)
    classifier = SoundClassifier()
    try:
        published = torch.load(weights, map_location="cpu", weights_only=True)
        classifier.network.load_state_dict(folded_state(published))
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{weights} does not contain mn04 ({error}); get mn04_as_mAP_432.pt from the releases "
            "of EfficientAT"
        ) from error
    network.encoder.sound = classifier.eval()
    return network, info


if __name__ == "__main__":
    raise SystemExit(main())
