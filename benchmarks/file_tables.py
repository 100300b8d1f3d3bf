"""Files against ffmpeg as Markdown: one function per table, from file_zoo.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from markdown import bullets, paragraph, table

Result = Any  # the return type of json.loads
# For each verdict the title of its column.
_TITLES = {
    "whole": "whole",
    "told": "told",
    "told alone": "ours",
    "refused by both": "refused",
    "longer": "more",
    "less than stated": "less",
    "short in silence": "short",
    "false alarm": "alarm",
    "crash": "crash",
    "hang": "hang",
}
# These columns are shown even if they are empty.
_ALWAYS = ("whole", "told", "short in silence", "false alarm")
# Formats and sources with fewer files share a row.
_FEW = 10
_LISTED = 20
_SENTENCE = 160


def by_source(result: Result) -> str:
    return _counts(result, "source")


def by_format(result: Result) -> str:
    parts = [_counts(result, "format"), "Method:"]
    parts.append(bullets([f"{_title(name)}: {text}" for name, text in result["method"].items()]))
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    memory = f"The largest process took {result['peak_mb']:.0f} MB."
    parts.append(paragraph(f"{result['files']} files, {versions}. {memory}"))
    return "\n\n".join(parts)


def differences(result: Result) -> str | None:
    """List the files of which both did not make the same, the most serious first."""
    order = list(_TITLES)
    rows = sorted(result["differences"], key=lambda row: -order.index(row["verdict"]))
    if not rows:
        return None
    items = []
    for row in rows[:_LISTED]:
        lengths = f"{row['ours']['seconds']:.2f} s, ffmpeg {row['ffmpeg']['seconds']:.2f} s"
        if row["verdict"] == "less than stated":
            lengths += f", stated {row['stated_s']:.2f} s"
        sentence = row["ours"]["error"] or ""
        if len(sentence) > _SENTENCE:
            sentence = sentence[: _SENTENCE - 1] + "…"
        name = f"{row['source']}/{row['name']}"
        items.append(
            f"{row['verdict']}: `{name}`, {lengths}" + (f": {sentence}" if sentence else "")
        )
    left = len(rows) - _LISTED
    more = [f"and {left} more, in `results/file_zoo.json`"] if left > 0 else []
    return bullets([*items, *more])


def _counts(result: Result, key: str) -> str:
    """Return a table with a row for each source or format, and the sum."""
    files = Counter[str]()
    for row in result["counts"]:
        files[row[key]] += row["files"]
    counts, sums = Counter[tuple[str, str]](), Counter[str]()
    for row in result["counts"]:
        name = row[key] if files[row[key]] >= _FEW else "others"
        counts[name, row["verdict"]] += row["files"]
        sums[row["verdict"]] += row["files"]
    verdicts = [name for name in _TITLES if sums[name] or name in _ALWAYS]
    names = sorted({name for name, _ in counts} - {"others"})
    rows = []
    for name in [*names, "others"] if len(names) < len(files) else names:
        cells = [counts[name, verdict] for verdict in verdicts]
        rows.append([name, *(str(count or "") for count in [sum(cells), *cells])])
    rows.append(
        [
            "all",
            *(str(count) for count in [result["files"], *(sums[verdict] for verdict in verdicts)]),
        ]
    )
    titles = " | ".join(_title(verdict) for verdict in verdicts)
    return table(f"{key} | files | {titles}", rows)


def _title(verdict: str) -> str:
    return _TITLES.get(verdict, verdict)


# For each marker: the result file (benchmarks/results/NAME.json) and the function for the table.
TABLES: dict[str, tuple[str, Callable[[Result], str | None]]] = {
    "files by format": ("file_zoo", by_format),
    "files by source": ("file_zoo", by_source),
    "file differences": ("file_zoo", differences),
}
