"""`realtime-mer reproduce`: the experiments of the paper that this project grew from."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from realtime_mer.errors import UserError

# Kept here so that the manual needs no torch; a test compares them with the experiments.
NAMES = (
    "table1",
    "table2",
    "ablation",
    "lag-order",
    "entropy-weights",
    "feature-importance",
    "tuning",
    "words",
)

HELP = "the paper's experiments, on known songs and on new ones"
DESCRIPTION = """\
Runs the experiments of Qiu, Lin and Lin (PeerJ Computer Science 2025) again, each under
two protocols that are never mixed: "known songs (the paper's split)", where windows of
one song stand on both sides, and "new songs (split by song)", which a live tracker is
asked.

  table1, table2      arousal and valence: the paper's network as its code and as its
                      text has it, TPA-BiLSTM, MCAN, BCRSN, TNN+SVR
  ablation            without CNN, without BiLSTM, without both
  lag-order           windows of one half second up to the longest that the songs allow
  entropy-weights     the comprehensive score and its weights, over the lag orders
  feature-importance  the random forest's choice among 260 descriptors
  tuning              sparrow search against random search
  words               whether words of audio (the paper's Word2Vec) help
  all                 all of these

Tables are printed, and written to --out as JSON, CSV and Markdown, with figures as PNG
and SVG. Every fitted network is kept in --cache: an interrupted run goes on when it is
started again, and nothing is ever taken from a run with other settings. 'all' on DEAM's
1,802 clips of ten seconds takes about three quarters of an hour on two cores.
Needs torch: pip install 'realtime-mer[train]'
"""
EXAMPLES = """\
  realtime-mer reproduce all --data /data
  realtime-mer reproduce table1 --data /data --quick        does everything work?
  realtime-mer reproduce ablation --data pmemo=/data/pmemo --out pmemo-results
  realtime-mer reproduce table2 --data /data --features /data/deam/features
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experiment", choices=(*NAMES, "all"), metavar="EXPERIMENT",
        help="one of those above",
    )  # fmt: skip
    parser.add_argument(
        "--data", required=True, metavar="KIND=DIR",
        help="labelled music: deam=DIR, pmemo=DIR, or csv=DIR for your own; a plain DIR is DEAM, "
        "or holds deam/",
    )  # fmt: skip
    parser.add_argument(
        "--features", type=Path, default=None, metavar="PATH",
        help="the data set's own features: DEAM's folder with a CSV a song, or PMEmo's one CSV, "
        "of songs whose audio is there too (default: descriptors computed from the audio)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR",
        help="where the results go (default: reproduction; with --quick, reproduction-quick)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache") / "reproduction", metavar="DIR",
        help="where descriptors and fitted networks' results are kept (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true",
        help="at most 90 songs and small budgets: shows that all works, and no more",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default: 0)")
    parser.add_argument(
        "--lag-order", type=int, default=None, metavar="STEPS",
        help="half seconds in a window, and the longest of the lag-order experiment (default: 26, "
        "or half of the longest song where that is less; the experiment goes to 29 or as far as "
        "the songs allow)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N",
        help="processes, one core each (default: 2)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    for package, name in (
        ("torch", "torch"), ("sklearn", "scikit-learn"),
        ("pandas", "pandas"), ("matplotlib", "matplotlib"),
    ):  # fmt: skip
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"the paper's experiments need {name}, which is not installed: "
                "pip install 'realtime-mer[train]'"
            )
    if args.lag_order is not None and args.lag_order < 1:
        raise UserError(f"--lag-order is {args.lag_order}; it must be 1 or more")
    if args.workers < 1:
        raise UserError(f"--workers is {args.workers}; it must be 1 or more")

    import torch
    from mer_engine.datasets.problems import DataError
    from mer_research.reproduction.run import Settings, log_with_time, reproduce

    from realtime_mer.bench.machine import describe_machine

    # The same on one core or many, and in this process or another.
    torch.set_num_threads(1)
    settings = Settings(
        names=NAMES if args.experiment == "all" else (args.experiment,),
        data=args.data,
        features=args.features,
        out=args.out or Path("reproduction-quick" if args.quick else "reproduction"),
        cache=args.cache,
        quick=args.quick,
        seed=args.seed,
        lag=args.lag_order,
        workers=args.workers,
        machine=describe_machine(),
    )
    try:
        reproduce(settings, log_with_time)
    except DataError as error:
        raise UserError(str(error)) from error
    except KeyboardInterrupt:
        log_with_time(f"interrupted; what was done is kept in {args.cache}: run it again to go on")
        raise
    return 0
