"""The real page, from the real server, in a real browser."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from mer_engine import Engine
from page_support import Open, Serve, ServerProcess, Visit, free_port

from realtime_mer.clock import SystemClock
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.mood import WORDS
from realtime_mer.core.pipeline import Pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SIGNED = re.compile(r"^[+−]\d\.\d\d$")
LIVE = "() => mer.history.length >= 3 && document.querySelector('#mood').textContent !== '…'"


def text(visit: Visit, selector: str) -> str:
    return visit.page.locator(selector).inner_text()


def drop(visit: Visit, path: Path, name: str) -> None:
    """Drops a file on the page as a hand would."""
    visit.js(
        """([bytes, name]) => {
             const data = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
             const transfer = new DataTransfer();
             transfer.items.add(new File([data], name));
             for (const type of ["dragenter", "dragover", "drop"]) {
               document.body.dispatchEvent(new DragEvent(type, {
                 bubbles: true, cancelable: true, dataTransfer: transfer }));
             }
           }""",
        [base64.b64encode(path.read_bytes()).decode(), name],
    )


def test_the_emotion_of_the_servers_music_moves(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.wait("() => mer.connection.phase.name === 'open' && mer.health !== null")
    assert text(here, "#mood") in WORDS
    for axis in ("valence", "arousal"):
        assert SIGNED.match(text(here, f"#{axis}"))
        assert re.match(r"^[+−]\d\.\d\d … [+−]\d\.\d\d$", text(here, f"#{axis}-within"))
    assert text(here, "#source").startswith("demo")
    assert re.match(r"looks back [\d.]+ s; adds [\d.]+ ms", text(here, "#latency"))
    here.wait("() => document.querySelector('#health').textContent.includes('viewer')")
    assert text(here, "#link-text") == "connected"
    # The point moves between two estimates, not only with them.
    here.js("() => { window.places = new Set(); window.first = mer.history.end; }")
    here.wait(
        """() => {
             places.add(mer.plane.shown.valence.toFixed(7) + mer.plane.shown.arousal.toFixed(7));
             return mer.history.end - first >= 10;
           }"""
    )
    assert here.js("places.size") > here.js("mer.history.end - first")


def test_canvases_are_painted(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.wait("() => mer.timeline.painted > 2")
    for canvas in ("plane", "timeline"):
        colours = here.js(
            """(id) => {
                 const canvas = document.getElementById(id);
                 const { width, height } = canvas;
                 const image = canvas.getContext("2d").getImageData(0, 0, width, height);
                 const seen = new Set();
                 for (let i = 0; i < image.data.length; i += 44) {
                   seen.add((image.data[i] >> 3) * 1024 + (image.data[i + 1] >> 3) * 32
                     + (image.data[i + 2] >> 3));
                 }
                 return seen.size;
               }""",
            canvas,
        )
        assert colours > (100 if canvas == "plane" else 4), canvas


def test_microphone_of_the_browser(visit: Open, demo: ServerProcess) -> None:
    here, other = visit(demo.url), visit(demo.url)
    for one in (here, other):
        one.wait(LIVE)
        one.page.get_by_role("button", name="microphone").click()
    sessions = []
    for one in (here, other):
        one.wait("() => mer.hello.input.kind === 'browser' && mer.input.choice.phase === 'running'")
        one.wait(
            """() => {
                 const { history, hello } = mer;
                 if (history.length < 1) return false;
                 const newest = history.at(history.end - 1);
                 return newest.session === hello.session && newest.t >= 2 && newest.level_db > -50;
               }"""
        )
        sessions.append(one.js("mer.hello.session"))
    assert sessions[0] != sessions[1]
    settings = here.js("mer.input._source._stream.getAudioTracks()[0].getSettings()")
    for name in ("echoCancellation", "noiseSuppression", "autoGainControl"):
        assert settings[name] is False, name
    assert here.js("mer.input.droppedSeconds") == 0
    here.wait("() => mer.health.sessions >= 2")
    here.page.get_by_role("button", name="demo").click()
    here.wait("() => mer.hello.input.kind === 'demo'")
    assert other.js("mer.hello.session") == sessions[1]
    # The microphone is let go: no track lives on.
    assert here.js("mer.input._source") is None


def test_a_dropped_file_gives_what_the_pipeline_gives(
    visit: Open, demo: ServerProcess, song: Path, engine: Engine
) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    drop(here, song, "small song.wav")
    here.wait("() => mer.input.choice.kind === 'file' && mer.input.choice.phase === 'running'")
    here.wait("() => mer.hello.input.name === 'small song.wav'")
    session = here.js("mer.hello.session")
    here.wait("() => document.querySelector('#progress').value > 0.2")
    assert re.match(r"^0:0\d of 0:04$", text(here, "#position"))
    # It ends by itself, and the server's own input is back.
    here.wait("() => mer.input.choice.kind === 'server' && mer.hello.input.kind === 'demo'")
    rows = here.js(
        """(session) => {
             const rows = [];
             for (let i = mer.history.start; i < mer.history.end; i += 1) {
               const row = mer.history.at(i);
               if (row.session !== session) continue;
               rows.push([row.t, row.valence, row.arousal, row.level_db]);
             }
             return rows;
           }""",
        session,
    )
    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    pipeline = Pipeline(
        engine, sample_rate_hz=rate, config=PipelineConfig(hop_s=0.2), clock=SystemClock()
    )
    expected = {round(e.t, 3): e for e in [*pipeline.feed(samples), *pipeline.finish()]}
    assert len(rows) >= 15
    for t, valence, arousal, level_db in rows:
        want = expected[round(t, 3)]
        # The browser decodes with a rounding of its own, which may tip a peak of the spectrum.
        np.testing.assert_allclose([valence, arousal], [want.valence, want.arousal], atol=1e-3)
        assert level_db == pytest.approx(want.level_db, abs=0.02)


def test_from_one_own_input_straight_to_another(
    visit: Open, demo: ServerProcess, song: Path
) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait("() => mer.input.choice.phase === 'running' && mer.hello.input.kind === 'browser'")
    # The server still hears the end of the one when the other begins.
    for _ in range(3):
        drop(here, song, "small song.wav")
        here.wait("() => mer.input.choice.phase === 'running' && mer.input.progress !== null")
    here.wait("() => mer.hello.input.name === 'small song.wav' && mer.input.progress.position > 1")
    here.wait("() => mer.history.at(mer.history.end - 1).session === mer.hello.session")
    assert here.page.locator("#notice").is_hidden(), text(here, "#notice-text")


def test_a_chosen_file_can_be_stopped(visit: Open, demo: ServerProcess, song: Path) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.locator("#file").set_input_files(song)
    here.wait("() => mer.hello.input.kind === 'browser'")
    here.page.get_by_role("button", name="stop").click()
    here.wait("() => mer.hello.input.kind === 'demo'")
    assert here.page.locator("#playing").is_hidden()


def test_what_is_not_audio_is_told_in_words(
    visit: Open, demo: ServerProcess, tmp_path: Path
) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    session = here.js("mer.hello.session")
    words = tmp_path / "words.mp3"
    words.write_text("la la la")
    drop(here, words, "words.mp3")
    notice = here.page.locator("#notice-text")
    here.wait("() => !document.querySelector('#notice').hidden")
    assert "“words.mp3” is not audio" in notice.inner_text()
    words.write_bytes(b"")
    drop(here, words, "<b>nothing</b>.wav")
    here.wait("() => document.querySelector('#notice-text').textContent.includes('is empty')")
    assert "<b>nothing</b>.wav" in notice.inner_text()
    assert here.js("mer.hello.session") == session
    here.page.get_by_role("button", name="Dismiss").click()
    assert here.page.locator("#notice").is_hidden()


def test_a_refused_microphone_is_told_in_words(
    visit: Open, demo: ServerProcess, shy_browser: Browser
) -> None:
    here = visit(demo.url, using=shy_browser)
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait("() => !document.querySelector('#notice').hidden")
    assert "not allowed to use the microphone" in text(here, "#notice-text")
    assert here.page.locator("#use-server").get_attribute("aria-pressed") == "true"


def test_a_page_that_is_not_secure_says_why_and_still_takes_files(
    visit: Open, serve: Serve, song: Path
) -> None:
    port = free_port()
    origin = f"http://insecure.test:{port}"
    serve("--input", "browser", "--port", str(port), "--allow-origin", origin, "--hop", "0.2")
    here = visit(origin + "/")
    here.wait("() => mer.hello !== null")
    assert here.js("isSecureContext") is False
    assert "no input of its own" in text(here, "#state-text")
    assert here.page.locator("#use-server").is_hidden()
    here.page.get_by_role("button", name="microphone").click()
    here.wait("() => !document.querySelector('#notice').hidden")
    assert "https" in text(here, "#notice-text")
    assert "localhost" in text(here, "#notice-text")
    here.page.locator("#file").set_input_files(song)
    here.wait("() => mer.history.length >= 2")


def test_a_full_server_is_told_in_words_and_keeps_the_page(visit: Open, serve: Serve) -> None:
    server = serve("--input", "demo", "--port", "0", "--hop", "0.2", "--max-sessions", "1")
    first, second = visit(server.url), visit(server.url)
    for one in (first, second):
        one.wait(LIVE)
        one.page.keyboard.press("m")
        if one is first:
            one.wait("() => mer.hello.input.kind === 'browser'")
    second.wait("() => !document.querySelector('#notice').hidden")
    assert "1" in text(second, "#notice-text")
    second.wait("() => mer.input.choice.kind === 'server'")
    # A full server is not pressed for five seconds; a hand may be less patient.
    second.page.get_by_role("button", name="try now").click()
    second.wait("() => mer.connection.phase.name === 'open' && mer.hello.input.kind === 'demo'")
    end = second.js("mer.history.end")
    second.wait("(end) => mer.history.end > end + 2", end)
    assert first.js("mer.hello.input.kind") == "browser"


def test_the_end_of_the_input_is_told_and_the_view_stands(
    visit: Open, serve: Serve, song: Path
) -> None:
    server = serve("--input", str(song), "--port", "0", "--hop", "0.2")
    here = visit(server.url)
    here.wait("() => mer.ended")
    assert "The input has ended" in text(here, "#notice-text")
    edge = here.js("mer.viewTime(performance.now() / 1000)")
    here.wait("(since) => performance.now() > since + 300", here.js("performance.now()"))
    assert here.js("mer.viewTime(performance.now() / 1000)") == edge
    assert here.js("mer.history.length") >= 15


def test_nothing_flashes_whatever_the_music_does(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    # Two moods and two states that change places with each of 40 estimates, 20 a second.
    changes = here.js(
        """() => new Promise((done) => {
             mer.connection.close();
             let words = 0, marks = 0, seen = mer.plane._state, count = 0;
             new MutationObserver(() => { words += 1; }).observe(mood, { childList: true });
             const feed = setInterval(() => {
               const odd = count % 2 === 1;
               mer._take({ ...mer.newest, seq: mer.newest.seq + 1,
                           mood: odd ? "tense" : "calm", state: odd ? "silence" : "tracking",
                           utc: new Date(Date.parse(mer.newest.utc) + 50).toISOString() });
               if (mer.plane._state !== seen) { marks += 1; seen = mer.plane._state; }
               count += 1;
               if (count === 40) { clearInterval(feed); done([words, marks, performance.now()]); }
             }, 50);
           })"""
    )
    # A flash is there and back: six changes a second are three flashes. This took two seconds.
    assert 1 <= changes[0] <= 10
    assert 1 <= changes[1] <= 10


def test_survives_a_restart_of_the_server(visit: Open, serve: Serve) -> None:
    port = free_port()
    arguments = ("--input", "demo", "--port", str(port), "--hop", "0.2")
    server = serve(*arguments)
    here = visit(server.url)
    here.may_miss_server = True
    here.wait(LIVE)
    before = here.js("({ session: mer.hello.session, end: mer.history.end })")
    server.kill()
    here.wait("() => ['waiting', 'gone'].includes(mer.connection.phase.name)")
    assert re.match(
        r"(reconnecting|server gone).* in \d+ s|reconnecting now", text(here, "#link-text")
    )
    serve(*arguments)
    here.wait("(before) => mer.hello.session !== before.session", before)
    here.wait("(before) => mer.history.end >= before.end + 3", before)
    assert text(here, "#link-text") == "connected"
    # A break, not an error: both sessions are in the history, nothing complains.
    assert here.js("mer.history.sessions.map((one) => one.id)") == [
        before["session"],
        here.js("mer.hello.session"),
    ]
    assert here.page.locator("#notice").is_hidden(), text(here, "#notice-text")


def test_the_microphone_goes_on_after_a_restart(visit: Open, serve: Serve) -> None:
    port = free_port()
    arguments = ("--input", "demo", "--port", str(port), "--hop", "0.2")
    server = serve(*arguments)
    here = visit(server.url)
    here.may_miss_server = True
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait("() => mer.hello.input.kind === 'browser'")
    session = here.js("mer.hello.session")
    server.kill()
    here.wait("() => mer.connection.phase.name !== 'open'")
    # What the microphone hears meanwhile goes nowhere, and the page says so.
    here.wait("() => mer.input.droppedSeconds > 0.1")
    here.wait("() => /this browser dropped/.test(document.querySelector('#health').textContent)")
    serve(*arguments)
    here.wait(
        """(session) => mer.hello.input.kind === 'browser' && mer.hello.session !== session
             && mer.history.at(mer.history.end - 1).session === mer.hello.session""",
        session,
    )
    # Nothing of the server's own music was taken for ours in between.
    names = here.js("mer.history.sessions.map((one) => one.label)")
    assert names[0] == "demo"
    assert "demo" not in names[1:]


def test_a_lost_connection_leaves_no_hole(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    session = here.js("mer.hello.session")
    # The line is cut without a word, and the page is kept from coming back for a while.
    here.js(
        """() => {
             const connection = mer.connection;
             window.cutAt = mer.history.end;
             window.realOpen = connection.open.bind(connection);
             connection.open = () => {};
             connection._lost(1006, "");
           }"""
    )
    here.wait("() => mer.connection.phase.name === 'waiting'")
    here.page.wait_for_function(
        "(since) => performance.now() - since > 1500", arg=here.js("performance.now()")
    )
    assert here.js("mer.history.end === cutAt")
    here.js("() => { mer.connection.open = realOpen; mer.connection.open(); }")
    here.wait("() => mer.history.end >= cutAt + 8")
    assert here.js("mer.hello.session") == session
    seqs = here.js(
        """() => Array.from({ length: mer.history.length },
                            (_, k) => mer.history.at(mer.history.start + k).seq)"""
    )
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def alpha(png: bytes) -> Any:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3]


@pytest.mark.parametrize(
    ("show", "size", "at"),
    [
        ("plane", (600, 600), (300, 300)),
        ("badge", (640, 120), (40, 60)),
        ("timeline", (900, 300), (120, 300)),
    ],
)
def test_overlay_shows_one_piece_on_nothing(
    visit: Open, demo: ServerProcess, show: str, size: tuple[int, int], at: tuple[int, int]
) -> None:
    here = visit(
        f"{demo.url}?overlay=1&show={show}", viewport={"width": size[0], "height": size[1]}
    )
    here.wait(LIVE)
    here.wait("() => mer.readout._at > 0")
    seen = alpha(here.page.screenshot(omit_background=True))
    assert [seen[0, 0], seen[0, -1], seen[-1, 0], seen[-1, -1]] == [0, 0, 0, 0]
    assert seen[at] > 100
    # Whatever lies behind shows through the ground too.
    assert (seen[seen > 0] < 255).mean() > 0.5
    assert here.page.locator(".bar").is_hidden()
    assert here.page.locator(".health").is_hidden()
    assert here.js("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert (
        here.js("getComputedStyle(document.documentElement).backgroundColor") == "rgba(0, 0, 0, 0)"
    )
    if show == "badge":
        assert text(here, "#badge-mood") in WORDS


def test_pause_stops_the_view_and_not_the_stream(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.keyboard.press("p")
    at = here.js("mer.history.end")
    shown = text(here, "#valence"), text(here, "#arousal")
    # The point may finish the way it was on.
    here.wait("() => !mer.plane._spring.moving")
    place = here.js("mer.plane.shown")
    here.wait("(at) => mer.history.end >= at + 5", at)
    here.wait("() => /^paused · [1-9]\\d* new while paused$/.test(unseen.textContent)")
    assert here.js("mer.plane.shown") == place
    assert (text(here, "#valence"), text(here, "#arousal")) == shown
    edge = here.js("mer.timeline.edge")
    here.wait("(at) => mer.history.end >= at + 7", at)
    assert here.js("mer.timeline.edge") == edge
    here.page.get_by_role("button", name="Resume").click()
    here.wait("(edge) => mer.timeline.edge > edge + 1", edge)
    assert here.page.locator("#unseen").is_hidden()


def test_csv_holds_what_was_seen(visit: Open, demo: ServerProcess) -> None:
    from realtime_mer.outputs.table import COLUMNS

    here = visit(demo.url)
    here.wait(LIVE)
    here.page.keyboard.press("p")
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name="CSV").click()
    assert re.match(r"^realtime-mer-[\dT-]+Z\.csv$", download.value.suggested_filename)
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert tuple(rows[0]) == ("session", *COLUMNS)
    seen = here.js(
        """(count) => Array.from({ length: count },
                                 (_, k) => mer.history.at(mer.history.start + k))""",
        len(rows),
    )
    assert len(rows) >= 3
    for row, estimate in zip(rows, seen, strict=True):
        assert row["session"] == estimate["session"]
        assert int(row["seq"]) == estimate["seq"]
        assert row["utc"] == estimate["utc"]
        assert row["mood"] == estimate["mood"]
        assert float(row["valence"]) == pytest.approx(estimate["valence"], abs=1e-6)
        assert float(row["window_s"]) == pytest.approx(estimate["latency"]["window_s"], abs=1e-3)


def test_everything_is_reached_by_keyboard_and_shows_its_focus(
    visit: Open, demo: ServerProcess
) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    expected = ["pause", "export", "theme", "full", "help-open",
                "use-server", "use-microphone", "use-file", "zoom"]  # fmt: skip
    reached: list[str] = []
    for _ in range(len(expected) + 2):
        here.page.keyboard.press("Tab")
        found = here.js(
            """() => {
                 const focused = document.activeElement;
                 const drawn = focused.name === "zoom" ? focused.nextElementSibling : focused;
                 const style = getComputedStyle(drawn);
                 return { name: focused.id || focused.name || focused.tagName,
                          outline: parseFloat(style.outlineWidth), style: style.outlineStyle };
               }"""
        )
        if found["name"] == "BODY":
            break
        reached.append(found["name"])
        assert found["style"] == "solid", found
        assert found["outline"] >= 2, found
    assert reached == expected
    # The last is a group of radio buttons: arrows choose.
    here.page.locator("input[name=zoom]:checked").focus()
    here.page.keyboard.press("ArrowRight")
    here.wait("() => mer.timeline.zoom === 600")


def test_keys_and_help(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    press = here.page.keyboard.press
    press("3")
    assert here.js("mer.timeline.zoom") == 3600
    press("?")
    dialog = here.page.get_by_role("dialog", name="How to read this page")
    assert dialog.is_visible()
    press("1")
    assert here.js("mer.timeline.zoom") == 3600, "keys rest while the help is open"
    dialog.get_by_label("single-key shortcuts").uncheck()
    press("Escape")
    assert dialog.is_hidden()
    press("1")
    assert here.js("mer.timeline.zoom") == 3600, "keys rest when they are switched off"
    here.page.reload()
    here.wait(LIVE)
    press("2")
    assert here.js("mer.timeline.zoom") == 60, "and are remembered so"


def test_space_presses_the_button_that_has_the_focus(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.locator("#theme").focus()
    before = here.js("document.documentElement.dataset.theme")
    here.page.keyboard.press(" ")
    assert here.js("document.documentElement.dataset.theme") != before
    assert here.js("mer.paused") is None


def test_theme_follows_system_address_and_choice(visit: Open, demo: ServerProcess) -> None:
    theme = "document.documentElement.dataset.theme"
    here = visit(demo.url, color_scheme="light")
    assert here.js(theme) == "light"
    here.page.emulate_media(color_scheme="dark")
    here.wait(f"() => {theme} === 'dark'")
    here.page.keyboard.press("t")
    assert here.js(theme) == "light"
    here.page.reload()
    assert here.js(theme) == "light"
    here.page.goto(f"{demo.url}?theme=dark")
    assert here.js(theme) == "dark"
    here.wait(LIVE)


def test_full_screen(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.keyboard.press("f")
    here.wait("() => document.fullscreenElement === document.documentElement")
    # A stage: the controls fade while nobody touches anything, and are back at once.
    here.wait("() => document.documentElement.dataset.idle !== undefined")
    here.wait("() => getComputedStyle(document.querySelector('.bar')).opacity === '0'")
    here.page.keyboard.press("Shift")
    assert here.js("document.documentElement.dataset.idle") is None
    here.page.keyboard.press("f")
    here.wait("() => document.fullscreenElement === null")


@pytest.mark.parametrize(("width", "height"), [(360, 800), (768, 1024), (1440, 900), (2560, 1440)])
def test_fits_from_phone_to_projector(
    visit: Open, demo: ServerProcess, width: int, height: int
) -> None:
    here = visit(demo.url, viewport={"width": width, "height": height})
    here.wait(LIVE)
    scroll = here.js("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll[0] <= scroll[1]
    for selector in ("#plane", "#timeline", "#mood", "#valence", "#use-file", "#help-open"):
        box = here.page.locator(selector).bounding_box()
        assert box is not None
        assert box["width"] > 20, selector
        assert box["x"] >= 0, selector
        assert box["x"] + box["width"] <= width, selector
    if width >= 1440:
        # On a screen everything is there at once.
        assert here.js("document.documentElement.scrollHeight <= innerHeight")
        overlaps = here.js(
            """() => {
                 const boxes = [".bar", ".now", ".desk", ".past", ".health"].map(
                   (name) => document.querySelector(name).getBoundingClientRect());
                 return boxes.slice(1).some((box, k) => box.top < boxes[k].bottom - 1);
               }"""
        )
        assert not overlaps


def test_text_line_changes_at_most_once_a_second(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    line = here.page.locator("#spoken")
    assert line.get_attribute("aria-live") == "polite"
    here.js(
        """() => {
             window.said = [];
             new MutationObserver(() => said.push([performance.now(), spoken.textContent]))
               .observe(spoken, { childList: true, characterData: true, subtree: true });
           }"""
    )
    # Much happens at once: estimates, a pause, another, and the line takes its time.
    for key in "pppp":
        here.page.keyboard.press(key)
    here.wait("() => said.length >= 3")
    said = here.js("said")
    gaps = np.diff([at for at, _ in said])
    assert gaps.min() >= 990
    texts = [words for _, words in said]
    assert all(one != other for one, other in itertools.pairwise(texts))


def test_reduced_motion_steps(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url, reduced_motion="reduce")
    here.wait(LIVE)
    moved = here.js(
        """() => new Promise((done) => {
             const end = mer.history.end + 5;
             let moved = 0;
             const look = () => {
               moved += mer.plane._spring.moving ? 1 : 0;
               if (mer.history.end >= end) done(moved);
               else requestAnimationFrame(look);
             };
             look();
           })"""
    )
    assert moved == 0
    assert here.js("getComputedStyle(mood).transitionDuration") == "0s"


def test_an_hour_of_history_is_drawn_in_time(visit: Open, demo: ServerProcess) -> None:
    here = visit(f"{demo.url}?bench=1", viewport={"width": 1440, "height": 900})
    results = []
    # The machine may be busy with other tests: what it can do is what it did best.
    for _ in range(4):
        result = here.js("merBench")
        assert result["estimates"] == 36_000
        assert here.js("mer.history.length") >= 36_000
        speeds = [result[zoom] for zoom in ("1h", "10m", "1m")]
        results.append(speeds)
        # 60 a second leave 16.7 ms for a frame, and half of it belongs to the browser.
        if all(one["fps"] > 55 and one["draw_p95"] < 8.3 for one in speeds):
            return
        here.page.reload()
    pytest.fail(f"too slow: {results}")
