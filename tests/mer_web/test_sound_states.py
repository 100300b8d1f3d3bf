"""How the page shows speech, noise and a missing mood."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from fast_support import tones
from page_support import Open, Serve

from realtime_mer.core.types import State

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)


def test_speech_holds_the_values_and_is_named(
    visit: Open, serve: Serve, sound_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, tones([("speech", 6.0)]), 16_000, subtype="PCM_16")
    server = serve(
        "--input", str(path), "--port", "0", "--hop", "0.5", "--model", str(sound_model), "--loop"
    )
    here = visit(server.url)
    # A busy machine may stall in between; all of this is so at one moment.
    here.wait(
        """() => {
             const text = (id) => document.getElementById(id).textContent;
             return document.querySelector("#state").dataset.state === "speech"
               && text("mood") === "speech" && text("state-text") === "talk without music"
               && document.title === "speech · realtime-mer"
               && document.querySelector(".now").classList.contains("frozen")
               && mer.plane._frozen && mer.plane.shownFast === null;
           }"""
    )
    # The page paints every state; an error would fail the check at the end.
    here.js(
        """(states) => states.forEach((state, k) => {
             const last = mer.history.at(mer.history.end - 1);
             mer.plane.show({ ...last, state }, 0.5, 1e6 + 1000 * k);
             mer.plane.draw(0.1, mer.history.end, mer.history.newest);
           })""",
        [str(state) for state in State],
    )
