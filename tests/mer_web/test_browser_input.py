"""Troubles of the browser's sound: a hidden tab, a suspended context, an unplugged device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from page_support import ServerProcess, Visit
from support import music

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

LIVE = "() => mer.history.length >= 3"


# Records the newest stream time of each input of this page.
RECORD = """() => {
  window.newest = {};
  mer.connection.addEventListener("message", ({ detail }) => {
    if (detail.type === "estimate") newest[mer.hello.input.name] = detail.t;
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
    here.js("() => new Promise((done) => mer.input.addEventListener('finished', done))")
    assert here.js("document.visibilityState") == "hidden"
    here.js(FINISHED)
    assert here.js("newest['song.wav']") == pytest.approx(8.0, abs=0.2)
    assert here.js("mer.health.counters.dropped_samples") == 0
