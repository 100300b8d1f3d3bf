r"""How the recipe does, not the shipped file: cross-validation, other songs, what each part gains.

Needs the checkpoint of a training run, which holds what the run heard, encoded:

    realtime-mer train --data DEAM --auxiliary vgmidi=DIR --teacher WHEEL --unlabelled DIR \
        --keep-checkpoint
    python benchmarks/studies/recipe.py cross-validation --checkpoint mer-1.onnx.checkpoint
    python benchmarks/studies/recipe.py ablation --checkpoint mer-1.onnx.checkpoint
    python benchmarks/studies/recipe.py features --checkpoint mer-1.onnx.checkpoint --data DEAM
    python benchmarks/studies/recipe.py raters --checkpoint mer-1.onnx.checkpoint --data DEAM
    python benchmarks/studies/recipe.py transfer --checkpoint mer-1.onnx.checkpoint --data DEAM
    python benchmarks/studies/recipe.py long-songs --checkpoint mer-1.onnx.checkpoint --data DEAM

Every reader here is fitted anew and measured on songs that it does not know; the encoder has seen
no label. Five to ten seconds heard, all moments pooled.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Torch's waiting threads would spin, which on a busy machine made it ten times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_STEPS, Clip, Collection
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.model_file import DIMENSIONS
from mer_engine.network import EmotionNetwork, RegressionHead
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.encoded_dataset import EncodedDataset
from mer_engine.training.examples import ClipEncoder, Labels, encode_clips, read_labels
from mer_engine.training.folds import FOLDS, clip_folds, group_folds
from mer_engine.training.kernel_ridge import KERNEL_WEIGHTS, KernelSpace, fit_regressor
from mer_engine.training.predict import predict, score_values, window_statistics
from mer_engine.training.settings import FitSettings
from mer_engine.training.train import restore_dataset
from numpy.typing import NDArray
from study import RESULTS, write_result
from torch import Tensor

from realtime_mer.bench.machine import describe_machine
from realtime_mer.evaluation.campaigns import LAST_OF_2014, of_2013
from realtime_mer.evaluation.metrics import genre_groups

SEEDS = (0, 1, 2)
# Of the five parts, so many are told in the ablation: about 600 songs.
ABLATION_PARTS = 2
_LEAST_SONGS = 20
_MEMORY_ALONE = "memory alone"
# Steps heard at which memories are asked: five to ten seconds.
_MOMENTS = (10, 13, 16, 20)
_MEMORY_PROTOCOL = (
    "kernel regression alone, five parts of the train and validation songs by artist; after "
    "5.0, 6.5, 8.0 and 10.0 s"
)
# Studies of what is remembered, which is the music that the model is meant for.
_OF_THE_MEMORY = ("features", "raters")
_NEED_DATA = ("features", "raters", "transfer", "long-songs")
_KINDS = ("channels", "mode", "tonic_chroma", "spectrum", "tags", "inverse_crest")

Row = dict[str, Any]
# Statistics of all clips' windows, by version of the sound and steps heard.
Windows = dict[tuple[int, int], NDArray[np.float32]]


class CourseOnly(RegressionHead):
    """Without what a network reads from the window's statistics and mode."""

    def direct_logits(self, statistics: Tensor, *windows: Tensor) -> Tensor:
        return torch.cat([self.sequence_logits(window) for window in windows])


