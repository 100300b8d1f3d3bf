"""Accuracy results as Markdown: one function per table, each from the JSON of its command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import file_tables
import person_tables
import proof_tables
import speed_tables
from markdown import bullets, paragraph, table
from mer_engine.engine import shipped_model
from mer_engine.model_file import SOUNDS
from mer_research.reproduction import report

Result = Any  # the return type of json.loads: an object, or a list of objects
DIMENSIONS = ("arousal", "valence")
# A condition that loses more R2 than this is named below the table.
ALLOWED_LOSS = 0.05
# The short table has the conditions that lose more R2 than this.
SMALL_LOSS = 0.02
# Windows that the short table of windows has, seconds.
SHOWN_WINDOWS_S = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)
# Collections whose numbers have an unknown zero and scale, so that only r means something.
PROXIES = ("emotify",)
_TRAINED_ON = (
    "The model was trained on these songs: compare the rows with each other; the figures are no "
    "accuracy on new songs"
)
_RIDGE = "ridge on the embedding of "
_FIT = ("r2", "rmse", "ccc", "r")
_FIT_TITLES = "R2 | RMSE | CCC | r"
_SIGNALS = ("settled", "fast", "level", "centroid")


# -- accuracy on songs that were not used for training --------------------------------------------


def accuracy(result: Result) -> str:
    """Return the short form for the project's front page."""
    rows = []
    for kind, title in (("dynamic", "over time"), ("static", "whole song (1 to 9)")):
        for name in DIMENSIONS:
            row = result[kind].get(name)
            if row is None:
                continue
            rmse = f"{row['rmse']:.3f}"
            cells = [f"{row['r2']:.2f}", rmse, f"{row['ccc']:.2f}", f"{row['r']:.2f}"]
            coverage = f"{result['coverage'][name]:.0%}".replace("%", " %")
            rows.append([f"{name}, {title}", *cells, coverage if kind == "dynamic" else ""])
    level = f"{result['coverage']['level']:.0%}".replace("%", " %")
    return table(f" | {_FIT_TITLES} | within the {level} interval", rows)


def by_song(result: Result) -> str:
    rows = [
        [f"{name}, {title}", *(f"{row[key]:.3f}" for key in _FIT)]
        for title, dimensions in (
            ("every 0.5 s from 5 to 10 s", result["dynamic"]),
            (
                "song means",
                {n: r["between"] for n, r in result["per_song"].items() if r["between"]},
            ),
            ("static label (1 to 9), after 10 s", result["static"]),
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
            "Within songs (mean over songs; CCC and r only for songs whose label varies):",
            table(" | RMSE | CCC | r | songs whose label varies", within),
        ]
    )


def intervals(result: Result) -> str:
    widths = result["interval_width"]
    names = [name for name in DIMENSIONS if widths.get(name) is not None]
    rows = [
        ["coverage of the labels", *(f"{result['coverage'][name]:.1%}" for name in names)],
        ["mean width", *(f"{widths[name]['mean']:.3f}" for name in names)],
        [
            "constant width with the same coverage",
            *(f"{widths[name]['matched']:.3f}" for name in names),
        ],
        ["constant width fitted on other songs", *(_number(widths[n]["fitted"]) for n in names)],
        ["its coverage", *(_percent(widths[name]["fitted_coverage"]) for name in names)],
    ]
    fitted = next(iter(widths.values()))["fitted_on"]
    return "\n\n".join(
        [
            table(" | " + " | ".join(names), rows),
            paragraph(f"The constant width was fitted on {fitted}."),
        ]
    )


def genres(result: Result) -> str | None:
    return _groups("genre", "genre", result["genres"]) if result["genres"] else None


def campaigns(result: Result) -> str | None:
    if not result["campaigns"]:
        return None
    remark = result["long_songs"]
    return "\n\n".join(
        [
            _groups("annotated in", "campaign", result["campaigns"]),
            paragraph(f"{remark[0].upper()}{remark[1:]}."),
        ]
    )


