"""`realtime-mer export`: from the state of a training run to a model file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from realtime_mer.commands.train import need_training_packages
from realtime_mer.errors import UserError

HELP = "write a model file from an unfinished training run"
DESCRIPTION = """\
Writes a model file from the state that 'realtime-mer train' keeps in MODEL.checkpoint
while it is unfinished (with --keep-checkpoint also after). The run itself may go on.

A run that was not finished has been fitted on the training songs alone, and where it
had not measured itself yet, the model's intervals are not calibrated; this is told,
and stands in the file. A finished run has written its model file already.

From a model file (.onnx) it writes the same network with what the torch reference tells
of the parity gate's windows, which other backends are held to (docs/engine.md).
Needs torch: pip install 'realtime-mer[train]'
"""
EXAMPLES = """\
  realtime-mer export my-model.onnx.checkpoint --out early.onnx
  realtime-mer listen --input song.flac --model early.onnx
  realtime-mer export older.onnx --out newer.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="the file MODEL.checkpoint, or a model file",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="MODEL", help="the model file to write"
    )


def run(args: argparse.Namespace) -> int:
    need_training_packages("exporting")
    if not args.out.resolve().parent.is_dir():
        raise UserError(f"the folder of --out {args.out} does not exist; make it first")
    if args.out.resolve() == args.checkpoint.resolve():
        raise UserError(f"--out {args.out} would overwrite the checkpoint; give another name")

    if args.checkpoint.suffix == ".onnx":
        from mer_engine.training.export import renew_reference

        info = renew_reference(args.checkpoint, args.out)
        print(f"wrote {args.out} ({info.name}, {args.out.stat().st_size / 1e6:.1f} MB)")
        return 0

    from mer_engine.datasets.problems import DataError
    from mer_engine.training.checkpoint_export import export_checkpoint

    try:
        info, calibrated = export_checkpoint(args.checkpoint, args.out)
    except DataError as error:
        raise UserError(str(error)) from error
    if not calibrated:
        print("its intervals are not calibrated: the run was unfinished", file=sys.stderr)
    print(f"wrote {args.out} ({info.name}, {args.out.stat().st_size / 1e6:.1f} MB)")
    return 0
