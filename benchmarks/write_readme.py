"""Writes benchmarks/README.md, its plots, and the marked tables in other documents.

`benchmarks/all.sh` renews all speed results in one go. The commands that make the results:

realtime-mer bench latency --json > benchmarks/results/latency.json
realtime-mer bench engine --json > benchmarks/results/engine.json
realtime-mer bench streams --json > benchmarks/results/streams.json
realtime-mer bench viewers --json > benchmarks/results/viewers.json
realtime-mer bench start-up --json > benchmarks/results/start_up.json
python benchmarks/analysis_speed.py DIR --jobs --json benchmarks/results/analysis_speed.json
python benchmarks/cluster.py --json benchmarks/results/cluster.json
python benchmarks/outputs.py --json benchmarks/results/outputs.json
python benchmarks/page_frames.py --before REVISION --json benchmarks/results/page_frames.json
python benchmarks/side_by_side.py --cache DIR --audio FILE ...
python benchmarks/scale.py
benchmarks/on_card.sh                     (where there is an NVIDIA card)
python benchmarks/file_zoo.py DIR ...
python benchmarks/attack.py --json benchmarks/results/attack.json
python benchmarks/soak.py --json benchmarks/results/soak.json
python benchmarks/fuzz.py --json benchmarks/results/fuzz.json
python benchmarks/replicas.py --json benchmarks/results/replicas.json
realtime-mer evaluate --data DIR --json > benchmarks/results/accuracy.json
python benchmarks/studies/baselines.py --data DIR
python benchmarks/studies/robustness.py --data DIR
python benchmarks/studies/lag.py --data DIR
python benchmarks/studies/step_response.py --data DIR
python benchmarks/studies/events.py --data deam=DIR --data 4q=DIR --data vgmidi=DIR
python benchmarks/studies/across_collections.py --data deam=DIR --data 4q=DIR ...
python benchmarks/studies/parts.py --checkpoint FILE
python benchmarks/studies/generality.py --pmemo DIR --emotify DIR --vgmidi DIR
python benchmarks/studies/sound_classifier.py --weights FILE --music NAME=DIR --speech NAME=DIR ...
python benchmarks/studies/personal.py --deam DIR --fme24 DIR
python benchmarks/beats.py --vgmidi DIR --emopia DIR --pieces 60
realtime-mer reproduce all --data DIR --out benchmarks/results/reproduction
python benchmarks/write_readme.py

If a result is missing, its section is left out and the text between its markers stays. The plots
stay if matplotlib is not installed (the train extra).
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

from markdown import paragraph
from markers import UnknownMarkerError, fill
from mer_engine import load_engine
from plots import PLOTS
from tables import TABLES, measured, older_note

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "docs/accuracy.md",
    "docs/calibration.md",
    "docs/reliability.md",
    "docs/reproduction.md",
    "engine/mer_engine/models/MODEL_CARD.md",
)
INTRODUCTION = """\
# Benchmarks

