"""`realtime-mer train`: train a model on labelled songs."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

from realtime_mer.commands.options import add_data_argument, auxiliary_sources, data_sources
from realtime_mer.errors import UserError

HELP = "train a model (extra 'train')"
DESCRIPTION = """\
Trains the network on labelled music and writes a model file that other commands
take with --model. Ten-fold cross-fitting on the train and validation splits
measures the model and calibrates its intervals; no artist is in both parts of a
fold. The final model is fitted to all songs of both splits. Songs of the test
split are never used.

Songs that cannot be used are listed, one per line, with a summary.

--teacher initialises the convolutions from MusiCNN, a music tagger; its weights
come with the package of that name ('pip download musicnn --no-deps'). Without
it they are trained on the labels alone: this takes longer, is less accurate,
and measures and calibrates on the validation songs only.
--unlabelled adds music without labels: a first model, trained on the labelled
songs, estimates labels for it (distillation).
--auxiliary adds labelled music of another kind, for example game scores to pop
songs. Its clips have a weight of 0.1. None is held out or measured, and its
test split is not used.
--init continues from the network of a model file, to fit it to other music or
other raters.

An interrupted run continues when it is started again with the same options. Its
state is in MODEL.checkpoint until it finishes ('realtime-mer export' makes a
model file from it). The same seed, data and machine give the same weights.
Needs the packages of the extra 'train'; without them, the command prints how to
install them.
"""
EXAMPLES = """\
  realtime-mer train --data /data --teacher musicnn-0.1.0-py3-none-any.whl
  realtime-mer train --data csv=my-music --init shipped --out my-model.onnx
  realtime-mer train --data deam=/data/deam --data pmemo=/data/pmemo
  realtime-mer train --data /data --quick        check that everything works
  realtime-mer evaluate mer-1.onnx --data /data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    parser.add_argument(
        "--init", default=None, metavar="MODEL",
        help="continue from this model file; 'shipped' is the shipped model",
    )  # fmt: skip
    parser.add_argument(
        "--teacher", type=Path, default=None, metavar="PATH",
        help="the wheel of the package musicnn, or the folder with its unpacked files",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("mer-1.onnx"), metavar="MODEL",
        help="the model file to write (default: mer-1.onnx)",
    )  # fmt: skip
    parser.add_argument(
        "--name", default=None, help="the model's name (default: the file name without .onnx)"
    )
    parser.add_argument(
        "--licence", default=None, metavar="NAME",
        help="the model's licence, if it is made from your own data alone (default: CC-BY-NC-4.0, "
        "which DEAM and the shipped weights require)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of every random choice (default: 0)"
    )
    parser.add_argument(
        "--unlabelled", type=Path, action="append", default=[], metavar="DIR",
        help="a folder of music without labels; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--auxiliary", action="append", default=[], metavar="KIND=DIR",
        help="labelled music with a lower weight, as for --data; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, default=None, metavar="N",
        help="optimiser steps of each fit (default: as for the shipped model)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="twenty steps, to check that everything works"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start from the beginning; ignore the checkpoint of an interrupted run",
    )
    parser.add_argument(
        "--keep-checkpoint", action="store_true",
        help="keep MODEL.checkpoint after the run has finished",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="PyTorch device: cpu, cuda (default: cpu)"
    )


def run(args: argparse.Namespace) -> int:
    need_training_packages("training")
    if args.steps is not None and args.steps < 1:
        raise UserError(f"--steps is {args.steps}; it must be 1 or more")
    if not args.out.resolve().parent.is_dir():
        raise UserError(f"the folder of --out {args.out} does not exist; create it first")
    sources, auxiliary = data_sources(args), auxiliary_sources(args)
    init = _init(args)
    if args.licence is not None and (
        init or not all(s.startswith("csv=") for s in (*sources, *auxiliary))
    ):
        raise UserError(
            f"--licence {args.licence} needs data that are all your own (csv=DIR), and no "
            "--init: DEAM, PMEmo and the shipped weights are for non-commercial use"
        )

    # Idle threads of PyTorch must not spin: on a busy machine that made it ten times slower.
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
        train(settings, _log)
    except (DataError, ModelError) as error:
        raise UserError(str(error)) from error
    return 0


def need_training_packages(purpose: str) -> None:
    """Raise UserError if torch or onnx is not installed."""
    from mer_engine.install_hint import install_hint

    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{purpose} needs {package}, which is not installed; {install_hint('train')}"
            )


def _init(args: argparse.Namespace) -> Path | None:
    """Return the model file that `--init` names, or None."""
    from mer_engine.engine import shipped_model

    if args.init is None:
        return None
    if args.teacher is not None:
        raise UserError(
            "--init continues from a trained network, --teacher starts a new one; give one"
        )
    path = shipped_model() if args.init == "shipped" else Path(args.init)
    if not path.is_file():
        raise UserError(f"there is no file --init {args.init}; give a model file, or 'shipped'")
    if path.resolve() == args.out.resolve():
        raise UserError(
            f"--out {args.out} would overwrite the model of --init; choose another name"
        )
    return path


def _log(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