def by_duration(result: Result) -> str:
    rows = []
    for row in result["by_duration"]:
        cells = [f"{row['seconds']:g} s"]
        for name in DIMENSIONS:
            one = row.get(name)
            cells += (
                ["", "", ""]
                if one is None
                else [_number(one["r2"]), f"{one['coverage']:.1%}", f"{one['width']:.3f}"]
            )
        rows.append(cells)
    return table(
        "after | arousal R2 | coverage | width | valence R2 | coverage | width",
        rows,
    )


def baselines(result: Result) -> str:
    rows = result["rows"]
    return _by_dimension(
        f"method | {_FIT_TITLES}",
        rows,
        lambda row, name: [row["name"], *(_figure(row, name, key) for key in _FIT)],
        _descriptions(rows),
    )


# -- studies --------------------------------------------------------------------------------------


def robustness_short(result: Result) -> str:
    """Return one table of both dimensions, with the conditions that cost accuracy."""

    def cells(row: Result) -> list[str]:
        return [
            cell
            for one in (row[name] for name in DIMENSIONS)
            for cell in (_number(one["r2"]), f"{one['shift_mean']:+.3f}", f"{one['coverage']:.0%}")
        ]

    costly = [
        row
        for row in result["conditions"]
        if max(row[name]["r2_loss"] for name in DIMENSIONS) > SMALL_LOSS
    ]
    others = [row["name"] for row in result["conditions"] if row not in costly]
    rows = [[row["name"], *cells(row)] for row in costly]
    clean = [
        ["unchanged", *(c for n in DIMENSIONS for c in (_number(result["clean"][n]["r2"]), "", ""))]
    ]
    titles = "condition | arousal R2 | change | in interval | valence R2 | change | in interval"
    small = f"R2 loss of {SMALL_LOSS} or less: {', '.join(others) or 'in no condition'}."
    return "\n\n".join([table(titles, clean + rows), paragraph(small)])


def robustness(result: Result) -> str:
    def cells(row: dict[str, Any], name: str) -> list[str]:
        one = row[name]
        return [
            row["name"],
            _number(one["r2"]),
            _number(one["r2_loss"]),
            f"{one['shift_mean']:+.3f}",
            f"{one['shift_rms']:.3f}",
            f"{one['coverage']:.1%}",
        ]

    large = [
        f"{row['name']} ({name})"
        for row in result["conditions"]
        for name in DIMENSIONS
        if (row[name]["r2_loss"] or 0.0) > ALLOWED_LOSS
    ]
    tables = []
    for name in DIMENSIONS:
        clean = ["unchanged", _number(result["clean"][name]["r2"]), "", "", "", ""]
        tables.append(f"{name.capitalize()}:")
        tables.append(
            table(
                "condition | R2 | R2 loss | mean change | RMS change | coverage",
                [clean, *(cells(row, name) for row in result["conditions"])],
            )
        )
    parts = [
        *tables,
        paragraph(f"R2 loss of more than {ALLOWED_LOSS}: {', '.join(large) or 'in no condition'}."),
    ]
    for gain, row in result["clipping"].items():
        parts.append(
            paragraph(
                f"At {gain}, {row['songs']:.0%} of the clips have samples clipped at full scale, "
                f"on average {row['samples']:.2%} of their samples."
            )
        )
    parts += [paragraph(f"Skipped: {sentence}.") for sentence in result.get("skipped", ())]
    return "\n\n".join([*parts, *_descriptions(result["conditions"])])


def lag_short(result: Result) -> str:
    """Return the rows of a few windows."""
    rows = [
        [f"{row['window_s']:g} s", *(_number(row[name]["after_10_s"]) for name in DIMENSIONS)]
        for row in result["lag_orders"]
        if row["window_s"] in SHOWN_WINDOWS_S
    ]
    text = table("window | arousal R2 after 10 s | valence R2 after 10 s", rows)
    return "\n\n".join([text, *_trained_on(result)])


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
            *_trained_on(result),
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
    return "\n\n".join([text, *_trained_on(result)])


