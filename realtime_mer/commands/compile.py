"""`realtime-mer compile`: compile the model for NVIDIA cards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.audio.local_path import local_path
from realtime_mer.commands.options import add_model_argument
from realtime_mer.errors import UserError, printable

if TYPE_CHECKING:
    from mer_engine.backends.cuda import Card

HELP = "compile the model for an NVIDIA card (extra 'tensorrt')"
DESCRIPTION = """\
Compiles the model with TensorRT for the NVIDIA card of this machine, compares
the result with the reference (docs/engine.md) and keeps it in the user's cache,
where '--backend auto' finds it. With tensorrt-rtx it also compiles for other
kinds of card, such as sm89 (RTX 40), even on a machine without a card.

Uses half precision if the result passes the parity gate.
Needs the packages of the extra 'tensorrt'; without them, the command prints how
to install them.
"""
EXAMPLES = """\
  realtime-mer compile
  realtime-mer compile --target sm89 --out engines/
  realtime-mer compile --target all --precision fp32
"""
THIS, ALL = "this", "all"
AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        default=THIS,
        metavar="CARD",
        help="'this' for the card of this machine, a kind of card such as sm89, or 'all' for every "
        "kind that tensorrt-rtx supports (default: this)",
    )
    parser.add_argument(
        "--precision",
        choices=(AUTO, "fp32", "fp16"),
        default=AUTO,
        help="single or half precision; 'auto' takes half precision if it passes the parity gate, "
        "which only a run on the card shows (default: auto)",
    )
    parser.add_argument(
        "--out",
        type=local_path,
        metavar="FOLDER",
        help="write the engines to this folder (created if necessary) instead of the user's cache",
    )
    add_model_argument(parser)


def run(args: argparse.Namespace) -> int:
    from mer_engine.backends import cuda
    from mer_engine.backends.tensorrt.build import library_for, not_installed, targets
    from mer_engine.backends.tensorrt.plan import compile_plan
    from mer_engine.engine import shipped_model

    reason = not_installed()
    if reason is not None:
        raise UserError(reason)
    model = shipped_model() if args.model is None else args.model
    card = None if cuda.missing() else cuda.find_card()
    if args.target == THIS:
        if card is None:
            names = ", ".join(targets()) or "none without a card"
            raise UserError(
                f"{cuda.missing()}; name the kind of card to compile for with --target ({names})"
            )
        return _compile_here(model, card, args.precision, args.out)
    selected = targets() if args.target == ALL else (args.target.lower(),)
    for target in selected:
        library = library_for(target, card)
        precision = library.precisions(target)[0] if args.precision == AUTO else args.precision
        compile_plan(model, target, precision, _log, args.out)
    _log("each engine is checked against the reference when it is first loaded on its card")
    return 0


def _compile_here(model: Path, card: Card, precision: str, out: Path | None) -> int:
    """Compile for the card of this machine; keep the fastest that passes the parity gate."""
    from mer_engine.backends import parity
    from mer_engine.backends.tensorrt.build import library_for
    from mer_engine.backends.tensorrt.plan import compile_plan, open_engine

    library = library_for(card.target, card)
    precisions = library.precisions(card.target) if precision == AUTO else (precision,)
    for candidate in precisions:
        path = compile_plan(model, card.target, candidate, _log, out)
        if out is not None:
            continue
        verdict = parity.check(open_engine(model, _log, candidate))
        if verdict.passed:
            _log(f"its outputs match the reference: {verdict.figures}")
            return 0
        path.unlink(missing_ok=True)
        _log(f"refused and removed; it differs from the reference: {verdict.figures}")
    return 0 if out is not None else 1


def _log(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)
