"""How the page shows speech, noise and a missing mood."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from fast_support import tones
from page_support import Open, Serve

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
    assert here.page.locator("#state-text").inner_text() == "speech: last values"
    assert here.page.locator("#mood").inner_text() == "–"
    assert here.js("document.title") == "realtime-mer"
    assert here.js("document.querySelector('.now').classList.contains('frozen')")
    assert here.js("mer.plane._frozen")
    assert here.js("mer.plane.shownFast") is None