def _trained_on(result: Result) -> list[str]:
    """Return a warning if the model was trained on the measured songs."""
    trained = result.get("model_was_trained_on_these_songs")
    return [paragraph(f"{_TRAINED_ON} ({result['data']}).")] if trained else []


def collections(result: Result) -> str:
    """Return the figures that all collections have, then quadrants and movement."""
    parts = []
    for name in DIMENSIONS:
        rows = []
        for title, row in _methods(result):
            one = row["by_song"].get(name)
            if one is None:
                continue
            rows.append(
                [
                    *title,
                    f"{one['songs']}",
                    *(_number(one[key]) for key in ("r2", "r", "ccc", "bias", "auc")),
                    _percent(row.get("coverage", {}).get(name)),
                    _number(row.get("mean_width", {}).get(name)),
                ]
            )
        titles = f"{name} | method | songs | R2 | r | CCC | bias | AUC | in interval | width"
        parts.append(table(titles, rows))
    rows = [
        [
            *title,
            f"{one['songs']}",
            _percent(one["share"]),
            _number(one["auc_valence_calm"]),
            _number(one["auc_valence_excited"]),
        ]
        for title, row in _methods(result)
        if (one := row["quadrants"]) is not None
    ]
    titles = "quadrants by zero | method | songs | right | AUC of valence, calm songs | excited"
    parts.append(table(titles, rows))
    rows = [
        [*title, name, f"{one['songs']}", *(_number(one[key]) for key in _SIGNALS)]
        for name in DIMENSIONS
        for title, row in _methods(result)
        if (one := row.get("movement", {}).get(name)) is not None
    ]
    if rows:
        titles = f"r within songs that move | method | | songs | {' | '.join(_SIGNALS)}"
        parts.append(table(titles, rows))
    trained = [
        f"{method} was trained on songs of {collection}"
        for (collection, method), row in _methods(result)
        if row.get("model_was_trained_on_these_songs")
    ]
    trained += [
        f"{method} on {collection}: from the training report, of heads that did not know the "
        f"{'artist' if kind == 'known' else 'collection'}"
        for (collection, method), row in _methods(result)
        if (kind := row.get("from_training_report")) is not None
    ]
    return "\n\n".join([*parts, *([bullets(trained)] if trained else [])])


def side_by_side_collections(result: Result) -> str:
    """Return the methods side by side: song means, quadrants and movement."""
    # One ridge regression is enough: the encoders are the same.
    found = list(dict.fromkeys(title[1] for title, _ in _methods(result)))
    ridges = [method for method in found if method.startswith(_RIDGE)]
    methods = [method for method in found if method not in ridges[1:]]
    means: dict[str, dict[str, str]] = {}
    quadrants: dict[str, dict[str, str]] = {}
    movement: dict[str, dict[str, str]] = {}
    for collection in result["collections"]:
        place = f"{collection['name']} ({collection['split']})"
        for row in collection["rows"]:
            method = row["method"]
            star = "*" if row.get("model_was_trained_on_these_songs") else ""
            for name in DIMENSIONS:
                one = row["by_song"].get(name)
                if one is not None and one["r"] is not None:
                    cell = f"({one['r']:.2f})"
                    if collection["scale"] == "shared":
                        cell = f"{one['r2']:.2f} {cell}"
                    cell += star
                    means.setdefault(f"{place}, {name}", {})[method] = cell
                one = row.get("movement", {}).get(name)
                if one is not None and one["settled"] is not None:
                    cell = f"{one['settled']:.2f}{star}"
                    movement.setdefault(f"{place}, {name}", {})[method] = cell
                    movement[f"{place}, {name}"]["level"] = f"{one['level']:.2f}"
            if (one := row["quadrants"]) is not None:
                calm = _number(one["auc_valence_calm"])
                quadrants.setdefault(place, {})[method] = f"{one['share']:.0%} ({calm}){star}"
    parts = []
    for title, rows in (
        ("song means, R2 (r)", means),
        ("quadrants by zero (AUC of valence, calm)", quadrants),
        ("r within songs that move", movement),
    ):
        shown = [m for m in (*methods, "level") if any(m in row for row in rows.values())]
        if rows:
            cells = [[name, *(row.get(m, "") for m in shown)] for name, row in rows.items()]
            short = ["ridge" if m in ridges else m for m in shown]
            parts.append(table(" | ".join([title, *short]), cells))
    if any("*" in part for part in parts):
        parts.append("\\* The model was trained on these songs.")
    return "\n\n".join(parts)


