"""`realtime-mer train`: from labelled songs to a model file."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

from realtime_mer.commands.options import add_data_argument
from realtime_mer.errors import UserError

HELP = "train a model (needs the 'train' extra)"
DESCRIPTION = """\
Trains the network on DEAM and writes a model file that every other command takes
with --model. It is fitted twice: on the training songs, to measure it and to
calibrate its intervals on the validation songs, and then on both, which is written.
Songs of the test split take no part.

--teacher starts the network's convolutions from MusiCNN, a music tagger whose weights
come with a package of that name ('pip download musicnn --no-deps'); without it the
network is trained from the labels alone, which takes longer and is less accurate.

The same seed, data and machine give the same weights. Needs torch:
pip install 'realtime-mer[train]'
"""
EXAMPLES = """\
  realtime-mer train --data /data --teacher musicnn-0.1.0-py3-none-any.whl
  realtime-mer train --data /data --out from-labels.onnx --epochs 10
  realtime-mer train --data /data --quick        does everything work?
  realtime-mer evaluate --data /data --model mer-1.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    parser.add_argument(
        "--teacher", type=Path, default=None, metavar="PATH",
        help="the wheel of the package musicnn, or the folder it was unpacked into",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("mer-1.onnx"), metavar="MODEL",
        help="the model file to write (default: mer-1.onnx)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default: 0)")
    parser.add_argument(
        "--epochs", type=int, default=None, metavar="N",
        help="passes over the clips (default: as for the shipped model)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="two epochs, to see whether everything works"
    )
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="torch's device: cpu, cuda (default: cpu)"
    )


def run(args: argparse.Namespace) -> int:
    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"training needs {package}, which is not installed: "
                "pip install 'realtime-mer[train]'"
            )
    if args.epochs is not None and args.epochs < 1:
        raise UserError(f"--epochs is {args.epochs}; it must be 1 or more")
    if not args.out.resolve().parent.is_dir():
        raise UserError(f"the folder of --out {args.out} does not exist; make it first")

    # Torch's waiting threads would spin, which on a busy machine made it ten times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import torch
    from mer_engine.training.dataset import DataError
    from mer_engine.training.train import TrainSettings, train

    try:
        torch.zeros(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device {args.device} cannot be used here ({str(error).splitlines()[0]})"
        ) from error
    settings = TrainSettings(
        data=args.data,
        out=args.out,
        teacher=args.teacher,
        seed=args.seed,
        epochs=args.epochs,
        quick=args.quick,
        device=args.device,
    )
    try:
        train(settings, _say)
    except DataError as error:
        raise UserError(str(error)) from error
    return 0


def _say(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)
