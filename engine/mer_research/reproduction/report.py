"""Results as Markdown and CSV. The title of each table names the protocol."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from mer_engine.datasets.types import SPLITS

from mer_research.paper.scores import MEASURES

Result = dict[str, Any]

METHODS = {
    "code": "the paper's network, as its code has it",
    "code, paper's scaling": "the same, features scaled over all data as its code does",
    "described": "the paper's network, as its text describes it",
    "tpa": "TPA-BiLSTM",
    "mcan": "MCAN",
    "bcrsn": "BCRSN",
    "tnn_svr": "TNN+SVR",
}
# Figures of the paper: R2, RMSE, MAE, MAPE of the test part; None where it gives none.
PRINTED: dict[str, tuple[tuple[str, tuple[float | None, ...]], ...]] = {
    "table1": (
        ("code", (0.845, 0.0740, 0.0581, 0.1062)),
        ("tpa", (0.3771, 0.1401, 0.1595, 0.1390)),
        ("mcan", (None, 0.135, 0.901, None)),
        ("bcrsn", (None, 0.132, 0.997, None)),
        ("tnn_svr", (None, 0.145, 1.002, None)),
    ),
    "table2": (
        ("code", (0.78649, 0.0726, 0.0569, 0.1049)),
        ("tpa", (0.2911, 0.1564, 0.1598, 0.1450)),
        ("mcan", (None, 0.144, 0.892, None)),
        ("bcrsn", (None, 0.892, 0.892, None)),
        ("tnn_svr", (None, 0.149, 0.889, None)),
    ),
    "ablation": (
        ("full", (0.9392, 0.043, 0.033, 0.055)),
        ("without CNN", (0.0, 0.380, 0.337, 0.712)),
        ("without BiLSTM", (0.7439, 0.088, 0.068, 0.129)),
        ("without CNN and BiLSTM", (0.8774, 0.061, 0.048, 0.085)),
    ),
}
_FORMATS = {"r2": "{:.3f}", "rmse": "{:.4f}", "mae": "{:.4f}", "mape": "{:.1%}"}
_TOP = 15


def markdown(result: Result) -> str:
    """Return the tables of a result, one for each protocol."""
    return "\n\n".join(_MARKDOWN[result["experiment"]](result))


def summary(result: Result) -> str:
    """Return the scores of the paper's network in two sentences, from a comparison."""
    rows = {row["protocol"]: row["test"] for row in result["rows"] if row["method"] == "code"}
    r2, rmse, *_ = dict(PRINTED[result["experiment"]])["code"]
    known, new = rows["known"], rows["new"]
    return (
        f"{result['dimension'].capitalize()}, known songs: R2 {known['r2']:.3f}, RMSE "
        f"{known['rmse']:.4f} (the paper: {_number(r2)} and {_number(rmse)}). New songs, the same "
        f"network, retrained: R2 {new['r2']:.3f}, RMSE {new['rmse']:.4f}."
    )


def describe_run(result: Result) -> str:
    """Return data, budgets and machine of a result in a paragraph."""
    data, machine = result["data"], result["machine"]
    splits = ", ".join(f"{count} {name}" for name, count in data["splits"].items())
    budgets = "; ".join(
        f"{name}: {budget['epochs']} epochs at most, batch {budget['batch']}, rate "
        f"{budget['rate']:g}"
        + (f" halved every {budget['halve_every']}" if budget["halve_every"] else "")
        for name, budget in result["budgets"].items()
        if isinstance(budget, dict) and "epochs" in budget and "batch" in budget
    )
    quick = "**A quick run: small budgets, few songs.** " if result["quick"] else ""
    return (
        f"{quick}{data['songs']} songs of {data['name']} ({splits}), the longest "
        f"{data['longest_s']:g} s, {data['half_seconds']} half seconds, descriptors "
        f"{data['features']}; windows of {result['lag']} half seconds; seed {result['seed']}. "
        f"Budgets: {budgets}. This experiment took {result['compute_s'] / 60:.0f} core minutes. "
        f"{machine['processor']}, {result['workers']} of {machine['cores']} "
        f"cores, Python {machine['python']}, torch {machine['torch']}, {machine['date_utc']}."
    )