def _methods(result: Result) -> Iterable[tuple[tuple[str, str], Result]]:
    """Return the rows of all collections, each with the names of collection and method."""
    for collection in result["collections"]:
        for row in collection["rows"]:
            yield (f"{collection['name']} ({collection['split']})", row["method"]), row


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

    def cells(row: dict[str, Any], name: str) -> list[str]:
        one = row[name]
        correlations = [f"{one[key]:+.2f}" for key in ("r", "r_within")]
        return [row["emotion"].replace("_", " "), sign[one["expected"]], *correlations]

    expected = study["as_expected"]
    sentence = (
        f"{expected['signs']} of {expected['of']} expected signs hold "
        f"({study['excerpts']} excerpts)."
    )
    return _by_dimension(
        "chosen emotion | expected sign | r | r within genres",
        sorted(study["rows"], key=lambda row: -row["arousal"]["r"]),
        cells,
        [sentence],
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
        "soundfont | pieces | | R2 of means | CCC | r | mean r within pieces",
        rows,
    )


# -- results of training --------------------------------------------------------------------------


def validation(result: Result) -> str | None:
    """Return the figures of a training report for known and unknown collections side by side."""
    figures = result.get("validation", {})
    known, unknown = figures.get("known"), figures.get("unknown")
    if known is None or unknown is None:  # the model file of another version
        return None
    kinds = (("known", known), ("unknown", unknown))
    parts = []
    for name in DIMENSIONS:
        rows = [
            [
                collection,
                str(figures[collection]["songs"]),
                kind,
                *(
                    ["", f"{one['r']:.2f}", "", "", "", ""]
                    if collection in PROXIES
                    else [
                        *(f"{one[key]:.2f}" for key in ("r2", "r", "ccc")),
                        f"{one['bias']:+.2f}",
                        _percent(one["coverage"]),
                        _number(one["width"]),
                    ]
                ),
            ]
            for collection in known
            for kind, figures in kinds
            if (one := figures[collection].get(name)) is not None
        ]
        parts.append(table(f"{name} | songs | | R2 | r | CCC | bias | in interval | width", rows))
    rows = [
        [
            collection,
            str(one["songs"]),
            kind,
            _percent(one["quadrants"]),
            *(_number(one["auc"][key]) for key in ("arousal", "valence", "valence_calm")),
        ]
        for collection in known
        for kind, figures in kinds
        if "quadrants" in (one := figures[collection])
    ]
    if rows:
        titles = "by zero | songs | | quadrants | AUC arousal | AUC valence | valence, calm"
        parts.append(table(titles, rows))
    return "\n\n".join(parts)


def training_data(result: Result) -> str | None:
    if "known" not in result.get("validation", {}):  # the model file of another version
        return None
    rows = [
        [one["name"], *(str(sum(one[key].values())) for key in ("songs", "clips"))]
        for one in result["collections"]
    ]
    return table("collection | songs | clips", rows)


