"""Troubles of the browser's sound: a hidden tab, a suspended context, an unplugged device."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile
from page_support import Open, Serve, ServerProcess, Visit, free_port
from support import music
from support_pulse import VirtualMicrophone

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

LIVE = "() => mer.history.length >= 3"


# Records the newest stream time of each input of this page, how long after the one before it is,
# and the end of the file.
RECORD = """() => {
  window.newest = {};
  window.period = {};
  window.finished = new Promise((done) => mer.input.addEventListener("finished", () => done()));
  mer.connection.addEventListener("message", ({ detail }) => {
    const { name } = mer.hello.input;
    const before = newest[name] ?? 0;
    if (detail.type !== "estimate" || detail.t === before) return;
    [newest[name], period[name]] = [detail.t, detail.t - before];
  });
}"""
FINISHED = """() => new Promise((done) => {
  const ended = () => mer.input.choice.kind === "server" && mer.hello.input.kind !== "browser";
  mer.connection.addEventListener("message", () => ended() && done());
})"""


def write_song(folder: Path, seconds: float) -> Path:
    path = folder / "song.wav"
    soundfile.write(path, music(seconds, seed=3), 44_100, subtype="PCM_16")
    return path


def test_a_hidden_tab_sends_a_file_whole(
    throttled: Callable[[str], Visit], demo: ServerProcess, tmp_path: Path
) -> None:
    here = throttled(demo.url)
    here.wait(LIVE)
    here.js(RECORD)
    here.page.locator("#file").set_input_files(write_song(tmp_path, 8.0))
    here.wait("() => mer.input.choice.kind === 'file' && mer.input.choice.phase === 'running'")
    # Browsers slow down only tabs that make no sound.
    here.page.get_by_label("play it aloud").uncheck()
    here.page.context.new_page()
    here.js("finished")
    assert here.js("document.visibilityState") == "hidden"
    here.js(FINISHED)
    assert here.js("newest['song.wav']") == pytest.approx(8.0, abs=0.2)
    assert here.js("mer.health.counters.dropped_samples") == 0


def phase_is(phase: str) -> str:
    return f"() => mer.input.choice.phase === '{phase}'"


def notice(visit: Visit) -> str:
    return visit.page.locator("#notice p").first.inner_text()


def use_microphone(visit: Visit) -> None:
    visit.wait(LIVE)
    visit.page.keyboard.press("m")
    visit.wait("() => mer.hello.input.kind === 'browser' && mer.newest?.t > 0.5")


def wait_for_estimates(visit: Visit) -> None:
    """Wait for new estimates of this page's own stream."""
    end = visit.js("mer.history.end")
    visit.wait(
        "(end) => mer.hello.input.kind === 'browser' && mer.history.end > end + 2"
        " && mer.newest && mer.newest.state !== 'stalled'",
        end,
    )


