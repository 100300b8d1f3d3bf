"""Shared parts of the studies: arguments, provenance of a result, and its file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mer_engine import Engine, ModelError, load_engine
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection

from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError
from realtime_mer.evaluation.report import trained_on

RESULTS = Path("benchmarks") / "results"

Measure = Callable[[Engine, Collection, argparse.Namespace], dict[str, Any]]


def study_parser(
    name: str, description: str, *, split: str | None, models: bool = False
) -> argparse.ArgumentParser:
    """Return the argument parser of a study.

    Args:
        name: name of the result file.
        description: help text.
        split: default split; None for a study of other data.
        models: whether several models may be given; `model` is then a list.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, metavar="FILE", action="append" if models else "store",
        help="a model file (default: the shipped model)" + ("; repeatable" if models else ""),
    )  # fmt: skip
    if split is not None:
        parser.add_argument(
            "--data", required=True, metavar="DATA",
            help="deam=DIR, pmemo=DIR, vgmidi=DIR, csv=DIR, or a folder with DEAM",
        )  # fmt: skip
        parser.add_argument(
            "--split", choices=("train", "validation", "test"), default=split,
            help=f"songs to measure (default: {split})",
        )  # fmt: skip
    parser.add_argument("--songs", type=_count, metavar="N", help="use only N songs (default: all)")
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="threads (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / f"{name}.json", metavar="FILE",
        help="result file (default: %(default)s)",
    )  # fmt: skip
    return parser


def run_study(args: argparse.Namespace, measure: Measure) -> int:
    """Load model and data, measure, and write the result. Return the exit code."""

    def run() -> None:
        engine = load_engine(args.model)
        collection = load_collection(args.data)
        origin = provenance(engine, args.seed, collection, args.split)
        write_result(args.out, {**origin, **measure(engine, collection, args)})

    return exit_code(run)


def exit_code(run: Callable[[], None]) -> int:
    """Run a study. Return 0, or 2 after an error of the user, which is printed."""
    try:
        run()
    except (DataError, ModelError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def provenance(
    engine: Engine, seed: int, collection: Collection | None = None, split: str = ""
) -> dict[str, Any]:
    """Return model, seed, machine and, with a collection, data and split."""
    info = engine.info
    origin: dict[str, Any] = {
        "model": {"name": info.name, "version": info.version, "sha256": info.sha256},
        "seed": seed,
        "machine": describe_machine(),
    }
    if collection is not None:
        origin["data"] = f"{collection.name}, {split} split"
        origin["split"] = split
        origin["model_was_trained_on_these_songs"] = trained_on(info, collection, split)
    return origin


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); give another --out"
        ) from error
    print(f"wrote {path}", file=sys.stderr)


def show_progress(done: int, total: int) -> None:
    """Print progress on standard error: one line on a terminal, otherwise every tenth."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done} of {total}", end=end, file=sys.stderr, flush=True)
    elif done == total or done % max(1, total // 10) == 0:
        print(f"{done} of {total}", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; give an integer of at least 1")
    return value
