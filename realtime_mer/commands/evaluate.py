"""`realtime-mer evaluate`: compare a model's estimates with listeners' ratings."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from realtime_mer.audio.local_path import local_path
from realtime_mer.commands.options import add_data_argument, add_model_argument, data_sources
from realtime_mer.errors import UserError, printable

if TYPE_CHECKING:
    from mer_engine.datasets.types import Collection

    from realtime_mer.evaluation.report import Report

HELP = "measure a model on labelled songs"
DESCRIPTION = """\
Measures a model on songs that listeners rated for valence and arousal: DEAM,
PMEmo, others or your own. Each clip of ten seconds runs through the pipeline as
a separate live stream. The estimates after 5.0, 5.5 ... 10.0 s are compared
with the labels of the same times, pooled over all songs, and their mean with
the mean label or the quadrant of each song. No song of DEAM's test split was
used to make the shipped model. With several --data, the last table has them
side by side.

The report is on standard output, progress on standard error. --details and
--json also run the validation songs, to compare the intervals with intervals of
constant width. Needs no PyTorch; takes one or two minutes.
"""
EXAMPLES = """\
  realtime-mer evaluate --data /data
  realtime-mer evaluate --data /data/deam --split validation --json
  realtime-mer evaluate my-model.onnx --data /data --data csv=my-music
  realtime-mer evaluate --data 4q=/data/4q --data fme24=/data/fme24 --split all
