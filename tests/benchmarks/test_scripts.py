"""Each study from its arguments to its result."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from collections_support import write_four_quadrants
from deam_support import write_deam


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_deam(tmp_path_factory.mktemp("data")))


def run(script: str, out: Path, *arguments: str) -> dict[str, Any]:
    main = importlib.import_module(script).main
    assert main([*arguments, "--out", str(out)]) == 0
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert len(result["model"]["sha256"]) == 64
    assert result["machine"]["date_utc"]
    return result


@pytest.mark.parametrize(
    ("script", "arguments", "songs"),
    [
        ("robustness", ["--songs", "1"], 1),
        ("lag", ["--songs", "2", "--workers", "2"], 2),
        ("baselines", ["--songs", "3"], 3),
    ],
)
def test_studies_of_a_split(
    script: str, arguments: list[str], songs: int, data: str, tmp_path: Path
) -> None:
    if script == "baselines":
        pytest.importorskip("sklearn", reason="scikit-learn comes with the train extra")
    result = run(script, tmp_path / "new" / "result.json", "--data", data, *arguments)
    assert result["songs"] == songs
    assert result["data"] == "deam, test split"
    assert result["model_was_trained_on_these_songs"] is False


def test_step_response(data: str, tmp_path: Path) -> None:
    arguments = ["--data", data, "--pairs", "1", "--seed", "5"]
    result = run("step_response", tmp_path / "r.json", *arguments)
    assert result["seed"] == 5
    assert result["split"] == "test"
    assert result["pairs"] == {"valence": 1, "arousal": 1}


def test_across_collections(data: str, tmp_path: Path) -> None:
    quadrants = write_four_quadrants(tmp_path / "4q", songs=10, seconds=6.0)
    arguments = ["--data", data, "--data", f"4q={quadrants}", "--songs", "5"]
    result = run("across_collections", tmp_path / "r.json", *arguments)
    assert [(c["name"], c["split"], c["songs"]) for c in result["collections"]] == [
        ("deam", "test", 5),
        ("4q", "all", 5),
    ]
    assert result["models"] == [result["model"]]
    main = importlib.import_module("across_collections").main
    assert main(["--data", f"4q={tmp_path}", "--out", str(tmp_path / "r.json")]) == 2


def test_generality_needs_a_collection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module("generality").main
    with pytest.raises(SystemExit):
        main([])
    assert "at least one of" in capsys.readouterr().err
    assert main(["--emotify", str(tmp_path), "--out", str(tmp_path / "r.json")]) == 2
    assert "ratings.csv is missing" in capsys.readouterr().err


def test_bad_arguments(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module("lag").main
    assert main(["--data", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--data", data, "--songs", "0"])
    assert "'0' is no count" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("")
    arguments = ["--data", data, "--songs", "1", "--split", "test"]
    assert main([*arguments, "--out", str(file / "r.json")]) == 2
    assert "give another --out" in capsys.readouterr().err