def parts(result: Result) -> str:
    """Return the means over the seeds of each variant, and the largest range of a row."""
    rows = result["rows"]
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    without = [name for name in variants if name.startswith("without ")]
    groups = [
        [name for name in variants if name not in without],
        [name for name in variants if name == "as shipped" or name in without],
    ]
    tables: list[str] = []
    for names in groups:
        lines = []
        for collection in dict.fromkeys(row["collection"] for row in rows):
            for title, figure in _PART_FIGURES.items():
                found = [
                    [
                        value
                        for row in rows
                        if (row["collection"], row["variant"]) == (collection, name)
                        and (value := figure(row)) is not None
                    ]
                    for name in names
                ]
                if any(found):
                    spread = max(max(values) - min(values) for values in found if values)
                    means = [f"{sum(v) / len(v):.2f}" if v else "" for v in found]
                    lines.append([f"{collection}, {title}", *means, f"({spread:.2f})"])
        if len(names) > 1 or not tables:
            titles = [name.removeprefix("without ") for name in names]
            kind = "left out" if names is groups[1] else "unknown"
            tables.append(table(" | ".join([kind, *titles, "(range)"]), lines))
    seeds = ", ".join(map(str, sorted({row["seed"] for row in rows})))
    about = f"Means over the seeds {seeds}; (range): the largest range over the seeds in a row."
    items = [f"_{name}_: {what}" for name, what in result["what"].items()]
    return "\n\n".join([*tables, paragraph(about), bullets(items)])


def _part_r(row: Result, name: str) -> float | None:
    return row[name]["r"] if name in row else None


_PART_FIGURES: dict[str, Callable[[Result], float | None]] = {
    "arousal r": lambda row: _part_r(row, "arousal"),
    "valence r": lambda row: _part_r(row, "valence"),
    "quadrants": lambda row: row.get("quadrants"),
    "AUC arousal": lambda row: row["auc"]["arousal"] if "auc" in row else None,
    "AUC valence, calm": lambda row: row["auc"]["valence_calm"] if "auc" in row else None,
}


# -- parts ----------------------------------------------------------------------------------------


def sounds(result: Result) -> str:
    rows = [
        [
            row["sound"],
            row["collection"].replace("-", " "),
            str(row["recordings"]),
            f"{row['seconds']:.0f}",
            *(_percent(row[key]) for key in ("right", "music_or_not", "music_or_not_first_4_s")),
        ]
        for name in SOUNDS
        for row in result["rows"]
        if row["sound"] == name
    ]
    titles = "sound | collection | recordings | s | right | music or not | in the first 4 s"
    return f"{table(titles, rows)}\n\n" + paragraph(f"Sources: {result['sources']}")


def sounds_short(result: Result) -> str:
    """Return a row for each kind of sound: mean and worst two of its collections."""
    rows = []
    for name in SOUNDS:
        found = [row for row in result["rows"] if row["sound"] == name]
        worst = sorted(found, key=lambda row: float(row["music_or_not"]))[:2]
        rows.append(
            [
                name,
                str(len(found)),
                *(
                    _percent(sum(row[key] for row in found) / len(found))
                    for key in ("right", "music_or_not", "music_or_not_first_4_s")
                ),
                ", ".join(
                    f"{row['collection'].replace('-', ' ')} {_percent(row['music_or_not'])}"
                    for row in worst
                ),
            ]
        )
    titles = "sound | collections | right | music or not | in the first 4 s | worst two"
    return table(titles, rows)


def beats(result: Result) -> str:
    rows = []
    for row in result["rows"]:
        onsets, delays = row.get("onsets"), row.get("onset_delay_ms")
        cells = [row["name"], str(row["pieces"])]
        cells += [f"{onsets[key]:.2f}" for key in ("precision", "recall", "f1")] if onsets else []
        cells += [f"{delays['p50']:.0f} / {delays['p95']:.0f}"] if delays else [""] * 4
        cells += (
            [f"{row['beats']['f1']:.2f}", f"{row['metrical_f1']:.2f}"] if "beats" in row else []
        )
        tempo = row.get("tempo")
        cells += [_percent(tempo[f"accuracy_{n}"]) for n in (1, 2)] if tempo else [""] * 4
        rows.append(cells)
    share = max(row["core_share"] for row in result["rows"])
    return "\n\n".join(
        [
            table(
                "sound | pieces | onsets: precision | recall | F1 | ms | beats: F1 | other level | "
                "tempo | octaves",
                rows,
            ),
            paragraph(f"In blocks of 10 ms at 44,100 Hz this takes up to {share:.2%} of a core."),
        ]
    )


