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
    here.wait("() => document.querySelector('#state').dataset.state === 'speech'")
    assert here.page.locator("#mood").inner_text() == "speech"
    assert here.page.locator("#state-text").inner_text() == "talk without music"
    assert here.js("document.title") == "speech · realtime-mer"
    assert here.js("document.querySelector('.now').classList.contains('frozen')")
    assert here.js("mer.plane._frozen")
    assert here.js("mer.plane.shownFast") is None
    # The page paints every state; an error would fail the check at the end.
    here.js(
        """(states) => states.forEach((state, k) => {
             const last = mer.history.at(mer.history.end - 1);
             mer.plane.show({ ...last, state }, 0.5, 1e6 + 1000 * k);
             mer.plane.draw(0.1, mer.history.end, mer.history.newest);
           })""",
        [str(state) for state in State],
    )
