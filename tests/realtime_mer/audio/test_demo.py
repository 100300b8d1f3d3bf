import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support_audio import read_all

from realtime_mer.audio import demo, demo_piece
from realtime_mer.audio.demo import (
    DURATION_S,
    SAMPLE_RATE_HZ,
    DemoSource,
    render_demo,
)
from realtime_mer.audio.demo_piece import PASSAGES
from realtime_mer.audio.source import EndOfStream, InputKind


def passage(name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    (found,) = (p for p in PASSAGES if p.name == name)
    start, end = round(found.start_s * SAMPLE_RATE_HZ), round(found.end_s * SAMPLE_RATE_HZ)
    return render_demo()[start:end] / 32768


def test_a_piece_of_ninety_seconds_in_four_passages() -> None:
    assert DURATION_S == 90.0
    assert [p.name for p in PASSAGES] == ["calm", "joyful", "tense", "sad"]
    assert render_demo().shape == (90 * SAMPLE_RATE_HZ, 2)


def test_the_samples_are_always_the_same() -> None:
    """Also in another process: it depends neither on the time nor on hash seeds."""
    program = (
        "import hashlib; from realtime_mer.audio.demo import render_demo; "
        "print(hashlib.sha256(render_demo().tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert other.stdout.decode().strip() == hashlib.sha256(render_demo().tobytes()).hexdigest()


def test_the_passages_differ_as_their_moods_do() -> None:
    level = {p.name: 20 * np.log10(passage(p.name).std()) for p in PASSAGES}
    assert min(level["joyful"], level["tense"]) > max(level["calm"], level["sad"]) + 6
    treble = {}
    for p in PASSAGES:
        music = passage(p.name)[3 * SAMPLE_RATE_HZ :, 0]  # after the end of the passage before
        power = np.abs(np.fft.rfft(music * np.hanning(len(music)))) ** 2
        bins = np.fft.rfftfreq(len(music), 1 / SAMPLE_RATE_HZ)
        treble[p.name] = float(np.sum(power[bins > 2000]) / np.sum(power))
    assert treble["sad"] < treble["calm"] < min(treble["joyful"], treble["tense"]) / 3


def test_no_clipping_and_no_dc_offset() -> None:
    piece = render_demo() / 32768
    assert 0.5 < np.abs(piece).max() < 0.99
    assert np.abs(piece.mean(axis=0)).max() < 0.005


def test_the_seams_do_not_click() -> None:
    """At the boundaries of passages and of the loop, no jump is larger than in the music."""
    piece = render_demo()[:, 0].astype(float)
    jumps = np.abs(np.diff(np.append(piece, piece[0])))
    for p in PASSAGES:
        seam = round(p.end_s * SAMPLE_RATE_HZ) - 1
        around = jumps[max(0, seam - SAMPLE_RATE_HZ) : seam + SAMPLE_RATE_HZ]
        assert jumps[seam] <= np.percentile(around, 99.9)


@pytest.mark.parametrize("block_s", [0.02, 0.777])
def test_the_source_plays_the_samples_of_the_file(block_s: float, tmp_path: Path) -> None:
    source = DemoSource(block_s=block_s)
    assert source.info.kind == InputKind.DEMO
    assert source.info.duration_s == 90.0
    path = tmp_path / "demo.wav"
    soundfile.write(path, render_demo(), SAMPLE_RATE_HZ, subtype="PCM_16")
    samples, end = read_all(source)
    assert str(end) == "the demo ended"
    np.testing.assert_array_equal(samples, soundfile.read(path, dtype="float32", always_2d=True)[0])


def test_the_loop_has_no_gap() -> None:
    with DemoSource(loop=True, block_s=33.3) as source:
        assert source.info.duration_s is None
        parts = []
        for _ in range(4):
            block = source.read(30)
            assert block is not None
            parts.append(block.samples)
    played = np.concatenate(parts)
    piece = render_demo().astype(np.float32) / 32768
    np.testing.assert_array_equal(played, np.tile(piece, (2, 1))[: len(played)])


def test_a_closed_demo_has_ended() -> None:
    source = DemoSource()
    source.close()
    with pytest.raises(EndOfStream):
        source.read(0)


def test_playback_starts_before_the_piece_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    last_may_start = threading.Event()

    def render_last() -> NDArray[np.float32]:
        assert last_may_start.wait(60)
        return demo_piece.sad()

    monkeypatch.setitem(demo_piece.RENDERERS, "sad", render_last)
    renderer = demo._Renderer()
    monkeypatch.setattr(demo, "_renderer", renderer)
    try:
        assert DemoSource().read(60) is not None
        assert renderer.passage(len(PASSAGES) - 1, 0.0) is None
    finally:
        last_may_start.set()
    assert renderer.passage(len(PASSAGES) - 1, 60.0) is not None
