"""The report as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import files
from itertools import pairwise

import numpy as np

from realtime_mer import __version__
from realtime_mer.clock import clock_text, duration_text
from realtime_mer.core.colour import hex_colour
from realtime_mer.core.events import EventKind
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.report.facts import facts, local_clock, missing, when
from realtime_mer.report.markup import NONE, escaped, heading, note, pair, section, swatch, table
from realtime_mer.report.measures import (
    AROUND_CHANGE_S,
    AROUND_MARKER_S,
    MarkedMoment,
    Measures,
    compare,
)
from realtime_mer.report.plane import mood_point, plane_drawing
from realtime_mer.report.session import Session
from realtime_mer.report.text import MINUS, percent, signed
from realtime_mer.report.timeline import DIMENSIONS, STATE_WORDS, Timeline

# Moments that can be read under the pointer.
_READOUT_POINTS = 1500
_COVERAGE = 0.8  # of every table, which does not say it
_BAR_PERCENT = 50.0  # width of the longest bar
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src '{script}'; img-src data:"
_TARGET_NOTE = (
    "The distance is that of the two points on the plane, whose sides are 2 long. <i>Within</i>: "
    "the share of the music in which the target lies inside the interval of the values. Intervals "
    "are wide: a target outside is a clear miss, one inside is not yet a hit."
)
_SCALED = (
    "Values are places among music at large: the least pleasant or calmest twentieth of music "
    "lies at &minus;1, the most pleasant or most energetic twentieth at +1. The recording also has "
    "the model's own values."
)
_RAW = "Values are the model's own; most music lies well within &minus;1 and +1."
_MEANING = """\
<p><b>Perceived emotion.</b> Valence is how pleasant the music sounds, from &minus;1 (unpleasant) \
to +1 (pleasant). Arousal is how energetic it sounds, from &minus;1 (calm) to +1 (excited). Both \
estimate what listeners hear in the music, on average over raters of mostly Western music. They do \
not say what a person who listened felt, and are no diagnosis.</p>
<p>{scale}</p>
<p><b>Intervals.</b> An interval is made to contain {coverage} of the ratings of listeners. It is \
calibrated on collections of music that the model did not know; in music unlike these, more or \
fewer ratings may lie inside. Valence is less certain than arousal. A mood word names a region of \
the plane.</p>
<p><b>Time.</b> A value comes from the last {window_s:g} s of music, so it is complete about that \
long after the music has changed. Silence, speech and noise have no values. How accurate all this \
is, on which music, is in docs/accuracy.md of realtime-mer.</p>"""


def report_page(
    session: Session, other: Session | None = None, target: TargetTrajectory | None = None
) -> str:
    """Return the page.

    Args:
        session: the recording.
        other: another one to compare it with; None for none.
        target: the trajectory that both were to follow; None for none.
    """
    sessions = [session] if other is None else [session, other]
    return _Page([Measures(each, target) for each in sessions]).html()


class _Page:
    def __init__(self, measures: Sequence[Measures]) -> None:
        self._measures = measures
        self._sessions = [each.session for each in measures]
        self._first = self._sessions[0]
        self._is_comparison = len(measures) > 1
        header = self._first.header
        self._coverage = header.coverage if header else _COVERAGE
        self._window_s = header.window_s if header else self._first.estimates[0].latency.window_s
        self._timeline = Timeline(measures, self._coverage)

    def html(self) -> str:
        title = escaped(" and ".join(each.name for each in self._sessions))
        folder = files(__package__)
        style, script = (
            (folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
        )
        script = f"\n{script}"
        digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = _POLICY.format(script=f"sha256-{digest}")
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{title}: report</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(part for part in self._parts(title) if part)
            + f"\n</main>\n{self._footer()}\n"
            f'<script type="application/json" id="moments">{self._readout()}</script>\n'
            f"<script>{script}</script>\n</body>\n</html>\n"
        )

    def _parts(self, title: str) -> Iterator[str]:
        yield self._header(title)
        if not self._is_comparison:
            yield self._tiles()
        yield section(
            "Over time",
            self._timeline.values(),
            f'<p class="readout" role="status">{self._timeline.legend()}</p>',
        )
        yield self._planes_and_moods()
        yield self._target()
        if self._is_comparison:
            yield self._comparison()
        yield self._markers()
        yield self._moments()
        yield self._missing()
        scale = _SCALED if self._first.is_scaled else _RAW
        meaning = _MEANING.format(
            scale=scale, coverage=percent(self._coverage), window_s=self._window_s
        )
        yield section("What the numbers mean", f'<div class="meaning">{meaning}</div>')

    def _header(self, title: str) -> str:
        lines = []
        for index, session in enumerate(self._sessions):
            name = f"<b>{escaped(session.name)}</b>: " if self._is_comparison else ""
            lines.append(f"<p>{swatch(index, self._sessions)}{name}{escaped(when(session))}</p>")
        each_facts = [facts(session) for session in self._sessions]
        names = dict.fromkeys(name for each in each_facts for name in each)
        rows = []
        for name in names:
            values = dict.fromkeys(each[name] for each in each_facts if name in each)
            rows.append(f"<div><dt>{name}</dt><dd>{escaped(' / '.join(values))}</dd></div>")
        return (
            f'<header>\n<p class="kind">Emotion of the music</p>\n<h1>{title}</h1>\n'
            f'{"".join(lines)}\n<dl class="facts">{"".join(rows)}</dl>\n</header>'
        )

    def _tiles(self) -> str:
        measures = self._measures[0]
        tiles = [
            (
                "music",
                duration_text(measures.music_s),
                f"of {duration_text(self._first.duration_s)}",
            )
        ]
        for name in DIMENSIONS:
            if spread := measures.dimension(name):
                ends = f"{signed(spread.lowest)} to {signed(spread.highest)}"
                tiles.append((f"mean {name}", signed(spread.mean), ends))
        for word, share in list(measures.mood_shares.items())[:1]:
            tiles.append(("most of the time", word, f"{percent(share)} of the music"))
        if measures.target is not None and measures.target.has_music:
            within = f"{percent(measures.target.shares_within[2])} within both intervals"
            tiles.append(("distance to target", f"{measures.target.mean_distance:.2f}", within))
        inner = "".join(
            f'<div class="tile"><p>{label}</p><strong>{escaped(value)}</strong><p>{rest}</p></div>'
            for label, value, rest in tiles
        )
        return f'<section class="tiles" aria-label="In short">{inner}</section>'

    def _planes_and_moods(self) -> str:
        measured = self._measures[0].target
        target = None if measured is None else measured.target
        figures = []
        for session in self._sessions:
            label = f"Way of {session.name} over the plane of valence and arousal"
            caption = f"<figcaption>{escaped(session.name)}</figcaption>"
            drawing = plane_drawing(session, target, label)
            figures.append(f"<figure>{caption if self._is_comparison else ''}{drawing}</figure>")
        goal = "; dotted: the target" if target is not None else ""
        plane = (
            f'<div class="planes">{"".join(figures)}</div>\n'
            + note(
                "Squares: where the music was, the stronger the longer. Line: its way, fading in "
                f"from start to end, with times{goal}."
            )
        )  # fmt: skip
        moods = self._mood_bars() + "".join(self._states(each) for each in self._measures)
        if self._is_comparison:
            one, other = (escaped(session.name) for session in self._sessions)
            moods = note(f"Filled: {one}; outlined: {other}.") + moods
            return section("On the plane", plane) + section("Time in each mood", moods)
        return (
            f'<section class="halves">\n<div>\n<h2>On the plane</h2>\n{plane}</div>\n'
            f"<div>\n<h2>Time in each mood</h2>\n{moods}</div>\n</section>"
        )

    def _mood_bars(self) -> str:
        all_shares = [measures.mood_shares for measures in self._measures]
        largest = {
            word: max(shares.get(word, 0.0) for shares in all_shares)
            for shares in all_shares
            for word in shares
        }
        if not largest:
            return "<p>There was no music.</p>"
        rows = []
        for word in sorted(largest, key=lambda word: -largest[word]):
            bars = []
            for measures, shares in zip(self._measures, all_shares, strict=True):
                share = shares.get(word, 0.0)
                width = _BAR_PERCENT * share / max(largest.values())
                fill = hex_colour(*mood_point(word))
                bars.append(
                    f'<div class="bar"><span style="width:{width:.2f}%;--fill:{fill}"></span>'
                    f"<b>{percent(share)}</b><i>{duration_text(share * measures.music_s)}</i></div>"
                )
            rows.append(f"<tr><th>{escaped(word)}</th><td>{''.join(bars)}</td></tr>")
        return f'<table class="bars">{"".join(rows)}</table>\n'

    def _states(self, measures: Measures) -> str:
        parts = [
            f"{duration_text(seconds)} {STATE_WORDS.get(state, state)}"
            for state, seconds in measures.state_s.items()
            if seconds > 0.0
        ]
        if measures.level_db is not None:
            level = f"{measures.level_db:.0f} dB".replace("-", MINUS)
            parts.append(f"median level of the music {level}")
        name = f"{escaped(measures.session.name)}: " if self._is_comparison else ""
        return note(f"{name}{', '.join(parts)}.")

    def _target(self) -> str:
        rows = []
        for measures in self._measures:
            target = measures.target
            if target is None or not target.has_music:
                continue
            edges = np.linspace(0.0, measures.session.duration_s, 4).tolist()
            thirds = [target.mean_between(a, b) for a, b in pairwise(edges)]
            rows.append(
                (
                    escaped(measures.session.name),
                    f"{target.mean_distance:.2f}",
                    *(NONE if mean is None else f"{mean:.2f}" for mean in thirds),
                    *map(percent, target.shares_within),
                )
            )
        if not rows:
            return ""
        header = ("session", "mean distance", "first third", "second third", "last third")
        within = ("valence within", "arousal within", "both within")
        return section(
            "Distance to the target",
            self._timeline.distances(),
            table((*header, *within), rows),
            note(_TARGET_NOTE),
        )

    def _comparison(self) -> str:
        one, other = self._measures
        rows: list[tuple[str, ...]] = [
            ("music", duration_text(one.music_s), duration_text(other.music_s), "")
        ]
        for name in DIMENSIONS:
            a, b = one.dimension(name), other.dimension(name)
            if a is not None and b is not None:
                means = (signed(a.mean), signed(b.mean), signed(b.mean - a.mean))
                rows.append((f"mean {name}", *means))
                spreads = (f"{a.deviation:.2f}", f"{b.deviation:.2f}")
                change = signed(b.deviation - a.deviation)
                rows.append((f"standard deviation of {name}", *spreads, change))
        changes = {
            word: other.mood_shares.get(word, 0.0) - one.mood_shares.get(word, 0.0)
            for word in (*one.mood_shares, *other.mood_shares)
        }
        for word in sorted(changes, key=lambda word: -abs(changes[word])):
            shares = (percent(each.mood_shares.get(word, 0.0)) for each in self._measures)
            points = round(100.0 * changes[word])
            sign = "+" if points > 0 else MINUS if points else ""
            rows.append((f"time {escaped(word)}", *shares, f"{sign}{abs(points)} points"))
        both = compare(one.session, other.session)
        apart = ""
        if both.mean_distance is not None:
            apart = (
                f"From their starts on, the two are {both.mean_distance:.2f} apart on the plane on "
                f"average, over {duration_text(both.seconds)} with music in both. "
            )
        names = (escaped(session.name) for session in self._sessions)
        return section(
            "Comparison", table(("", *names, "difference"), rows), note(apart + self._doubts())
        )

    def _doubts(self) -> str:
        """Return what a difference between two sessions may come from."""
        models = {each.header.model.get("sha256") for each in self._sessions if each.header}
        if len(models) > 1:
            return "<b>The models differ, so a difference may come from the model alone.</b>"
        if len({session.is_scaled for session in self._sessions}) > 1:
            return "<b>The ranges differ, so the values cannot be compared.</b>"
        return "What the model gets wrong about a piece or a style stays in the difference."

    def _markers(self) -> str:
        around = f"{AROUND_MARKER_S:g} s"
        header = ("", "time", "local", "marker", "mood", "at the marker", f"{around} before",
                  f"{around} after", "change")  # fmt: skip
        tables = []
        for measures in self._measures:
            rows = [
                (str(number), *self._marker_cells(measures.session, marked))
                for number, marked in enumerate(measures.marked, start=1)
            ]
            if rows:
                tables.append(heading(measures.session, self._sessions))
                tables.append(table(header, rows, kind="markers"))
        explained = note(
            "Pairs are valence and arousal; before and after are means of the music. A value comes "
            f"from the last {self._window_s:g} s, so it follows the music."
        )
        return section("Markers", *tables, explained) if tables else ""

    @staticmethod
    def _marker_cells(session: Session, marked: MarkedMoment) -> tuple[str, ...]:
        change = None
        if marked.before is not None and marked.after is not None:
            change = (marked.after[0] - marked.before[0], marked.after[1] - marked.before[1])
        return (
            clock_text(marked.t),
            local_clock(session, marked.utc) or NONE,
            escaped(marked.text),
            escaped(marked.mood or "no music"),
            *map(pair, (marked.at, marked.before, marked.after, change)),
        )

    def _moments(self) -> str:
        around = f"{AROUND_CHANGE_S:g} s"
        tables = []
        for measures in self._measures:
            peaks = [
                (
                    each.what,
                    clock_text(each.t),
                    pair((each.valence, each.arousal)),
                    escaped(each.mood),
                )
                for each in measures.peaks
            ]
            changes = [
                (clock_text(each.t), pair(each.before), pair(each.after), f"{each.distance:.2f}")
                for each in measures.changes
            ]
            if not peaks:
                continue
            left = table(("peak", "time", "valence, arousal", "mood"), peaks)
            header = ("largest changes", f"{around} before", f"{around} after", "distance")
            right = table(header, changes) if changes else note("The values hardly moved.")
            tables.append(heading(measures.session, self._sessions))
            tables.append(f'<div class="halves">{left}{right}</div>')
        return section("Peaks and changes", *tables, self._event_counts())

    def _event_counts(self) -> str:
        kinds = ((EventKind.RISE, "rises"), (EventKind.DROP, "drops"),
                 (EventKind.SECTION, "new sections"))  # fmt: skip
        texts = []
        for session in self._sessions:
            counts = [sum(e.kind is kind for e in session.events) for kind, _ in kinds]
            listed = ", ".join(
                f"{count} {word if count != 1 else word[:-1]}"
                for count, (_, word) in zip(counts, kinds, strict=True)
                if count
            )
            if listed:
                name = f" in {escaped(session.name)}" if self._is_comparison else ""
                texts.append(f"Changes that were found while it played{name}: {listed}.")
        return note(" ".join(texts)) if texts else ""

    def _missing(self) -> str:
        items = []
        for session in self._sessions:
            name = f"{session.name}: " if self._is_comparison else ""
            items += [f"<li>{escaped(name + sentence)}</li>" for sentence in missing(session)]
        listed = f"<ul>{''.join(items)}</ul>"
        if all(session.header for session in self._sessions):
            nothing = "<p>Nothing: no audio was lost and no estimate was left out.</p>"
        else:
            nothing = "<p>No estimate was left out. Whether audio was lost, a table cannot say.</p>"
        return section("What is missing", listed if items else nothing)

    def _footer(self) -> str:
        now = datetime.now().astimezone()
        made = f"{now.day} {now:%B %Y}, {now:%H:%M}"
        return f"<footer><p>Made by realtime-mer {escaped(__version__)} on {made}.</p></footer>"

    def _readout(self) -> str:
        """Return the moments that can be read under the pointer, as JSON for inside HTML."""
        sessions = []
        for session in self._sessions:
            step = -(-len(session.t) // _READOUT_POINTS)
            chosen = slice(None, None, step)
            estimates = session.estimates[chosen]
            sessions.append(
                {
                    "name": session.name,
                    "hop_s": round(session.hop_s * step, 3),
                    "t": [round(t, 1) for t in session.t[chosen].tolist()],
                    "valence": [round(v, 2) for v in session.valence[chosen].tolist()],
                    "arousal": [round(a, 2) for a in session.arousal[chosen].tolist()],
                    "word": [e.state if e.state.repeats else e.mood or "" for e in estimates],
                }
            )
        data = {"end_s": self._timeline.axis.end_s, "sessions": sessions}
        return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
