"""Results as Markdown: one function per table, each from the JSON that a command wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import speed_tables
from markdown import table
from mer_research.reproduction import report

Result = Any  # what json.loads gives: an object, or a list of them
DIMENSIONS = ("arousal", "valence")
# Maximum loss of R2 in a condition.
ALLOWED_LOSS = 0.05
_TRAINED_ON = (
    "The model was trained on these songs: only differences between the rows are meaningful"
)
_FIT = ("r2", "rmse", "ccc", "r")
_FIT_TITLES = "R2 | RMSE | CCC | r"


# -- accuracy on test songs -----------------------------------------------------------------------


def accuracy(result: Result) -> str:
    """Return the short form for the front page of the project."""
    rows = []
    for kind, title in (("dynamic", "over time"), ("static", "whole song (1 to 9)")):
        for name in DIMENSIONS:
            row = result[kind].get(name)
            if row is None:
                continue
            rmse = f"{row['rmse']:.3f}"
            cells = [f"{row['r2']:.2f}", rmse, f"{row['ccc']:.2f}", f"{row['r']:.2f}"]
            share = f"{result['coverage'][name]:.0%}".replace("%", " %")
            rows.append([f"{name}, {title}", *cells, share if kind == "dynamic" else ""])
    level = f"{result['coverage']['level']:.0%}".replace("%", " %")
    return table(f" | {_FIT_TITLES} | within the {level} interval", rows)


def by_song(result: Result) -> str:
    rows = [
        [f"{name}, {title}", *(f"{row[key]:.3f}" for key in _FIT)]
        for title, dimensions in (
            ("over time, after 5 to 10 s", result["dynamic"]),
            (
                "song means",
                {n: r["between"] for n, r in result["per_song"].items() if r["between"]},
            ),
            ("whole song (1 to 9), after 10 s", result["static"]),
        )
        for name in DIMENSIONS
        if (row := dimensions.get(name)) is not None
    ]
    within = [
        [
            name,
            f"{row['rmse']:.3f}",
            _number(row["ccc"]),
            _number(row["r"]),
            f"{row['varying']} of {row['songs']}",
        ]
        for name in DIMENSIONS
        if (row := result["per_song"].get(name)) is not None
    ]
    return "\n\n".join(
        [
            table(f" | {_FIT_TITLES}", rows),
            "Within songs (mean over songs; CCC and r over songs whose label varies):",
            table(" | RMSE | CCC | r | songs whose label varies", within),
        ]
    )


def intervals(result: Result) -> str:
    rows = []
    for name in DIMENSIONS:
        row = result["interval_width"].get(name)
        if row is not None:
            rows.append(
                [
                    name,
                    f"{result['coverage'][name]:.1%}",
                    f"{row['mean']:.3f}",
                    f"{row['matched']:.3f}",
                    _number(row["fitted"]),
                    _percent(row["fitted_coverage"]),
                ]
            )
    fitted = next(iter(result["interval_width"].values()))["fitted_on"]
    titles = (
        "  | labels within | mean width | constant width with the same share of labels | "
        "constant width fitted on held-out songs | labels within it"
    )
    return table(titles, rows) + f"\n\nThe constant width was fitted on {fitted}."


def genres(result: Result) -> str | None:
    return _groups("genre", result["genres"]) if result["genres"] else None


def campaigns(result: Result) -> str | None:
    if not result["campaigns"]:
        return None
    remark = result["long_songs"]
    return f"{_groups('campaign', result['campaigns'])}\n\n{remark[0].upper()}{remark[1:]}."


def by_duration(result: Result) -> str:
    rows = []
    for row in result["heard"]:
        cells = [f"{row['seconds']:g} s"]
        for name in DIMENSIONS:
            figures = row.get(name)
            cells += (
                ["", "", ""]
                if figures is None
                else [
                    _number(figures["r2"]),
                    f"{figures['coverage']:.1%}",
                    f"{figures['width']:.3f}",
                ]
            )
        rows.append(cells)
    return table("after | arousal R2 | within | width | valence R2 | within | width", rows)


def baselines(result: Result) -> str:
    rows = [
        [row["name"], row["what"], *(_of(row, name, key) for name in DIMENSIONS for key in _FIT)]
        for row in result["rows"]
    ]
    titles = " | ".join(f"{name} {key}" for name in DIMENSIONS for key in _FIT_TITLES.split(" | "))
    return table(f"method | what | {titles}", rows)


# -- studies --------------------------------------------------------------------------------------


def robustness(result: Result) -> str:
    clean = result["clean"]
    rows = [
        ["unchanged", *(cell for n in DIMENSIONS for cell in (_number(clean[n]["r2"]), *[""] * 4))]
    ]
    for row in result["conditions"]:
        cells = [row["name"]]
        for name in DIMENSIONS:
            one = row[name]
            cells += [
                _number(one["r2"]),
                _number(one["r2_loss"]),
                f"{one['shift_mean']:+.3f}",
                f"{one['shift_rms']:.3f}",
                f"{one['coverage']:.1%}",
            ]
        rows.append(cells)
    each = "R2 | loss | mean change | RMS change | within"
    titles = " | ".join(f"{name} {key}" for name in DIMENSIONS for key in each.split(" | "))
    failed = [
        f"{row['name']} ({name})"
        for row in result["conditions"]
        for name in DIMENSIONS
        if (row[name]["r2_loss"] or 0.0) > ALLOWED_LOSS
    ]
    parts = [
        table(f"condition | {titles}", rows),
        f"More than {ALLOWED_LOSS} of R2 is lost with: {', '.join(failed) or 'none of them'}.",
    ]
    for gain, row in result["clipping"].items():
        parts.append(
            f"At {gain}, {row['songs']:.0%} of the clips had clipped samples, on average "
            f"{row['samples']:.2%} of their samples."
        )
    parts += [f"Skipped: {sentence}." for sentence in result.get("skipped", ())]
    parts.append("\n".join(f"* {row['name']}: {row['what']}" for row in result["conditions"]))
    return "\n\n".join(parts)


def lag(result: Result) -> str:
    orders = [
        [
            f"{row['lag_order']}",
            f"{row['window_s']:g} s",
            *(_number(row[name][key]) for name in DIMENSIONS for key in ("r2", "after_10_s")),
        ]
        for row in result["lag_orders"]
    ]
    hops = [
        [f"{row['hop_s']:g} s", *(_number(row[name]["r2"]) for name in DIMENSIONS)]
        for row in result["hops"]
    ]
    return "\n\n".join(
        [
            table("lag order | window | arousal R2 | after 10 s | valence R2 | after 10 s", orders),
            table("hop | arousal R2 | valence R2", hops),
            *_known(result),
        ]
    )


def step_response(result: Result) -> str:
    rows = [
        [
            f"{row['window_s']:g} s",
            row["dimension"],
            f"{row['counted']} of {row['pairs']}",
            _seconds(row["half_s"]),
            _seconds(row["ninety_s"]),
        ]
        for row in result["rows"]
    ]
    text = table("window | | pairs counted | 50 % of the step | 90 % of the step", rows)
    return "\n\n".join([text, *_known(result)])


def _known(result: Result) -> list[str]:
    """Return a warning if the model was trained on the songs."""
    known = result.get("model_was_trained_on_these_songs")
    return [f"{_TRAINED_ON} ({result['data']})."] if known else []


def pmemo(result: Result) -> str | None:
    if "pmemo" not in result:
        return None
    rows = [
        [row["song"], *(f"{row[n][k]:.2f}" for n in DIMENSIONS for k in ("label", "estimate"))]
        for row in result["pmemo"]["rows"]
        if all(name in row for name in DIMENSIONS)
    ]
    return table("song | arousal label | estimate | valence label | estimate", rows)


def emotify(result: Result) -> str | None:
    if "emotify" not in result:
        return None
    study = result["emotify"]
    sign = {1: "+", -1: "-", None: ""}
    rows = [
        [
            row["emotion"].replace("_", " "),
            *(
                cell
                for name in DIMENSIONS
                for cell in (
                    sign[row[name]["expected"]],
                    f"{row[name]['r']:+.2f}",
                    f"{row[name]['r_within']:+.2f}",
                )
            ),
        ]
        for row in sorted(study["rows"], key=lambda row: -row["arousal"]["r"])
    ]
    correct = study["as_expected"]
    return (
        table(
            "chosen emotion | expected | arousal r | within genres | expected | valence r | "
            "within genres",
            rows,
        )
        + f"\n\n{correct['signs']} of {correct['of']} signs are as expected "
        f"({study['excerpts']} excerpts)."
    )


def vgmidi(result: Result) -> str | None:
    if "vgmidi" not in result:
        return None
    rows = [
        [
            study["soundfont"],
            f"{study['pieces']}",
            name,
            *(f"{study[name]['between'][key]:.3f}" for key in ("r2", "ccc", "r")),
            _number(study[name]["within"]),
        ]
        for study in result["vgmidi"]
        for name in DIMENSIONS
    ]
    return table(
        "soundfont | pieces | | R2 of the means | CCC | r | r within the piece (mean)", rows
    )


# -- studies of the training recipe ---------------------------------------------------------------


def cross_validation(result: Result) -> str:
    folds = result["folds"]
    keys = [
        key
        for key in _FIT
        if all(_find(row, n, key) is not None for row in folds for n in DIMENSIONS)
    ]
    if not keys:
        raise KeyError("folds: no row has r2 of arousal and valence")
    rows = [
        [
            f"{row.get('fold', number)}",
            f"{row.get('seed', '')}",
            *(_of(row, name, key) for name in DIMENSIONS for key in keys),
        ]
        for number, row in enumerate(folds, start=1)
    ]
    spread = []
    for name in DIMENSIONS:
        for key in keys:
            values = [float(_find(row, name, key) or 0.0) for row in folds]
            mean = sum(values) / len(values)
            deviation = (sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1)) ** 0.5
            spread.append(f"{mean:.3f} ± {deviation:.3f}")
    rows.append(["mean ± SD", "", *spread])
    titles = " | ".join(
        f"{name} {title}"
        for name in DIMENSIONS
        for key, title in zip(_FIT, _FIT_TITLES.split(" | "), strict=True)
        if key in keys
    )
    return _with_protocol(table(f"fold | seed | {titles}", rows), result)


def ablation(result: Result) -> str:
    rows = result["rows"]
    protocols = list(dict.fromkeys(row.get("protocol", "") for row in rows))
    lines = []
    for row in rows:
        # The gain is relative to the first row with the same protocol.
        first = next(r for r in rows if r.get("protocol", "") == row.get("protocol", ""))
        cells = [row["name"], row["what"]]
        for name in DIMENSIONS:
            value, base = _find(row, name, "r2"), _find(first, name, "r2")
            if value is None or base is None:
                raise KeyError(f"row {row['name']!r} has no r2_{name}")
            cells += [f"{value:.3f}", "" if row is first else f"{value - base:+.3f}"]
        lines.append([*cells, *([row.get("protocol", "")] if len(protocols) > 1 else [])])
    titles = " | what | arousal R2 | gain | valence R2 | gain"
    text = table(titles + (" | protocol" if len(protocols) > 1 else ""), lines)
    shared = protocols[0] if len(protocols) == 1 else ""
    return _with_protocol(text, {"protocol": result.get("protocol", shared)})


def long_songs(result: Result) -> str:
    rows = [[name, *(_of(result, name, key) for key in _FIT)] for name in DIMENSIONS]
    text = table(f"{result.get('songs', 58)} songs | {_FIT_TITLES}", rows)
    return _with_protocol(text, result)


def raters(result: Result) -> str:
    rows = [
        [row["name"], row["what"], *(_of(row, name, "r2") for name in DIMENSIONS)]
        for row in result["rows"]
    ]
    titles = " | ".join(f"{name} R2" for name in DIMENSIONS)
    return _with_protocol(table(f"kernel regression | what | {titles}", rows), result)


def transfer(result: Result) -> str:
    rows = []
    for row in result["rows"]:
        figures = [_of(row, name, key) for name in DIMENSIONS for key in _FIT[:2]]
        rows.append([row["left_out"], str(row["songs"]), *figures])
    titles = "left out and measured | songs | " + " | ".join(
        f"{name} {key}" for name in DIMENSIONS for key in ("R2", "RMSE")
    )
    return _with_protocol(table(titles, rows), result)


# -- parts ----------------------------------------------------------------------------------------


def measured(result: Result) -> str:
    """Return model, data, seed and machine of a result, in one or two sentences."""
    first = result[0] if isinstance(result, list) else result
    parts = []
    if "model" in first:
        model = first["model"]
        about = [model.get("name"), model.get("version"), f"({model.get('sha256', '')[:12]})"]
        parts.append("Model " + " ".join(part for part in about if part and part != "()"))
    if "data" in first:
        parts.append(f"data {first['data']}")
    if "songs" in first and isinstance(first["songs"], int):
        parts.append(f"{first['songs']} songs")
    if "seed" in first:
        parts.append(f"seed {first['seed']}")
    sentences = [", ".join(parts) + "."] if parts else []
    if first.get("machine"):
        machine = ", ".join(f"{name} {value}" for name, value in first["machine"].items())
        sentences.append(f"Machine: {machine}.")
    if first.get("model_was_trained_on_these_songs"):
        sentences.append(f"{_TRAINED_ON}.")
    return " ".join(sentences)


def _groups(title: str, groups: list[dict[str, Any]]) -> str:
    rows = []
    for group in groups:
        first = next((group[name] for name in DIMENSIONS if name in group), None)
        cells = [str(group[title])]
        cells.append("0" if first is None else str(first["songs"]))
        for name in DIMENSIONS:
            one = group.get(name)
            cells += (
                [""] * 4
                if one is None
                else [
                    _number(one["r2"]),
                    f"{one['rmse']:.3f}",
                    f"{one['coverage']:.1%}",
                    f"{one['width']:.3f}",
                ]
            )
        rows.append(cells)
    each = "R2 | RMSE | within | width"
    titles = " | ".join(f"{name} {key}" for name in DIMENSIONS for key in each.split(" | "))
    return table(f"{title} | songs | {titles}", rows)


def _find(row: dict[str, Any], dimension: str, key: str) -> float | None:
    """Return a figure under `arousal: {r2}` or `r2_arousal`; None if there is none."""
    nested = row.get(dimension)
    value = nested.get(key) if isinstance(nested, dict) else row.get(f"{key}_{dimension}")
    return None if value is None else float(value)


def _of(row: dict[str, Any], dimension: str, key: str) -> str:
    return _number(_find(row, dimension, key))


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value, 3) + 0.0:.3f}"  # no "-0.000"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _seconds(times: dict[str, float] | None) -> str:
    if times is None:
        return ""
    return f"{times['median']:.1f} s ({times['lower']:.1f} to {times['upper']:.1f})"


def _with_protocol(text: str, result: dict[str, Any]) -> str:
    protocol = result.get("protocol")
    return f"{text}\n\n{protocol}" if protocol else text


# By marker: the result (benchmarks/results/NAME.json), and the function that makes the table.
TABLES: dict[str, tuple[str, Callable[[Result], str | None]]] = {
    "accuracy": ("accuracy", accuracy),
    **speed_tables.TABLES,
    "by song": ("accuracy", by_song),
    "intervals": ("accuracy", intervals),
    "by duration": ("accuracy", by_duration),
    "genres": ("accuracy", genres),
    "campaigns": ("accuracy", campaigns),
    "baselines": ("baselines", baselines),
    "tagger probe": ("tagger_probe", baselines),
    "cross-validation": ("cross_validation", cross_validation),
    "long songs": ("long_songs", long_songs),
    "ablation": ("ablation", ablation),
    "features": ("features", ablation),
    "raters": ("raters", raters),
    "transfer": ("transfer", transfer),
    "robustness": ("robustness", robustness),
    "lag": ("lag", lag),
    "step response": ("step_response", step_response),
    "pmemo": ("generality", pmemo),
    "emotify": ("generality", emotify),
    "vgmidi": ("generality", vgmidi),
    "reproduction setting": ("reproduction/table1", report.describe_run),
    "reproduction arousal": ("reproduction/table1", report.summary),
    "reproduction valence": ("reproduction/table2", report.summary),
    **{
        f"reproduction {name}": (f"reproduction/{name.replace('-', '_')}", report.markdown)
        for name in report.TABLES
    },
}
