"""`realtime-mer export`: write a model file from the checkpoint of a training run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import is_folder, is_same_path, local_path
from realtime_mer.commands.train import need_training_packages
from realtime_mer.errors import UserError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from mer_engine import ModelInfo

HELP = "write a model file from an unfinished training run"
DESCRIPTION = """\
Writes a model file from MODEL.checkpoint, in which 'realtime-mer train' keeps
its state until it finishes (with --keep-checkpoint also afterwards). The run
itself may continue.

An unfinished run has been fitted to the training songs only. If it was not
calibrated yet, its intervals are not either; the command prints this and the
model file records it. A finished run has written its model file already.

From a model file (.onnx) it writes the same network with fresh outputs of the
PyTorch reference for the parity gate (docs/engine.md).
Needs the packages of the extra 'train'; without them, the command prints how to
install them.
"""
EXAMPLES = """\
  realtime-mer export my-model.onnx.checkpoint --out early.onnx
  realtime-mer listen --input song.flac --model early.onnx
  realtime-mer export older.onnx --out newer.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=local_path,
        metavar="CHECKPOINT",
        help="MODEL.checkpoint, or a model file",
    )
    parser.add_argument(
        "--out", type=local_path, required=True, metavar="MODEL", help="the model file to write"
    )


def run(args: argparse.Namespace) -> int:
    need_training_packages("exporting")
    if not is_folder(args.out.absolute().parent):
        raise UserError(f"the folder of --out {args.out} does not exist; create it first")
    if is_same_path(args.out, args.checkpoint):
        raise UserError(f"--out {args.out} would overwrite the checkpoint; choose another name")

    if args.checkpoint.suffix == ".onnx":
        from mer_engine.training.export import renew_reference

        info = renew_reference(args.checkpoint, args.out)
        _print_written(args.out, info)
        return 0

    from mer_engine.datasets.problems import DataError
    from mer_engine.training.checkpoint_export import export_checkpoint

    try:
        info, calibrated = export_checkpoint(args.checkpoint, args.out)
    except DataError as error:
        raise UserError(str(error)) from error
    if not calibrated:
        print("the intervals are not calibrated: the run is unfinished", file=sys.stderr)
    _print_written(args.out, info)
    return 0


def _print_written(path: Path, info: ModelInfo) -> None:
    size_mb = path.stat().st_size / 1e6
    print(printable(f"wrote {path} ({info.name}, {size_mb:.1f} MB)"))
