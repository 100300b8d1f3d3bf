"""The study of the head's parts, on generated clips."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mer_engine.network
import numpy as np
import pytest
import torch
from mer_engine.network import EmotionNetwork, RegressionHead
from mer_engine.training.checkpoint import Checkpoint
from mer_engine.training.checkpoint_export import model_state
from mer_engine.training.export import ModelText
from mer_engine.training.settings import FitSettings
from mer_engine.training.train import EncodedDataset
from parts import SequenceHead, StatisticsHead, all_variants, limited, main, measure_variants
from training_support import SMALL, labelled

SETTINGS = FitSettings(steps=4, batch=8, support=20)


def two_collections(count: int = 30) -> EncodedDataset:
    steps, labels = labelled(count)
    more, signs = labelled(count, 1, collection="b", signs=True)
    return EncodedDataset(np.concatenate([steps, more], axis=1), labels + signs)


def write_checkpoint(path: Path, dataset: EncodedDataset) -> Path:
    text = ModelText(training={"fit": asdict(SETTINGS), "data": "a, b: train splits"})
    Checkpoint(path, {}).save(
        {
            "dataset": {
                "steps": torch.from_numpy(dataset.steps),
                "labels": dataset.labels.to_state(),
            },
            "model": model_state(EmotionNetwork(SMALL), None, text),
        }
    )
    return path


def test_every_variant_is_measured_on_collections_it_was_not_fitted_to(tmp_path: Path) -> None:
    third = labelled(30, 2, collection="c")
    both = two_collections()
    dataset = EncodedDataset(np.concatenate([both.steps, third[0]], axis=1), both.labels + third[1])
    checkpoint = write_checkpoint(tmp_path / "m.checkpoint", dataset)
    out = tmp_path / "parts.json"
    assert main([str(checkpoint), "--seeds", "1", "--limit", "24", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["clips"], result["data"]) == (72, "a, b: train splits")
    by_name: dict[str, dict[str, Any]] = {}
    for row in result["rows"]:
        assert row["seed"] == 0
        by_name.setdefault(row["variant"], {})[row["held_out"]] = row["figures"]
    assert set(by_name) == set(all_variants(["a", "b", "c"]))
    for name, rows in by_name.items():
        assert set(rows) == {"a", "b", "c"} - {name.removeprefix("without ")}
        for held_out, figures in rows.items():
            assert figures["songs"] == 24
            assert ("quadrants" in figures) == (held_out == "b")
            assert ("valence" in figures) == (held_out != "b")
    # No two variants predict the same.
    values = [rows["a"]["valence"]["rmse"] for rows in by_name.values() if "a" in rows]
    assert len(set(values)) == len(values)


def test_only_the_named_parts_count() -> None:
    window = torch.randn(3, 20, SMALL.described)
    heads: list[RegressionHead] = []
    for kind in (SequenceHead, StatisticsHead, RegressionHead):
        torch.manual_seed(0)
        heads.append(kind(SMALL).eval())
    with torch.inference_mode():
        sequence, statistics, both = (head(window) for head in heads)
    torch.testing.assert_close(sequence + statistics, both)
    assert sequence.abs().max() > 0
    assert statistics.abs().max() > 0


def test_seeds_and_variants_are_chosen() -> None:
    variants = {"x": all_variants(["a", "b"])["as shipped"]}
    weight = mer_engine.network.REGRESSOR_WEIGHT
    rows = measure_variants(two_collections(), SMALL, SETTINGS, variants, 2)
    assert [(row["seed"], row["held_out"]) for row in rows] == [
        (seed, name) for seed in (0, 1) for name in ("a", "b")
    ]
    assert rows[0]["figures"] != rows[2]["figures"]
    assert weight == mer_engine.network.REGRESSOR_WEIGHT


def test_a_limit_spreads_the_clips() -> None:
    some = limited(two_collections(), 3)
    assert some.labels.songs.tolist() == ["a/0", "a/14", "a/29", "b/0", "b/14", "b/29"]
    assert some.steps.shape[1] == 6
    assert len(limited(two_collections(), None).labels) == 60


def test_checkpoints_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = two_collections()
    path = write_checkpoint(tmp_path / "m.checkpoint", dataset)
    assert main([str(path), "--variants", "all"]) == 2
    assert "there is no variant 'all'; there are as shipped, sequence" in capsys.readouterr().err
    alone = dataset.select(np.arange(30))
    path = write_checkpoint(tmp_path / "alone.checkpoint", alone)
    assert main([str(path)]) == 2
    assert "has only the collection a" in capsys.readouterr().err
    Checkpoint(path, {}).save({})
    assert main([str(path)]) == 2
    assert "is of an unfinished run" in capsys.readouterr().err
    assert main([str(tmp_path / "none")]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(path), "--seeds", "0"])
