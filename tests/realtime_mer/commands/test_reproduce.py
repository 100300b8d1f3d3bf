"""`reproduce` on a small data set: its output, its error messages, and resuming."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from collections_support import write_four_quadrants
from deam_support import write_deam
from mer_engine.install_hint import install_hint
from mer_research.paper.protocols import TITLES
from mer_research.paper.task import perform
from mer_research.reproduction.report import METHODS, csv_text, markdown

from realtime_mer.cli import main
from realtime_mer.commands.reproduce import NAMES

ROOT = Path(__file__).parents[3]
FIGURES = ("lag_order", "lag_order_score", "entropy_weights", "feature_importance", "tuning")


SONGS = 15


@pytest.fixture(autouse=True, scope="module")
def few_songs() -> Iterator[None]:
    """Limit --quick to half of the data set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mer_research.reproduction.run.QUICK_SONGS", SONGS)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data")).parent


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip drawing, which is slow and has its own tests."""
    monkeypatch.setattr("mer_research.reproduction.run.draw", lambda *_: [])


@pytest.fixture
def described(folder: Path, tmp_path: Path) -> Path:
    """Return a folder with cached descriptors only."""
    shutil.copytree(folder / "cache" / "descriptors", tmp_path / "cache" / "descriptors")
    return tmp_path


@pytest.fixture(scope="module")
def folder(few_songs: None, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all experiments once."""
    folder = tmp_path_factory.mktemp("all")
    assert main(command("all", data, folder)) == 0
    return folder


def command(experiment: str, data: Path, folder: Path, *more: str) -> list[str]:
    return [
        "reproduce", experiment, "--data", str(data), "--quick", "--workers", "1",
        "--out", str(folder / "out"), "--cache", str(folder / "cache"), *more,
    ]  # fmt: skip