def test_suspended_sound_is_named_and_continues(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    use_microphone(here)
    # As during an interruption by the system, the context cannot be resumed for a while.
    here.js(
        """() => {
             const context = mer.input._source._capture._context;
             context.resume = () => Promise.reject(new DOMException("", "InvalidStateError"));
             return context.suspend();
           }"""
    )
    here.wait(phase_is("waiting"))
    assert "has paused the sound" in notice(here)
    assert here.page.locator("#mood").inner_text() == "no sound"
    # Estimates of what was sent before do not make it look live, nor those of the stall.
    words = here.js(
        """() => new Promise((done) => {
             const words = new Set();
             mer.connection.addEventListener("message", ({ detail }) => {
               if (detail.type !== "estimate") return;
               words.add(mood.textContent);
               if (detail.state === "stalled") done([...words]);
             });
           })"""
    )
    assert words == ["no sound"]
    # The page tries again when it is touched.
    here.js("() => { delete mer.input._source._capture._context.resume; }")
    here.page.keyboard.press("Shift")
    here.wait(phase_is("running"))
    assert here.page.locator("#notice").is_hidden()
    wait_for_estimates(here)


def test_muted_microphone_is_named_until_it_is_not_muted(visit: Open, demo: ServerProcess) -> None:
    """As during a phone call, which only phones have."""
    here = visit(demo.url)
    use_microphone(here)
    mute = """(muted) => {
      const { track } = mer.input._source._capture;
      Object.defineProperty(track, "muted", { value: muted, configurable: true });
      track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
    }"""
    here.js(mute, True)
    here.wait(phase_is("waiting"))
    assert notice(here).startswith("The system has muted “")
    here.js(mute, False)
    here.wait(phase_is("running"))
    assert here.page.locator("#notice").is_hidden()
    wait_for_estimates(here)


def test_context_that_the_browser_suspends_is_resumed(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    use_microphone(here)
    here.js("() => mer.input._source._capture._context.suspend()")
    here.wait("() => mer.input._source._capture._context.state === 'running'")
    here.wait(phase_is("running"))
    wait_for_estimates(here)


def test_stuck_sound_is_opened_again(visit: Open, demo: ServerProcess) -> None:
    """As after a change of the device's sample rate: no event, and no more blocks."""
    here = visit(demo.url)
    use_microphone(here)
    here.js(
        """() => {
             window.stuck = mer.input._source._capture;
             stuck._events = { ...stuck._events, block: () => {} };
             Object.defineProperty(stuck, "_heardAt", { get: () => -Infinity, set: () => {} });
           }"""
    )
    here.wait("() => mer.input._source._capture && mer.input._source._capture !== stuck")
    here.wait(phase_is("running"))
    wait_for_estimates(here)


def test_sound_that_is_paused_when_it_comes_back_is_named(visit: Open, demo: ServerProcess) -> None:
    """As after a phone call, where the page must be touched before its sound may run again."""
    here = visit(demo.url)
    use_microphone(here)
    here.js(
        """() => {
             window.before = mer.input._source._capture;
             const paused = { get: () => "suspended", configurable: true };
             Object.defineProperty(AudioContext.prototype, "state", paused);
             const late = new MessageEvent("message", { data: new ArrayBuffer(4096) });
             before.track.dispatchEvent(new Event("ended"));
             before._tap.port.dispatchEvent(late);
           }"""
    )
    here.wait(
        "() => mer.input._source._capture && mer.input._source._capture !== before"
        " && !mer.input._source._connecting"
    )
    assert here.js("mer.input.choice.phase") == "waiting"
    assert "has paused the sound" in notice(here)
    here.js(
        """() => {
             delete AudioContext.prototype.state;
             mer.input._source._capture._context.dispatchEvent(new Event("statechange"));
           }"""
    )
    here.wait(phase_is("running"))
    wait_for_estimates(here)


class Microphones:
    """Microphones of a sound server, which tests plug in and unplug."""

    def __init__(self, server: VirtualMicrophone) -> None:
        self._environment = {**os.environ, **server.environment}

    def pactl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pactl", *arguments],
            env=self._environment, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def plug(self, name: str) -> str:
        """Plug a microphone in and return the number that `unplug` takes."""
        return self.pactl(
            "load-module", "module-remap-source", "master=virtmic.monitor", f"source_name={name}",
            f"source_properties=device.description={name}",
        )  # fmt: skip

    def unplug(self, number: str) -> None:
        self.pactl("unload-module", number)


def test_unplugged_microphone_is_waited_for_and_not_replaced(
    visit: Open,
    demo: ServerProcess,
    launch: Callable[..., Browser],
    sound_server: VirtualMicrophone,
) -> None:
    microphones = Microphones(sound_server)
    stage = microphones.plug("stage")
    microphones.plug("desk")
    microphones.pactl("set-default-source", "desk")
    browser = launch(
        "--use-fake-ui-for-media-stream",
        fake_devices=False,
        env={**os.environ, **sound_server.environment},
    )
    here = visit(demo.url, using=browser)
    use_microphone(here)
    choice = here.page.get_by_label("Microphone", exact=True)
    choice.select_option(label="stage")
    here.wait("() => mer.hello.input.name === 'stage'")
    session = here.js("mer.hello.session")
    microphones.unplug(stage)
    here.wait(phase_is("waiting"))
    assert notice(here).startswith("“stage” is not connected.")
    # The list follows the devices of the browser, which tells of them by itself.
    here.wait(
        """() => [...document.querySelectorAll("#device option:checked")]
             .some((option) => option.textContent === "stage (missing)")"""
    )
    stage = microphones.plug("stage")
    here.wait(phase_is("running"))
    assert here.page.locator("#notice").is_hidden()
    wait_for_estimates(here)
    assert here.js("mer.hello.input.name") == "stage"
    assert here.js("mer.hello.session") == session
    # On the next visit the chosen microphone is missing from the beginning.
    microphones.unplug(stage)
    here.page.reload()
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait(phase_is("waiting"))
    assert notice(here).startswith("“stage” is not connected.")
    choice.select_option(label="desk")
    here.wait("() => mer.hello.input.name === 'desk'")
    here.page.keyboard.press("i")
    # The system's default may become another microphone.
    here.wait("() => mer.hello.input.kind === 'demo'")
    here.js("localStorage.removeItem('realtime-mer.microphone')")
    stage = microphones.plug("stage")
    use_microphone(here)
    here.wait("() => document.querySelector('#device').options.length >= 3")
    microphones.unplug(stage)
    here.wait("() => document.querySelector('#notice p')?.textContent.includes('was unplugged')")
    assert "“stage”" in notice(here)


def test_sound_of_a_tab(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.get_by_role("button", name="tab sound").click()
    here.wait(
        "() => mer.hello.input.name === 'shared sound' && mer.newest?.t > 0.5"
        " && mer.newest?.level_db > -50"
    )
    assert here.js("mer.input._source._capture.stream.getVideoTracks()[0].readyState") == "ended"
    # The user ends the sharing.
    here.js("() => mer.input._source._capture.track.dispatchEvent(new Event('ended'))")
    here.wait("() => mer.input.choice.kind === 'server'")
    assert notice(here).startswith("The sharing of the sound has ended.")
    # The user shares a picture only.
    here.js(
        """() => {
             const { mediaDevices } = navigator;
             const share = mediaDevices.getDisplayMedia.bind(mediaDevices);
             mediaDevices.getDisplayMedia = () => share({ video: true });
           }"""
    )
    here.page.get_by_role("button", name="tab sound").click()
    here.wait("() => document.querySelector('#notice p')?.textContent.startsWith('No sound was')")
    assert "tick “share audio”" in notice(here)
    # Chromium writes this for any picture, although the policy allows a shared one.
    here.errors = [error for error in here.errors if "camera is not allowed" not in error]


def test_reason_of_the_server_stays(visit: Open, serve: Serve) -> None:
    """The reply to blocks that were under way, and to a stop, does not replace it."""
    server = serve("--input", "demo", "--port", "0", "--hop", "0.2")
    here = visit(server.url)
    use_microphone(here)
    # The server ends the stream for a reason of its own.
    here.js(
        """() => {
             mer._receive({ type: "end", session: mer.hello.session, reason: "it is late" });
             mer._receive({ type: "error", code: "not_streaming", message: "not streaming" });
           }"""
    )
    here.wait("() => mer.input.choice.kind === 'server'")
    assert notice(here) == "The server ended the stream: it is late."


def test_stream_that_ended_while_the_sound_was_away_starts_again(
    visit: Open, demo: ServerProcess
) -> None:
    here = visit(demo.url)
    use_microphone(here)
    session = here.js("mer.hello.session")
    here.js(
        """() => {
             const context = mer.input._source._capture._context;
             context.resume = () => Promise.reject(new DOMException("", "InvalidStateError"));
             return context.suspend();
           }"""
    )
    here.wait(phase_is("waiting"))
    # The server gives up after a minute; do not wait for it.
    here.js('() => mer.connection.send(\'{"type": "stop"}\')')
    here.wait("() => mer.hello.input.kind === 'demo'")
    assert here.js("mer.input.choice.kind") == "microphone"
    here.js("() => { delete mer.input._source._capture._context.resume; }")
    here.page.keyboard.press("Shift")
    wait_for_estimates(here)
    assert here.js("mer.hello.session") != session


def test_file_waits_for_a_lost_server(visit: Open, serve: Serve, tmp_path: Path) -> None:
    arguments = ("--input", "demo", "--port", str(free_port()), "--hop", "0.2")
    server = serve(*arguments)
    here = visit(server.url)
    here.may_lose_server = True
    here.wait(LIVE)
    here.page.locator("#file").set_input_files(write_song(tmp_path, 6.0))
    here.wait("() => mer.input.progress !== null && mer.input.progress.position > 2")
    server.kill()
    here.wait("() => mer.connection.phase.name === 'waiting'")
    position = here.js("mer.input.progress.position")
    assert 2 < position < 6
    here.js(RECORD)
    serve(*arguments)
    here.js("finished")
    here.js(FINISHED)
    assert here.js("mer.input.droppedSeconds") == 0
    newest, period = here.js("[newest['song.wav'], period['song.wav']]")
    # The hop is missing at the end, or more where a busy server makes fewer estimates.
    assert 6.0 - position - max(0.2, period) <= newest <= 6.0 - position + 0.2


def wav_head(seconds: int) -> bytes:
    """Return the head of a mono WAV file of 8-bit samples at 8 kHz."""
    size = 8000 * seconds
    return (
        b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
        + (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + (8000).to_bytes(4, "little")
        + (8000).to_bytes(4, "little") + (1).to_bytes(2, "little") + (8).to_bytes(2, "little")
        + b"data" + size.to_bytes(4, "little")
    )  # fmt: skip


def test_a_file_of_three_hours_is_refused_before_it_is_decoded(
    visit: Open, demo: ServerProcess, tmp_path: Path
) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    path = tmp_path / "concert.wav"
    path.write_bytes(wav_head(3 * 3600) + bytes([128]) * 8000 * 3 * 3600)
    here.js(
        """() => {
             window.decoded = 0;
             OfflineAudioContext.prototype.decodeAudioData = () => { decoded += 1; };
           }"""
    )
    here.page.locator("#file").set_input_files(path)
    here.wait("() => !document.querySelector('#notice').hidden")
    assert notice(here) == (
        "“concert.wav” lasts 3 h; this page takes files of at most 30 min. Give it to the "
        "server instead, which takes files of any length: realtime-mer serve --input FILE."
    )
    assert here.js("decoded") == 0


DROP = """(names) => {
  const transfer = new DataTransfer();
  for (const name of names) transfer.items.add(new File(["x"], name));
  document.body.dispatchEvent(
    new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
}"""


def test_several_dropped_files_are_refused_with_a_sentence(
    visit: Open, demo: ServerProcess
) -> None:
    here = visit(demo.url)
    use_microphone(here)
    here.js(DROP, ["a.wav", "b.wav"])
    here.wait("() => !document.querySelector('#notice').hidden")
    assert notice(here).startswith("2 files were dropped, and this page plays one at a time")
    assert here.js("mer.input.choice.kind") == "microphone", "the present input stays"