def change_events(result: Result) -> str:
    """Return the changes that the detector finds, beside those of the baselines."""
    methods: dict[tuple[str, str], dict[str, Any]] = {}
    for row in result["rows"]:
        methods.setdefault((row["source"], row["kind"]), {})[row["method"]] = row
    rows = []
    for (source, kind), found in methods.items():
        own = found["detector"]
        delay = own["delay_s"]
        rows.append(
            [
                source, kind, str(own["changes"]), *_precision_recall(own),
                f"{own['false_per_hour']:.0f}",
                f"{delay['median']:.1f} s ({delay['p90']:.1f})" if delay else "",
                " / ".join(_precision_recall(found["level"])) if "level" in found else "",
                " / ".join(_precision_recall(found["random"])) if "random" in found else "",
            ]
        )  # fmt: skip
    trained = [c["name"] for c in result["collections"] if c["model_was_trained_on_these_songs"]]
    hours = {row["source"]: row["hours"] for row in result["rows"] if row["method"] == "detector"}
    note = (
        f"A change is found where an event tells a time within {result['tolerance_s']:g} s of it; "
        "for the mood words of the demo, where the word begins within its passage. false: other "
        "events in an hour of such streams; late: from the change until it is known, median (90 "
        "%). Level: the same from a level meter with a threshold; random: as many events as the "
        "detector's at random times; each precision / recall. Hours: "
        + "; ".join(f"{name} {value:.2f}" for name, value in hours.items())
        + "."
    )
    if trained:
        note += f" The model was trained on songs of {', '.join(trained)}."
    titles = "changes of | kind | number | precision | recall | false | late | level | random"
    return f"{table(titles, rows)}\n\n{paragraph(note)}"


def _precision_recall(row: dict[str, Any]) -> list[str]:
    return ["" if row[key] is None else f"{row[key]:.0%}" for key in ("precision", "recall")]


def measured(result: Result) -> str:
    """Return model, data, seed and machine of a result, as a paragraph."""
    first = result[0] if isinstance(result, list) else result
    parts = []
    models = models_of(first)
    if models:
        parts.append(("Models " if len(models) > 1 else "Model ") + _names(models))
    if "data" in first:
        parts.append(f"data {first['data']}")
    if "songs" in first and isinstance(first["songs"], int):
        parts.append(f"{first['songs']} songs")
    if "seed" in first:
        parts.append(f"seed {first['seed']}")
    sentences = [", ".join(parts) + "."] if parts else []
    if is_older(first):
        sentences.append("It is not the model that ships.")
    if first.get("stopped"):
        sentences.append("The measurement was stopped before its end.")
    if first.get("machine"):
        machine = dict(first["machine"])
        if "load_average_before" in first:
            machine["load average before"] = first["load_average_before"]
        sentences.append(f"Machine: {', '.join(_machine(machine))}.")
    if first.get("model_was_trained_on_these_songs"):
        sentences.append(f"{_TRAINED_ON}.")
    return paragraph(" ".join(sentences))


def models_of(result: Result) -> list[dict[str, Any]]:
    """Return the models of a result: one, or those that it compares on purpose."""
    if not isinstance(result, dict):
        return []
    if "models" in result:
        return list(result["models"])
    return [result["model"]] if "model" in result else []


def is_older(result: Result) -> bool:
    """Return whether a result names its models, and the shipped one is not among them."""
    models = models_of(result)
    return bool(models) and _shipped_sha256() not in [model.get("sha256") for model in models]


def older_note(result: Result) -> str:
    """Return a line for below a table of an older model; "" for the shipped one."""
    if not is_older(result):
        return ""
    return paragraph(
        f"Measured with {_names(models_of(result))}, which is not the model that ships."
    )


