"""Writes benchmarks/README.md, the plots beside it, and the tables inside the other documents.

realtime-mer bench latency --json > benchmarks/results/latency.json
realtime-mer bench engine --json > benchmarks/results/engine.json
realtime-mer bench streams --json > benchmarks/results/streams.json
realtime-mer bench viewers --json > benchmarks/results/viewers.json
realtime-mer bench start-up --json > benchmarks/results/start_up.json
python benchmarks/side_by_side.py --cache DIR --audio FILE ...
python benchmarks/scale.py
realtime-mer evaluate --data DIR --json > benchmarks/results/accuracy.json
python benchmarks/studies/baselines.py --data DIR
python benchmarks/studies/tagger_probe.py --data DIR --teacher WHEEL
python benchmarks/studies/robustness.py --data DIR
python benchmarks/studies/lag.py --data DIR
python benchmarks/studies/step_response.py --data DIR
python benchmarks/studies/generality.py --pmemo DIR --emotify DIR --vgmidi DIR
realtime-mer reproduce all --data DIR --out benchmarks/results/reproduction
python benchmarks/write_readme.py

A result that is missing leaves its section out, and what stands between its markers as it is. The
plots need matplotlib (the train extra); without it they stay as they are.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markers import UnknownMarkerError, fill
from plots import PLOTS
from tables import TABLES, measured

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "docs/accuracy.md",
    "docs/reproduction.md",
    "engine/mer_engine/models/MODEL_CARD.md",
)
INTRODUCTION = """\
# Benchmarks

