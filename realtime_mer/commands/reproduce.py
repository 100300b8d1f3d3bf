"""`realtime-mer reproduce`: run the experiments of the paper behind this project."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from realtime_mer.audio.local_path import local_path
from realtime_mer.errors import UserError

# A copy, so that --help needs no PyTorch; a test compares it with the experiments.
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

HELP = "run the experiments of the paper (extra 'train')"
DESCRIPTION = """\
Repeats the experiments of Qiu, Lin and Lin (PeerJ Computer Science 2025), each
under two protocols that are never mixed: "known songs (the paper's split)",
with the same songs in training and test, and "new songs (split by song)", which
is the task of a live tracker.

  table1, table2      arousal and valence: the paper's network as in its code
                      and as in its text, TPA-BiLSTM, MCAN, BCRSN, TNN+SVR
  ablation            without CNN, without BiLSTM, without both
  lag-order           windows from 0.5 s to the longest that the songs allow
  entropy-weights     the comprehensive score and its weights by lag order
  feature-importance  the random forest's choice among 260 descriptors
  tuning              sparrow search against random search
  words               whether audio words (the paper's Word2Vec) help
  all                 all of these

Tables are printed, and written to --out as JSON, CSV and Markdown, with figures
as PNG and SVG. The results of every fit are kept in --cache, so an interrupted
run continues when it is started again. Results of other settings are never
reused. 'all' on DEAM's 1,802 clips of ten seconds takes about 45 minutes on two
cores.
Needs the packages of the extra 'train'; without them, the command prints how to
install them.
"""
EXAMPLES = """\
  realtime-mer reproduce all --data /data
  realtime-mer reproduce table1 --data /data --quick
  realtime-mer reproduce ablation --data pmemo=/data/pmemo --out pmemo-results
  realtime-mer reproduce table2 --data /data --features /data/deam/features
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experiment", choices=(*NAMES, "all"), metavar="EXPERIMENT",
        help="one of the names above",
    )  # fmt: skip
    parser.add_argument(
        "--data", required=True, metavar="KIND=DIR",
        help="labelled music: deam=DIR, pmemo=DIR, or csv=DIR for your own; a plain DIR is DEAM "
        "or contains deam/",
    )  # fmt: skip
    parser.add_argument(
        "--features", type=local_path, default=None, metavar="PATH",
        help="the data set's own features: DEAM's folder with one CSV per song, or PMEmo's single "
        "CSV; the audio must be present too (default: descriptors computed from the audio)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=local_path, default=None, metavar="DIR",
        help="folder of the results (default: reproduction; with --quick, reproduction-quick)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=local_path, default=Path(".cache") / "reproduction", metavar="DIR",
        help="folder of the descriptors and the results of fits (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true",
        help="at most 90 songs and few steps: only shows that everything works",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of every random choice (default: 0)"
    )
    parser.add_argument(
        "--lag-order", type=int, default=None, metavar="STEPS",
        help="window length in steps of 0.5 s, and the longest of the lag-order experiment "
        "(default: 26, or half of the longest song if that is less; the experiment goes to 29 or "
        "as far as the songs allow)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N",
        help="processes, one core each (default: 2)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from mer_engine.install_hint import install_hint

    for package, name in (
        ("torch", "torch"), ("sklearn", "scikit-learn"),
        ("pandas", "pandas"), ("matplotlib", "matplotlib"),
    ):  # fmt: skip
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"the paper's experiments need {name}, which is not installed; "
                f"{install_hint('train')}"
            )
    if args.lag_order is not None and args.lag_order < 1:
        raise UserError(f"--lag-order is {args.lag_order}; it must be 1 or more")
    if args.workers < 1:
        raise UserError(f"--workers is {args.workers}; it must be 1 or more")

    import torch
    from mer_engine.datasets.problems import DataError
    from mer_research.reproduction.run import Settings, log_with_time, reproduce

    from realtime_mer.bench.machine import describe_machine

    # One thread gives the same results on any number of cores and in any process.
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
        log_with_time(
            f"interrupted; the results so far are in {args.cache}: run it again to continue"
        )
        raise
    return 0
