"""What every study of a model has in common: its arguments, its record and its file."""

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


def study_parser(name: str, description: str, *, split: str | None) -> argparse.ArgumentParser:
    """The arguments of a study.

    Args:
        name: names the result's file.
        split: the split measured by default; None for a study that takes other data.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="a model file (default: the shipped model)"
    )
    if split is not None:
        parser.add_argument(
            "--data", required=True, metavar="DATA",
            help="deam=DIR, pmemo=DIR, vgmidi=DIR, csv=DIR, or a folder with DEAM",
        )  # fmt: skip
        parser.add_argument(
            "--split", choices=("train", "validation", "test"), default=split,
            help=f"which songs (default: {split})",
        )  # fmt: skip
    parser.add_argument("--songs", type=_count, metavar="N", help="only N songs (default: all)")
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="threads (default: 1)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of whatever is left to chance (default: 0)"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS / f"{name}.json", metavar="FILE",
        help="where the result goes (default: %(default)s)",
    )  # fmt: skip
    return parser


def run_study(args: argparse.Namespace, measure: Measure) -> int:
    """Loads what the arguments name, measures, writes the result. Returns the exit code."""
    try:
        engine = load_engine(args.model)
        collection = load_collection(args.data)
        about = record(engine, args.seed, collection, getattr(args, "split", None))
        write_result(args.out, {**about, **measure(engine, collection, args)})
    except (DataError, ModelError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def record(
    engine: Engine, seed: int, collection: Collection | None = None, split: str | None = None
) -> dict[str, Any]:
    """What belongs to every result: model, data, seed, machine."""
    info = engine.info
    about: dict[str, Any] = {
        "model": {"name": info.name, "version": info.version, "sha256": info.sha256},
        "seed": seed,
        "machine": describe_machine(),
    }
    if collection is not None and split is not None:
        about["data"] = f"{collection.name}, {split} split"
        about["split"] = split
        about["model_was_trained_on_these_songs"] = trained_on(info, collection, split)
    return about


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Writes a result as JSON.

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
    """A line on standard error: renewed on a terminal, else one for each tenth of the way."""
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
        raise argparse.ArgumentTypeError(f"{text!r} is no count; give a whole number from 1 up")
    return value
