import numpy as np
import pytest

from realtime_mer.audio import synthesis
from realtime_mer.audio.synthesis import SAMPLE_RATE_HZ, pitch

INSTRUMENTS = {
    "pad": lambda: synthesis.pad(220.0, 1.0, 0.8, 1),
    "pluck": lambda: synthesis.pluck(220.0, 1.0, 0.5, 1),
    "piano": lambda: synthesis.piano(220.0, 1.0, 0.5),
    "bell": lambda: synthesis.bell(220.0, 1.0, 2.0, 1.0),
    "flute": lambda: synthesis.flute(220.0, 1.0, 1),
    "saw": lambda: synthesis.saw(220.0, 1.0, 0.8, 1.0),
    "guitar": lambda: synthesis.guitar((220.0, 330.0), 1.0, 0.0, 1),
    "kick": lambda: synthesis.kick(50.0, 1.0),
    "snare": lambda: synthesis.snare(1.0, 190.0, 1),
    "clap": lambda: synthesis.snare(1.0, 0.0, 1),
    "cymbal": lambda: synthesis.cymbal(1.0, 1),
}


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_every_instrument_plays_a_sound_of_its_length(name: str) -> None:
    tone = INSTRUMENTS[name]()
    assert tone.dtype == np.float32
    assert tone.shape == (SAMPLE_RATE_HZ,)
    assert np.isfinite(tone).all()
    assert 0.2 < np.abs(tone).max() < 1.6
    synthesis.clear_cache()
    np.testing.assert_array_equal(INSTRUMENTS[name](), tone)


@pytest.mark.parametrize("name", ["pad", "pluck", "piano", "bell", "flute", "saw"])
def test_every_pitched_instrument_is_in_tune(name: str) -> None:
    tone = INSTRUMENTS[name]()
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 1 << 19))
    bins = np.fft.rfftfreq(1 << 19, 1 / SAMPLE_RATE_HZ)
    near = (bins > 210) & (bins < 230)
    found = bins[near][np.argmax(spectrum[near])]
    assert abs(1200 * np.log2(found / 220)) < 15
    assert spectrum[near].max() > 0.2 * spectrum.max()


@pytest.mark.parametrize(
    ("name", "hz"),
    [("A4", 440), ("A3", 220), ("C4", 261.6256), ("F#3", 184.9972), ("Bb2", 116.5409)],
)
def test_frequencies_of_notes(name: str, hz: float) -> None:
    assert pitch(name) == pytest.approx(hz, rel=1e-6)


def test_an_envelope() -> None:
    shape = synthesis.envelope(1.0, 0.1, 0.2)
    assert shape[0] == 0
    assert shape[-1] == 0
    assert (shape[round(0.1 * SAMPLE_RATE_HZ) : round(0.8 * SAMPLE_RATE_HZ)] == 1).all()
    assert (np.diff(shape[: round(0.1 * SAMPLE_RATE_HZ)]) >= 0).all()


def test_reverb_decays() -> None:
    click = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    click[0] = 1
    left, right = (synthesis.reverb(click, 1.0, 0.3, side) for side in (0, 1))
    assert left.dtype == np.float32
    assert left.shape == click.shape
    assert np.abs(left[: round(0.011 * SAMPLE_RATE_HZ)]).max() < 0.05 * np.abs(left).max()
    early = np.std(left[round(0.05 * SAMPLE_RATE_HZ) : round(0.15 * SAMPLE_RATE_HZ)])
    late = np.std(left[round(0.85 * SAMPLE_RATE_HZ) : round(0.95 * SAMPLE_RATE_HZ)])
    assert 20 * np.log10(early / late) == pytest.approx(48, abs=3)  # 60 dB a second
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.1
