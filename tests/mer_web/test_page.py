"""The page in a browser, with the server as a process."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from mer_engine import Engine
from page_support import Open, Serve, ServerProcess, Visit, free_port
from support import music

from realtime_mer.clock import SystemClock
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.mood import WORDS
from realtime_mer.core.pipeline import Pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

SIGNED = re.compile(r"^[+−]\d\.\d\d$")
LIVE = "() => mer.history.length >= 3 && document.querySelector('#mood').textContent !== '…'"


def text(visit: Visit, selector: str) -> str:
    return visit.page.locator(selector).inner_text()


def drop(visit: Visit, path: Path, name: str) -> None:
    """Drop a file on the page."""
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


def test_page_shows_and_animates_the_estimates(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.wait("() => mer.connection.phase.name === 'open' && mer.health !== null")
    # There is no mood word before half a second of music.
    here.wait(
        "(words) => words.includes(document.querySelector('#mood').textContent)", sorted(WORDS)
    )
    for axis in ("valence", "arousal"):
        assert SIGNED.match(text(here, f"#{axis}"))
        assert re.match(r"^[+−]\d\.\d\d … [+−]\d\.\d\d$", text(here, f"#{axis}-within"))
    assert text(here, "#source").startswith("demo")
    assert re.match(r"looks back [\d.]+ s; adds [\d.]+ ms", text(here, "#latency"))
    here.wait("() => document.querySelector('#health').textContent.includes('viewer')")
    assert text(here, "#link-text") == "connected"
    # The point also moves between estimates: it takes more positions than there are estimates.
    here.js("() => { window.positions = new Set(); window.first = mer.history.end; }")
    here.wait(
        """() => {
             const { valence, arousal } = mer.plane.shown;
             positions.add(valence.toFixed(7) + arousal.toFixed(7));
             return positions.size > mer.history.end - first + 5;
           }"""
    )


def test_canvases_are_painted(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.wait("() => mer.timeline.paintedTiles > 2")
    for canvas in ("plane", "timeline"):
        colours = here.js(
            """(id) => {
                 const canvas = document.getElementById(id);
                 const { width, height } = canvas;
                 const image = canvas.getContext("2d").getImageData(0, 0, width, height);
                 const colours = new Set();
                 for (let i = 0; i < image.data.length; i += 44) {
                   colours.add((image.data[i] >> 3) * 1024 + (image.data[i + 1] >> 3) * 32
                     + (image.data[i + 2] >> 3));
                 }
                 return colours.size;
               }""",
            canvas,
        )
        assert colours > (100 if canvas == "plane" else 4), canvas


def test_microphone_of_the_browser(visit: Open, demo: ServerProcess) -> None:
    here, other = visit(demo.url), visit(demo.url)
    for visitor in (here, other):
        visitor.wait(LIVE)
        visitor.page.get_by_role("button", name="microphone").click()
    sessions = []
    for visitor in (here, other):
        visitor.wait(
            "() => mer.hello.input.kind === 'browser' && mer.input.choice.phase === 'running'"
        )
        visitor.wait(
            """() => {
                 const { history, hello } = mer;
                 if (history.length < 1) return false;
                 const newest = history.at(history.end - 1);
                 return newest.session === hello.session && newest.t >= 1 && newest.level_db > -50;
               }"""
        )
        sessions.append(visitor.js("mer.hello.session"))
    assert sessions[0] != sessions[1]
    settings = here.js("mer.input._source._capture.track.getSettings()")
    for name in ("echoCancellation", "noiseSuppression", "autoGainControl"):
        assert settings[name] is False, name
    assert here.js("mer.input.droppedSeconds") == 0
    here.wait("() => mer.health.sessions >= 2")
    here.page.get_by_role("button", name="demo").click()
    here.wait("() => mer.hello.input.kind === 'demo'")
    assert other.js("mer.hello.session") == sessions[1]
    # The microphone is released.
    assert here.js("mer.input._source") is None


def test_dropped_file_gives_the_estimates_of_the_pipeline(
    visit: Open, demo: ServerProcess, song: Path, engine: Engine
) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    drop(here, song, "small song.wav")
    # The file is short: all of this is seen at one moment.
    here.wait(
        """() => {
             if (mer.input.choice.kind !== "file" || mer.input.choice.phase !== "running"
                 || mer.hello.input.name !== "small song.wav"
                 || !(document.querySelector("#progress").value > 0.2)) return false;
             window.seen = [mer.hello.session, document.querySelector("#position").textContent];
             return true;
           }"""
    )
    session, position = here.js("window.seen")
    assert re.match(r"^0:0\d of 0:02$", position)
    # After its end the page returns to the server's own input.
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
    # A busy machine may skip some of the twelve estimates.
    assert len(rows) >= 3
    for t, valence, arousal, level_db in rows:
        reference = expected[round(t, 3)]
        # The browser rounds differently when it decodes, which may change a spectral peak.
        np.testing.assert_allclose(
            [valence, arousal], [reference.valence, reference.arousal], atol=1e-3
        )
        assert level_db == pytest.approx(reference.level_db, abs=0.02)


def test_change_from_microphone_to_file(visit: Open, demo: ServerProcess, long_song: Path) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait("() => mer.input.choice.phase === 'running' && mer.hello.input.kind === 'browser'")
    # The server may still process the end of one stream when the next begins.
    for _ in range(3):
        drop(here, long_song, "long song.wav")
        here.wait("() => mer.input.choice.phase === 'running' && mer.input.progress !== null")
    here.wait("() => mer.hello.input.name === 'long song.wav' && mer.input.progress.position > 1")
    here.wait("() => mer.history.at(mer.history.end - 1).session === mer.hello.session")
    assert here.page.locator("#notice").is_hidden(), text(here, "#notice p")


def test_stop_a_chosen_file(visit: Open, demo: ServerProcess, long_song: Path) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.locator("#file").set_input_files(long_song)
    here.wait("() => mer.hello.input.kind === 'browser'")
    here.page.get_by_role("button", name="stop").click()
    here.wait("() => mer.hello.input.kind === 'demo'")
    assert here.page.locator("#playing").is_hidden()


def test_invalid_files_show_a_notice(visit: Open, demo: ServerProcess, tmp_path: Path) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    session = here.js("mer.hello.session")
    invalid = tmp_path / "text.mp3"
    invalid.write_text("not audio")
    drop(here, invalid, "text.mp3")
    notice = here.page.locator("#notice p")
    here.wait("() => !document.querySelector('#notice').hidden")
    assert "“text.mp3” is not audio" in notice.inner_text()
    invalid.write_bytes(b"")
    drop(here, invalid, "<b>nothing</b>.wav")
    here.wait("() => document.querySelector('#notice p')?.textContent.includes('is empty')")
    assert "<b>nothing</b>.wav" in notice.inner_text()
    assert here.js("mer.hello.session") == session
    here.page.get_by_role("button", name="Dismiss").click()
    assert here.page.locator("#notice").is_hidden()


def test_denied_microphone_shows_a_notice(
    visit: Open, demo: ServerProcess, denying_browser: Browser
) -> None:
    here = visit(demo.url, using=denying_browser)
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait("() => !document.querySelector('#notice').hidden")
    assert "not allowed to use the microphone" in text(here, "#notice p")
    assert here.page.locator("#use-server").get_attribute("aria-pressed") == "true"
    # The next try begins without the reason of the last one.
    here.js("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    here.page.keyboard.press("m")
    here.wait("() => mer.input.choice.phase === 'opening'")
    assert here.page.locator("#notice").is_hidden()


def test_insecure_page_explains_and_accepts_files(visit: Open, serve: Serve, song: Path) -> None:
    port = free_port()
    origin = f"http://insecure.test:{port}"
    serve("--input", "browser", "--port", str(port), "--allow-origin", origin, "--hop", "0.2")
    here = visit(origin + "/")
    here.wait("() => mer.hello !== null")
    assert here.js("isSecureContext") is False
    assert text(here, "#mood") == "no input yet"
    assert here.page.locator("#use-server").is_hidden()
    here.page.get_by_role("button", name="microphone").click()
    here.wait("() => !document.querySelector('#notice').hidden")
    assert "https" in text(here, "#notice p")
    assert "localhost" in text(here, "#notice p")
    assert "--tls self-signed" in text(here, "#notice p")
    assert "a connection that is not encrypted" in text(here, "#rights")
    here.page.locator("#file").set_input_files(song)
    here.wait("() => mer.history.length >= 2")


def test_full_server_shows_a_notice_and_keeps_the_page(visit: Open, serve: Serve) -> None:
    server = serve("--input", "demo", "--port", "0", "--hop", "0.2", "--max-sessions", "1")
    first, second = visit(server.url), visit(server.url)
    for visitor in (first, second):
        visitor.wait(LIVE)
        visitor.page.keyboard.press("m")
        if visitor is first:
            visitor.wait("() => mer.hello.input.kind === 'browser'")
    second.wait("() => !document.querySelector('#notice').hidden")
    assert "at most 1 audio stream at once" in text(second, "#notice p")
    second.wait("() => mer.input.choice.kind === 'server'")
    # The page waits five seconds before it retries a full server; the button retries at once.
    second.retry()
    second.wait("() => mer.connection.phase.name === 'open' && mer.hello.input.kind === 'demo'")
    end = second.js("mer.history.end")
    second.wait("(end) => mer.history.end > end + 2", end)
    assert first.js("mer.hello.input.kind") == "browser"


def test_full_server_is_named_until_there_is_room(visit: Open, serve: Serve) -> None:
    server = serve("--input", "demo", "--port", "0", "--hop", "0.2", "--max-viewers", "1")
    first = visit(server.url)
    first.wait(LIVE)
    second = visit(server.url)
    second.wait("() => mer.connection.phase.code === 1013")
    assert "at most 1 viewer at once" in text(second, "#notice p")
    # Of the connection that was closed at once, nothing is said.
    assert text(second, "#spoken") == ""
    first.page.close()
    second.wait(LIVE)
    assert second.js("document.querySelector('#notice').hidden")


def test_end_of_the_input_stops_the_view(visit: Open, serve: Serve, song: Path) -> None:
    server = serve("--input", str(song), "--port", "0", "--hop", "0.2", "--speed", "4")
    here = visit(server.url)
    here.wait("() => mer.ended")
    assert "The input has ended" in text(here, "#notice p")
    edge = here.js("mer.viewTime(performance.now() / 1000)")
    here.js("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert here.js("mer.viewTime(performance.now() / 1000)") == edge
    assert here.js("mer.history.length") >= 3


def test_nothing_flashes(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    # Mood and state change with each estimate, 20 a second.
    words, states = here.js(
        """() => new Promise((done) => {
             mer.connection.close();
             const words = [], states = [];
             let state = mer.plane._state, count = 0;
             new MutationObserver(() => words.push(performance.now()))
               .observe(mood, { childList: true });
             const timer = setInterval(() => {
               const odd = count % 2 === 1;
               const utc = new Date(Date.parse(mer.newest.utc) + 50).toISOString();
               mer._handleEstimate({ ...mer.newest, seq: mer.newest.seq + 1, utc,
                                     mood: count % 3 ? "tense" : "calm",
                                     state: odd ? "silence" : "tracking" });
               if (mer.plane._state !== state) {
                 states.push(performance.now());
                 state = mer.plane._state;
               }
               count += 1;
               // The first change may be that from the word of the closed connection.
               if (words.length === 4) { clearInterval(timer); done([words, states]); }
             }, 50);
           })"""
    )
    # Two changes are a flash: at most three flashes a second.
    assert len(states) >= 2
    assert np.diff(states).min() > 1000 / 6
    # A word stays to be read.
    assert np.diff(words[1:]).min() > 1900


def test_restart_of_the_server(visit: Open, serve: Serve) -> None:
    """One page shows the server's input, another one sends its microphone."""
    port = free_port()
    arguments = ("--input", "demo", "--port", str(port), "--hop", "0.2")
    server = serve(*arguments)
    watching, streaming = visit(server.url), visit(server.url)
    for visitor in (watching, streaming):
        visitor.may_lose_server = True
        visitor.wait(LIVE)
    streaming.page.keyboard.press("m")
    streaming.wait("() => mer.hello.input.kind === 'browser'")
    before = watching.js("({ session: mer.hello.session, end: mer.history.end })")
    stream = streaming.js("mer.hello.session")
    server.kill()
    watching.wait("() => ['waiting', 'gone'].includes(mer.connection.phase.name)")
    assert re.match(
        r"(reconnecting|server gone).* in \d+ s|reconnecting now", text(watching, "#link-text")
    )
    # The microphone's audio cannot be sent now, and the page reports that.
    streaming.wait("() => mer.input.droppedSeconds > 0.1")
    streaming.wait(
        "() => /this browser dropped/.test(document.querySelector('#health').textContent)"
    )
    serve(*arguments)
    watching.wait("(before) => mer.hello.session !== before.session", before)
    watching.wait("(before) => mer.history.end >= before.end + 3", before)
    assert text(watching, "#link-text") == "connected"
    # The history contains both sessions, and there is no notice.
    assert watching.js("mer.history.sessions.map((session) => session.id)") == [
        before["session"],
        watching.js("mer.hello.session"),
    ]
    assert watching.page.locator("#notice").is_hidden(), text(watching, "#notice p")
    streaming.wait(
        """(stream) => mer.hello.input.kind === 'browser' && mer.hello.session !== stream
             && mer.history.at(mer.history.end - 1).session === mer.hello.session""",
        stream,
    )
    # No estimate of the server's own input was added in between.
    names = streaming.js("mer.history.sessions.map((session) => session.label)")
    assert names[0] == "demo"
    assert "demo" not in names[1:]


