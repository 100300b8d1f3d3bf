"""The report as a page: what it says, and that it needs nothing beside itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from page_support import CHROMIUM_ARGUMENTS, chromium
from report_support import HEADER, TARGET, estimate, music, session_of, utc_at

from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.types import State
from realtime_mer.recording.lines import Losses, RecordedNotice
from realtime_mer.report.page import report_page
from realtime_mer.report.session import Session

VOID = {"meta", "br", "link"}
POINTS = [(-0.4, 0.6, "tense")] * 60 + [(0.4, -0.4, "calm")] * 60


class Elements(HTMLParser):
    """Checks that every element is closed, and keeps the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def text_of(page: str) -> str:
    """Return what the page says, on one line; fail if it is not well-formed."""
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    return " ".join(" ".join(elements.texts).split())


def therapy() -> Session:
    """Two minutes from tense to calm, with all that a recording can have."""
    quiet = [estimate(t, state=State.SILENCE, level_db=-90.0) for t in range(121, 131)]
    return session_of(
        [
            *music(POINTS),
            *quiet,
            estimate(150),
            Event(EventKind.DROP, 61.0, 63.0, utc_at(63), 0.8),
            Marker(90.0, utc_at(90), "eyes <b>open</b> & calm"),
            Losses(100.0, utc_at(100), {"overflows": 2}),
            RecordedNotice(131.0, utc_at(131), "input_lost", "the input was unplugged"),
        ]
    )


def test_it_says_what_was_recorded_and_what_is_missing() -> None:
    text = text_of(report_page(therapy()))
    for words in (
        "Wednesday 25 November 2026, 14:02 to 14:04 (UTC+01:00), 2 min 30 s",
        "USB Audio (2 channels, 48000 Hz)",
        "mer-2 2.0 (0123456789ab)",
        "realtime-mer 0.1.0, python 3.11.7",
        "1 drop",
        "Losses of audio that the input device reported: 2.",
        "No estimates for 19 s: 2:10 to 2:29.",
        "At 2:11: the input was unplugged.",
        "10 s silence",
        "An interval is made to contain 80 %",
        "from the last 10 s of music",
    ):
        assert words in text


def test_it_shows_the_values_around_a_marker_and_the_largest_change() -> None:
    text = text_of(report_page(therapy()))
    assert (
        "1 1:30 14:03:41 eyes <b>open</b> & calm calm +0.40, \u22120.40 +0.40, \u22120.40 "
        "+0.40, \u22120.40 0.00, 0.00"
    ) in text
    assert "1:00 \u22120.40, +0.60 +0.40, \u22120.40 1.28" in text


def test_nothing_that_a_recording_contains_becomes_markup() -> None:
    hostile = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(1)>"
    session = session_of(
        [
            *music([(0.1, 0.1, hostile)] * 5),
            Marker(2.0, utc_at(2), hostile),
            Losses(3.0, utc_at(3), {hostile: 1}),
            RecordedNotice(3.0, utc_at(3), "code", hostile),
        ],
        header=replace(
            HEADER,
            input={"name": f"{hostile}\ud800", "channels": hostile, "sample_rate_hz": 44100},
            model={"name": hostile},
            backend=hostile,
            versions={hostile: hostile},
        ),
        name=hostile,
    )
    page = report_page(session, session, TARGET)
    assert page.count("<script") == 2
    assert "<img" not in page
    page.encode()
    assert hostile in text_of(page)


def test_it_loads_nothing() -> None:
    page = report_page(therapy(), therapy(), TARGET)
    assert not re.search(r"https?:|src=|href=|url\(|@import", page)
    assert "default-src 'none'" in page
    assert "script-src 'sha256-" in page  # no script but its own


def test_the_target_is_drawn_and_its_distance_told() -> None:
    without = report_page(therapy())
    page = report_page(therapy(), None, TARGET)
    assert "Distance to the target" not in text_of(without)
    assert "Distance to the target" in text_of(page)
    assert page.count('class="target"') == 3  # valence, arousal, plane
    assert 'class="within"' in page


def test_two_sessions_are_compared() -> None:
    other = session_of(music([(0.2, 0.1, "calm")] * 120), name="tuesday")
    text = text_of(report_page(therapy(), other))
    assert "evening and tuesday" in text
    assert "mean arousal +0.10 +0.10 0.00" in text
    assert "time tense 50 % 0 % \u221250 points" in text
    assert "over 2 min with music in both" in text


@pytest.mark.parametrize(
    ("other", "doubt"),
    [
        (replace(HEADER, model={"name": "mine", "sha256": "ff"}), "The models differ"),
        (HEADER, "The ranges differ"),
    ],
)
def test_sessions_that_cannot_be_compared_are_named(other: object, doubt: str) -> None:
    items = [replace(estimate(t), scaled=None) for t in range(1, 20)]
    assert isinstance(other, type(HEADER))
    assert doubt in text_of(report_page(therapy(), session_of(items, header=other)))


def test_a_table_has_a_report_without_what_it_cannot_say() -> None:
    analysed = [replace(each, utc=utc_at(each.t / 50.0)) for each in music(POINTS)]
    text = text_of(report_page(session_of(analysed, header=None)))
    assert "2 min, analysed on Wednesday 25 November 2026" in text
    assert "Whether audio was lost, a table cannot say." in text


def test_without_music_the_page_says_so() -> None:
    silence = [estimate(t, mood=None, state=State.SILENCE) for t in range(1, 5)]
    text = text_of(report_page(session_of(silence), None, TARGET))
    assert "There was no music." in text
    assert "Distance to the target" not in text


def test_a_single_estimate_is_a_report() -> None:
    assert "calm" in text_of(report_page(session_of([estimate(1)]), None, TARGET))


def test_hours_stay_small() -> None:
    items = [
        estimate(n / 10.0, (n % 70) / 100, (n % 90) / 200, "calm" if n % 50 < 25 else "sad")
        for n in range(1, 36_000)
    ]
    assert len(report_page(session_of(items), None, TARGET)) < 1_000_000


def test_the_moments_of_the_readout_are_those_of_the_session() -> None:
    page = report_page(therapy())
    found = re.search(r'id="moments">(.*?)</script>', page)
    assert found is not None
    moments = json.loads(found[1])
    (session,) = moments["sessions"]
    assert moments["end_s"] == 150.0
    assert session["t"][:2] == [1.0, 2.0]
    assert session["word"][59:61] == ["tense", "calm"]
    assert session["word"][120] == "silence"


def test_a_browser_shows_it_from_disk_and_reads_moments(tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium in PATH")
    path = tmp_path / "report.html"
    path.write_text(report_page(therapy(), None, TARGET), encoding="utf-8")
    errors: list[str] = []
    requests: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, headless=True, args=list(CHROMIUM_ARGUMENTS)
        )
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(120_000)
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        legend = page.inner_text(".readout")
        page.locator("figure.timeline").first.focus()
        page.keyboard.press("ArrowLeft")
        assert page.inner_text(".readout").startswith("2:30   calm, valence +0.20, arousal")
        page.keyboard.press("Escape")
        assert page.inner_text(".readout") == legend
        page.locator("figure.timeline .tall .plot").first.hover()
        assert page.inner_text(".readout").startswith("1:1")
        browser.close()
    assert errors == []
    assert requests == [path.as_uri()]