Each figure comes from a command that anyone can run again. The machine is named
below each table. `python benchmarks/write_readme.py` writes this file from
`results/`. `benchmarks/all.sh` renews the speed results in one go, and
`benchmarks/on_card.sh` measures a machine with an NVIDIA card.
"""


@dataclass(frozen=True)
class Section:
    """A section of the README.

    Attributes:
        title: the heading.
        result: name of the result file in `results/`, without `.json`.
        command: the command that writes the result.
        text: one introductory paragraph; may be empty.
        tables: for each table a subtitle, which may be empty, and its marker.
        plots: for each plot its file name in `plots/`, without `.png`, and a description.
    """

    title: str
    result: str
    command: str
    text: str
    tables: tuple[tuple[str, str], ...]
    plots: tuple[tuple[str, str], ...] = ()


SECTIONS = (
    Section(
        "Comparison with other tools", "side_by_side",
        "python benchmarks/side_by_side.py --cache DIR --audio FILE ...",
        "This project and two alternatives, in one run, on the same audio and the same core.",
        (("", "side by side"),),
        (("side_by_side", "Compute per value: realtime-mer, VibeNet, essentia"),),
    ),
    Section(
        "Latency", "latency", "realtime-mer bench latency --json", "",
        (("", "latency"), ("Each step and its lower bound", "bounds")),
        (("latency", "Time of each step of an update, and its lower bound"),),
    ),
    Section(
        "Engine", "engine", "realtime-mer bench engine --json",
        "The cost of a window when one call computes a batch of windows, as a server with many "
        "streams does, of music. Live streams on the processor run in parts; the other columns "
        "compute the whole graph.",
        (("", "engine"),),
        (("engine", "Milliseconds per window over the batch size"),),
    ),
    Section(
        "Graphics card", "card", "benchmarks/on_card.sh",
        "Every backend on a machine with an NVIDIA card: the parity gate, the batches, and streams "
        "in one process.",
        (("", "card gates"), ("Batches", "card batches"), ("Streams", "card streams")),
    ),
    Section(
        "Streams", "streams", "realtime-mer bench streams --json",
        "How many live streams one process serves in time, with the load generator on the same "
        "machine. The network is the limit: it takes three quarters of the processor time of a "
        "decoded stream, outside the interpreter's lock, which is held for about an eighth "
        "(docs/streams.md). The speed of this machine varies, and "
        "so does the highest number of streams in time.",
        (("", "streams"),),
        (("streams", "Lateness over the number of streams"),),
    ),
    Section(
        "Viewers", "viewers", "realtime-mer bench viewers --json",
        "How many viewers of one stream get each update in time, the cost of pulses, and that of "
        "viewers that read nothing.",
        (("", "viewers"),),
        (("viewers", "Delay of an update over the number of viewers"),),
    ),
    Section(
        "Start-up", "start_up", "realtime-mer bench start-up --json", "", (("", "start-up"),),
        (("start_up", "Time from the start of the process"),),
    ),
    Section(
        "Whole files", "analysis_speed",
        "python benchmarks/analysis_speed.py DIR --jobs --json "
        "benchmarks/results/analysis_speed.json",
        "Processor time of `analyze` on one core, with a hop of a second and the default settings. "
        "Filters, steps, sounds and windows are the parts of the network.",
        (("", "whole files"),),
    ),
    Section(
        "Cluster", "cluster", "python benchmarks/cluster.py --json benchmarks/results/cluster.json",
        "The same files with `analyze --cluster` and without, on the same two cores.",
        (("", "cluster"),),
    ),
    Section(
        "Outputs", "outputs",
        "python benchmarks/outputs.py --json benchmarks/results/outputs.json",
        "What ten OSC outputs cost that send thirty frames a second each, and whether they hold up "
        "the estimates.",
        (("", "outputs"),),
    ),
    Section(
        "Frames of the page", "page_frames",
        "python benchmarks/page_frames.py --input FILE --before REVISION --json "
        "benchmarks/results/page_frames.json",
        "The page, its timeline with an hour at ten estimates a second, overlays and scenes, in a "
        "browser that draws without a graphics card.",
        (("", "page frames"),),
    ),
    Section(
        "Scale (calculated)", "scale", "python benchmarks/scale.py",
        "Calculated from the measured figures of this machine, and of a card where there was one.",
        (("", "scale"),),
        (("scale", "Streams per core"),),
    ),
    Section(
        "Files", "file_zoo", "python benchmarks/file_zoo.py DIR ...",
        "Each file is read as `--input FILE` and by ffmpeg alone. The files are the test files of "
        "other audio projects: the Debian source packages and PyPI source archives that the second "
        "table names. Many are damaged on purpose. If ffmpeg finds no audio in a file, its suffix "
        "stands for the format. The files of which only we complain (ours) were looked at: each is "
        "cut or damaged.",
        (("", "files by format"), ("By source", "files by source"),
         ("Files that differ", "file differences")),
    ),
    Section(
        "Attacks", "attack", "python benchmarks/attack.py --json benchmarks/results/attack.json",
        "A real server with an update every half second; one attack at a time, at full speed, from "
        "another process on the same cores. Goal: at most one second between two estimates at "
        "every honest viewer, new viewers get in, no exception in the log.",
        (("", "attacks"),),
    ),
    Section(
        "Soak", "soak", "python benchmarks/soak.py --json benchmarks/results/soak.json",
        "Viewers, browsers that send audio, and faulty clients come and go, with faults in "
        "between. The demo is played at an accelerated pace.",
        (("", "soak"), ("Faults", "soak faults")),
    ),
    Section(
        "Random input", "fuzz", "python benchmarks/fuzz.py --json benchmarks/results/fuzz.json",
        "Half of the messages go to the functions that read them, the other half to a real "
        "server, cut at random places.",
        (("", "fuzz"),),
    ),
    Section(
        "Replicas", "replicas",
        "python benchmarks/replicas.py --json benchmarks/results/replicas.json",
        "For how long clients are without estimates when one of two servers behind nginx is "
        "stopped: by SIGTERM, which tells them to move (`serve --drain`), or by SIGKILL.",
        (("", "replicas"),),
    ),
    Section(
        "Accuracy by song", "accuracy", "realtime-mer evaluate --data DIR --json",
        "Songs that were not used for training. Each clip of ten seconds is a separate live "
        "stream; the estimates after 5.0, 5.5 ... 10.0 s are compared with the labels at the same "
        "times. Coverage is the share of labels inside the interval.",
        (
            ("", "by song"),
            ("Intervals", "intervals"),
            ("By seconds of audio", "by duration"),
            ("By genre (the first in the metadata; fewer than 20 songs count as \"other\")",
             "genres"),
            ("By annotation campaign (each with other raters)", "campaigns"),
        ),
        (("accuracy_over_time", "R2 of arousal and valence over the seconds of audio"),),
    ),
    Section(
        "Baselines", "baselines", "python benchmarks/studies/baselines.py --data DIR",
        "Simpler methods on the same songs and times, fitted on the training and validation songs. "
        "Each gets as much audio as the network.",
        (("", "baselines"),),
    ),
    Section(
        "Robustness", "robustness", "python benchmarks/studies/robustness.py --data DIR",
        "The same clips in other conditions. \"Change\" is the difference of the estimates from "
        "those of the unchanged clip.",
        (("", "robustness"),),
        (("robustness", "R2 loss in each condition, for arousal and valence"),),
    ),
    Section(
        "Latency and accuracy", "lag", "python benchmarks/studies/lag.py --data DIR",
        "A shorter window follows changes sooner but is less accurate. At each time the newest "
        "estimate counts.",
        (("", "lag"),),
        (("lag", "R2 over the length of the window, and over the hop"),),
    ),
    Section(
        "Step response", "step_response",
        "python benchmarks/studies/step_response.py --data DIR",
        "Two clips of ten seconds whose labels differ by more than 0.5, one after the other. The "
        "table shows the seconds from the change until the estimate has completed 50 % and 90 % "
        "of its own step (median and quartiles). Pairs whose estimate moves by less than 0.2, or "
        "in the other direction, are not counted.",
        (("", "step response"),),
        (("step_response", "Median of the estimates after the change, for four windows"),),
    ),
    Section(
        "Change events", "events",
        "python benchmarks/studies/events.py --data deam=DIR --data 4q=DIR --data vgmidi=DIR",
        "Songs that the detector's constants were not chosen on, by the name of the artist or "
        "game; two estimates per second. Joined: six clips of ten seconds (DEAM's test songs, each "
        "twice) or four of 24 s (4Q) of different songs, one after the other. Each join is a "
        "section. It is a rise or a drop where the mean labels of arousal differ by more than 0.3, "
        "or its signs do; joins that differ by 0.1 to 0.3, and songs of one sign, count neither "
        "way. Curves: pieces up to three minutes long; a change is where the mean label of five "
        "seconds differs most, by 0.1 or more, from that of the five before. Gaps: clips with 3 to "
        "8 s of silence, or 10 s of steady noise, between them.",
        (("", "change events"),),
    ),
    Section(
        "Several collections", "collections",
        "python benchmarks/studies/across_collections.py --data deam=DIR --data 4q=DIR ...",
        "The mean estimate of each song, compared with its label. 4Q and EMOPIA give only the "
        "quadrant, FME-24 the mean of one to five listeners, Emotify a proxy whose zero and scale "
        "mean nothing. AUC is that of the sign. The ridge regression is fitted on the embedding "
        "of the model's encoder, on four fifths of the same songs, for the fifth part. Movement is "
        "the mean r within the songs whose label moves by 0.1 or more from 5 to 10 s; level and "
        "centroid are those of the last three seconds of sound.",
        (("", "collections"),),
    ),
    Section(
        "Parts and collections", "parts", "python benchmarks/studies/parts.py --checkpoint FILE",
        "Heads that lack a part of the model, or one more collection, measured on a collection "
        "that is not in the fit. As shipped there are labels of five other collections.",
        (("", "parts"),),
    ),
    Section(
        "Music, speech and noise", "sound",
        "python benchmarks/studies/sound_classifier.py --weights FILE --music NAME=DIR "
        "--speech NAME=DIR --noise NAME=DIR --sources TEXT --start FILE",
        "The state that the pipeline gives, hysteresis included, every 0.5 s from 4.5 s on. Three "
        "folds: a source (a speaker, a game, a film) is either fitted or measured. \"Music or "
        "not\" counts speech and noise as one.",
        (("", "sound"),),
    ),
    Section(
        "A person's map", "personal",
        "python benchmarks/studies/personal.py --deam DIR --fme24 DIR",
        "Mean distance on the plane from the taps of a listener to the values of the model and to "
        "the listener's map, in pieces that the map was not made from. docs/calibration.md says "
        "where the listeners and the values come from.",
        (("", "personal map"), ("How listeners differ", "personal priors"),
         ("Delay", "personal delay")),
    ),
    Section(
        "Onsets, beats and tempo", "beats",
        "python benchmarks/beats.py --vgmidi DIR --emopia DIR --pieces 60",
        "Onsets count within 50 ms, beats within 70 ms and from the sixth second on. Other level: "
        "for each piece the best F1 if off-beats, the double and the half tempo are allowed. "
        "Tempo: share of the seconds in which it is told within 4 %, and up to factors of two and "
        "three; where it is not told it counts as wrong. Milliseconds (median, 95th percentile) "
        "from the onset to the end of the block with which it is told. VGMIDI and EMOPIA: MIDI "
        "files that the tracker was not tuned with, on a synthesizer's piano.",
        (("", "beats"),),
    ),
    Section(
        "Other music", "generality",
        "python benchmarks/studies/generality.py --pmemo DIR --emotify DIR --vgmidi DIR",
        "Collections that other people annotated with other questions. Models from mer-2 on are "
        "fitted to Emotify and to other games of VGMIDI.",
        (
            ("PMEmo: choruses of pop songs, of which four have public audio", "pmemo"),
            (
                "Emotify: correlation with the share of listeners who *felt* an emotion",
                "emotify",
            ),
            (
                "VGMIDI: scores of six unseen games, rendered with two soundfonts",
                "vgmidi",
            ),
        ),
    ),
)  # fmt: skip


def main(root: Path = ROOT) -> int:
    """Write README, plots and marked tables below `root`; return the exit code."""
    folder = root / "benchmarks"
    results = read_results(folder / "results")
    try:
        for result_name, result in results.items():
            _check_models(result_name, result)
        drawn = draw(results, folder / "plots")
        (folder / "README.md").write_text(readme(results, drawn), encoding="utf-8")
        tables = tables_of_documents(results)
        for name in DOCUMENTS:
            path = root / name
            if not path.is_file():
                continue
            before = path.read_text(encoding="utf-8")
            after, missing = fill(before, tables)
            if after != before:
                path.write_text(after, encoding="utf-8")
                print(f"{name}: tables updated", file=sys.stderr)
            for marker in missing:
                print(f"{name}: no result for the table {marker!r}, not changed", file=sys.stderr)
    except (BadResultError, UnknownMarkerError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def read_results(folder: Path) -> dict[str, Any]:
    """Return the results in a folder by name, and as "training" the shipped model's report."""
    results = {
        path.relative_to(folder).with_suffix("").as_posix(): json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(folder.rglob("*.json"))
    }
    return {"training": load_engine().info.training, **results}