def result(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "out" / f"{name.replace('-', '_')}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("name", NAMES)
def test_every_table_covers_both_protocols(folder: Path, name: str) -> None:
    found = result(folder, name)
    assert found["experiment"] == name
    assert found["data"]["songs"] == SONGS
    assert found["quick"] is True
    assert found["machine"]["torch"]
    text = (folder / "out" / f"{name.replace('-', '_')}.md").read_text(encoding="utf-8")
    assert text == markdown(found) + "\n"
    with (folder / "out" / f"{name.replace('-', '_')}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["protocol"] for row in rows} == set(TITLES.values())
    for title in TITLES.values():
        assert text.count(title) == 1


def test_the_comparison_has_every_method(folder: Path) -> None:
    for name, dimension in (("table1", "arousal"), ("table2", "valence")):
        found = result(folder, name)
        assert found["dimension"] == dimension
        methods = [(row["protocol"], row["method"]) for row in found["rows"]]
        assert methods == [(p, m) for p in ("known", "new") for m in METHODS]
        for row in found["rows"]:
            test = row["test"]
            assert test["mse"] == pytest.approx(test["rmse"] ** 2)
            assert row["train"]["windows"] > test["windows"] > 0


def test_the_ablation_reuses_results_of_the_comparison(folder: Path) -> None:
    full = [row for row in result(folder, "ablation")["rows"] if row["method"] == "full"]
    code = [row for row in result(folder, "table1")["rows"] if row["method"] == "code"]
    assert full[0]["test"] == code[0]["test"]
    assert full[0]["seconds"] == code[0]["seconds"]


def test_lag_orders_end_with_the_longest_song(folder: Path) -> None:
    rows = result(folder, "lag-order")["rows"]
    lags = {p: sorted({r["lag"] for r in rows if r["protocol"] == p}) for p in TITLES}
    assert lags == {"known": [1, 11, 18], "new": [1, 11, 20]}
    for weights in result(folder, "entropy-weights")["weights"]:
        assert sum(weights["weights"].values()) == pytest.approx(1.0, abs=1e-3)


def test_both_searches_have_the_same_number_of_trials(folder: Path) -> None:
    found = result(folder, "tuning")
    assert {len(row["course"]) for row in found["rows"]} == {found["tries"]}
    for row in found["rows"]:
        assert row["validation"]["rmse"] == pytest.approx(row["course"][-1], abs=1e-4)


@pytest.mark.parametrize("name", FIGURES)
def test_figures(folder: Path, name: str) -> None:
    assert (folder / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    svg = (folder / "out" / f"{name}.svg").read_text(encoding="utf-8")
    for title in TITLES.values():
        assert title in svg


@pytest.mark.usefixtures("no_figures")
def test_a_second_run_reuses_results_and_another_seed_does_not(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = result(folder, "table2")
    with monkeypatch.context() as patch:
        patch.setattr(
            "mer_research.reproduction.runner.perform", lambda *_: pytest.fail("run again")
        )
        assert main(command("table2", data, folder)) == 0
    out = capsys.readouterr().out
    assert result(folder, "table2")["rows"] == before["rows"]
    assert markdown(before) in out
    assert main(command("feature-importance", data, folder, "--seed", "1")) == 0
    assert result(folder, "feature-importance")["seed"] == 1


@pytest.mark.usefixtures("no_figures")
def test_an_interrupted_run_resumes(
    data: Path, described: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[Any] = []

    def interrupted(*task: Any) -> dict[str, Any]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(task)
        return perform(*task)

    with monkeypatch.context() as patch:
        patch.setattr("mer_research.reproduction.runner.perform", interrupted)
        assert main(command("feature-importance", data, described)) == 130
    assert "run it again to continue" in capsys.readouterr().err
    assert not list((described / "out").iterdir())
    assert len(list((described / "cache" / "units").glob("*.json"))) == 3

    def counted(*task: Any) -> dict[str, Any]:
        done.append(task)
        return perform(*task)

    monkeypatch.setattr("mer_research.reproduction.runner.perform", counted)
    assert main(command("feature-importance", data, described)) == 0
    assert len(done) == 4
    assert len(result(described, "feature-importance")["rows"]) == 4


@pytest.mark.usefixtures("no_figures")
def test_worker_processes_give_the_same_results(folder: Path, data: Path, described: Path) -> None:
    arguments = command("feature-importance", data, described)
    arguments[arguments.index("--workers") + 1] = "2"
    assert main(arguments) == 0
    found = result(described, "feature-importance")
    assert main(command("feature-importance", data, folder)) == 0
    assert found["rows"] == result(folder, "feature-importance")["rows"]
    assert csv_text(found) == csv_text(result(folder, "feature-importance"))


def test_bad_arguments_are_refused(
    data: Path, described: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def message(*more: str) -> str:
        return refusal(capsys, *command("table1", data, described, *more))

    assert "--lag-order is 0" in message("--lag-order", "0")
    sentence = message("--lag-order", "26")
    assert "a lag order of 26 (13 s) is too long" in sentence
    assert f"the longest of the {SONGS} songs has 10 s, which allows 18 at most" in sentence
    assert "--workers is 0" in message("--workers", "0")
    assert "does not exist; it should be the data set's features" in message(
        "--features", str(described / "none")
    )
    (described / "file").write_text("")
    assert "cannot be created" in message("--out", str(described / "file"))


def test_a_missing_data_file_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_deam(tmp_path)
    (root / "annotations" / "valence.csv").unlink()
    message = refusal(capsys, *command("table1", root, tmp_path))
    assert "valence.csv is missing; it contains the valence labels over time" in message


def test_quadrants_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quadrants = write_four_quadrants(tmp_path / "4q", songs=2, seconds=3.0)
    given = ["reproduce", "table1", "--data", f"4q={quadrants}", "--out", str(tmp_path / "out")]
    assert "has no labels over time" in refusal(capsys, *given)


def test_a_missing_package_is_reported_with_the_install_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "sklearn" else find(name, *rest),
    )
    message = refusal(capsys, *command("table1", data, tmp_path))
    assert "need scikit-learn" in message
    assert install_hint("train") in message


def test_the_document_is_filled_from_the_results(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from write_readme import main as write_readme

    # Only the results of the reproduction, so that nothing else is drawn.
    results = tmp_path / "benchmarks" / "results" / "reproduction"
    results.mkdir(parents=True)
    for path in (folder / "out").glob("*.json"):
        shutil.copy(path, results)
    document = tmp_path / "docs" / "reproduction.md"
    document.parent.mkdir()
    shutil.copy(ROOT / "docs" / "reproduction.md", document)
    assert write_readme(tmp_path) == 0
    text = document.read_text(encoding="utf-8")
    assert "no result" not in capsys.readouterr().err
    for name in NAMES:
        assert markdown(result(folder, name)) in text
    assert "A quick run" in text
    assert "the paper: 0.845 and 0.074" in text
    assert write_readme(tmp_path) == 0
    assert document.read_text(encoding="utf-8") == text