def csv_text(result: Result) -> str:
    """Return all numbers of a result, one per row, with the protocol in the first column."""
    rows = _flat(result)
    out = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _comparison(result: Result) -> list[str]:
    printed = dict(PRINTED[result["experiment"]])
    parts = []
    for protocol, title in result["titles"].items():
        rows = []
        for row in _of(result["rows"], protocol):
            name = METHODS[row["method"]]
            cells = [*_scores(row["test"]), f"{row['train']['r2']:.3f}"]
            paper = printed.get(row["method"]) if protocol == "known" else None
            cells += [_number(value) for value in paper[:2]] if paper else ["", ""]
            rows.append([name, *cells])
        head = ["test", "R2", "RMSE", "MAE", "MAPE", "R2 train", "paper R2", "paper RMSE"]
        if protocol != "known":
            head, rows = head[:-2], [row[:-2] for row in rows]
        parts.append(f"**{result['dimension'].capitalize()}, {title}**\n\n{table(head, rows)}")
    return parts


def _ablation(result: Result) -> list[str]:
    printed = dict(PRINTED["ablation"])
    parts = []
    for protocol, title in result["titles"].items():
        rows = []
        for row in _of(result["rows"], protocol):
            paper = (
                [_number(value) for value in printed[row["method"]][:2]]
                if protocol == "known" and row["dimension"] == "arousal"
                else ["", ""]
            )
            rows.append([row["dimension"], row["method"], *_scores(row["test"]), *paper])
        head = [
            "test", "network", "R2", "RMSE", "MAE", "MAPE",
            "paper (PMEmo) R2", "paper RMSE",
        ]  # fmt: skip
        if protocol != "known":
            head, rows = head[:-2], [row[:-2] for row in rows]
        parts.append(f"**Ablation, {title}**\n\n{table(head, rows)}")
    return parts


def _lag_order(result: Result) -> list[str]:
    scores = {(s["protocol"], s["dimension"], s["lag"]): s["score"] for s in result["scores"]}
    parts = []
    for protocol, title in result["titles"].items():
        by_lag: dict[int, dict[str, Result]] = {}
        for row in _of(result["rows"], protocol):
            by_lag.setdefault(row["lag"], {})[row["dimension"]] = row
        rows = [
            [
                str(lag),
                *(
                    cell
                    for name in ("arousal", "valence")
                    for cell in (
                        f"{dimensions[name]['test']['r2']:.3f}",
                        f"{dimensions[name]['test']['rmse']:.4f}",
                        f"{scores[protocol, name, lag]:.3f}",
                    )
                ),
            ]
            for lag, dimensions in by_lag.items()
        ]
        head = ["lag order"]
        for name in ("arousal", "valence"):
            head += [f"{name} R2", f"{name} RMSE", f"{name} score"]
        parts.append(f"**Lag order, {title}**\n\n{table(head, rows)}")
    return parts


def _entropy(result: Result) -> list[str]:
    parts = []
    for protocol, title in result["titles"].items():
        cells = {row["dimension"]: row for row in _of(result["weights"], protocol)}
        names = list(next(iter(cells.values()))["weights"])
        names.sort(key=lambda name: -cells["arousal"]["weights"][name])
        rows = [[n, *(f"{100 * cells[d]['weights'][n]:.2f} %" for d in cells)] for n in names]
        best = "; ".join(
            f"{name}: best lag order {row['best_lag']} (score {row['best_score']:.3f})"
            for name, row in cells.items()
        )
        text = table(["indicator", *cells], rows)
        parts.append(f"**Entropy weights, {title}**\n\n{text}\n\n{best}")
    return parts


