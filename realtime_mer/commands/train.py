"""`realtime-mer train`: from labelled songs to a model file."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

from realtime_mer.commands.options import add_data_argument, auxiliary_sources, data_sources
from realtime_mer.errors import UserError

HELP = "train a model (needs the 'train' extra)"
DESCRIPTION = """\
Trains the network on labelled music and writes a model file that every other command
takes with --model. It is fitted to nine tenths of the songs of the train and validation
splits and tells the last tenth, ten times over, which measures it and calibrates its
intervals; then it is fitted to all of them and written. Songs of the test split take no
part, and no artist is on both sides.

Songs that cannot be used are named, one a line, and summed up.

--teacher takes the network's convolutions from MusiCNN, a music tagger whose weights
come with a package of that name ('pip download musicnn --no-deps'); without it they
are trained on the labels alone, which takes longer and is less accurate, and only the
validation songs are left to measure and calibrate it on.
--unlabelled adds music that nobody labelled: a first estimate of it, made from the
labelled songs, is learnt as well.
--auxiliary adds labelled music of another kind, for example game scores beside pop: a
clip of it counts a tenth; none of it is held out or measured, and none of its test split
is learnt.
--init goes on from the network of a model file, to fit it to other music or raters.

A run that is interrupted goes on when it is started again with the same options: its
state is kept in MODEL.checkpoint until it has finished ('realtime-mer export' makes a
model file of it before). The same seed, data and machine give the same weights.
Needs torch: pip install 'realtime-mer[train]'
"""
EXAMPLES = """\
  realtime-mer train --data /data --teacher musicnn-0.1.0-py3-none-any.whl
  realtime-mer train --data csv=my-music --init shipped --out my-model.onnx
  realtime-mer train --data deam=/data/deam --data pmemo=/data/pmemo
  realtime-mer train --data /data --quick        does everything work?
  realtime-mer evaluate mer-1.onnx --data /data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    parser.add_argument(
        "--init", default=None, metavar="MODEL",
        help="go on from this model file; 'shipped' is the shipped model",
    )  # fmt: skip
    parser.add_argument(
        "--teacher", type=Path, default=None, metavar="PATH",
        help="the wheel of the package musicnn, or the folder it was unpacked into",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("mer-1.onnx"), metavar="MODEL",
        help="the model file to write (default: mer-1.onnx)",
    )  # fmt: skip
    parser.add_argument(
        "--name", default=None, help="the model's name (default: as the file, without .onnx)"
    )
    parser.add_argument(
        "--licence", default=None, metavar="NAME",
        help="of a model that is made of nothing but your own data (default: CC-BY-NC-4.0, as DEAM "
        "and the shipped weights require)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default: 0)")
    parser.add_argument(
        "--unlabelled", type=Path, action="append", default=[], metavar="DIR",
        help="a folder of music without labels; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--auxiliary", action="append", default=[], metavar="KIND=DIR",
        help="labelled music that counts less, in the forms of --data; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, default=None, metavar="N",
        help="steps of the optimiser in each fit (default: as for the shipped model)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="twenty steps, to see whether everything works"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew, whatever an interrupted run left"
    )
    parser.add_argument(
        "--keep-checkpoint", action="store_true",
        help="keep MODEL.checkpoint when the run has finished",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="torch's device: cpu, cuda (default: cpu)"
    )


def run(args: argparse.Namespace) -> int:
    need_training_packages("training")
    if args.steps is not None and args.steps < 1:
        raise UserError(f"--steps is {args.steps}; it must be 1 or more")
    if not args.out.resolve().parent.is_dir():
        raise UserError(f"the folder of --out {args.out} does not exist; make it first")
    sources, auxiliary = data_sources(args), auxiliary_sources(args)
    init = _init(args)
    if args.licence is not None and (
        init or not all(s.startswith("csv=") for s in (*sources, *auxiliary))
    ):
        raise UserError(
            f"--licence {args.licence} can be given where all data are your own (csv=DIR), without "
            "--init: DEAM, PMEmo and the shipped weights are for non-commercial use"
        )

    # Torch's waiting threads would spin, which on a busy machine made it ten times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import torch
    from mer_engine import ModelError
    from mer_engine.datasets.problems import DataError
    from mer_engine.training.export import LICENCE, ModelText
    from mer_engine.training.settings import TrainSettings
    from mer_engine.training.train import train

    try:
        torch.zeros(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device {args.device} cannot be used here ({str(error).splitlines()[0]})"
        ) from error
    settings = TrainSettings(
        data=sources,
        auxiliary=auxiliary,
        out=args.out,
        init=init,
        teacher=args.teacher,
        seed=args.seed,
        unlabelled=tuple(args.unlabelled),
        steps=args.steps,
        quick=args.quick,
        device=args.device,
        fresh=args.fresh,
        keep_checkpoint=args.keep_checkpoint,
        text=ModelText(name=args.name or args.out.stem, licence=args.licence or LICENCE),
    )
    try:
        train(settings, _say)
    except (DataError, ModelError) as error:
        raise UserError(str(error)) from error
    return 0


def need_training_packages(purpose: str) -> None:
    """Raises UserError where torch or onnx is not installed."""
    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{purpose} needs {package}, which is not installed: "
                "pip install 'realtime-mer[train]'"
            )


def _init(args: argparse.Namespace) -> Path | None:
    """The model file that `--init` names."""
    from mer_engine.engine import shipped_model

    if args.init is None:
        return None
    if args.teacher is not None:
        raise UserError("--init goes on from a trained network, --teacher starts one; give one")
    path = shipped_model() if args.init == "shipped" else Path(args.init)
    if not path.is_file():
        raise UserError(f"--init {args.init} is no file; give a model file, or 'shipped'")
    if path.resolve() == args.out.resolve():
        raise UserError(f"--out {args.out} would overwrite the model of --init; give another name")
    return path


def _say(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)
