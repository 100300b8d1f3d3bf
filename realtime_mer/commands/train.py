"""`realtime-mer train`: train a model on labelled songs."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

from realtime_mer.audio.local_path import is_folder, is_same_path, local_path
from realtime_mer.commands.options import add_data_argument, data_sources
from realtime_mer.errors import UserError, printable

HELP = "train a model (extra 'train')"
DESCRIPTION = """\
Fits a new head to labelled music, on the encoder of a model file, and writes
head and encoder as a model file that other commands take with --model.

Several collections may be given. Their labels are numbers (ratings of valence
and arousal), signs (quadrants) or proxies of ratings. The numbers of the first
collection are taken as they are; the offset that those of the others have to
them is learnt.

Five parts of each collection are held out one after another, by artist, then
each collection as a whole: heads fitted without them measure the model on known
and on unknown collections. The latter calibrate the intervals. The final head
is fitted to all songs of the train and validation splits. Songs of the test
split are never used.

Songs that cannot be used are listed, one per line, with a summary.

--init continues, gently, from the head of a model file, to fit it to other
music or other raters. It is meant for your own data.

An interrupted run continues when it is started again with the same options. Its
state is in MODEL.checkpoint until it finishes ('realtime-mer export' makes a
model file from it). The same seed, data and machine give the same weights.
Needs the packages of the extra 'train'; without them, the command prints how to
install them.
"""
EXAMPLES = """\
  realtime-mer train --data deam=/data/deam --data 4q=/data/4q
  realtime-mer train --data csv=my-music --init shipped --out my-model.onnx
  realtime-mer train --data csv=my-music --encoder mer-1.onnx
  realtime-mer train --data /data --quick        check that everything works
  realtime-mer evaluate mer-2.onnx --data /data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    parser.add_argument(
        "--encoder", type=local_path, default=None, metavar="MODEL",
        help="a model file whose encoder is used; the head is new (default: the shipped model)",
    )  # fmt: skip
    parser.add_argument(
        "--init", default=None, metavar="MODEL",
        help="continue from this model file's head, with its encoder; 'shipped' is the shipped "
        "model",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=local_path, default=Path("mer-2.onnx"), metavar="MODEL",
        help="the model file to write (default: mer-2.onnx)",
    )  # fmt: skip
    parser.add_argument(
        "--name", default=None, help="the model's name (default: the file name without .onnx)"
    )
    parser.add_argument(
        "--licence", default=None, metavar="NAME",
        help="the model's licence, if it is made from your own data alone, on an --encoder whose "
        "licence allows it (default: CC-BY-NC-SA-4.0, which EMOPIA requires)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of every random choice (default: 0)"
    )
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
    if not is_folder(args.out.absolute().parent):
        raise UserError(f"the folder of --out {args.out} does not exist; create it first")
    sources = data_sources(args)
    encoder, init = _start(args)
    own = encoder is not None and all(source.startswith("csv=") for source in sources)
    if args.licence is not None and not own:
        raise UserError(
            f"--licence {args.licence} needs data that are all your own (csv=DIR) and an --encoder "
            "whose licence allows it: the published collections and the shipped weights are for "
            "non-commercial use"
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
        out=args.out,
        encoder=encoder,
        init=init,
        seed=args.seed,
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


def _start(args: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Return the model files that `--encoder` and `--init` name, each or None."""
    from mer_engine.engine import shipped_model

    if args.encoder is not None and args.init is not None:
        raise UserError(
            f"--encoder {args.encoder} makes a new head, --init {args.init} continues one with its "
            "own encoder; give one of the two"
        )
    if args.encoder is not None:
        return _model_file("--encoder", args.encoder, args.out), None
    if args.init == "shipped":
        return None, _model_file("--init", shipped_model(), args.out)
    return None, None if args.init is None else _model_file("--init", Path(args.init), args.out)


def _model_file(option: str, path: Path, out: Path) -> Path:
    """Return the path of a model file that is not overwritten."""
    if not path.is_file():
        shipped = ", or 'shipped'" if option == "--init" else ""
        raise UserError(f"there is no file {option} {path}; give a model file{shipped}")
    if is_same_path(path, out):
        raise UserError(f"--out {out} would overwrite the model of {option}; choose another name")
    return path


def _log(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {printable(message)}", file=sys.stderr, flush=True)
