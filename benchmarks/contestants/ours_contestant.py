"""This project at the recording's own rate: feed one second of audio, get an estimate."""

from __future__ import annotations

import numpy as np
from common import arguments, ready, report, timed
from mer_engine import load_engine

from realtime_mer.core.file_pipeline import file_pipeline
from realtime_mer.core.pipeline import Pipeline

_, folder = arguments()
audio = np.load(folder / "audio.npy")
rate_hz = int((folder / "rate").read_text())
engine = load_engine()
first = Pipeline(engine, sample_rate_hz=rate_hz)
assert first.feed(audio[: 2 * rate_hz])
ready()
live = Pipeline(engine, sample_rate_hz=rate_hz)
updates = [
    timed(live.feed, audio[start : start + rate_hz])
    for start in range(0, len(audio) - rate_hz + 1, rate_hz)
]
file = file_pipeline(engine, sample_rate_hz=rate_hz)
file_ms = timed(lambda: (file.feed(audio), file.finish()))
# The window is shorter during the first ten seconds.
report(updates[10:], file_ms / (len(audio) / rate_hz), backend=engine.backend)
