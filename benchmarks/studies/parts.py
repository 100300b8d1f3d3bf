"""What the parts of the head, and each collection, add to the accuracy on unknown collections.

python benchmarks/studies/parts.py mer-2.onnx.checkpoint

The checkpoint is that of a training run (`realtime-mer train --keep-checkpoint`). It has the
encoded clips and their labels, so no music is read. For each seed and held-out collection, the
study fits a head of each variant to the other collections, without artists of the held-out one, and
measures it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mer_engine.network
import numpy as np
import torch
from mer_engine.datasets.problems import DataError
from mer_engine.network import NetworkConfig, RegressionHead
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.checkpoint_export import MODEL
from mer_engine.training.examples import Labels
from mer_engine.training.fit import fit
from mer_engine.training.measure import measure
from mer_engine.training.predict import predict
from mer_engine.training.settings import FitSettings
from mer_engine.training.train import DATASET, EncodedDataset
from study import RESULTS, write_result
from torch import Tensor

from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError

SHIPPED = "as shipped"


class SequenceHead(RegressionHead):
    """A head of LSTM and attention alone."""

    def statistic_logits(self, statistics: Tensor) -> Tensor:
        return statistics.new_zeros(len(statistics), len(self.config.scores), self.config.bins)


class StatisticsHead(RegressionHead):
    """A head of the network over the window's statistics alone."""

    def sequence_logits(self, window: Tensor) -> Tensor:
        return window.new_zeros(len(window), len(self.config.scores), self.config.bins)


@dataclass(frozen=True)
class Variant:
    """What a head consists of.

    Attributes:
        head: its class.
        regressor: weight of the kernel regressor; None for that of the shipped model.
        without: a collection that is not fitted; "" for none.
    """

    head: type[RegressionHead] = RegressionHead
    regressor: float | None = None
    without: str = ""


def all_variants(collections: Sequence[str]) -> dict[str, Variant]:
    """Return the variants by name."""
    return {
        SHIPPED: Variant(),
        "sequence alone": Variant(SequenceHead, 0.0),
        "statistics alone": Variant(StatisticsHead, 0.0),
        "sequence and statistics": Variant(regressor=0.0),
        "kernel regressor alone": Variant(regressor=1.0),
        **{f"without {name}": Variant(without=name) for name in collections},
    }


def measure_variants(
    dataset: EncodedDataset,
    config: NetworkConfig,
    settings: FitSettings,
    variants: Mapping[str, Variant],
    seeds: int,
) -> list[dict[str, Any]]:
    """Fit and measure every variant for each held-out collection and seed.

    Args:
        dataset: the encoded clips.
        config: of the network that encoded them.
        settings: of the fits.
        variants: by name.
        seeds: number of seeds.

    Returns:
        Rows with `variant`, `seed`, `held_out`, and `figures` as from `measure`. A variant without
        a collection has no row for that one.
    """
    labels = dataset.labels
    rows = []
    for seed in range(seeds):
        for held_out in sorted(set(labels.collections.tolist())):
            mask = labels.collections == held_out
            usable = ~mask & labels.outside_groups_of(mask)
            for name, variant in variants.items():
                chosen = np.flatnonzero(usable & (labels.collections != variant.without))
                if variant.without == held_out or not len(chosen):
                    continue
                print(f"seed {seed}, {held_out}: {name}", file=sys.stderr, flush=True)
                fitted = dataset.select(chosen)
                tested = dataset.select(np.flatnonzero(mask))
                figures = _figures(fitted, tested, config, settings, variant, seed)
                rows.append(
                    {"variant": name, "seed": seed, "held_out": held_out, "figures": figures}
                )
    return rows


def _figures(
    fitted: EncodedDataset,
    tested: EncodedDataset,
    config: NetworkConfig,
    settings: FitSettings,
    variant: Variant,
    seed: int,
) -> dict[str, Any]:
    torch.manual_seed(seed)
    start = variant.head(replace(config, regressor_windows=0, regressor_collections=0))
    if variant.regressor == 0.0:
        settings = replace(settings, support=0)
    head = fit(start, fitted.steps, fitted.labels, settings, seed)
    weight = variant.regressor or mer_engine.network.REGRESSOR_WEIGHT
    with patch.object(mer_engine.network, "REGRESSOR_WEIGHT", weight):
        probabilities = predict(head, tested.steps[0])
    return measure(tested.labels, probabilities, config.bin_centres().numpy())


def limited(dataset: EncodedDataset, limit: int | None) -> EncodedDataset:
    """Return the data set with at most `limit` clips of each collection, spread evenly."""
    chosen: list[int] = []
    for name in sorted(set(dataset.labels.collections.tolist())):
        rows = np.flatnonzero(dataset.labels.collections == name)
        count = len(rows) if limit is None else min(limit, len(rows))
        chosen += rows[np.linspace(0, len(rows) - 1, count).astype(int)].tolist()
    return dataset.select(np.array(sorted(chosen), np.int64))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint that train has kept")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds (default: 3)")
    parser.add_argument(
        "--variants", nargs="+", metavar="NAME", help="only these variants (default: all)"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="use N clips of each collection (default: all)"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "parts.json", metavar="FILE",
        help="result file (default: %(default)s)",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    for option, value in (("--seeds", args.seeds), ("--limit", args.limit)):
        if value is not None and value < 1:
            parser.error(f"{option} is {value}; give 1 or more")
    try:
        write_result(args.out, _result(args))
    except (DataError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _result(args: argparse.Namespace) -> dict[str, Any]:
    state = read_checkpoint(args.checkpoint)["state"]
    if MODEL not in state:
        raise UserError(f"{args.checkpoint} is of an unfinished run; let it finish first")
    dataset = EncodedDataset(
        state[DATASET]["steps"].numpy(), Labels.from_state(state[DATASET]["labels"])
    )
    collections = sorted(set(dataset.labels.collections.tolist()))
    if len(collections) == 1:
        raise UserError(
            f"{args.checkpoint} has only the collection {collections[0]}, so none can be held out; "
            "train on several"
        )
    variants = all_variants(collections)
    for name in args.variants or ():
        if name not in variants:
            raise UserError(f"there is no variant {name!r}; there are {', '.join(variants)}")
    model = state[MODEL]
    settings = FitSettings(**model["text"]["training"]["fit"])
    rows = measure_variants(
        limited(dataset, args.limit),
        NetworkConfig(**model["network"]),
        settings,
        {name: variants[name] for name in args.variants or variants},
        args.seeds,
    )
    return {
        "data": model["text"]["training"]["data"],
        "clips": len(limited(dataset, args.limit).labels),
        "rows": rows,
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    raise SystemExit(main())
