"""Measure what each part of the model and each collection contributes, on unknown collections.

realtime-mer train --encoder start.onnx --data deam=DIR --data 4q=DIR ... --keep-checkpoint
python benchmarks/studies/parts.py --checkpoint mer-2.onnx.checkpoint

The checkpoint has the encoded clips of the run. For each seed, each collection is held out in turn.
Heads that lack a part, or a further collection, are fitted to the others and measured on it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

# Waiting threads of torch must not spin: on a busy machine that is ten times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from mer_engine.datasets.problems import DataError
from mer_engine.network import NetworkConfig, RegressionHead
from mer_engine.training.checkpoint import read_checkpoint
from mer_engine.training.examples import Labels
from mer_engine.training.fit import fit_head
from mer_engine.training.kernel_ridge import fit_regressor
from mer_engine.training.measure import measure
from mer_engine.training.predict import mean_spread, predict
from mer_engine.training.settings import FitSettings
from mer_engine.training.train import DATASET, EncodedDataset
from study import RESULTS, exit_code, write_result
from torch import Tensor

from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError

SHIPPED, KERNELS, PLAIN = "as shipped", "kernels", "plain"
# What of the direct distribution each variant has; the kernel regressor joins some of them.
DIRECT = {"sequence": ("sequence",), "statistics": ("statistics",)}
WHAT = {
    "sequence": "BiLSTM and attention, no kernel regressor",
    "statistics": "network over the window's statistics, no kernel regressor",
    "both": "these two, no kernel regressor",
    SHIPPED: "both with the kernel regressor",
    KERNELS: "the kernel regressor alone",
    PLAIN: "as shipped, with kernels that ignore which collections windows resemble",
}
_WITHOUT = "without "


class PartialHead(RegressionHead):
    """A regression head of which only some parts are used.

    Attributes:
        used: of "sequence" and "statistics"; neither leaves the kernel regressor alone.
    """

    used: tuple[str, ...] = ("sequence", "statistics")

    def forward(self, *windows: Tensor) -> Tensor:
        """Predict logits [windows * B, scores, bins] of windows [B, L, embedding]."""
        if self.used or self.regressor is None:
            return super().forward(*windows)
        statistics = torch.cat([self.statistics(window) for window in windows])
        distance = self.bins - self.regressor(statistics).unsqueeze(2)
        gaussian: Tensor = -0.5 * (distance / self.regressor_spread) ** 2
        return gaussian

    def sequence_logits(self, window: Tensor) -> Tensor:
        """Return logits [B, scores, bins], or zeros."""
        return super().sequence_logits(window) if "sequence" in self.used else self._zeros(window)

    def statistic_logits(self, statistics: Tensor) -> Tensor:
        """Return logits [B, scores, bins], or zeros."""
        if "statistics" in self.used:
            return super().statistic_logits(statistics)
        return self._zeros(statistics)

    def _zeros(self, rows: Tensor) -> Tensor:
        return torch.zeros(len(rows), len(self.config.scores), self.config.bins)


def measure_variants(
    dataset: EncodedDataset,
    config: NetworkConfig,
    settings: FitSettings,
    seed: int,
    collection: str,
    variants: list[str],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Hold out a collection; yield the name and the figures of each variant.

    Args:
        dataset: the clips of all collections.
        config: sizes of the head.
        settings: of the fits.
        seed: of every random choice.
        collection: to hold out, with all music of its artists.
        variants: of `variant_names`.
    """
    labels = dataset.labels
    held_out = labels.collections == collection
    known = ~held_out & labels.outside_groups_of(held_out)
    rows = np.flatnonzero(held_out)

    def figures(head: RegressionHead) -> dict[str, Any]:
        found = predict(head, dataset.steps[0, rows])
        return measure(labels.select(rows), found, config.bin_centres().numpy())

    shared = [name for name in ("both", SHIPPED, KERNELS, PLAIN) if name in variants]
    fits = [[name] for name in variants if name not in ("both", SHIPPED, KERNELS, PLAIN)]
    for names in [shared, *fits] if shared else fits:
        left_out = names[0].removeprefix(_WITHOUT)
        chosen = dataset.select(np.flatnonzero(known & (labels.collections != left_out)))
        torch.manual_seed(seed)
        start = PartialHead(config)
        start.used = DIRECT.get(names[0], start.used)
        fitted, offsets = fit_head(start, chosen.steps, chosen.labels, settings, seed)
        assert isinstance(fitted, PartialHead)
        direct = figures(fitted) if "both" in names or names[0] in DIRECT else {}
        spread = torch.from_numpy(mean_spread(fitted, chosen.steps[0]))
        for name in names:
            if name == "both" or name in DIRECT:
                yield name, direct
                continue
            told = chosen.labels
            if name == PLAIN:
                told = replace(told, collections=np.full(len(told), "any"))
            regressor = fit_regressor(fitted, chosen.steps, told, offsets, settings, seed)
            if regressor is None:
                raise DataError(f"too few clips to fit a kernel regressor without {collection}")
            fitted.attach_regressor(regressor, spread)
            fitted.used = () if name == KERNELS else start.used
            yield name, figures(fitted)


def variant_names(collections: list[str]) -> list[str]:
    """Return the names of all variants."""
    return [*WHAT, *(_WITHOUT + name for name in collections)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument(
        "--collections", nargs="+", metavar="NAME", help="to hold out (default: all)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "parts.json", metavar="FILE")
    args = parser.parse_args(arguments)
    torch.set_flush_denormal(True)

    def run() -> None:
        content = read_checkpoint(args.checkpoint)
        stored = content["state"].get(DATASET)
        if stored is None:
            raise UserError(f"{args.checkpoint} has no encoded clips yet; let the training go on")
        dataset = EncodedDataset(stored["steps"].numpy(), Labels.from_state(stored["labels"]))
        config = NetworkConfig(**content["configuration"]["network"])
        settings = FitSettings(**content["configuration"]["fit"])
        present = sorted(set(dataset.labels.collections.tolist()))
        held_out = _known(args.collections, present, "collection")
        variants = _known(args.variants, variant_names(present), "variant")
        rows: list[dict[str, Any]] = []
        for seed in args.seeds:
            for name in held_out:
                wanted = [v for v in variants if v != _WITHOUT + name]
                for variant, found in measure_variants(
                    dataset, config, settings, seed, name, wanted
                ):
                    rows.append({"seed": seed, "collection": name, "variant": variant, **found})
                    print(f"seed {seed}, {name}, {variant}", file=sys.stderr)
        result = {
            "machine": describe_machine(),
            "data": content["configuration"]["data"],
            "fit": content["configuration"]["fit"],
            "what": {name: WHAT[name] for name in variants if name in WHAT},
            "rows": rows,
        }
        write_result(args.out, result)

    return exit_code(run)


def _known(names: list[str] | None, known: list[str], kind: str) -> list[str]:
    """Return the names, or all; raise UserError if one is not known."""
    for name in names or ():
        if name not in known:
            raise UserError(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    return known if names is None else [name for name in known if name in names]


if __name__ == "__main__":
    raise SystemExit(main())
