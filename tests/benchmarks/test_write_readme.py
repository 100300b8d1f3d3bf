"""From results to README, plots and tables in documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deam_support import write_deam
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
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
    folder = scripts / "results"
    return {
        path.relative_to(folder).with_suffix("").as_posix(): json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in folder.rglob("*.json")
    }


def test_the_committed_documents_have_the_tables_of_the_results(
    scripts: Path, committed: dict[str, Any]
) -> None:
    from markers import fill
    from tables import TABLES
    from write_readme import DOCUMENTS

    def table_function(source: str, make: Callable[[Any], str | None]) -> Callable[[], str | None]:
        return lambda: make(committed[source])

    tables = {marker: table_function(*entry) for marker, entry in TABLES.items()}
    for name in DOCUMENTS:
        text = (scripts.parent / name).read_text(encoding="utf-8")
        assert fill(text, tables) == (text, []), f"run write_readme.py to update {name}"


def test_the_committed_readme_has_the_tables_of_the_results(
    scripts: Path, committed: dict[str, Any]
) -> None:
    from write_readme import readme

    drawn = {path.stem for path in (scripts / "plots").glob("*.png")}
    assert readme(committed, drawn) == (scripts / "README.md").read_text(encoding="utf-8")


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
