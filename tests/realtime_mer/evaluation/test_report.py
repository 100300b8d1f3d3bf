"""The figures of `evaluate`, compared with independent computations."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from collections_support import (
    write_emopia,
    write_emotify,
    write_fme24,
    write_four_quadrants,
)
from deam_support import write_deam
from mer_engine import Engine
from mer_engine.datasets.audio import read_channels
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection
from mer_engine.engine import Inference
from mer_engine.model_file import WHOLE, ModelInfo
from numpy.typing import NDArray

from realtime_mer.evaluation.predictions import clips_of, estimate_clip
from realtime_mer.evaluation.report import measure_accuracy, trained_on


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return load_collection(write_deam(tmp_path_factory.mktemp("data")))


class WithTrainingReport:
    """An engine with another training report."""

    backend = "onnxruntime"

    def __init__(self, engine: Engine, training: dict[str, object]) -> None:
        self.info = dataclasses.replace(engine.info, training=training)
        self.infer = engine.infer


class WithWholeSong:
    """An engine whose whole-song outputs are those of the moment, exchanged."""

    backend = "onnxruntime"

    def __init__(self, engine: Engine) -> None:
        self.info = dataclasses.replace(engine.info, scores=(*engine.info.scores, *WHOLE))
        self.engine = engine

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        inference = self.engine.infer(frames, cached_maps, past)
        return inference._replace(
            probabilities=inference.probabilities[:, [0, 1, 1, 0]],
            fast=inference.fast[:, [0, 1, 1, 0]],
        )


def test_metrics_match_the_estimates_of_the_pipeline(
    collection: Collection, fast_engine: Engine
) -> None:
    engine = WithWholeSong(fast_engine)
    report = measure_accuracy(engine, collection, "test", compare_widths=False)
    assert report.songs == 6
    assert report.estimates == 66
    values, labels, inside, last, static = [], [], [], [], []
    for clip in clips_of(collection, "test"):
        estimates = {round(e.t * 10): e for e in estimate_clip(engine, *read_channels(clip))}
        at = collection.labels(clip, 20)[:, 1]
        for step in range(10, 21):
            estimate = estimates[step * 5]
            values.append(estimate.arousal)
            labels.append(at[step - 1])
            inside.append(estimate.arousal_low <= at[step - 1] <= estimate.arousal_high)
        whole_song = estimates[100].whole
        assert whole_song is not None
        last.append(5 + 4 * whole_song[1])
        label = collection.songs[clip.song].static
        assert label is not None
        static.append(5 + 4 * label[1])
    error = np.subtract(labels, values)
    assert report.dynamic["arousal"].r2 == pytest.approx(
        1 - (error**2).mean() / np.var(labels), abs=1e-4
    )
    assert report.coverage["arousal"] == pytest.approx(np.mean(inside), abs=1e-3)
    assert report.static["arousal"].rmse == pytest.approx(
        np.sqrt(np.mean(np.subtract(last, static) ** 2)), rel=1e-4
    )


def test_a_model_without_whole_song_outputs_has_no_static_metrics(
    collection: Collection, fast_engine: Engine
) -> None:
    # Neither engine has parts: both compute one hop in a call.
    engine = WithTrainingReport(fast_engine, fast_engine.info.training)
    report = measure_accuracy(engine, collection, "test", compare_widths=False)
    assert report.static == {}
    usual = measure_accuracy(WithWholeSong(fast_engine), collection, "test", compare_widths=False)
    for name, fit in usual.dynamic.items():
        measured, expected = dataclasses.astuple(report.dynamic[name]), dataclasses.astuple(fit)
        assert measured == pytest.approx(expected, abs=1e-9)
    assert set(usual.static) == {"valence", "arousal"}


def test_the_json_report_is_complete(collection: Collection, engine: Engine) -> None:
    report = json.loads(json.dumps(measure_accuracy(engine, collection, "test").to_dict()))
    assert [row["campaign"] for row in report["campaigns"]] == ["2015"]
    assert "all 58" in report["long_songs"]
    assert [row["seconds"] for row in report["by_duration"]] == [0.5, 1.0, 2.0, 3.0, 5.0, 10.0]
    for name in ("valence", "arousal"):
        widths = report["interval_width"][name]
        assert 0 < widths["mean"] < 2
        assert 0 <= widths["fitted_coverage"] <= 1
        # The label rises by 0.0001 per step: too little to count as varying.
        assert report["per_song"][name]["varying"] == 0
    assert report["by_duration"][-1]["arousal"]["songs"] == 6


def test_song_means_of_labels_over_time(collection: Collection, engine: Engine) -> None:
    report = measure_accuracy(engine, collection, "test", compare_widths=False)
    for name, metrics in report.by_song.items():
        between = report.per_song[name].between
        assert between is not None
        assert metrics.r2 == pytest.approx(between.r2)
        assert metrics.ccc == pytest.approx(between.ccc)
        assert report.mean_width[name] == pytest.approx(report.widths[name].mean)
    assert report.quadrants is not None
    assert report.quadrants.songs == 6
    assert report.movement == {}  # the labels move by 0.001


def test_quadrants_have_no_figures_of_numbers(tmp_path: Path, engine: Engine) -> None:
    clips = load_collection(f"4q={write_four_quadrants(tmp_path)}").with_all()
    report = measure_accuracy(engine, clips, "all")
    assert (report.name, report.labelled, report.scale) == ("4q", "quadrant", "shared")
    for figures in ("dynamic", "static", "coverage", "widths", "per_song", "by_duration", "genres"):
        assert getattr(report, figures) == {}
    assert report.movement == {}
    assert (report.songs, report.estimates) == (8, 8 * 11)
    assert report.quadrants is not None
    assert report.quadrants.songs == 8
    assert report.by_song["arousal"].auc is not None
    assert report.by_song["arousal"].r2 is None
    assert report.mean_width.keys() == {"valence", "arousal"}


def test_marks_and_proxies(tmp_path: Path, engine: Engine) -> None:
    marks = load_collection(f"fme24={write_fme24(tmp_path / 'fme24')}").with_all()
    report = measure_accuracy(engine, marks, "all", compare_widths=False)
    for figures in ("dynamic", "per_song", "static"):
        assert getattr(report, figures) == {}
    assert report.by_song["arousal"].r2 is not None
    assert report.coverage.keys() == {"valence", "arousal"}
    assert report.widths.keys() == {"valence", "arousal"}
    # The mark at 7 s is in the scored half of the first section only.
    assert report.movement["arousal"].songs == 4
    assert "valence" not in report.movement
    choices = [[["power"]], [["calmness"]], [["sadness"]]]
    proxies = load_collection(f"emotify={write_emotify(tmp_path / 'emotify', choices)}").with_all()
    report = measure_accuracy(engine, proxies, "all")
    for figures in ("coverage", "widths", "by_duration"):
        assert getattr(report, figures) == {}
    assert report.by_song["arousal"].r is not None
    assert report.by_song["arousal"].r2 is None
    assert report.quadrants is not None
    assert report.quadrants.share is None


def test_an_empty_split_names_the_others(tmp_path: Path, engine: Engine) -> None:
    names = ("Q1_a_0", "Q3_b_0")
    emopia = load_collection(f"emopia={write_emopia(tmp_path, names, seconds=11.0)}").with_all()
    with pytest.raises(DataError, match=r"give --split train or validation$"):
        measure_accuracy(engine, emopia, "test")
    assert measure_accuracy(engine, emopia, "validation").songs == 1


def test_constant_intervals_are_fitted_on_the_validation_songs(
    collection: Collection, engine: Engine
) -> None:
    silent = WithTrainingReport(engine, {})  # reports no width
    report = measure_accuracy(silent, collection, "test")
    assert report.widths["arousal"].fitted_on == "the validation split"
    # Expected: the 80 % quantile of the absolute errors on the validation songs.
    errors = []
    for clip in clips_of(collection, "validation"):
        at = collection.labels(clip, 20)[:, 1]
        for estimate in estimate_clip(engine, *read_channels(clip)):
            if estimate.t >= 5.0:
                errors.append(abs(estimate.arousal - at[round(estimate.t * 2) - 1]))
    half = np.quantile(errors, engine.info.coverage)
    assert report.widths["arousal"].fitted is not None
    assert report.widths["arousal"].fitted <= 2 * half + 1e-6
    itself = measure_accuracy(silent, collection, "validation")
    assert itself.widths["arousal"].fitted is None
    assert "measured split is the validation split" in itself.widths["arousal"].fitted_on
    alone = dataclasses.replace(collection, splits={**collection.splits, "validation": ()})
    without = measure_accuracy(silent, alone, "test")
    assert "no validation songs" in without.widths["arousal"].fitted_on
    not_requested = measure_accuracy(silent, collection, "test", compare_widths=False)
    assert "not requested" in not_requested.widths["arousal"].fitted_on


def test_a_model_can_report_its_constant_width(collection: Collection, engine: Engine) -> None:
    reported = {"constant_half_width": {"valence": 0.25, "arousal": 0.2}, "held_out": "five parts"}
    model = WithTrainingReport(engine, {"validation": reported})
    report = measure_accuracy(model, collection, "test")
    assert report.widths["arousal"].fitted is not None
    assert report.widths["arousal"].fitted <= 0.4 + 1e-9
    fitted_on = report.widths["arousal"].fitted_on
    assert fitted_on == "five parts, with predictions of networks that were trained without them"


def test_older_training_reports(collection: Collection, engine: Engine) -> None:
    older = WithTrainingReport(engine, {"data": "DEAM, train and validation splits"}).info
    assert trained_on(older, collection, "validation")
    assert trained_on(older, collection, "all")
    assert not trained_on(older, collection, "test")
    assert not trained_on(older, dataclasses.replace(collection, name="pmemo"), "train")
    report = measure_accuracy(engine, collection, "validation", compare_widths=False)
    assert report.trained_on == trained_on(engine.info, collection, "validation")


def test_training_reports_that_name_their_collections(
    collection: Collection, engine: Engine
) -> None:
    def info(name: str, songs: int, init: object = None) -> ModelInfo:
        entry = {"name": name, "songs": {"train": songs, "validation": 12}}
        return WithTrainingReport(engine, {"collections": [entry], "init": init}).info

    assert trained_on(info("deam", 12), collection, "train")
    assert not trained_on(info("deam", 12), collection, "test")
    assert not trained_on(info("csv", 12), collection, "train")
    # A model initialised from the shipped one was trained on its songs, too.
    assert trained_on(info("csv", 12, init={"name": "mer-1"}), collection, "train")
    own = dataclasses.replace(collection, name="csv")
    assert trained_on(info("csv", 12), own, "train")
    assert not trained_on(info("csv", 99), own, "train")  # another user's songs
    assert not trained_on(WithTrainingReport(engine, {}).info, collection, "train")
