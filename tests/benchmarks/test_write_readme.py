"""From results to README, plots and tables in documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deam_support import write_deam
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
from mer_engine.engine import shipped_model
from PIL import Image

from realtime_mer.evaluation.report import measure_accuracy

FIGURES = {
    "r2": 0.7,
    "rmse": 0.15,
    "ccc": 0.8,
    "r": 0.84,
    "coverage": 0.81,
    "width": 0.4,
    "songs": 5,
}
BOTH = {"arousal": FIGURES, "valence": {**FIGURES, "r2": 0.4}}


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> dict[str, Any]:
    collection = load_collection(write_deam(tmp_path_factory.mktemp("data")))
    report = measure_accuracy(engine, collection, "test").to_dict()
    loaded: dict[str, Any] = json.loads(json.dumps(report))
    return loaded


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def write(root: Path) -> Callable[[str, object], None]:
    def write_result(name: str, result: object) -> None:
        path = root / "benchmarks" / "results" / f"{name}.json"
        path.write_text(json.dumps(result), encoding="utf-8")

    return write_result


def run(root: Path) -> int:
    from write_readme import main

    return main(root)


def test_accuracy_is_written_to_readme_and_documents(
    root: Path, write: Callable[[str, object], None], accuracy: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write("accuracy", accuracy)
    (root / "README.md").write_text("a\n<!-- accuracy -->\nold\n<!-- end -->\nb\n")
    (root / "docs").mkdir()
    (root / "docs" / "accuracy.md").write_text("<!-- lag -->\nunchanged\n<!-- end -->\n")
    assert run(root) == 0
    front = (root / "README.md").read_text()
    assert "old" not in front
    assert f"| {accuracy['dynamic']['arousal']['r2']:.2f} |" in front
    assert front.startswith("a\n")
    assert front.endswith("b\n")
    assert "unchanged" in (root / "docs" / "accuracy.md").read_text()
    assert "no result for the table 'lag'" in capsys.readouterr().err
    readme = (root / "benchmarks" / "README.md").read_text()
    assert "## Accuracy by song" in readme
    assert "### By annotation campaign" in readme
    assert "## Robustness" not in readme
    assert accuracy["model"]["sha256"][:12] in readme
    assert "![R2 of arousal" in readme


def test_every_study_has_a_section(root: Path, write: Callable[[str, object], None]) -> None:
    times = {"median": 2.0, "lower": 1.5, "upper": 2.5}
    condition = {**FIGURES, "r2_loss": 0.01, "shift_mean": -0.02, "shift_rms": 0.03}
    worse = {**condition, "r2_loss": 0.06}
    about = {"model": {"name": "m", "version": "2", "sha256": "ab" * 32}, "seed": 3}
    write("robustness", {
        **about, "clean": BOTH, "skipped": ["MP3: needs ffmpeg"],
        "conditions": [{"name": "in a box", "group": "x", "what": "muffled",
                        "arousal": condition, "valence": worse}],
        "clipping": {"+6 dB": {"songs": 0.5, "samples": 0.01}},
        "model_was_trained_on_these_songs": True,
    })  # fmt: skip
    last = {name: {**one, "after_10_s": 0.5} for name, one in BOTH.items()}
    write("lag", {
        "lag_orders": [{"lag_order": k, "window_s": k / 2, **last} for k in (4, 20)],
        "hops": [{"hop_s": 0.5, **BOTH}],
        "data": "deam, validation split", "model_was_trained_on_these_songs": True,
    })  # fmt: skip
    write("step_response", {
        "rows": [{"lag_order": 4, "window_s": 2.0, "dimension": "arousal", "pairs": 6,
                  "counted": 5, "half_s": times, "ninety_s": None}],
        "curves": [{"lag_order": 4, "window_s": 2.0, "dimension": "arousal",
                    "seconds": [0.1, 0.2], "way": [0.0, 1.0]}],
    })  # fmt: skip
    write("baselines", {"rows": [{"name": "mean", "what": "a|b", **BOTH}]})
    r = {"r": 0.5, "r_within": 0.4, "mean": 0.1, "expected": 1}
    between = {"between": FIGURES, "within": 0.2, "varying": 3}
    write("generality", {
        "pmemo": {"rows": [{"song": "108", "arousal": {"label": 0.7, "estimate": 0.4},
                            "valence": {"label": 0.6, "estimate": 0.3}}]},
        "emotify": {"excerpts": 9, "as_expected": {"signs": 1, "of": 2},
                    "rows": [{"emotion": "joyful_activation", "arousal": r,
                              "valence": {**r, "expected": None}}]},
        "vgmidi": [{"soundfont": "a.sf2", "pieces": 4, "arousal": between, "valence": between}],
    })  # fmt: skip
    (root / "docs").mkdir()
    (root / "docs" / "accuracy.md").write_text(
        "<!-- lag -->\n<!-- end -->\n<!-- step response -->\n<!-- end -->\n"
    )
    assert run(root) == 0
    # Only the lag orders were measured on training songs; the page must warn about them.
    page = (root / "docs" / "accuracy.md").read_text()
    assert (
        page.count("The model was trained on these songs")
        == page.count("(deam, validation split)")
        == 1
    )
    readme = (root / "benchmarks" / "README.md").read_text()
    for expected in (
        "| in a box | 0.700 | 0.010 | -0.020 | 0.030 | 81.0% |",
        "| in a box | 0.700 | 0.060 | -0.020 | 0.030 | 81.0% |",
        "At +6 dB, 50% of the clips",
        "R2 loss of more than 0.05: in a box (valence).",
        "Skipped: MP3: needs ffmpeg.",
        "* _in a box_: muffled",
        "Model m 2 (abababababab), seed 3.",
        "It is not the model that ships.",
        "The model was trained on these songs",
        "| 4 | 2 s | 0.700 | 0.500 | 0.400 | 0.500 |",
        "| 2 s | arousal | 5 of 6 | 2.0 s (1.5 to 2.5) | |",
        "| mean | 0.700 |",
        "* _mean_: a|b",
        "| 108 | 0.70 | 0.40 | 0.60 | 0.30 |",
        "| joyful activation | + | +0.50 | +0.40 |",
        "| joyful activation | | +0.50 | +0.40 |",
        "1 of 2 expected signs hold (9 excerpts).",
        "| a.sf2 | 4 | arousal | 0.700 | 0.800 | 0.840 | 0.200 |",
    ):
        assert expected in readme, expected


def test_plots_have_a_light_background_and_lines(
    root: Path, write: Callable[[str, object], None], accuracy: dict[str, Any]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the train extra")
    write("accuracy", accuracy)
    assert run(root) == 0
    with Image.open(root / "benchmarks" / "plots" / "accuracy_over_time.png") as image:
        pixels = np.asarray(image.convert("RGB"))
        assert image.width <= 900
    assert (pixels[0, 0] == 255).all()
    colours = {tuple(pixel) for pixel in pixels.reshape(-1, 3)}
    assert (0xC1, 0x44, 0x0E) in colours
    assert (0x21, 0x66, 0xAC) in colours


def test_a_table_of_an_older_model_says_so(
    root: Path, write: Callable[[str, object], None]
) -> None:
    first = {"name": "m", "version": "1", "sha256": "ab" * 32}
    row = {
        "lag_order": 4,
        "window_s": 2.0,
        **{k: {**v, "after_10_s": 0.5} for k, v in BOTH.items()},
    }
    lag = {"lag_orders": [row], "hops": [], "data": "d", "model_was_trained_on_these_songs": False}
    page = root / "README.md"
    page.write_text("<!-- lag -->\n<!-- end -->\n")
    write("lag", {**lag, "model": first})
    assert run(root) == 0
    note = "Measured with m 1 (abababababab), which is not the model that ships."
    assert note in page.read_text()
    # A comparison with the shipped model is none of older ones.
    shipped = {"name": "s", "sha256": hashlib.sha256(shipped_model().read_bytes()).hexdigest()}
    write("lag", {**lag, "model": first, "models": [first, shipped]})
    assert run(root) == 0
    assert "not the model that ships" not in page.read_text()
    readme = (root / "benchmarks" / "README.md").read_text()
    assert f"Models m 1 (abababababab), s ({shipped['sha256'][:12]})" in readme
    assert "not the model that ships" not in readme


def test_a_table_of_different_models_is_refused(
    root: Path, write: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    write("scale", {
        "configurations": [], "limits": [], "first_limit": "memory", "card": None,
        "model": {"name": "m", "sha256": "ab" * 32},
        "measured_with": {"engine": "ab" * 32, "streams": "cd" * 32},
        "assumed_machine": {
            "cores": 8, "memory_gb": 16.0, "network_gbit": 1.0, "price_per_core_hour": 0.04,
        },
    })  # fmt: skip
    assert run(root) == 2
    error = capsys.readouterr().err
    assert "results/scale.json puts results of different models into one table" in error
    assert "engine.json of abababababab, streams.json of cdcdcdcdcdcd" in error


def test_a_result_that_lacks_a_figure_is_reported(
    root: Path, write: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    write("step_response", {"rows": [{"window_s": 2.0, "pairs": 6}], "curves": []})
    assert run(root) == 2
    error = capsys.readouterr().err
    assert "results/step_response.json does not fit the table 'step response'" in error
    assert "'dimension'" in error


@pytest.fixture
def committed(scripts: Path) -> dict[str, Any]:
    from write_readme import read_results

    return read_results(scripts / "results")


def test_the_committed_documents_have_the_tables_of_the_results(
    scripts: Path, committed: dict[str, Any]
) -> None:
    from markers import fill
    from write_readme import DOCUMENTS, tables_of_documents

    tables = tables_of_documents(committed)
    for name in DOCUMENTS:
        text = (scripts.parent / name).read_text(encoding="utf-8")
        assert fill(text, tables) == (text, []), f"run write_readme.py to update {name}"


def test_the_committed_readme_has_the_tables_of_the_results(
    scripts: Path, committed: dict[str, Any]
) -> None:
    from write_readme import readme

    drawn = {path.stem for path in (scripts / "plots").glob("*.png")}
    assert readme(committed, drawn) == (scripts / "README.md").read_text(encoding="utf-8")


def widest(text: str) -> int:
    return max(len(line) for line in text.splitlines())


def test_validation_shows_known_and_unknown_collections_side_by_side() -> None:
    from tables import validation

    numbers = {"r2": 0.5, "r": 0.75, "ccc": 0.7, "bias": -0.123, "coverage": 0.8, "width": 0.5}
    areas = {"arousal": 0.9, "valence": 0.8, "valence_calm": 0.7, "valence_excited": 0.6}
    known = {
        "4q": {"songs": 900, "quadrants": 0.67, "auc": areas},
        "deam": {"songs": 1532, "arousal": numbers, "valence": numbers},
        "emotify": {"songs": 400, "arousal": numbers, "valence": numbers},
    }
    worse = {**known, "deam": {**known["deam"], "arousal": {**numbers, "r2": -0.1}}}
    text = validation({"validation": {"known": known, "unknown": worse}})
    assert text is not None
    for expected in (
        "| deam | 1532 | known | 0.50 | 0.75 | 0.70 | -0.12 | 80.0% | 0.500 |\n"
        "| deam | 1532 | unknown | -0.10 | 0.75 |",
        "| emotify | 400 | known | | 0.75 | | | | |",
        "| 4q | 900 | unknown | 67.0% | 0.900 | 0.800 | 0.700 |",
    ):
        assert expected in text
    assert widest(text) <= 80
    # A model file of another version has no such figures; the old text of the document then stays.
    assert validation({"validation": {"arousal": {"r2": 0.5}, "held_out": "a"}}) is None


def test_training_data_are_the_clips_of_both_splits() -> None:
    from tables import training_data

    splits = {"train": 20, "validation": 5}
    collections = [{"name": "deam", "songs": splits, "clips": {"train": 60, "validation": 15}}]
    report = {"validation": {"known": {}}, "collections": collections}
    assert (training_data(report) or "").endswith("| deam | 25 | 75 |")
    assert training_data({"collections": collections}) is None


def test_parts_are_means_over_seeds() -> None:
    from tables import parts

    areas = {"arousal": 0.9, "valence": 0.8, "valence_calm": 0.7, "valence_excited": 0.6}
    rows = [
        {"seed": seed, "variant": variant, "collection": collection, **figures}
        for seed, r in enumerate((0.6, 0.7))
        for variant in ("sequence", "as shipped", "without emopia")
        for collection, figures in (
            ("deam", {"arousal": {"r": r}, "valence": {"r": 0.5}}),
            ("emopia", {"quadrants": r, "auc": areas}),
        )
        if variant != f"without {collection}"
    ]
    text = parts({"rows": rows, "what": {"sequence": "BiLSTM and attention"}})
    for expected in (
        "| unknown | sequence | as shipped | (range) |",
        "| left out | as shipped | emopia | (range) |",
        "| deam, arousal r | 0.65 | 0.65 | (0.10) |",
        "| emopia, quadrants | 0.65 | | (0.10) |",
        "| emopia, AUC valence, calm | 0.70 | 0.70 | (0.00) |",
        "Means over the seeds 0, 1;",
        "* _sequence_: BiLSTM and attention",
    ):
        assert expected in text, expected
    assert widest(text) <= 80


def test_collections_side_by_side_mark_songs_of_the_training() -> None:
    from tables import side_by_side_collections

    def one(r: float) -> dict[str, object]:
        return {"by_song": {"arousal": {"r2": 0.5, "r": r}}, "quadrants": None}

    movement = {"arousal": {"settled": 0.3, "level": 0.6}}
    signs = {"share": 0.5, "auc_valence_calm": 0.625}
    trained = {"model_was_trained_on_these_songs": True}
    text = side_by_side_collections({"collections": [
        {"name": "deam", "split": "test", "scale": "shared", "rows": [
            {"method": "mer-1", **one(0.71), "movement": movement},
            {"method": "ridge on the embedding of mer-1", **one(0.6)},
            {"method": "mer-2", **one(0.72), **trained},
        ]},
        {"name": "emotify", "split": "all", "scale": "own", "rows": [
            {"method": "mer-1", **one(0.4)},
        ]},
        {"name": "4q", "split": "all", "scale": "shared", "rows": [
            {"method": "mer-2", "by_song": {"arousal": {"r2": None, "r": None}},
             "quadrants": signs},
        ]},
    ]})  # fmt: skip
    for expected in (
        "| song means, R2 (r) | mer-1 | ridge | mer-2 |",
        "| deam (test), arousal | 0.50 (0.71) | 0.50 (0.60) | 0.50 (0.72)* |",
        "| emotify (all), arousal | (0.40) | | |",
        "| 4q (all) | 50% (0.625) |",
        "| r within songs that move | mer-1 | level |",
        "| deam (test), arousal | 0.30 | 0.60 |",
        "\\* The model was trained on these songs.",
    ):
        assert expected in text, expected


def test_short_tables_have_the_figures_of_the_long_ones(committed: dict[str, Any]) -> None:
    from tables import lag_short, robustness_short, sounds_short

    text = robustness_short(committed["robustness"])
    for row in committed["robustness"]["conditions"]:
        costly = max(row[name]["r2_loss"] for name in ("arousal", "valence")) > 0.02
        assert (f"| {row['name']} | {row['arousal']['r2']:.3f} |" in text) == costly
    windows = lag_short(committed["lag"])
    assert [line.split(" | ")[0] for line in windows.splitlines()[2:8]] == [
        "| 1 s", "| 2 s", "| 3 s", "| 5 s", "| 7 s", "| 10 s",
    ]  # fmt: skip
    row = {"sound": "noise", "collection": "", "right": 0.5, "music_or_not_first_4_s": 1.0}
    shares = {"a-b": 0.9, "c": 0.5, "d": 0.7}
    text = sounds_short({"rows": [
        {**row, "sound": sound, "collection": name, "music_or_not": share}
        for sound in ("music", "speech", "noise") for name, share in shares.items()
    ]})  # fmt: skip
    assert "| noise | 3 | 50.0% | 70.0% | 100.0% | c 50.0%, d 70.0% |" in text


def test_collections_with_and_without_numbers(
    root: Path, write: Callable[[str, object], None]
) -> None:
    numbers = {"songs": 5, "r2": 0.7, "rmse": 0.1, "r": 0.84, "ccc": 0.8, "bias": -0.02, "auc": 0.9}
    signs = {**dict.fromkeys(numbers), "songs": 4, "auc": 0.75}
    quadrants = {"songs": 4, "share": 0.5, "auc_valence_calm": 0.6, "auc_valence_excited": None}
    widths = {"arousal": 0.4, "valence": 0.5}
    movement = {"songs": 2, "settled": 0.3, "fast": None, "level": 0.62, "centroid": 0.1}
    model = {
        "method": "mer-9", "by_song": {"arousal": numbers, "valence": numbers}, "quadrants": None,
        "coverage": {"arousal": 0.8, "valence": 0.7}, "mean_width": widths,
        "movement": {"arousal": movement}, "model_was_trained_on_these_songs": True,
    }  # fmt: skip
    ridge = {"method": "ridge", "by_song": {"arousal": signs}, "quadrants": quadrants}
    write("collections", {"collections": [
        {"name": "deam", "split": "test", "rows": [model]},
        {"name": "4q", "split": "all", "rows": [ridge]},
    ]})  # fmt: skip
    assert run(root) == 0
    text = (root / "benchmarks" / "README.md").read_text()
    assert (
        "| deam (test) | mer-9 | 5 | 0.700 | 0.840 | 0.800 | -0.020 | 0.900 | 80.0% | 0.400 |"
    ) in text
    assert "| 4q (all) | ridge | 4 | | | | | 0.750 | | |" in text
    assert "| 4q (all) | ridge | 4 | 50.0% | 0.600 | |" in text
    assert "| deam (test) | mer-9 | arousal | 2 | 0.300 | | 0.620 | 0.100 |" in text
    assert "* mer-9 was trained on songs of deam (test)" in text