class BadResultError(ValueError):
    """A result lacks something that its table needs."""


def readme(results: dict[str, Any], drawn: set[str]) -> str:
    """Return the text of benchmarks/README.md.

    Args:
        results: contents of the result files, by name.
        drawn: names of the plots that exist.

    Raises:
        BadResultError: a result lacks something that its table needs.
    """
    parts = [INTRODUCTION]
    for section in SECTIONS:
        result = results.get(section.result)
        if result is None:
            continue
        lines = [f"## {section.title}", f"`{section.command}`"]
        lines += [paragraph(section.text)] if section.text else []
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
    """Draw the plots whose results exist; return the names of all plots in the folder."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: the plots stay as they are", file=sys.stderr)
    else:
        for name, (result, plot) in PLOTS.items():
            if result in results:
                plot(results[result], folder / f"{name}.png")
    return {name for name in PLOTS if (folder / f"{name}.png").is_file()}


def tables_of_documents(results: dict[str, Any]) -> dict[str, Callable[[], str | None]]:
    """Return for each marker a function that makes its table for a document.

    The function returns None where there is no result, and raises BadResultError where a result
    lacks something that its table needs, or mixes models.
    """
    return {marker: partial(_table_of_document, marker, results) for marker in TABLES}


def _table_of_document(marker: str, results: dict[str, Any]) -> str | None:
    """Return a table, and the note that it is of an older model if it is."""
    text = _table(marker, results)
    note = older_note(results.get(TABLES[marker][0]))
    return text if text is None or not note else f"{text}\n\n{note}"


def _table(marker: str, results: dict[str, Any]) -> str | None:
    source, make = TABLES[marker]
    if source not in results:
        return None
    try:
        return make(results[source])
    except (KeyError, TypeError, ValueError) as error:
        raise BadResultError(
            f"results/{source}.json does not fit the table {marker!r} ({error!r}); run its command "
            "again"
        ) from error


def _check_models(name: str, result: Any) -> None:
    """Check that a result which is made from others has figures of one model.

    Raises:
        BadResultError: they are of different models.
    """
    if not isinstance(result, dict) or "measured_with" not in result:
        return
    hashes = {**result["measured_with"], name: result["model"]["sha256"]}
    if len(set(hashes.values())) > 1:
        listed = ", ".join(f"{file}.json of {sha256[:12]}" for file, sha256 in hashes.items())
        raise BadResultError(
            f"results/{name}.json puts results of different models into one table ({listed}); "
            "measure the older ones again, and then run its command again"
        )


if __name__ == "__main__":
    raise SystemExit(main())