def _names(models: Sequence[dict[str, Any]]) -> str:
    names = []
    for model in models:
        about = [model.get("name"), model.get("version"), f"({model.get('sha256', '')[:12]})"]
        names.append(" ".join(part for part in about if part and part != "()"))
    return ", ".join(names)


@cache
def _shipped_sha256() -> str:
    return hashlib.sha256(shipped_model().read_bytes()).hexdigest()


def _machine(machine: dict[str, Any]) -> Iterable[str]:
    special = {"processor": "{}", "cores": "{} cores", "system": "{}", "python": "Python {}"}
    special["date_utc"] = "{}"
    for name, value in machine.items():
        yield special.get(name, f"{name} {{}}").format(value)


def _by_dimension(
    titles: str,
    rows: Sequence[dict[str, Any]],
    cells: Callable[[dict[str, Any], str], list[str]],
    more: Sequence[str] = (),
) -> str:
    """Return one table per dimension, which is narrower than one with all columns.

    Args:
        titles: column titles of each table.
        rows: the rows of the result.
        cells: the cells of a row for a dimension.
        more: paragraphs below the tables.
    """
    parts = []
    for name in DIMENSIONS:
        parts += [f"{name.capitalize()}:", table(titles, [cells(row, name) for row in rows])]
    return "\n\n".join([*parts, *more])


def _descriptions(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return a list of what the rows are; rows with one description share an item."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row["what"]:
            names.setdefault(row["what"], []).append(f"_{row['name']}_")
    items = [f"{', '.join(rows)}: {what}" for what, rows in names.items()]
    return [bullets(items)] if items else []


def _groups(title: str, key: str, groups: list[dict[str, Any]]) -> str:
    """Return the tables of groups of songs; `key` is the name of the group in the result."""

    def cells(group: dict[str, Any], name: str) -> list[str]:
        one = group.get(name)
        if one is None:
            return [str(group[key]), "0", "", "", "", ""]
        return [
            str(group[key]),
            str(one["songs"]),
            _number(one["r2"]),
            f"{one['rmse']:.3f}",
            f"{one['coverage']:.1%}",
            f"{one['width']:.3f}",
        ]

    return _by_dimension(f"{title} | songs | R2 | RMSE | coverage | width", groups, cells)


def _figure(row: dict[str, Any], dimension: str, key: str) -> str:
    return _number(row[dimension].get(key))


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value, 3) + 0.0:.3f}"  # no "-0.000"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _seconds(times: dict[str, float] | None) -> str:
    if times is None:
        return ""
    return f"{times['median']:.1f} s ({times['lower']:.1f} to {times['upper']:.1f})"


# For each marker: the result file (benchmarks/results/NAME.json) and the function for the table.
TABLES: dict[str, tuple[str, Callable[[Result], str | None]]] = {
    "accuracy": ("accuracy", accuracy),
    **speed_tables.TABLES,
    **file_tables.TABLES,
    **person_tables.TABLES,
    **proof_tables.TABLES,
    "by song": ("accuracy", by_song),
    "intervals": ("accuracy", intervals),
    "by duration": ("accuracy", by_duration),
    "genres": ("accuracy", genres),
    "campaigns": ("accuracy", campaigns),
    "change events": ("events", change_events),
    "baselines": ("baselines", baselines),
    "robustness": ("robustness", robustness),
    "robustness short": ("robustness", robustness_short),
    "lag": ("lag", lag),
    "lag short": ("lag", lag_short),
    "step response": ("step_response", step_response),
    "collections": ("collections", collections),
    "collections side by side": ("collections", side_by_side_collections),
    # From the training report in the shipped model file.
    "validation": ("training", validation),
    "training data": ("training", training_data),
    "parts": ("parts", parts),
    "sound": ("sound", sounds),
    "sound short": ("sound", sounds_short),
    "beats": ("beats", beats),
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
