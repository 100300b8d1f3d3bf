"""The study of parts and collections, on the checkpoint of a run on random clips."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from mer_engine.network import NetworkConfig
from mer_engine.training.checkpoint import Checkpoint
from mer_engine.training.examples import Labels
from mer_engine.training.settings import FitSettings
from mer_engine.training.train import DATASET

CONFIG = NetworkConfig(
    timbral=((7, 38, 2),), temporal=((32, 2),), residual_filters=2, hidden=4, heads=2, width=8,
    statistics=8, bins=11,
)  # fmt: skip
SONGS = 30
NUMBERS, SIGNS, MORE = "deam", "4q", "fme24"


@pytest.fixture(scope="module")
def parts(scripts: Path) -> ModuleType:
    return importlib.import_module("parts")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkpoint with clips whose embeddings follow their labels."""
    rng = np.random.default_rng(0)
    collections = np.repeat([NUMBERS, SIGNS, MORE], SONGS)
    level = rng.uniform(-0.8, 0.8, (len(collections), 2)).astype(np.float32)
    values = np.repeat(level[:, None], 20, axis=1)
    values[collections == SIGNS] = np.nan
    signs = np.where((collections == SIGNS)[:, None], np.sign(level), 0).astype(np.int64)
    songs = np.array([f"{name}/{n}" for n, name in enumerate(collections)])
    scales = np.where(collections == MORE, MORE, "")
    labels = Labels(
        values, signs, songs, songs, collections, scales,
        np.arange(len(songs)) % 5, np.ones(len(songs)),
    )  # fmt: skip
    steps = rng.uniform(0, 0.1, (1, len(songs), 20, CONFIG.described)).astype(np.float16)
    steps += np.repeat(level.mean(1), 20 * CONFIG.described).reshape(steps.shape).astype(np.float16)
    path = tmp_path_factory.mktemp("run") / "m.onnx.checkpoint"
    fit = asdict(FitSettings(steps=5, versions=1, support=20))
    run = Checkpoint(path, {"network": asdict(CONFIG), "fit": fit, "data": "some music"})
    run.save({DATASET: {"steps": torch.from_numpy(steps), "labels": labels.to_state()}})
    return path


def measure(parts: ModuleType, checkpoint: Path, out: Path, *arguments: str) -> dict[str, Any]:
    assert parts.main(["--checkpoint", str(checkpoint), "--out", str(out), *arguments]) == 0
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return result


def test_every_variant_is_measured_on_every_unknown_collection(
    parts: ModuleType, checkpoint: Path, tmp_path: Path
) -> None:
    result = measure(parts, checkpoint, tmp_path / "r.json", "--seeds", "1")
    assert result["data"] == "some music"
    rows = {(row["collection"], row["variant"]): row for row in result["rows"]}
    collections = [SIGNS, NUMBERS, MORE]
    expected = {
        (name, variant)
        for name in collections
        for variant in parts.variant_names(collections)
        if variant != f"without {name}"
    }
    assert set(rows) == expected
    assert len(result["rows"]) == len(expected)
    assert all(row["songs"] == SONGS for row in rows.values())
    of_numbers = {
        variant: row["arousal"]["r"] for (name, variant), row in rows.items() if name == NUMBERS
    }
    assert all(math.isfinite(r) for r in of_numbers.values())
    assert len(set(of_numbers.values())) == len(of_numbers)  # each variant changes the predictions
    assert 0 <= rows[SIGNS, "as shipped"]["quadrants"] <= 1


def test_variants_and_collections_can_be_chosen(
    parts: ModuleType, checkpoint: Path, tmp_path: Path
) -> None:
    chosen = ["--variants", "sequence", "kernels", "--collections", SIGNS]
    result = measure(parts, checkpoint, tmp_path / "r.json", "--seeds", "0", "3", *chosen)
    assert {(row["seed"], row["collection"], row["variant"]) for row in result["rows"]} == {
        (seed, SIGNS, variant) for seed in (0, 3) for variant in ("sequence", "kernels")
    }


def test_a_head_without_its_parts_ignores_them(parts: ModuleType) -> None:
    torch.manual_seed(0)
    head = parts.PartialHead(CONFIG).eval()
    window = torch.rand(2, 4, CONFIG.described)
    statistics = head.statistics(window)
    head.used = ("statistics",)
    assert torch.equal(head(window), head.statistic_logits(statistics))
    head.used = ("sequence",)
    assert torch.equal(head(window), head.sequence_logits(window))
    assert head(window).abs().max() > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--variants", "no"], "there is no variant 'no'; there are sequence"),
        (["--collections", "no"], "there is no collection 'no'; there are 4q, deam, fme24"),
    ],
)
def test_unknown_names_are_refused(
    parts: ModuleType, checkpoint: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], expected: str,
) -> None:  # fmt: skip
    assert parts.main(["--checkpoint", str(checkpoint), *arguments]) == 2
    assert expected in capsys.readouterr().err