Every figure comes from a command that anyone can run again; the machine stands beside it. This file
is written by `python benchmarks/write_readme.py` from `results/`.
"""


@dataclass(frozen=True)
class Section:
    """A part of the README.

    Attributes:
        result: its file in `results/`, without `.json`.
        command: what made it; None where the training did.
        text: what is to be known, one paragraph.
        tables: markers of its tables, each after a subtitle that may be empty.
        plots: file names in `plots/`, without `.png`, each with a description.
    """

    title: str
    result: str
    command: str | None
    text: str
    tables: tuple[tuple[str, str], ...]
    plots: tuple[tuple[str, str], ...] = ()


SECTIONS = (
    Section(
        "Side by side", "side_by_side",
        "python benchmarks/side_by_side.py --cache DIR --audio FILE ...",
        "What a user would install instead, in one run, on the same audio and the same core.",
        (("", "side by side"),),
        (("side_by_side", "Compute for each new value: this project, VibeNet, essentia"),),
    ),
    Section(
        "Latency", "latency", "realtime-mer bench latency --json", "",
        (("", "latency"), ("Each step against the least that it could take", "bounds")),
        (("latency", "What each step of an update takes, and the least that it could take"),),
    ),
    Section(
        "Engine", "engine", "realtime-mer bench engine --json",
        "What a window costs where several are computed in one call, as the streams of a server "
        "are.",
        (("", "engine"),),
        (("engine", "Milliseconds a window over the batch"),),
    ),
    Section(
        "Streams", "streams", "realtime-mer bench streams --json",
        "How many live streams one process serves on this machine, the load beside it. What limits "
        "them is the interpreter: its lock is held about half of the time, by the workers' Python "
        "and by what takes the audio from the sockets, so that two cores do the work of one and a "
        "half; the rest is the engine, at about half of the processor's peak. On a machine whose "
        "speed wanders, as this one's does, the last level that holds wanders too.",
        (("", "streams"),),
        (("streams", "Lateness over the number of streams"),),
    ),
    Section(
        "Viewers", "viewers", "realtime-mer bench viewers --json",
        "How many viewers of one stream get each update, and what one costs that takes nothing.",
        (("", "viewers"),),
        (("viewers", "Delay of an update over the number of viewers"),),
    ),
    Section(
        "Start-up", "start_up", "realtime-mer bench start-up --json", "", (("", "start-up"),),
        (("start_up", "Time from the start of the process"),),
    ),
    Section(
        "Scale on paper", "scale", "python benchmarks/scale.py",
        "Reckoned from the figures above, not measured: a larger machine was not at hand.",
        (("", "scale"),),
        (("scale", "Streams that a core carries"),),
    ),
    Section(
        "Accuracy by song", "accuracy", "realtime-mer evaluate --data DIR --json",
        "Songs that were not used for training. Each clip of ten seconds is a live stream of its "
        "own. The estimates after 5.0, 5.5 ... 10.0 s are compared with the labels of these times.",
        (
            ("", "by song"),
            ("Intervals", "intervals"),
            ("By duration of the audio", "by duration"),
            ("By genre (the first in the metadata; fewer than 20 songs are \"other\")", "genres"),
            ("By annotation campaign (each with different raters)", "campaigns"),
        ),
        (("heard", "R2 of arousal and valence over the duration of the audio"),),
    ),
    Section(
        "Baselines", "baselines", "python benchmarks/studies/baselines.py --data DIR",
        "Simpler methods on the same songs and times, trained on the training and validation "
        "songs, with the same audio as the network.",
        (("", "baselines"),),
    ),
    Section(
        "A linear probe of the tagger", "tagger_probe",
        "python benchmarks/studies/tagger_probe.py --data DIR --teacher WHEEL",
        "Ridge regression on the running mean of MusiCNN's embeddings. At the clips' own levels "
        "it is slightly better on valence, and much worse on other levels or campaigns.",
        (("", "tagger probe"),),
    ),
    Section(
        "Cross-validation", "cross_validation",
        "python benchmarks/studies/recipe.py cross-validation --checkpoint FILE",
        "Networks trained on four fifths of the songs, split by artist.",
        (("", "cross-validation"),),
    ),
    Section(
        "The 58 long songs", "long_songs",
        "python benchmarks/studies/recipe.py long-songs --checkpoint FILE --data DIR",
        "The official test songs of MediaEval 2015 (2001 to 2058).",
        (("", "long songs"),),
    ),
    Section(
        "Transfer to other songs", "transfer",
        "python benchmarks/studies/recipe.py transfer --checkpoint FILE --data DIR",
        "Complete campaigns and genres left out of training.",
        (("", "transfer"),),
    ),
    Section(
        "Cost of unknown raters", "raters",
        "python benchmarks/studies/recipe.py raters --checkpoint FILE --data DIR",
        "DEAM's songs were annotated in three campaigns, each with different raters.",
        (("", "raters"),),
    ),
    Section(
        "Accuracy by kind of statistic", "features",
        "python benchmarks/studies/recipe.py features --checkpoint FILE --data DIR",
        "", (("", "features"),),
    ),
    Section(
        "Ablation of the recipe", "ablation",
        "python benchmarks/studies/recipe.py ablation --checkpoint FILE",
        "Differences below 0.01 are not significant.",
        (("", "ablation"),),
    ),
    Section(
        "Robustness", "robustness", "python benchmarks/studies/robustness.py --data DIR",
        "The same clips in simulated conditions. \"Change\" is the change of the estimates "
        "relative to the unchanged clip.",
        (("", "robustness"),),
        (("robustness", "R2 lost in each condition, for arousal and valence"),),
    ),
    Section(
        "Latency against accuracy", "lag", "python benchmarks/studies/lag.py --data DIR",
        "A shorter window follows faster and is less accurate. Each label is compared with the "
        "newest estimate at its time.",
        (("", "lag"),),
        (("lag", "R2 over the length of the window, and over the hop"),),
    ),
    Section(
        "After a change of mood", "step_response",
        "python benchmarks/studies/step_response.py --data DIR",
        "Two clips of ten seconds, one after the other, whose labels differ by more than 0.5: "
        "seconds from the change until 50 % and 90 % of the step of the estimate (median and "
        "quartiles). Pairs whose estimate moved by less than 0.2, or in the other direction, are "
        "not counted.",
        (("", "step response"),),
        (("step_response", "Median normalised step of the estimates, for four windows"),),
    ),
    Section(
        "Other music", "generality",
        "python benchmarks/studies/generality.py --pmemo DIR --emotify DIR --vgmidi DIR",
        "Collections with other raters and other questions.",
        (
            ("PMEmo: choruses of pop songs; the audio of four of them is public", "pmemo"),
            (
                "Emotify: correlation of mean estimates with the share of listeners who *felt* an "
                "emotion",
                "emotify",
            ),
            (
                "VGMIDI: game scores, rendered with two soundfonts; pieces of six games that were "
                "not used for training",
                "vgmidi",
            ),
        ),
    ),
)  # fmt: skip


def main(root: Path = ROOT) -> int:
    folder = root / "benchmarks"
    results = {
        path.relative_to(folder / "results").with_suffix("").as_posix(): json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted((folder / "results").rglob("*.json"))
    }
    drawn = draw(results, folder / "plots")
    try:
        (folder / "README.md").write_text(readme(results, drawn), encoding="utf-8")
        made: dict[str, Callable[[], str | None]] = {
            marker: partial(_table, marker, results) for marker in TABLES
        }
        for name in DOCUMENTS:
            path = root / name
            if not path.is_file():
                continue
            before = path.read_text(encoding="utf-8")
            after, missing = fill(before, made)
            if after != before:
                path.write_text(after, encoding="utf-8")
                print(f"{name}: tables renewed", file=sys.stderr)
            for marker in missing:
                print(f"{name}: no result for the table {marker!r}, left as it is", file=sys.stderr)
    except (BadResultError, UnknownMarkerError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


class BadResultError(ValueError):
    """A result has another form than its table needs."""


def readme(results: dict[str, Any], drawn: set[str]) -> str:
    """The whole README.

    Args:
        results: by name.
        drawn: plots that exist.

    Raises:
        BadResultError: a result lacks something that its table needs.
    """
    parts = [INTRODUCTION]
    for section in SECTIONS:
        result = results.get(section.result)
        if result is None:
            continue
        lines = [f"## {section.title}"]
        if section.command is not None:
            lines.append(f"`{section.command}`")
        lines += [section.text] if section.text else []
        for subtitle, marker in section.tables:
            text = _table(marker, results)
            if text is not None:
                lines += [f"### {subtitle}"] if subtitle else []
                lines.append(text)
        lines += [f"![{what}](plots/{name}.png)" for name, what in section.plots if name in drawn]
        lines += [text] if (text := measured(result)) else []
        parts.append("\n\n".join(lines) + "\n")
    return "\n".join(parts)


def draw(results: dict[str, Any], folder: Path) -> set[str]:
    """Draws what there are results for; returns the names of the plots that exist."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: the plots stay as they are", file=sys.stderr)
    else:
        for name, (result, plot) in PLOTS.items():
            if result in results:
                plot(results[result], folder / f"{name}.png")
    return {name for name in PLOTS if (folder / f"{name}.png").is_file()}


def _table(marker: str, results: dict[str, Any]) -> str | None:
    source, make = TABLES[marker]
    if source not in results:
        return None
    try:
        return make(results[source])
    except (KeyError, TypeError, ValueError) as error:
        raise BadResultError(
            f"results/{source}.json has not the form that the table {marker!r} needs ({error!r}); "
            "make it again"
        ) from error


if __name__ == "__main__":
    raise SystemExit(main())