def test_lost_connection_leaves_no_gap(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    session = here.js("mer.hello.session")
    # Cut the connection, and keep the page from reconnecting until it has missed estimates.
    here.js(
        """() => {
             const connection = mer.connection;
             window.cutAt = mer.history.end;
             window.realOpen = connection.open.bind(connection);
             connection.open = () => {};
             connection._handleLoss(1006, "");
           }"""
    )
    here.wait("() => mer.connection.phase.name === 'waiting'")
    here.wait(
        """async () => {
             const { latest } = await (await fetch("healthz")).json();
             return latest.seq >= mer.history.at(cutAt - 1).seq + 3;
           }"""
    )
    assert here.js("mer.history.end === cutAt")
    here.js("() => { mer.connection.open = realOpen; mer.connection.open(); }")
    here.wait("() => mer.history.end >= cutAt + 4")
    assert here.js("mer.hello.session") == session
    seqs = here.js(
        """() => Array.from({ length: mer.history.length },
                            (_, k) => mer.history.at(mer.history.start + k).seq)"""
    )
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_pause_stops_the_view_but_not_the_stream(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.pause()
    at = here.js("mer.history.end")
    shown = text(here, "#valence"), text(here, "#arousal")
    # The point may finish its current motion.
    here.wait("() => !mer.plane._spring.moving")
    position = here.js("mer.plane.shown")
    here.wait("(at) => mer.history.end >= at + 2", at)
    here.wait("() => /^paused · [1-9]\\d* new while paused$/.test(unseen.textContent)")
    assert here.js("mer.plane.shown") == position
    assert (text(here, "#valence"), text(here, "#arousal")) == shown
    edge = here.js("mer.timeline.edge")
    here.wait("(at) => mer.history.end >= at + 4", at)
    assert here.js("mer.timeline.edge") == edge
    here.page.get_by_role("button", name="Resume").click()
    here.wait("(edge) => mer.timeline.edge > edge + 1", edge)
    assert here.page.locator("#unseen").is_hidden()


def test_csv_contains_the_history(visit: Open, demo: ServerProcess) -> None:
    from realtime_mer.outputs.table import COLUMNS

    here = visit(demo.url)
    here.wait(LIVE)
    here.pause()
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name="CSV").click()
    assert re.match(r"^realtime-mer-[\dT-]+Z\.csv$", download.value.suggested_filename)
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert tuple(rows[0]) == ("session", *COLUMNS)
    history = here.js(
        """(count) => Array.from({ length: count },
                                 (_, k) => mer.history.at(mer.history.start + k))""",
        len(rows),
    )
    assert len(rows) >= 3
    for row, estimate in zip(rows, history, strict=True):
        assert row["session"] == estimate["session"]
        assert int(row["seq"]) == estimate["seq"]
        assert row["utc"] == estimate["utc"]
        assert row["mood"] == estimate["mood"]
        assert float(row["valence"]) == pytest.approx(estimate["valence"], abs=1e-6)
        assert float(row["window_s"]) == pytest.approx(estimate["latency"]["window_s"], abs=1e-3)


def test_keyboard_reaches_all_controls_with_visible_focus(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    expected = ["pause", "export", "stage-open", "theme", "full", "help-open", "range",
                "use-server", "use-microphone", "use-tab", "use-file", "mark", "compare-open",
                "zoom", "timeline"]  # fmt: skip
    reached: list[str] = []
    for _ in range(len(expected) + 50):
        here.page.keyboard.press("Tab")
        found = here.js(
            """() => {
                 const focused = document.activeElement;
                 const drawn = focused.name === "zoom" ? focused.nextElementSibling : focused;
                 const style = getComputedStyle(drawn);
                 return { name: focused.id || focused.name || focused.className || focused.tagName,
                          outline: parseFloat(style.outlineWidth), style: style.outlineStyle };
               }"""
        )
        if found["name"] == "BODY":
            break
        if found["name"] != "remark":  # those that the music has caused so far
            reached.append(found["name"])
        assert found["style"] == "solid", found
        assert found["outline"] >= 2, found
    assert reached == expected
    # The last is a group of radio buttons, used with the arrow keys.
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
    assert here.js("mer.timeline.zoom") == 3600, "shortcuts are inactive while the help is open"
    dialog.get_by_label("single-key shortcuts").uncheck()
    press("Escape")
    assert dialog.is_hidden()
    press("1")
    assert here.js("mer.timeline.zoom") == 3600, "shortcuts are disabled"
    here.page.reload()
    here.wait(LIVE)
    press("2")
    assert here.js("mer.timeline.zoom") == 60, "the choice is stored"


def test_space_presses_the_focused_button(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.locator("#theme").focus()
    before = here.js("document.documentElement.dataset.theme")
    here.page.keyboard.press(" ")
    assert here.js("document.documentElement.dataset.theme") != before
    assert here.js("mer.paused") is None


def test_theme_from_system_url_and_choice(visit: Open, demo: ServerProcess) -> None:
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
    # The controls fade after a while without input. Do not wait for it: move the last input back.
    here.js("() => { mer.idleControls._activeAt -= 60_000; }")
    here.wait("() => document.documentElement.dataset.idle !== undefined")
    here.wait("() => getComputedStyle(document.querySelector('.tools')).opacity === '0'")
    here.page.keyboard.press("Shift")
    assert here.js("document.documentElement.dataset.idle") is None
    here.page.keyboard.press("f")
    here.wait("() => document.fullscreenElement === null")


def test_layout_from_phone_to_projector(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    for width, height in ((360, 800), (768, 1024), (1440, 900), (2560, 1440)):
        here.page.set_viewport_size({"width": width, "height": height})
        here.wait("([width, height]) => innerWidth === width && innerHeight === height",
                  [width, height])  # fmt: skip
        assert here.js("document.documentElement.scrollWidth <= innerWidth"), width
        for selector in ("#plane", "#timeline", "#mood", "#valence", "#use-file", "#help-open"):
            box = here.page.locator(selector).bounding_box()
            assert box is not None
            assert box["width"] > 20, (width, selector)
            assert box["x"] >= 0, (width, selector)
            assert box["x"] + box["width"] <= width, (width, selector)
        if width >= 1440:
            # On a wide screen everything is visible without scrolling.
            assert here.js("document.documentElement.scrollHeight <= innerHeight"), width
            overlaps = here.js(
                """() => {
                     const boxes = [".bar", ".now", ".desk", ".past", ".health"].map(
                       (name) => document.querySelector(name).getBoundingClientRect());
                     return boxes.slice(1).some((box, k) => box.top < boxes[k].bottom - 1);
                   }"""
            )
            assert not overlaps, width


def test_long_names_and_notices_leave_room(visit: Open, demo: ServerProcess, song: Path) -> None:
    long_song = song.with_name(f"{'a long name of a symphony ' * 6}.wav")
    # Longer than a slow machine takes to find the button that ends it.
    soundfile.write(long_song, np.tile(music(2.5, 8000, seed=3), (60, 1)), 8000, subtype="PCM_16")
    here = visit(demo.url)
    here.wait(LIVE)
    notice = "The microphone has gone, and this sentence says at length what to do about it. " * 3
    here.page.locator("#file").set_input_files(long_song)
    here.wait("() => mer.hello.input.kind === 'browser'")
    for width, height in ((1280, 800), (1024, 640), (390, 844)):
        here.page.set_viewport_size({"width": width, "height": height})
        here.wait("([w, h]) => innerWidth === w && innerHeight === h", [width, height])
        here.js("(notice) => mer.input.notify(notice)", notice)
        assert here.js("document.documentElement.scrollWidth <= innerWidth"), width
        labels = here.page.locator(".choice:visible span").all()
        for label in labels[1:]:
            assert label.evaluate("(label) => label.scrollWidth <= label.clientWidth"), width
        timeline = here.page.locator("#timeline").bounding_box()
        assert timeline is not None
        assert timeline["height"] >= 110, width
        if width == 1280:
            assert here.js("document.documentElement.scrollHeight <= innerHeight")
        if width >= 1024:
            heads = (".source", ".link", ".tools")
            tops = [here.page.locator(name).bounding_box() for name in heads]
            assert all(box is not None and box["y"] < 50 for box in tops), tops
        else:
            # The notice is seen from the bottom of a long page too, where the inputs are chosen.
            here.js("scrollTo(0, document.documentElement.scrollHeight)")
            box = here.page.locator("#notice").bounding_box()
            assert box is not None
            assert box["y"] >= 0
    here.page.locator("#stop").click()
    here.wait("() => mer.hello.input.kind === 'demo'")


def test_screen_reader_line_changes_at_most_once_a_second(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    line = here.page.locator("#spoken")
    assert line.get_attribute("aria-live") == "polite"
    here.js(
        """() => {
             window.lines = [];
             new MutationObserver(() => lines.push([performance.now(), spoken.textContent]))
               .observe(spoken, { childList: true, characterData: true, subtree: true });
           }"""
    )
    # Several events at once: estimates and changes of the pause.
    for key in "pppp":
        here.page.keyboard.press(key)
    here.wait("() => lines.length >= 3")
    lines = here.js("lines")
    gaps = np.diff([at for at, _ in lines])
    assert gaps.min() >= 990
    texts = [line for _, line in lines]
    assert all(line != following for line, following in itertools.pairwise(texts))


def test_reduced_motion(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url, reduced_motion="reduce")
    here.wait(LIVE)
    moved = here.js(
        """() => new Promise((done) => {
             const end = mer.history.end + 3;
             let moved = 0;
             const check = () => {
               moved += mer.plane._spring.moving ? 1 : 0;
               if (mer.history.end >= end) done(moved);
               else requestAnimationFrame(check);
             };
             check();
           })"""
    )
    assert moved == 0
    assert here.js("getComputedStyle(mood).transitionDuration") == "0s"


def test_tiles_of_an_hour_are_painted_once(visit: Open, demo: ServerProcess) -> None:
    """The work of a frame does not grow with the history."""
    here = visit(f"{demo.url}?bench=1", viewport={"width": 1440, "height": 900})
    here.wait("() => mer.history.length >= 36_000")
    # The measurement itself changes the length of the timeline; afterwards it has its hour.
    here.js("() => merBench.then(() => mer.setZoom(3600))")
    tiles, painted, newest_tile = here.js(
        """() => {
             const { history, timeline } = mer;
             const start = history.newest;
             const seconds = 200;
             timeline.draw(start, history.end);
             const before = timeline.paintedTiles;
             // Ten estimates a second; draw a frame after each.
             for (let k = 1; k <= 10 * seconds; k += 1) {
               const newest = history.at(history.end - 1);
               history.push({ ...newest, seq: newest.seq + 1,
                              utc: new Date((start + k / 10) * 1000).toISOString() }, true);
               timeline.draw(start + k / 10, history.end);
             }
             // The newest tile is repainted when it has changed by a quarter of a column.
             const perColumn = timeline.zoom / timeline._plot.width;
             const repaints = seconds / (perColumn / 4) + seconds / (256 * perColumn) + 2;
             return [timeline._tiles.size, timeline.paintedTiles - before, repaints];
           }"""
    )
    assert tiles >= 3
    assert 0 < painted <= newest_tile