class StatisticsOnly(RegressionHead):
    """Without BiLSTM and attention."""

    def direct_logits(self, statistics: Tensor, *windows: Tensor) -> Tensor:
        return self.statistic_logits(statistics)


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        state = read_checkpoint(args.checkpoint)
        heard = restore_dataset(state["state"])
        if heard is None:
            raise DataError(f"{args.checkpoint} is of a run that has heard no music yet")
        configuration = state["configuration"]
        how = FitSettings(**configuration["fit"])
        if args.steps is not None:
            how = replace(how, steps=args.steps)
        collection = None
        if args.study in _NEED_DATA:
            if args.data is None:
                raise DataError(f"{args.study} needs --data, the folder of DEAM")
            collection = load_collection(args.data)
        begun = time.perf_counter()
        if args.study in _OF_THE_MEMORY:
            heard = heard.select(_meant(heard.labels))
        result = STUDIES[args.study](heard, how, collection)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    auxiliary = heard.labels.auxiliary
    meant, beside = (
        ", ".join(sorted({song.split("/", 1)[0] for song in heard.labels.songs[some].tolist()}))
        for some in (~auxiliary, auxiliary)
    )
    name = args.study.replace("-", "_")
    write_result(
        args.out or RESULTS / f"{name}.json",
        {
            **result,
            "data": f"{meant}, train and validation splits"
            + (f"; beside: {beside}" * bool(beside)),
            "clips": int((~auxiliary).sum()),
            "auxiliary_clips": int(auxiliary.sum()),
            "unlabelled_clips": heard.unlabelled.shape[1],
            "steps": how.steps,
            "machine": describe_machine(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "seconds": round(time.perf_counter() - begun, 1),
        },
    )
    return 0


def cross_validation(heard: EncodedDataset, how: FitSettings, _: Collection | None) -> Row:
    """Five parts by artist, three seeds."""
    rows = []
    for seed in SEEDS:
        folds = clip_folds(heard.labels, FOLDS, seed)
        for fold in range(FOLDS):
            values = _told(heard, folds == fold, how, seed)
            rows.append(
                {"fold": fold + 1, "seed": seed, **_fits(values, heard.labels, folds == fold)}
            )
            _say(f"seed {seed}, part {fold + 1}", rows[-1])
    protocol = "five parts of the train and validation splits, no artist on two sides, three seeds"
    return {"folds": rows, "protocol": protocol}


def ablation(heard: EncodedDataset, how: FitSettings, _: Collection | None) -> Row:
    """One part of the recipe left out at a time."""
    reader = heard.network.head
    config = heard.network.config
    notes = slice(2 * config.channels, 2 * config.channels + config.pitch_classes)
    tags = slice(notes.stop + config.bands, notes.stop + config.bands + config.tags)
    level = slice(tags.stop, None)
    unknown = replace(heard.labels, static=np.full_like(heard.labels.static, np.nan))
    variants: list[tuple[str, str, EncodedDataset, FitSettings]] = [
        ("as shipped", "the whole recipe", heard, how),
        (
            "no pitch classes",
            "nothing tells major from minor",
            _without(heard, notes),
            how,
        ),
        ("no tags", "the tagger's words for what it hears left out", _without(heard, tags), how),
        ("no density", "how near power comes to the peak left out", _without(heard, level), how),
        ("no memory", "the reader alone", heard, replace(how, regressor=False)),
        # What it says hangs on no step of the reader's fit.
        (_MEMORY_ALONE, "kernel regression, no reader", heard, replace(how, steps=1)),
        (
            "no memory, no opinions",
            "the reader alone, taught by labels alone",
            heard,
            replace(how, teacher_weight=0.0, unlabelled_weight=0.0, regressor=False),
        ),
        (
            "no opinions",
            "labels alone",
            heard,
            replace(how, teacher_weight=0.0, unlabelled_weight=0.0),
        ),
        (
            "no opinion on labelled clips",
            "the kernel teacher speaks of music without labels only",
            heard,
            replace(how, teacher_weight=0.0),
        ),
        (
            "no music without labels",
            "the kernel teacher speaks of labelled clips only",
            heard,
            replace(how, unlabelled_weight=0.0),
        ),
        *(
            [
                (
                    "no auxiliary labels",
                    "of game scores nothing is known",
                    heard.select(_meant(heard.labels)),
                    how,
                )
            ]
            if heard.labels.auxiliary.any()
            else []
        ),
        ("no variations", "every clip as it is", replace(heard, steps=heard.steps[:1]), how),
        ("no static labels", "moments alone", replace(heard, labels=unknown), how),
        (
            "no statistics",
            "BiLSTM and attention beside the memory",
            _with_head(heard, CourseOnly(reader.config)),
            how,
        ),
        (
            "no BiLSTM, no attention",
            "statistics and mode beside the memory",
            _with_head(heard, StatisticsOnly(reader.config)),
            how,
        ),
    ]
    rows = []
    for name, what, variant, settings in variants:
        torch.manual_seed(0)
        folds = clip_folds(variant.labels, FOLDS, 0)
        values = np.zeros((len(folds), 20, 2))
        tell = _remembered_values if name == _MEMORY_ALONE else _values
        for fold in range(ABLATION_PARTS):
            values[folds == fold] = _told(variant, folds == fold, settings, 0, tell)
        told = np.flatnonzero((folds >= 0) & (folds < ABLATION_PARTS))
        rows.append(
            {"name": name, "what": what, **_flat(values[told], variant.labels.select(told))}
        )
        _say(name, rows[-1])
    protocol = (
        f"{ABLATION_PARTS} of {FOLDS} parts of the songs, told by readers fitted to the others; "
        "one seed"
    )
    return {"rows": rows, "protocol": protocol}


def features(heard: EncodedDataset, how: FitSettings, collection: Collection | None) -> Row:
    """What each kind of statistic tells, by the memory alone: no reader is fitted."""
    assert collection is not None
    kinds = _KINDS
    rows = []
    for title, what, used in (
        ("all", "as shipped", kinds),
        ("channels alone", "what the tagger's convolutions find", kinds[:1]),
        ("channels and mode", "major or minor", kinds[:2]),
        ("channels, mode, degrees", "which notes of the scale sound", kinds[:3]),
        ("channels, mode, degrees, spectrum", "mean of each mel band", kinds[:4]),
        (
            "channels, mode, degrees, spectrum, tags",
            "and the tagger's own words for what it hears",
            kinds[:5],
        ),
        ("channels and tags", "what the tagger hears", ("channels", "tags")),
        ("channels and density", "how near power comes to the peak", ("channels", "inverse_crest")),
        ("no channels", "all but the tagger's convolutions", kinds[1:]),
    ):
        rows.append({"name": title, "what": what, **_remembered(heard, heard.steps[:1], used)})
        _say(title, rows[-1])
    rows.append(
        {
            "name": "loudness kept",
            "what": "the tagger hears each clip at its own level; a gain of -20 dB then costs more",
            **_remembered(heard, _at_own_level(heard, collection), kinds),
        }
    )
    _say("loudness kept", rows[-1])
    varied = len(heard.steps) > 1  # else the run had each clip as it is and nothing else
    for weight in (how.augmented_weight, 1.0) if varied else ():
        rows.append(
            {
                "name": f"clips elsewhere count {weight:g}",
                "what": "clips played elsewhere are learnt too, those as they are are told",
                **_remembered(heard, heard.steps, kinds, weight),
            }
        )
        _say(rows[-1]["name"], rows[-1])
    for weight in (0.0, how.augmented_weight, 1.0) if varied else ():
        rows.append(
            {
                "name": f"told elsewhere, learnt with {weight:g}",
                "what": "clips played elsewhere are told",
                **_remembered(heard, heard.steps, kinds, weight, told=1),
            }
        )
        _say(rows[-1]["name"], rows[-1])
    return {"rows": rows, "protocol": _MEMORY_PROTOCOL}


def raters(heard: EncodedDataset, how: FitSettings, collection: Collection | None) -> Row:
    """What it costs that nobody knows which raters would have judged a song."""
    assert collection is not None
    labels = heard.labels
    windows = _windows(heard, heard.steps[:1])
    first = of_2013(labels.songs)
    campaign = np.broadcast_to(first[:, None, None], labels.values.shape).astype(np.float64)

    def told(
        targets: NDArray[np.floating], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        return _told_by_memories(heard, windows, targets, known=known)

    everyone = told(labels.values)
    own = told(labels.values, first), told(labels.values, ~first)
    guess = np.clip(told(campaign), 0.0, 1.0)
    known = np.where(first[:, None, None], *own)
    mixed = guess * own[0] + (1 - guess) * own[1]
    last = guess[:, CLIP_STEPS - 1].mean(1)
    # The share of pairs, one song of each campaign, of which the right one is taken for 2013's.
    right = (last[first][:, None] > last[~first]).mean()
    rows = []
    for title, what, values in (
        ("one for all", "one memory of the songs of all campaigns, as shipped", everyone),
        (
            "campaign guessed",
            "a memory for each campaign, mixed by how likely the music is of it; of two songs, "
            f"one of each, the right one is taken for 2013's in {right:.0%}",
            mixed,
        ),
        (
            "campaign known",
            "a memory for each campaign, asked about its own songs: nobody knows that of new music",
            known,
        ),
    ):
        rows.append({"name": title, "what": what, **_score(values, labels)})
        _say(title, rows[-1])
    for title, chosen in (("songs of 2013", first), ("songs of 2014 and 2015", ~first)):
        other = _told_by_strangers(heard, windows, chosen, _KINDS)
        without = tuple(kind for kind in _KINDS if kind != "inverse_crest")
        plain = _told_by_strangers(heard, windows, chosen, without)
        stranger = ", of which nothing is known"
        for name, what, values in (
            ("one for all", "", everyone),
            ("campaign known", "", known),
            ("the other campaigns' memory", stranger, other),
            ("the same without density", stranger, plain),
        ):
            rows.append(
                {
                    "name": f"{title}: {name}",
                    "what": f"{int(chosen.sum())} songs{what}",
                    **_score(values[chosen], labels.select(np.flatnonzero(chosen))),
                }
            )
            _say(rows[-1]["name"], rows[-1])
    rows += _test_songs(heard, windows, collection)
    protocol = f"{_MEMORY_PROTOCOL}; the test songs by memories of all of those"
    return {"rows": rows, "protocol": protocol}


def _test_songs(heard: EncodedDataset, windows: Windows, collection: Collection) -> list[Row]:
    """The test songs, told by one memory of all others, and by that of their own raters."""
    steps, labels = _hear(heard, collection, list(collection.clips_of("test")), "test")
    asked = _windows(heard, steps)
    first, known = of_2013(labels.songs), of_2013(heard.labels.songs)
    everyone = np.full(labels.values.shape, np.nan)
    own = everyone.copy()
    for learnt, out, values in (
        (np.ones(len(known), np.bool_), np.ones(len(first), np.bool_), everyone),
        (known, first, own),
        (~known, ~first, own),
    ):
        _ask(_memory(heard, windows, learnt, heard.labels.values, _KINDS), asked, out, values)
    rows = []
    for name, values in (("one for all", everyone), ("campaign known", own)):
        what = f"{len(labels)} songs, none of which is remembered"
        rows.append({"name": f"test songs: {name}", "what": what, **_score(values, labels)})
        _say(rows[-1]["name"], rows[-1])
    return rows


def transfer(heard: EncodedDataset, how: FitSettings, collection: Collection | None) -> Row:
    """Trained on some kinds of songs, measured on another kind."""
    assert collection is not None
    auxiliary = heard.labels.auxiliary
    first = np.zeros(len(auxiliary), np.bool_)
    first[~auxiliary] = of_2013(heard.labels.songs[~auxiliary])
    rows = []
    for title, out in (
        ("songs of 2013, told by one who knows the later ones", first),
        ("songs of 2014 and 2015, told by one who knows 2013", ~first & ~auxiliary),
    ):
        rows.append({"left_out": title, **_row(heard, out, how)})
        _say(title, rows[-1])
    names = [song.split("/", 1)[1] for song in heard.labels.songs[~auxiliary].tolist()]
    groups = np.full(len(auxiliary), "other", dtype=object)
    groups[~auxiliary] = genre_groups(
        tuple(names), {name: collection.songs[name].genre for name in names}
    )
    for genre in sorted(set(groups.tolist())):
        out = groups == genre
        if genre != "other" and out.sum() >= _LEAST_SONGS:
            rows.append({"left_out": genre, **_row(heard, out, how)})
            _say(genre, rows[-1])
    if auxiliary.any():
        rows += _auxiliary(heard, how)
    protocol = "the reader is fitted without the songs of the row and measured on them"
    return {"rows": rows, "protocol": protocol}


def _auxiliary(heard: EncodedDataset, how: FitSettings) -> list[Row]:
    """The auxiliary music, told by who knows none of its labels, and by who knows others of it."""
    labels = heard.labels
    out = labels.auxiliary
    stranger = {"left_out": "game scores, no label of any known", **_row(heard, out, how)}
    _say(stranger["left_out"], stranger)
    parts = np.full(len(labels), -1)
    parts[out] = group_folds(labels.groups[out], FOLDS, 0)
    values = np.zeros((len(labels), CLIP_STEPS, 2))
    for part in range(FOLDS):
        values[parts == part] = _told(heard, parts == part, how, 0)
    others = {
        "left_out": "game scores, five parts by game, the labels of the others known",
        "songs": stranger["songs"],
        **_fits(values[out], labels, out),
    }
    _say(others["left_out"], others)
    return [stranger, others]


def long_songs(heard: EncodedDataset, how: FitSettings, collection: Collection | None) -> Row:
    """The 58 songs of 2015, told by a reader that was fitted without them."""
    assert collection is not None
    clips = [clip for clip in collection.clips if int(clip.song) > LAST_OF_2014]
    names = {f"{collection.name}/{clip.song}" for clip in clips}
    known = np.array([song not in names for song in heard.labels.songs.tolist()])
    steps, labels = _hear(heard, collection, clips, "long")
    # Nor may music by one of their artists be known.
    known &= ~np.isin(heard.labels.groups, labels.groups)
    chosen = np.flatnonzero(known)
    reader = heard.fit(chosen, how, 0)
    values = _values(reader, steps[0])
    fits = _fits(values, labels, np.ones(len(labels), bool))
    protocol = "ten seconds of each; fitted on the train and validation splits without them"
    return {"songs": len(labels), **fits, "protocol": protocol}


def _hear(
    heard: EncodedDataset, collection: Collection, clips: list[Clip], what: str
) -> tuple[NDArray[np.float16], Labels]:
    """Embeddings [1, n, 20, E] of further clips as they are, and their labels."""
    steps, kept, _ = encode_clips(ClipEncoder(heard.network), clips, 1, 0, print, what)
    return steps, read_labels(collection, tuple(clips)).select(kept)


def _remembered(
    heard: EncodedDataset,
    steps: NDArray[np.float16],
    kinds: tuple[str, ...],
    elsewhere: float = 0.0,
    told: int = 0,
) -> Row:
    """R2 of memories that use some kinds of statistics; `told` is the version that is told."""
    values = _told_by_memories(
        heard, _windows(heard, steps), heard.labels.values, kinds, elsewhere, told
    )
    return _score(values, heard.labels)


def _windows(heard: EncodedDataset, steps: NDArray[np.float16]) -> Windows:
    """What windows from the clips' beginnings are made of."""
    reader = heard.network.head
    return {
        (version, last): window_statistics(reader, steps[version], last)
        for version in range(len(steps))
        for last in _MOMENTS
    }


def _memory(
    heard: EncodedDataset,
    windows: Windows,
    known: NDArray[np.bool_],
    targets: NDArray[np.floating],
    kinds: tuple[str, ...],
    elsewhere: float = 0.0,
) -> KernelRegressor:
    """A memory of the clips `known`, taught their targets [n, 20, 2].

    `elsewhere` is how much clips count that are played elsewhere (versions after the first).
    """
    versions = 1 + max(version for version, _ in windows)
    learnt = [(v, last) for v in range(versions) for last in (CLIP_STEPS, CLIP_STEPS // 2)]
    space = KernelSpace(
        np.concatenate([windows[0, last][known] for last in (CLIP_STEPS, CLIP_STEPS // 2)]),
        heard.network.head.statistics.sizes,
    )
    anchors = space.project(windows[0, CLIP_STEPS][known])
    memory = space.regressor(anchors, 2)
    places = np.concatenate([space.project(windows[which][known]) for which in learnt])
    weights = np.repeat([1.0 if v == 0 else elsewhere for v, _ in learnt], known.sum())
    songs = heard.labels.songs[known].tolist() * len(learnt)
    for column, name in enumerate(DIMENSIONS):
        some = np.concatenate([targets[known, last - 1, column] for _, last in learnt])
        shares = {kind: share for kind, share in KERNEL_WEIGHTS[name].items() if kind in kinds}
        fit_regressor(
            memory, [column], space, anchors, places, some[:, None], weights, songs, shares
        )
    return memory


def _told_by_memories(
    heard: EncodedDataset,
    windows: Windows,
    targets: NDArray[np.floating],
    kinds: tuple[str, ...] = _KINDS,
    elsewhere: float = 0.0,
    told: int = 0,
    known: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Each part of the clips, told by a memory of the others' targets [n, 20, 2].

    Args:
        heard, windows, targets, kinds, elsewhere: as `_memory` takes them.
        told: the version of the sound that is told.
        known: [n], the clips that memories may be taught; None for all.

    Returns:
        Values [n, 20, 2], NaN at moments that are not asked.
    """
    groups = heard.labels.groups
    folds = group_folds(groups, FOLDS, 0)
    values = np.full((len(groups), CLIP_STEPS, 2), np.nan)
    for fold in range(FOLDS):
        learnt = folds != fold if known is None else known & (folds != fold)
        if not learnt.any():
            raise DataError("the songs of one campaign are all by the artists of one part")
        memory = _memory(heard, windows, learnt, targets, kinds, elsewhere)
        _ask(memory, windows, folds == fold, values, told)
    return values


def _told_by_strangers(
    heard: EncodedDataset, windows: Windows, out: NDArray[np.bool_], kinds: tuple[str, ...]
) -> NDArray[np.float64]:
    """What a memory of none of the clips `out`, nor of their artists, says of them; NaN elsewhere.

    Returns:
        Values [n, 20, 2].
    """
    known = heard.labels.outside_groups_of(out)
    if not known.any():
        raise DataError("the songs of one campaign are all by the artists of another")
    values = np.full(heard.labels.values.shape, np.nan)
    _ask(_memory(heard, windows, known, heard.labels.values, kinds), windows, out, values)
    return values


def _meant(labels: Labels) -> NDArray[np.int64]:
    """Numbers of the clips that are not auxiliary."""
    return np.flatnonzero(~labels.auxiliary)


def _ask(
    memory: KernelRegressor,
    windows: Windows,
    out: NDArray[np.bool_],
    values: NDArray[np.float64],
    told: int = 0,
) -> None:
    """Write into `values` [n, 20, 2] what a memory says of the clips `out`."""
    for last in _MOMENTS:
        values[out, last - 1] = memory(torch.from_numpy(windows[told, last][out])).numpy()


def _score(values: NDArray[np.float64], labels: Labels) -> Row:
    """R2 at the moments that were asked; the others are NaN."""
    truth = np.where(np.isfinite(values), labels.values, np.nan)
    return _flat(np.nan_to_num(values), replace(labels, values=truth.astype(np.float32)))


def _at_own_level(heard: EncodedDataset, collection: Collection) -> NDArray[np.float16]:
    """The labelled clips, encoded without bringing them to one level."""
    network = EmotionNetwork(replace(heard.network.config, level_frames=0))
    network.load_state_dict(heard.network.state_dict())
    clips = {f"{collection.name}/{clip.song}": clip for clip in collection.clips}
    wanted = [clips[song] for song in heard.labels.songs.tolist()]
    steps, kept, _ = encode_clips(ClipEncoder(network), wanted, 1, 0, print, "labelled")
    assert len(kept) == len(wanted)
    return steps


STUDIES: dict[str, Callable[[EncodedDataset, FitSettings, Collection | None], Row]] = {
    "cross-validation": cross_validation,
    "ablation": ablation,
    "features": features,
    "raters": raters,
    "transfer": transfer,
    "long-songs": long_songs,
}


def _told(
    heard: EncodedDataset,
    out: NDArray[np.bool_],
    how: FitSettings,
    seed: int,
    tell: Callable[[RegressionHead, NDArray[np.float16]], NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """Values [m, 20, 2] of the clips `out`, from a reader fitted to the others."""
    chosen = np.flatnonzero(~out)
    reader = heard.fit(chosen, how, seed)
    return (tell or _values)(reader, heard.steps[0, out])


@torch.inference_mode()
def _remembered_values(reader: RegressionHead, steps: NDArray[np.float16]) -> NDArray[np.float64]:
    """Values [m, 20, 2] that a reader's memory says of clips [m, 20, E]."""
    assert reader.regressor is not None
    values = np.empty((len(steps), CLIP_STEPS, 2))
    for last in range(1, CLIP_STEPS + 1):
        told = reader.regressor(torch.from_numpy(window_statistics(reader, steps, last)))
        values[:, last - 1] = told[:, :2]
    return values


def _values(reader: RegressionHead, steps: NDArray[np.float16]) -> NDArray[np.float64]:
    centres = reader.config.bin_centres().numpy()
    return (predict(reader, steps)[:, :, :2] @ centres).astype(np.float64)


def _row(heard: EncodedDataset, out: NDArray[np.bool_], how: FitSettings) -> Row:
    reader = heard.fit(np.flatnonzero(heard.labels.outside_groups_of(out)), how, 0)
    return {
        "songs": len(np.unique(heard.labels.songs[out])),
        **_fits(_values(reader, heard.steps[0, out]), heard.labels, out),
    }


def _fits(values: NDArray[np.float64], labels: Labels, chosen: NDArray[np.bool_]) -> Row:
    valence, arousal = score_values(values, labels.values[chosen])
    return {"arousal": arousal.to_dict(), "valence": valence.to_dict()}


def _flat(values: NDArray[np.float64], labels: Labels) -> Row:
    valence, arousal = score_values(values, labels.values)
    return {"r2_arousal": arousal.r2, "r2_valence": valence.r2}


def _without(heard: EncodedDataset, numbers: slice) -> EncodedDataset:
    """The clips, some numbers of whose embeddings say nothing."""
    steps, unlabelled = heard.steps.copy(), heard.unlabelled.copy()
    steps[..., numbers] = 0
    unlabelled[..., numbers] = 0
    return replace(heard, steps=steps, unlabelled=unlabelled)


def _with_head(heard: EncodedDataset, reader: RegressionHead) -> EncodedDataset:
    return replace(heard, network=heard.with_head(reader))


def _say(name: str, row: Row) -> None:
    both = [row[f"r2_{d}"] if f"r2_{d}" in row else row[d]["r2"] for d in ("arousal", "valence")]
    print(f"{name}: R2 arousal {both[0]:.3f}, valence {both[1]:.3f}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=tuple(STUDIES))
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", metavar="DATA", help="DEAM, for genres, other songs and audio")
    parser.add_argument(
        "--steps", type=int, metavar="N", help="of each fit (default: as the training run)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the result goes")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