"""

_NAME_WIDTH = 42
_ROW_WIDTH = 20
_COLUMNS = 80
_ORDER = ("arousal", "valence")
_FIT = ("r2", "rmse", "ccc", "r")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=local_path, nargs="?", default=None, metavar="MODEL",
        help="a model file (default: the shipped model)",
    )  # fmt: skip
    add_data_argument(parser)
    add_model_argument(parser)
    parser.add_argument(
        "--split", choices=("train", "validation", "test", "all"), default="test",
        help="which songs to use; 'all' is fair if the model was trained on none (default: test)",
    )  # fmt: skip
    parser.add_argument(
        "--details", action="store_true",
        help="also print genres, campaigns and intervals of constant width",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true",
        help="print all figures as one JSON object (a list for several --data)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from mer_engine import ModelError, load_engine
    from mer_engine.datasets.load import load_collection
    from mer_engine.datasets.problems import DataError
    from mer_engine.strict_json import to_json

    from realtime_mer.evaluation.report import measure_accuracy

    if args.file is not None and args.model is not None:
        raise UserError(f"the model is given twice, as {args.file} and with --model; give it once")
    sources = data_sources(args)
    reports = []
    try:
        engine = load_engine(args.file or args.model)
        for source in sources:
            collection = load_collection(source).with_all()
            report = measure_accuracy(
                engine,
                collection,
                args.split,
                # With all songs measured, none is left to fit the constant width on.
                compare_widths=(args.details or args.json) and args.split != "all",
                progress=_progress,
            )
            reports.append(report)
            for sentence in (*collection.remarks, *(f"left out: {s}" for s in report.left_out)):
                print(printable(sentence), file=sys.stderr)
            if report.left_out:
                print(_summary(collection, args.split, report), file=sys.stderr)
    except (DataError, ModelError) as error:
        raise UserError(str(error)) from error
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr)
    if args.json:
        objects = [report.to_dict() for report in reports]
        print(to_json(objects[0] if len(objects) == 1 else objects))
    else:
        tables = [_table(report, details=args.details) for report in reports]
        if len(reports) > 1:
            tables.append(_side_by_side([report.to_dict() for report in reports]))
        print(printable("\n\n".join(tables)))
    return 0


def _summary(collection: Collection, split: str, report: Report) -> str:
    """Return a sentence on how many songs were left out, and why."""
    from mer_engine.datasets.problems import summarise

    listed = len(collection.splits[split])
    reasons = summarise(collection.problems_of(split), listed)
    unmeasured = len(report.left_out) - len(collection.problems_of(split))
    clips = "1 clip" if unmeasured == 1 else f"{unmeasured} clips"
    failed = f"{clips} could not be measured" if unmeasured else ""
    return "; ".join(sentence for sentence in (reasons, failed) if sentence)


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} clips", end="", file=sys.stderr, flush=True)
    elif done % 50 == 0 or done == total:
        print(f"{done} of {total} clips", file=sys.stderr, flush=True)


def _table(report: Report, *, details: bool) -> str:
    """Format the report for a terminal of 80 columns."""
    data: dict[str, Any] = report.to_dict()
    splits = "all splits" if data["split"] == "all" else f"the {data['split']} split"
    model = f"{data['model']['name']} {data['model']['version']} ({data['model']['sha256'][:12]})"
    songs = f"{data['songs']} songs of {splits} of {data['name'][:_ROW_WIDTH]}"
    lines = [f"model {model}, {songs}"]
    rows = {
        "over time, after 5 to 10 s": data["dynamic"],
        "whole song (1 to 9), after 10 s": data["static"],
    }
    if any(rows.values()):
        lines += ["", f"{'':<{_NAME_WIDTH}}{'R2':>8}{'RMSE':>8}{'CCC':>8}{'r':>8}"]
    for title, dimensions in rows.items():
        for dimension in _ORDER:
            if dimension in dimensions:
                numbers = "".join(f"{dimensions[dimension][k]:8.3f}" for k in _FIT)
                lines.append(f"{dimension + ', ' + title:<{_NAME_WIDTH}}{numbers}")
    parts = (_by_song([data]), _quadrants([data]), _intervals(data), _within(data))
    for part in (*parts, _movement([data]), _over_time(data)):
        if part:
            lines += ["", *part]
    if details:
        for title, key in (("genre", "genres"), ("campaign", "campaigns")):
            if data[key]:
                lines += ["", *_groups(title, data[key])]
        if data["long_songs"]:
            lines.append(textwrap.fill(data["long_songs"], _COLUMNS))
        lines += ["", *_constant_width(data)]
    elif data["genres"]:
        lines += ["", "--details: genres, campaigns, intervals of constant width"]
    if data["model_was_trained_on_these_songs"]:
        lines.append("the model was trained on these songs: this does not measure other songs")
    lines.append(f"{data['seconds']:.0f} s on {data['machine']['processor']}")
    return "\n".join(lines)


def _side_by_side(reports: list[dict[str, Any]]) -> str:
    """Format the figures that all collections have for a terminal of 80 columns."""
    parts = (_by_song(reports), _quadrants(reports), _movement(reports))
    return "\n\n".join("\n".join(part) for part in parts if part)


def _by_song(reports: list[dict[str, Any]]) -> list[str]:
    """Return the table of the mean estimates of songs, a row for each dimension and report."""
    level = f"{reports[0]['coverage']['level']:.0%}"
    lines = [
        f"{'means of songs':<{_ROW_WIDTH}}{'songs':>6}{'R2':>7}{'r':>7}{'CCC':>7}{'bias':>7}"
        f"{'AUC':>7}{f'in {level}':>9}{'width':>7}"
    ]
    for name in _ORDER:
        for data in reports:
            row = data["by_song"].get(name)
            if row is None:
                continue
            cells = "".join(_optional(row[key], 7) for key in ("r2", "r", "ccc", "bias", "auc"))
            covered = data["coverage"].get(name)
            share = f"{'-':>9}" if covered is None else f"{covered:9.1%}"
            width = f"{data['mean_width'][name]:7.3f}"
            lines.append(f"{_row(name, data, reports)}{row['songs']:>6}{cells}{share}{width}")
    return lines if len(lines) > 1 else []


def _quadrants(reports: list[dict[str, Any]]) -> list[str]:
    """Return the table of quadrants, a row for each report that has some."""
    title = f"{'quadrants by zero':<{_ROW_WIDTH}}{'songs':>6}{'right':>8}"
    lines = [f"{title}{'AUC of valence: calm songs':>30}{'excited':>10}"]
    for data in reports:
        row = data["quadrants"]
        if row is not None:
            right = f"{'-':>8}" if row["share"] is None else f"{row['share']:8.1%}"
            lines.append(
                f"{data['name'][:_ROW_WIDTH]:<{_ROW_WIDTH}}{row['songs']:>6}{right}"
                f"{_optional(row['auc_valence_calm'], 30)}"
                f"{_optional(row['auc_valence_excited'], 10)}"
            )
    return lines if len(lines) > 1 else []


def _movement(reports: list[dict[str, Any]]) -> list[str]:
    """Return the table of movement, a row for each dimension and report in which labels move."""
    lines = [
        f"{'r within songs that move':<{_ROW_WIDTH + 4}}{'songs':>6}{'settled':>9}{'fast':>9}"
        f"{'level':>9}{'centroid':>10}"
    ]
    for name in _ORDER:
        for data in reports:
            row = data["movement"].get(name)
            if row is not None:
                cells = "".join(_optional(row[key], 9) for key in ("settled", "fast", "level"))
                lines.append(
                    f"{_row(name, data, reports)}    {row['songs']:>6}{cells}"
                    f"{_optional(row['centroid'], 10)}"
                )
    return lines if len(lines) > 1 else []


def _row(dimension: str, data: dict[str, Any], reports: list[dict[str, Any]]) -> str:
    """Return the title of a row: the dimension, and the collection if there are several."""
    title = dimension if len(reports) == 1 else f"{dimension}, {data['name']}"
    return f"{title[:_ROW_WIDTH]:<{_ROW_WIDTH}}"


def _intervals(data: dict[str, Any]) -> list[str]:
    if not data["interval_width"]:
        return []
    covered, widths = data["coverage"], data["interval_width"]
    lines = [f"{covered['level']:.0%} interval{'labels within':>24}{'mean width':>14}"]
    lines[0] += f"{'constant width for the same':>29}"
    for name in _ORDER:
        if name in widths:
            row = widths[name]
            lines.append(
                f"{name:<12}{covered[name]:>24.1%}{row['mean']:>14.3f}{row['matched']:>29.3f}"
            )
    return lines


def _within(data: dict[str, Any]) -> list[str]:
    lines = []
    for name in _ORDER:
        row = data["per_song"].get(name)
        if row is None:
            continue
        text = f"within songs, {name}: RMSE {row['rmse']:.3f}"
        if row["varying"]:
            text += (
                f", CCC {row['ccc']:.3f}, r {row['r']:.3f}"
                f" ({row['varying']} of {row['songs']} labels vary)"
            )
        lines.append(text)
    return lines


def _over_time(data: dict[str, Any]) -> list[str]:
    rows = [row for row in data["by_duration"] if len(row) > 1]
    if not rows:
        return []
    lines = [f"{'R2 after':<20}" + "".join(f"{row['seconds']:>8g} s" for row in rows)]
    for name in _ORDER:
        cells = (_optional(row.get(name, {}).get("r2"), 10) for row in rows)
        lines.append(f"{name:<20}" + "".join(cells))
    return lines


def _groups(title: str, rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{'':<28}{'arousal':>24}{'valence':>26}",
        f"{title:<22}{'songs':>6}" + f"{'R2':>10}{'RMSE':>8}{'within':>8}" * 2,
    ]
    for row in rows:
        line = f"{row[title]:<22}{max((row[n]['songs'] for n in _ORDER if n in row), default=0):>6}"
        for name in _ORDER:
            figures = row.get(name)
            if figures is None:
                line += " " * 26
                continue
            line += _optional(figures["r2"], 10)
            line += f"{figures['rmse']:8.3f}{figures['coverage']:8.1%}"
        lines.append(line)
    return lines


def _constant_width(data: dict[str, Any]) -> list[str]:
    lines = []
    for name in _ORDER:
        row = data["interval_width"].get(name)
        if row is not None and row["fitted"] is not None:
            lines.append(
                f"{name}: intervals of constant width cover {row['fitted_coverage']:.1%}, "
                f"mean width {row['fitted']:.3f}"
            )
    if data["interval_width"]:
        fitted_on = next(iter(data["interval_width"].values()))["fitted_on"]
        lines.append(
            textwrap.fill(f"the interval of constant width was fitted on {fitted_on}", _COLUMNS)
        )
    return lines


def _optional(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.3f}"