def _importance(result: Result) -> list[str]:
    parts = []
    for protocol, title in result["titles"].items():
        cells = {row["dimension"]: row for row in _of(result["rows"], protocol)}
        ranked = {
            name: sorted(row["importances"].items(), key=lambda item: -item[1])[:_TOP]
            for name, row in cells.items()
        }
        rows = [
            [str(place + 1), *(c for top in ranked.values() for c in _ranked(top, place))]
            for place in range(max(len(top) for top in ranked.values()))
        ]
        kept = "; ".join(
            f"{name}: {row['kept']} of {len(row['importances'])} reach {result['threshold']:g}"
            for name, row in cells.items()
        )
        head = ["", *(cell for name in ranked for cell in (name, "importance"))]
        parts.append(f"**Feature importance, {title}**\n\n{table(head, rows)}\n\n{kept}")
    return parts


def _ranked(top: Sequence[tuple[str, float]], place: int) -> tuple[str, str]:
    return (top[place][0], f"{top[place][1]:.4f}") if place < len(top) else ("", "")


def _tuning(result: Result) -> list[str]:
    parts = []
    for protocol, title in result["titles"].items():
        rows = []
        for row in _of(result["rows"], protocol):
            best = ", ".join(f"{name} {value:g}" for name, value in row["best"].items())
            rows.append([
                row["dimension"], row["search"], f"{row['course'][-1]:.4f}",
                f"{row['test']['rmse']:.4f}", f"{row['test']['r2']:.3f}", best,
            ])  # fmt: skip
        head = [
            "",
            "search",
            "best validation RMSE",
            "its test RMSE",
            "its test R2",
            "best settings",
        ]
        text = table(head, rows)
        parts.append(f"**Tuning, {result['tries']} trials each, {title}**\n\n{text}")
    return parts


def _words(result: Result) -> list[str]:
    parts = []
    for protocol, title in result["titles"].items():
        rows = [
            [row["dimension"], row["method"], *_scores(row["test"])]
            for row in _of(result["rows"], protocol)
        ]
        head = ["test", "input", "R2", "RMSE", "MAE", "MAPE"]
        parts.append(f"**Audio words, {title}**\n\n{table(head, rows)}")
    return parts


_MARKDOWN: dict[str, Callable[[Result], list[str]]] = {
    "table1": _comparison,
    "table2": _comparison,
    "ablation": _ablation,
    "lag-order": _lag_order,
    "entropy-weights": _entropy,
    "feature-importance": _importance,
    "tuning": _tuning,
    "words": _words,
}


# Experiments with tables.
TABLES = tuple(_MARKDOWN)


def _flat(result: Result) -> list[dict[str, Any]]:
    titles, kind = result["titles"], result["experiment"]
    if kind == "entropy-weights":
        return [
            {"protocol": titles[row["protocol"]], "dimension": row["dimension"],
             "indicator": name, "weight": weight}
            for row in result["weights"] for name, weight in row["weights"].items()
        ]  # fmt: skip
    if kind == "feature-importance":
        return [
            {"protocol": titles[row["protocol"]], "dimension": row["dimension"],
             "feature": name, "importance": value, "kept": value >= result["threshold"]}
            for row in result["rows"] for name, value in row["importances"].items()
        ]  # fmt: skip
    if kind == "tuning":
        return [
            {"protocol": titles[row["protocol"]], "dimension": row["dimension"],
             "search": row["search"], "tries": place, "best_validation_rmse": value}
            for row in result["rows"] for place, value in enumerate(row["course"], start=1)
        ]  # fmt: skip
    scores = {
        (s["protocol"], s["dimension"], s["lag"]): s["score"] for s in result.get("scores", ())
    }
    rows = []
    for row in result["rows"]:
        for part in SPLITS:
            one = {"protocol": titles[row["protocol"]], "dimension": row["dimension"]}
            one |= {name: row[name] for name in ("method", "lag") if name in row}
            one |= {"part": part, "windows": row[part]["windows"]}
            one |= {name: round(row[part][name], 6) for name in MEASURES}
            if scores:
                one["score"] = scores[row["protocol"], row["dimension"], row["lag"]]
            rows.append(one)
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _of(rows: Sequence[Result], protocol: str) -> list[Result]:
    return [row for row in rows if row["protocol"] == protocol]


def _scores(part: Result) -> list[str]:
    return [text.format(part[name]) for name, text in _FORMATS.items()]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
